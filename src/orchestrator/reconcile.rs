//! Periodic work of the orchestrator: it brings about what services and tasks are to be.
//!
//! Each reconciler takes no input, and a restart or a second server changes nothing but the delay.

mod agents;
mod changes;
mod cleanup;
mod instances;
mod service;
mod service_view;
mod services;
mod starts;
mod task_definitions;
mod waiting;

pub use agents::AgentPoll;
pub use cleanup::Cleanup;
pub use instances::InstanceReconciler;
pub use services::ServiceReconciler;
pub use task_definitions::TaskDefinitionCleanup;
pub use waiting::WaitingTasks;
