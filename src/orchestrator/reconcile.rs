//! Periodic work of the orchestrator.

mod agents;
mod instances;

pub use agents::AgentPoll;
pub use instances::InstanceReconciler;
