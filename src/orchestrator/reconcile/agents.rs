//! Wakes the sessions of agents for changes that other servers made.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_reconcile::{Pass, Reconciler};

use crate::assignments::Assignments;

/// Looks for tasks that wait for an agent of this server.
pub struct AgentPoll(pub Assignments);

impl Reconciler for AgentPoll {
    const NAME: &'static str = "agent-poll";
    /// A task that another server placed waits so long at most.
    const EVERY: Duration = Duration::from_secs(1);

    async fn pass(&mut self, _now: Timestamp) -> anyhow::Result<Pass> {
        let woken = self.0.poll().await?;
        Ok(Pass {
            seen: woken,
            ..Pass::default()
        })
    }
}
