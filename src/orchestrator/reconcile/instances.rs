//! Container instances whose agents are silent: first they get no further tasks, then their tasks
//! count as stopped.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_reconcile::{Pass, Reconciler};

use crate::assignments::Assignments;
use crate::deployment::MAX_SKEW;

/// An agent that gave no sign of life for so long has no connection any more. Signs of life are
/// heartbeats, every 30 seconds, and are recorded with each pass of the reconciler.
const SILENT_AFTER: Duration = Duration::from_secs(95);

/// The tasks of an instance without a connection count as stopped after this long, and services
/// replace them. Longer than the restart of a host or of an agent takes.
const LOST_AFTER: Duration = Duration::from_mins(3);

/// Passes follow one another faster than this. Where the clock says otherwise, it was set, or the
/// server was suspended: agents were not silent then, but nobody listened to them.
const JUMP: Duration = Duration::from_secs(30);

/// Instances that one pass handles; each may have hundreds of tasks.
const AT_ONCE: usize = 20;

/// Records signs of life, and finds instances that are lost.
pub struct InstanceReconciler {
    assignments: Assignments,
    /// When the server began to listen to agents: silence before that says nothing.
    listens_since: Option<Timestamp>,
    passed_at: Option<Timestamp>,
}

impl InstanceReconciler {
    #[must_use]
    pub const fn new(assignments: Assignments) -> Self {
        Self {
            assignments,
            listens_since: None,
            passed_at: None,
        }
    }

    /// When the server began to listen to agents. After its start and after a jump of the clock, it
    /// begins anew.
    async fn listens_since(&mut self, now: Timestamp) -> anyhow::Result<Timestamp> {
        let jumped = |last: Timestamp| now.since(last) > JUMP || last.since(now) > JUMP;
        match self.listens_since {
            Some(since) if !self.passed_at.is_none_or(jumped) => Ok(since),
            _ => {
                let latest = now.plus(MAX_SKEW);
                self.assignments.correct_seen(now, latest).await?;
                self.listens_since = Some(now);
                Ok(now)
            }
        }
    }
}

impl Reconciler for InstanceReconciler {
    const NAME: &'static str = "instances";
    const EVERY: Duration = Duration::from_secs(5);

    async fn pass(&mut self, now: Timestamp) -> anyhow::Result<Pass> {
        self.assignments.record_seen(now).await?;
        let up = now.since(self.listens_since(now).await?);
        let mut pass = Pass::default();
        if up >= SILENT_AFTER {
            let before = now.minus(SILENT_AFTER);
            pass.done += self.assignments.disconnect_silent(before, AT_ONCE).await?;
        }
        if up >= LOST_AFTER {
            let before = now.minus(LOST_AFTER);
            pass.done += self.assignments.stop_lost(before, AT_ONCE).await?;
        }
        // A pass that takes long is no jump.
        self.passed_at = Some(self.assignments.now().max(now));
        pass.seen = pass.done;
        pass.again = pass.done >= AT_ONCE;
        Ok(pass)
    }
}
