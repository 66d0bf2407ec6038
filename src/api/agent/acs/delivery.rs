//! What an agent has been told of its tasks on one connection, and what it is to be told next.
//!
//! A task is told again until the agent acknowledges it, and on every new connection.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;
use wharfinger_ecs_protocol::limits::{ACKNOWLEDGEMENT_TIMEOUT, TASKS_PER_PAYLOAD};
use wharfinger_orchestrator::AssignedTask;
use wharfinger_orchestrator::model::{DesiredStatus, TaskId};

/// Payloads that are on their way at once, so that one agent bounds the memory that it takes.
const MAX_IN_FLIGHT: usize = 4;

/// Payloads in a row that the agent does not acknowledge before its connection is given up.
const MAX_UNACKNOWLEDGED: u32 = 4;

/// The state of the delivery on one connection.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    /// What the agent was told last of each task that waits for it.
    told: HashMap<TaskId, DesiredStatus>,
    /// What the agent cannot be told of tasks now, and when that is tried again.
    postponed: HashMap<TaskId, (DesiredStatus, Instant)>,
    /// Tasks that are told once more although they do not wait for the agent.
    repeated: Vec<AssignedTask>,
    in_flight: Vec<InFlight>,
    unacknowledged: u32,
}

#[derive(Debug)]
struct InFlight {
    message_id: String,
    tasks: Vec<AssignedTask>,
    expires_at: Instant,
}

/// The agent does not acknowledge anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unacknowledged;

impl Delivery {
    /// The tasks of the next payload, of those that wait for the agent; none where it knows all, or
    /// where enough is on its way. Tasks to be stopped come first: they free what others need.
    pub(crate) fn next(&mut self, waiting: &[AssignedTask]) -> Vec<AssignedTask> {
        let waits: HashSet<&TaskId> = waiting.iter().map(|task| &task.id).collect();
        self.repeated.retain(|task| !waits.contains(&task.id));
        let repeated = self.repeated.iter().map(|task| &task.id);
        let still: HashSet<&TaskId> = waits.iter().copied().chain(repeated).collect();
        self.told.retain(|id, _| still.contains(id));
        self.postponed.retain(|id, _| still.contains(id));
        if self.in_flight.len() >= MAX_IN_FLIGHT {
            return Vec::new();
        }
        let is_new = |task: &&AssignedTask| {
            let postponed = self.postponed.get(&task.id).map(|(desired, _)| desired);
            self.told.get(&task.id) != Some(&task.desired) && postponed != Some(&task.desired)
        };
        let all = || waiting.iter().chain(&self.repeated);
        let with = |desired| all().filter(move |task| task.desired == desired);
        let stops = with(DesiredStatus::Stopped).filter(is_new);
        let starts = with(DesiredStatus::Running).filter(is_new);
        stops
            .chain(starts)
            .take(TASKS_PER_PAYLOAD)
            .cloned()
            .collect()
    }

    /// Tells these tasks too, which do not wait for the agent: it may have lost its state.
    pub(crate) fn repeat(&mut self, tasks: Vec<AssignedTask>) {
        self.repeated = tasks;
    }

    /// Whether there are tasks to be repeated that the agent has not replied to yet.
    pub(crate) fn repeats(&self) -> bool {
        !self.repeated.is_empty()
    }

    /// Tells a task no more that does not wait for the agent.
    pub(crate) fn forget(&mut self, id: &TaskId) {
        self.repeated.retain(|repeated| repeated.id != *id);
    }

    /// Leaves a task out until `until`, unless something else is wanted of it before.
    pub(crate) fn postpone(&mut self, task: AssignedTask, until: Instant) {
        self.postponed.insert(task.id, (task.desired, until));
    }

    /// Notes that a payload was sent.
    pub(crate) fn sent(&mut self, message_id: String, tasks: Vec<AssignedTask>, now: Instant) {
        let told = tasks.iter().map(|task| (task.id.clone(), task.desired));
        self.told.extend(told);
        for repeated in &mut self.repeated {
            let told = tasks.iter().find(|task| task.id == repeated.id);
            repeated.desired = told.map_or(repeated.desired, |told| told.desired);
        }
        self.in_flight.push(InFlight {
            message_id,
            tasks,
            expires_at: now + ACKNOWLEDGEMENT_TIMEOUT,
        });
    }

    /// Notes the reply to a payload, whether the agent took it or refused it. Returns whether
    /// others may wait because as many were on their way as are allowed.
    pub(crate) fn replied(&mut self, message_id: &str) -> bool {
        let mut in_flight = self.in_flight.iter();
        let Some(place) = in_flight.position(|sent| sent.message_id == message_id) else {
            return false;
        };
        let was_full = self.in_flight.len() >= MAX_IN_FLIGHT;
        let tasks = self.in_flight.swap_remove(place).tasks;
        let is_told = |task: &AssignedTask| tasks.iter().any(|told| told.id == task.id);
        self.repeated.retain(|task| !is_told(task));
        self.unacknowledged = 0;
        was_full
    }

    /// Gives up payloads that were not acknowledged in time: their tasks are told again. Returns
    /// whether there were any.
    ///
    /// # Errors
    /// [`Unacknowledged`] if there were too many in a row.
    pub(crate) fn expire(&mut self, now: Instant) -> Result<bool, Unacknowledged> {
        let mut expired = self.in_flight.extract_if(.., |sent| sent.expires_at <= now);
        let postponed = self.postponed.len();
        self.postponed.retain(|_, (_, until)| *until > now);
        let mut any = self.postponed.len() < postponed;
        for sent in &mut expired {
            any = true;
            for task in sent.tasks {
                self.told.remove(&task.id);
            }
            self.unacknowledged += 1;
        }
        drop(expired);
        if self.unacknowledged >= MAX_UNACKNOWLEDGED {
            return Err(Unacknowledged);
        }
        Ok(any)
    }

    /// When the next payload expires, or the next postponed task is tried again.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        let sent = self.in_flight.iter().map(|sent| sent.expires_at);
        sent.chain(self.postponed.values().map(|(_, until)| *until))
            .min()
    }
}

/// The times of a connection: when to send a heartbeat, and when the agent counts as lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    pub(crate) next_heartbeat: Instant,
    pub(crate) silent_at: Instant,
    heartbeat: Duration,
    silence: Duration,
}

impl Pulse {
    pub(crate) fn new(now: Instant, heartbeat: Duration, silence: Duration) -> Self {
        Self {
            next_heartbeat: now + heartbeat,
            silent_at: now + silence,
            heartbeat,
            silence,
        }
    }

    /// Something came from the agent.
    pub(crate) fn heard(&mut self, now: Instant) {
        self.silent_at = now + self.silence;
    }

    /// Whether a heartbeat is due, which is then expected to be sent.
    pub(crate) fn beats(&mut self, now: Instant) -> bool {
        let due = now >= self.next_heartbeat;
        if due {
            self.next_heartbeat = now + self.heartbeat;
        }
        due
    }

    pub(crate) fn is_silent(&self, now: Instant) -> bool {
        now >= self.silent_at
    }

    /// When something is to be done next.
    pub(crate) fn next(&self) -> Instant {
        self.next_heartbeat.min(self.silent_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUNNING: DesiredStatus = DesiredStatus::Running;
    const STOPPED: DesiredStatus = DesiredStatus::Stopped;

    fn task(id: &str, desired: DesiredStatus) -> AssignedTask {
        AssignedTask {
            id: TaskId(id.to_owned()),
            desired,
        }
    }

    fn many(count: usize) -> Vec<AssignedTask> {
        (0..count)
            .map(|at| task(&format!("t{at:03}"), RUNNING))
            .collect()
    }

    #[test]
    fn a_task_is_told_once_while_its_payload_is_on_its_way_or_acknowledged() {
        let (mut delivery, now) = (Delivery::default(), Instant::now());
        let waiting = [task("a", RUNNING)];
        assert_eq!(delivery.next(&waiting), waiting);
        delivery.sent("m1".to_owned(), waiting.to_vec(), now);
        assert_eq!(delivery.next(&waiting), []);
        let had_to_wait = delivery.replied("m1");
        assert!(!had_to_wait, "what waits was told already");
        assert_eq!(delivery.next(&waiting), []);
        let stop = [task("a", STOPPED)];
        assert_eq!(delivery.next(&stop), stop);
    }

    #[test]
    fn a_postponed_task_is_told_later_although_the_others_were_acknowledged() {
        let (mut delivery, now) = (Delivery::default(), Instant::now());
        let waiting = [task("a", RUNNING), task("b", RUNNING)];
        assert_eq!(delivery.next(&waiting), waiting);
        let until = now + Duration::from_secs(5);
        delivery.postpone(waiting[1].clone(), until);
        delivery.sent("m1".to_owned(), waiting[..1].to_vec(), now);
        delivery.replied("m1");
        assert_eq!(delivery.next(&waiting), []);
        assert_eq!(delivery.next_expiry(), Some(until));
        assert_eq!(delivery.expire(now), Ok(false));
        assert_eq!(delivery.expire(until), Ok(true));
        assert_eq!(delivery.next(&waiting), waiting[1..]);
        delivery.postpone(waiting[1].clone(), until);
        let stop = [task("a", RUNNING), task("b", STOPPED)];
        assert_eq!(delivery.next(&stop), stop[1..], "a stop is another thing");
    }

    #[test]
    fn repeated_tasks_are_told_until_they_are_acknowledged() {
        let (mut delivery, now) = (Delivery::default(), Instant::now());
        let waiting = [task("w", RUNNING)];
        let repeated = many(MAX_IN_FLIGHT * TASKS_PER_PAYLOAD);
        delivery.repeat(repeated.clone());
        let mut told = Vec::new();
        for round in 0..=MAX_IN_FLIGHT {
            let next = delivery.next(&waiting);
            told.extend(next.clone());
            delivery.sent(format!("m{round}"), next, now);
            delivery.replied(&format!("m{round}"));
        }
        assert_eq!(told[0], waiting[0], "what waits comes first");
        assert_eq!(told[1..], repeated);
        assert_eq!(delivery.next(&waiting), []);
        delivery.repeat(vec![task("a", RUNNING)]);
        let stop = [task("a", STOPPED)];
        assert_eq!(delivery.next(&stop), stop, "it waits now");
        delivery.repeat(vec![task("b", RUNNING)]);
        delivery.postpone(task("b", RUNNING), now);
        assert_eq!(delivery.next(&[]), []);
        assert_eq!(delivery.expire(now), Ok(true));
        assert_eq!(
            delivery.next(&[]),
            [task("b", RUNNING)],
            "it is tried again"
        );
        delivery.forget(&task("b", RUNNING).id);
        assert_eq!(delivery.next(&[]), [], "it is gone");
    }

    #[test]
    fn a_repeated_task_that_is_to_stop_by_now_is_told_once() {
        let (mut delivery, now) = (Delivery::default(), Instant::now());
        delivery.repeat(vec![task("a", RUNNING)]);
        assert_eq!(delivery.next(&[]), [task("a", RUNNING)]);
        // The payload was built after a change.
        delivery.sent("m".to_owned(), vec![task("a", STOPPED)], now);
        assert_eq!(delivery.next(&[]), []);
    }

    #[test]
    fn a_payload_without_acknowledgement_is_repeated_and_then_given_up() {
        let (mut delivery, mut now) = (Delivery::default(), Instant::now());
        let waiting = [task("a", RUNNING)];
        for round in 1..MAX_UNACKNOWLEDGED {
            assert_eq!(delivery.next(&waiting), waiting);
            delivery.sent(format!("m{round}"), waiting.to_vec(), now);
            assert_eq!(delivery.expire(now), Ok(false));
            now += ACKNOWLEDGEMENT_TIMEOUT;
            assert_eq!(delivery.next_expiry(), Some(now));
            assert_eq!(delivery.expire(now), Ok(true));
        }
        delivery.sent("last".to_owned(), waiting.to_vec(), now);
        now += ACKNOWLEDGEMENT_TIMEOUT;
        assert_eq!(delivery.expire(now), Err(Unacknowledged));
    }

    #[test]
    fn what_is_on_its_way_is_bounded() {
        let (mut delivery, now) = (Delivery::default(), Instant::now());
        let waiting = many(MAX_IN_FLIGHT * TASKS_PER_PAYLOAD + 5);
        for round in 0..MAX_IN_FLIGHT {
            let next = delivery.next(&waiting);
            assert_eq!(next.len(), TASKS_PER_PAYLOAD);
            delivery.sent(format!("m{round}"), next, now);
        }
        assert_eq!(delivery.next(&waiting), []);
        assert!(!delivery.replied("unknown") && delivery.replied("m2"));
        assert!(!delivery.replied("m2"), "it is on its way no more");
        assert_eq!(delivery.next(&waiting).len(), 5);
    }

    #[test]
    fn stops_come_first_and_what_waits_no_more_is_forgotten() {
        let (mut delivery, now) = (Delivery::default(), Instant::now());
        let waiting = [task("a", RUNNING), task("b", STOPPED)];
        let next = delivery.next(&waiting);
        assert_eq!(next, [task("b", STOPPED), task("a", RUNNING)]);
        delivery.sent("m".to_owned(), next, now);
        assert_eq!(delivery.next(&[]), []);
        assert!(delivery.told.is_empty());
    }

    #[test]
    fn a_pulse_beats_and_ends() {
        let now = Instant::now();
        let (beat, silence) = (Duration::from_secs(30), Duration::from_secs(75));
        let mut pulse = Pulse::new(now, beat, silence);
        assert!(!pulse.beats(now));
        assert!(pulse.beats(now + beat) && !pulse.beats(now + beat));
        pulse.heard(now + beat);
        assert!(!pulse.is_silent(now + silence));
        assert!(pulse.is_silent(now + beat + silence));
        assert_eq!(pulse.next(), now + beat * 2);
    }
}
