//! Decides what a service's next step is: which tasks start and stop, and when a deployment is
//! complete, failed or rolled back.
//!
//! [`step()`] is a function of a [`View`] and the time. The reconciler loads the view, carries out
//! the changes and looks again; nothing else starts or stops tasks of services.

mod bounds;
mod daemon;
mod event;
mod failures;
mod plan;
mod replicas;
mod scale_in;
mod step;
#[cfg(test)]
mod tests;
mod view;

pub(crate) use bounds::{Breaker, Percents, Threshold};
pub(crate) use event::Event;
pub(crate) use plan::{Change, StopCause};
pub(crate) use step::step;
pub(crate) use view::{
    DeploymentFacts, EndCause, EndedTask, HealthCheckState, InstanceFacts, InstanceRole, MAX_SKEW,
    Phase, Scheduling, ServiceFacts, StartHistory, StopRequest, TaskFacts, View,
};
