//! Takes events and writes them in one background task, through a queue of bounded length. Taking
//! an event never waits: one that finds the queue full is lost and counted.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use wharfinger_base::{Clock, Ids, Timestamp};

use crate::event::Event;
use crate::failures::FailureBound;
use crate::segments::Segments;

/// Events that wait to be written, about 2 KB each. A disk that stands still for half a second
/// loses none under the heaviest load.
const QUEUE: usize = 8_192;
/// Events written at once.
const BATCH: usize = 256;
/// The names of the records about events that were not recorded.
const SIGN_INS_OMITTED: &str = "SignInFailuresOmitted";
const REFUSALS_OMITTED: &str = "RefusalsOmitted";
/// Failed sign-ins recorded in a minute.
const SIGN_IN_FAILURES: u64 = 60;
/// Requests of one sender recorded in a minute that no policy allowed: some 400 KB.
const REFUSALS: u64 = 300;
/// How often old files are looked for, and what is lost or omitted is written down.
const UPKEEP_PERIOD: Duration = Duration::from_secs(30);

/// Where the log is written, and how much of it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    pub folder: PathBuf,
    /// All files together, in bytes.
    pub max_bytes: u64,
    /// The time since the last event of a file.
    pub max_age: Duration,
}

/// The log of one server. Cloning shares it.
#[derive(Clone, Default)]
pub struct AuditLog(Option<Arc<Shared>>);

struct Shared {
    queue: mpsc::Sender<Message>,
    counts: Arc<Counts>,
    sign_ins: Mutex<FailureBound>,
    refusals: Mutex<FailureBound>,
}

#[derive(Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
}

enum Message {
    Event(Box<Event>),
    /// Events beyond those that are recorded, and the name of the record about them.
    Omitted(&'static str, u64),
    Close(oneshot::Sender<()>),
}

impl Message {
    /// How many events are lost with it.
    const fn events(&self) -> u64 {
        match self {
            Self::Event(_) => 1,
            Self::Omitted(_, count) => *count,
            Self::Close(_) => 0,
        }
    }
}

impl AuditLog {
    /// A log that keeps nothing.
    #[must_use]
    pub fn off() -> Self {
        Self::default()
    }

    /// Opens the log and starts its task, which runs until [`AuditLog::close`].
    ///
    /// # Errors
    /// The folder or its newest file cannot be written.
    pub fn start(config: &AuditConfig, clock: Clock, ids: Ids) -> io::Result<Self> {
        let mut segments = Segments::open(&config.folder, config.max_bytes, config.max_age)?;
        segments.prune(clock.now())?;
        let (sender, receiver) = mpsc::channel(QUEUE);
        let counts = Arc::<Counts>::default();
        let writer = Writer {
            segments: Some(segments),
            clock,
            ids,
            counts: Arc::clone(&counts),
            lost_written: 0,
            is_failing: false,
        };
        tokio::spawn(writer.run(receiver));
        Ok(Self(Some(Arc::new(Shared {
            queue: sender,
            counts,
            sign_ins: Mutex::new(FailureBound::new(SIGN_IN_FAILURES)),
            refusals: Mutex::new(FailureBound::new(REFUSALS)),
        }))))
    }

    /// Whether events are kept.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Takes an event.
    pub fn record(&self, event: Event) {
        if let Some(shared) = &self.0 {
            shared.send(Message::Event(Box::new(event)));
        }
    }

    /// Takes the event of a request whose credentials are not valid. Only so many are kept in a
    /// minute; a record tells how many were not.
    pub fn record_failed_sign_in(&self, event: Event, now: Timestamp) {
        let Some(shared) = &self.0 else {
            return;
        };
        shared.admit((&shared.sign_ins, SIGN_INS_OMITTED), "", event, now);
    }

    /// Takes the event of a request that no policy allowed, of a known sender. Only so many of one
    /// sender are kept in a minute; a record tells how many were not.
    pub fn record_refusal(&self, sender: &str, event: Event, now: Timestamp) {
        if let Some(shared) = &self.0 {
            shared.admit((&shared.refusals, REFUSALS_OMITTED), sender, event, now);
        }
    }

    /// Events written, and events lost because the queue was full or the disk failed.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        self.0.as_ref().map_or((0, 0), |shared| {
            let counts = &shared.counts;
            let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
            (read(&counts.written), read(&counts.lost))
        })
    }

    /// Writes what was taken until now and makes it durable. Later events are lost.
    pub async fn close(&self) {
        let Some(shared) = &self.0 else {
            return;
        };
        for (bound, name) in [
            (&shared.sign_ins, SIGN_INS_OMITTED),
            (&shared.refusals, REFUSALS_OMITTED),
        ] {
            let bound = bound.lock();
            let omitted = bound.unwrap_or_else(PoisonError::into_inner).take_omitted();
            if omitted > 0 {
                shared.send(Message::Omitted(name, omitted));
            }
        }
        let (done, closed) = oneshot::channel();
        if shared.queue.send(Message::Close(done)).await.is_ok() {
            // The task may have failed, which it has said.
            let _ = closed.await;
        }
    }
}

impl Shared {
    /// Sends the event where the bound admits it, and what the bound kept out before.
    fn admit(
        &self,
        (bound, omitted): (&Mutex<FailureBound>, &'static str),
        sender: &str,
        event: Event,
        now: Timestamp,
    ) {
        let bound = bound.lock();
        let admitted = bound
            .unwrap_or_else(PoisonError::into_inner)
            .admit(sender, now);
        if admitted.omitted > 0 {
            self.send(Message::Omitted(omitted, admitted.omitted));
        }
        if admitted.is_recorded {
            self.send(Message::Event(Box::new(event)));
        }
    }

    fn send(&self, message: Message) {
        let events = message.events();
        if self.queue.try_send(message).is_err() {
            self.counts.lost.fetch_add(events, Ordering::Relaxed);
        }
    }
}

/// Writes the log.
struct Writer {
    /// `None` while a thread writes, and after one has panicked.
    segments: Option<Segments>,
    clock: Clock,
    ids: Ids,
    counts: Arc<Counts>,
    /// Lost events that a record accounts for.
    lost_written: u64,
    /// The last write failed, which was logged.
    is_failing: bool,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut upkeep = interval_at(Instant::now() + UPKEEP_PERIOD, UPKEEP_PERIOD);
        upkeep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let is_upkeep = tokio::select! {
                taken = queue.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return;
                    }
                    false
                }
                _ = upkeep.tick() => true,
            };
            let closing = self.write(&mut batch, is_upkeep).await;
            if let Some(done) = closing {
                // Whoever waits for the end may have given up.
                let _ = done.send(());
                return;
            }
        }
    }

    /// Writes a batch on a thread that may block. Returns who waits for the end, if the batch
    /// has such a request.
    async fn write(
        &mut self,
        batch: &mut Vec<Message>,
        is_upkeep: bool,
    ) -> Option<oneshot::Sender<()>> {
        let Some(mut segments) = self.segments.take() else {
            return self.discard(batch);
        };
        let now = self.clock.now();
        let (mut lines, mut events, mut closing) = (Vec::new(), 0, None);
        let mut add = |event: Event| {
            if let Some(line) = event.line() {
                lines.extend(line);
                events += 1;
            }
        };
        for message in batch.drain(..) {
            match message {
                Message::Event(event) => {
                    let mut event = event.bounded();
                    event.event_id = self.ids.uuid().to_string();
                    add(event);
                }
                Message::Omitted(name, count) => add(self.omission(name, count, now)),
                Message::Close(done) => closing = Some(done),
            }
        }
        let lost = self.counts.lost.load(Ordering::Relaxed);
        if lost > self.lost_written {
            add(self.omission("EventsLost", lost - self.lost_written, now));
        }
        let is_last = closing.is_some();
        let worked = tokio::task::spawn_blocking(move || {
            let written = write(&mut segments, &lines, now, is_upkeep, is_last);
            (segments, written)
        });
        let Ok((segments, written)) = worked.await else {
            tracing::error!("the writer of the audit log panicked; nothing is recorded any more");
            return closing;
        };
        self.segments = Some(segments);
        self.note(written, events, lost);
        closing
    }

    /// Counts a batch as lost. Returns who waits for the end.
    fn discard(&self, batch: &mut Vec<Message>) -> Option<oneshot::Sender<()>> {
        let mut closing = None;
        for message in batch.drain(..) {
            self.counts
                .lost
                .fetch_add(message.events(), Ordering::Relaxed);
            if let Message::Close(done) = message {
                closing = Some(done);
            }
        }
        closing
    }

    fn omission(&self, name: &str, count: u64, now: Timestamp) -> Event {
        let mut event = Event::omission(name, count, now);
        event.event_id = self.ids.uuid().to_string();
        event
    }

    fn note(&mut self, written: io::Result<()>, events: u64, lost: u64) {
        match written {
            Ok(()) => {
                self.counts.written.fetch_add(events, Ordering::Relaxed);
                self.lost_written = lost;
                self.is_failing = false;
            }
            Err(error) => {
                self.counts.lost.fetch_add(events, Ordering::Relaxed);
                if !self.is_failing {
                    tracing::error!(%error, "the audit log cannot be written; events are lost");
                }
                self.is_failing = true;
            }
        }
    }
}

fn write(
    segments: &mut Segments,
    lines: &[u8],
    now: Timestamp,
    is_upkeep: bool,
    is_last: bool,
) -> io::Result<()> {
    if !lines.is_empty() {
        segments.append(lines, now)?;
    }
    if is_upkeep {
        segments.prune(now)?;
    }
    if is_upkeep || is_last {
        segments.sync()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::{Entry, Reader};

    fn config(folder: &std::path::Path) -> AuditConfig {
        AuditConfig {
            folder: folder.join("audit"),
            max_bytes: 1 << 26,
            max_age: Duration::from_hours(1),
        }
    }

    fn event(name: &str) -> Event {
        Event::new("ecr.amazonaws.com", name, Timestamp::from_ms(0))
    }

    fn names(config: &AuditConfig) -> Vec<String> {
        let mut reader = Reader::open(&config.folder, None).expect("a folder");
        let mut names = Vec::new();
        while let Some(entry) = reader.next_entry().expect("read") {
            if let Entry::Event(event) = entry {
                assert!(!event.event_id.is_empty());
                names.push(event.event_name);
            }
        }
        names
    }

    #[tokio::test]
    async fn events_are_written_in_order_until_the_log_is_closed() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let log = AuditLog::start(&config, Clock::default(), Ids::default()).expect("started");
        for at in 0..1_000 {
            log.record(event(&format!("Put{at}")));
        }
        log.close().await;
        let expected: Vec<_> = (0..1_000).map(|at| format!("Put{at}")).collect();
        assert_eq!(names(&config), expected);
        assert_eq!(log.counts(), (1_000, 0));
        log.record(event("Late"));
        assert_eq!(log.counts(), (1_000, 1));
    }

    /// The runtime of the test has one thread, so that nothing is written while events are taken.
    #[tokio::test]
    async fn what_the_queue_does_not_hold_is_counted_and_written_down() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let log = AuditLog::start(&config, Clock::default(), Ids::default()).expect("started");
        for _ in 0..QUEUE + 10 {
            log.record(event("Put"));
        }
        assert_eq!(log.counts().1, 10);
        log.close().await;
        let names = names(&config);
        assert_eq!(
            names.iter().filter(|name| **name == "EventsLost").count(),
            1
        );
    }

    /// Omitted events whose record does not fit into the queue are lost, each of them.
    #[tokio::test]
    async fn omitted_events_are_not_counted_as_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let log = AuditLog::start(&config, Clock::default(), Ids::default()).expect("started");
        for _ in 0..QUEUE {
            log.record(event("Put"));
        }
        for _ in 0..100 {
            log.record_refusal("ann", event("Ann"), Timestamp::from_ms(1_000));
        }
        assert_eq!(log.counts().1, 100);
        let shared = log.0.as_ref().expect("on");
        shared.send(Message::Omitted(REFUSALS_OMITTED, 40));
        assert_eq!(log.counts().1, 140);
    }

    #[tokio::test]
    async fn a_writer_that_panicked_keeps_nothing_and_can_be_closed() {
        let (sender, receiver) = mpsc::channel(QUEUE);
        let counts = Arc::<Counts>::default();
        let writer = Writer {
            segments: None,
            clock: Clock::default(),
            ids: Ids::default(),
            counts: Arc::clone(&counts),
            lost_written: 0,
            is_failing: false,
        };
        let task = tokio::spawn(writer.run(receiver));
        for _ in 0..3 {
            let put = Message::Event(Box::new(event("Put")));
            assert!(sender.send(put).await.is_ok());
        }
        let (done, closed) = oneshot::channel();
        assert!(sender.send(Message::Close(done)).await.is_ok());
        let limit = Duration::from_secs(5);
        let ended = tokio::time::timeout(limit, closed).await;
        assert!(ended.is_ok_and(|closed| closed.is_ok()));
        task.await.expect("no panic");
        assert_eq!(counts.lost.load(Ordering::Relaxed), 3);
    }

    #[tokio::test]
    async fn failed_sign_ins_are_bounded() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let log = AuditLog::start(&config, Clock::default(), Ids::default()).expect("started");
        for _ in 0..100 {
            log.record_failed_sign_in(event("Ping"), Timestamp::from_ms(1_000));
        }
        log.close().await;
        let names = names(&config);
        assert_eq!(names.iter().filter(|name| **name == "Ping").count(), 60);
        assert_eq!(
            names.last().map(String::as_str),
            Some("SignInFailuresOmitted")
        );
    }

    #[tokio::test]
    async fn refusals_are_bounded_by_sender() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config(folder.path());
        let log = AuditLog::start(&config, Clock::default(), Ids::default()).expect("started");
        for _ in 0..400 {
            log.record_refusal("ann", event("Ann"), Timestamp::from_ms(1_000));
        }
        log.record_refusal("bob", event("Bob"), Timestamp::from_ms(1_000));
        log.record(event("Put"));
        log.close().await;
        let names = names(&config);
        let count = |wanted: &str| names.iter().filter(|name| *name == wanted).count();
        assert_eq!((count("Ann"), count("Bob"), count("Put")), (300, 1, 1));
        assert_eq!(names.last().map(String::as_str), Some("RefusalsOmitted"));
    }

    #[tokio::test]
    async fn a_log_that_is_off_keeps_nothing() {
        let log = AuditLog::off();
        log.record(event("Put"));
        log.close().await;
        assert!(!log.is_on() && log.counts() == (0, 0));
    }
}
