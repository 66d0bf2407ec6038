//! The agents that hold a connection to this server, and how they are woken when their tasks
//! change.
//!
//! A wake-up carries no data: the session reads what its instance should run. One that is missed,
//! because another server made the change, is made up for by [`crate::Assignments::poll`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use wharfinger_base::Timestamp;

use crate::model::InstanceId;

/// The sessions of this server, by instance. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct AgentSessions(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    sessions: Mutex<BTreeMap<InstanceId, Arc<Signals>>>,
    next_number: AtomicU64,
}

#[derive(Debug)]
struct Signals {
    number: u64,
    changed: Notify,
    replaced: AtomicBool,
    /// The last sign of life of the agent, and the last one that was recorded, in milliseconds.
    seen_ms: AtomicI64,
    recorded_ms: AtomicI64,
}

/// What wakes the session of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// What the instance should run may have changed.
    Changed,
    /// The agent has opened another connection: this one is to end.
    Replaced,
}

/// The session of one agent. It ends with its drop.
#[derive(Debug)]
pub struct AgentSession {
    instance: InstanceId,
    signals: Arc<Signals>,
    sessions: AgentSessions,
}

impl AgentSessions {
    /// Begins the session of an instance. One that it had before is told that it is replaced.
    #[must_use]
    pub fn begin(&self, instance: &InstanceId, now: Timestamp) -> AgentSession {
        let signals = Arc::new(Signals {
            number: self.0.next_number.fetch_add(1, Ordering::Relaxed),
            changed: Notify::new(),
            replaced: AtomicBool::new(false),
            seen_ms: AtomicI64::new(now.as_ms()),
            recorded_ms: AtomicI64::new(now.as_ms()),
        });
        let session = AgentSession {
            instance: instance.clone(),
            signals: Arc::clone(&signals),
            sessions: self.clone(),
        };
        if let Some(older) = self.lock().insert(instance.clone(), signals) {
            older.replaced.store(true, Ordering::Release);
            older.changed.notify_one();
        }
        session
    }

    /// Wakes the session of an instance, if it has one here. To be called after the commit.
    pub(crate) fn wake(&self, instance: &InstanceId) {
        if let Some(signals) = self.lock().get(instance) {
            signals.changed.notify_one();
        }
    }

    /// The signs of life since the last call, in the order of instances. Times after `now` are of a
    /// clock that went back since: they count as `now`.
    pub(crate) fn take_seen(&self, now: Timestamp) -> Vec<(InstanceId, Timestamp)> {
        let mut taken = Vec::new();
        for (instance, signals) in &*self.lock() {
            signals
                .recorded_ms
                .fetch_min(now.as_ms(), Ordering::Relaxed);
            let noted = signals.seen_ms.fetch_min(now.as_ms(), Ordering::Relaxed);
            let seen = noted.min(now.as_ms());
            if signals.recorded_ms.swap(seen, Ordering::Relaxed) < seen {
                taken.push((instance.clone(), Timestamp::from_ms(seen)));
            }
        }
        taken
    }

    /// Whether the agent of an instance gave this server a sign of life since `time`.
    pub(crate) fn is_heard(&self, instance: &InstanceId, time: Timestamp) -> bool {
        let sessions = self.lock();
        let signals = sessions.get(instance);
        signals.is_some_and(|signals| signals.seen_ms.load(Ordering::Relaxed) >= time.as_ms())
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<InstanceId, Arc<Signals>>> {
        let sessions = &self.0.sessions;
        sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AgentSession {
    #[must_use]
    pub const fn instance(&self) -> &InstanceId {
        &self.instance
    }

    /// Waits for the next event. Several wake-ups in between are one.
    pub async fn event(&self) -> SessionEvent {
        if !self.is_replaced() {
            self.signals.changed.notified().await;
        }
        if self.is_replaced() {
            SessionEvent::Replaced
        } else {
            SessionEvent::Changed
        }
    }

    /// Notes a sign of life of the agent.
    pub fn note_seen(&self, now: Timestamp) {
        let seen = &self.signals.seen_ms;
        seen.fetch_max(now.as_ms(), Ordering::Relaxed);
    }

    pub(crate) fn last_seen(&self) -> Timestamp {
        Timestamp::from_ms(self.signals.seen_ms.load(Ordering::Relaxed))
    }

    /// Whether the agent has opened another connection to this server.
    #[must_use]
    pub fn is_replaced(&self) -> bool {
        self.signals.replaced.load(Ordering::Acquire)
    }
}

impl Drop for AgentSession {
    fn drop(&mut self) {
        let mut sessions = self.sessions.lock();
        let known = sessions.get(&self.instance);
        if known.is_some_and(|known| known.number == self.signals.number) {
            sessions.remove(&self.instance);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_000);
    const LATER: Timestamp = Timestamp::from_ms(2_000);

    fn instance(name: &str) -> InstanceId {
        InstanceId(name.to_owned())
    }

    #[tokio::test]
    async fn a_wake_up_before_the_wait_is_not_lost() {
        let sessions = AgentSessions::default();
        let session = sessions.begin(&instance("a"), NOW);
        sessions.wake(&instance("b"));
        sessions.wake(&instance("a"));
        sessions.wake(&instance("a"));
        assert_eq!(session.event().await, SessionEvent::Changed);
    }

    #[tokio::test]
    async fn a_second_session_replaces_the_first() {
        let sessions = AgentSessions::default();
        let first = sessions.begin(&instance("a"), NOW);
        let second = sessions.begin(&instance("a"), NOW);
        assert_eq!(first.event().await, SessionEvent::Replaced);
        assert_eq!(first.event().await, SessionEvent::Replaced);
        drop(first);
        assert_eq!(sessions.count(), 1);
        sessions.wake(&instance("a"));
        assert_eq!(second.event().await, SessionEvent::Changed);
        drop(second);
        assert_eq!(sessions.count(), 0);
    }

    #[test]
    fn signs_of_life_are_taken_once() {
        let sessions = AgentSessions::default();
        let session = sessions.begin(&instance("a"), NOW);
        let _silent = sessions.begin(&instance("b"), NOW);
        assert_eq!(sessions.take_seen(NOW), []);
        session.note_seen(LATER);
        session.note_seen(NOW);
        assert_eq!(sessions.take_seen(LATER), [(instance("a"), LATER)]);
        assert_eq!(sessions.take_seen(LATER), []);
    }

    #[test]
    fn signs_of_life_are_taken_after_the_clock_went_back() {
        let sessions = AgentSessions::default();
        let session = sessions.begin(&instance("a"), Timestamp::from_ms(9_000));
        assert_eq!(sessions.take_seen(NOW), []);
        assert!(
            sessions.is_heard(&instance("a"), NOW) && !sessions.is_heard(&instance("a"), LATER)
        );
        session.note_seen(LATER);
        assert_eq!(sessions.take_seen(LATER), [(instance("a"), LATER)]);
        assert_eq!(session.last_seen(), LATER);
    }
}
