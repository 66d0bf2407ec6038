//! PURE: what a decision about a service may know.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wharfinger_base::Timestamp;

use crate::deployment::bounds::{Breaker, Percents};
use crate::model::{Capacity, DeploymentId, DeploymentRolloutState, InstanceId, TaskId};
use crate::placement::Strategies;

/// The clocks of the servers of a control plane differ by no more than this.
pub(crate) const MAX_SKEW: Duration = Duration::from_mins(1);

/// A service with its deployments and tasks, as one transaction read them.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) service: ServiceFacts,
    /// The primary deployment, then those that it replaces.
    pub(crate) deployments: Vec<DeploymentFacts>,
    /// Tasks whose last status is not `STOPPED`.
    pub(crate) tasks: Vec<TaskFacts>,
    /// Stopped tasks that no decision has considered yet.
    pub(crate) ended: Vec<EndedTask>,
    /// The instances that tasks name, and those that the service may use.
    pub(crate) instances: Vec<InstanceFacts>,
    /// The newest deployment that was completed before the primary one.
    pub(crate) rollback_to: Option<DeploymentId>,
}

/// What is known of the service itself.
#[derive(Clone, Debug)]
pub(crate) struct ServiceFacts {
    /// Whether the service was deleted and only its tasks are left.
    pub(crate) is_draining: bool,
    pub(crate) scheduling: Scheduling,
    pub(crate) desired: usize,
    pub(crate) percents: Percents,
    pub(crate) breaker: Breaker,
    pub(crate) starts: StartHistory,
    /// Whether the steady state was reported.
    pub(crate) is_steady: bool,
    /// How long a task without a health check runs until it counts as healthy.
    pub(crate) healthy_after: Duration,
    /// How long the health of a task is ignored after it has started.
    pub(crate) grace: Duration,
    /// How tasks are placed, which is also how they are stopped.
    pub(crate) strategies: Strategies,
}

/// What the service keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheduling {
    /// A number of tasks.
    Replicas,
    /// The same, and tasks move to emptier availability zones.
    BalancedReplicas,
    /// A task on each instance.
    Daemon,
}

/// Starts that failed in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct StartHistory {
    pub(crate) failed: u32,
    pub(crate) last_failed_at: Option<Timestamp>,
    pub(crate) throttled_until: Option<Timestamp>,
}

/// What is known of a deployment.
#[derive(Clone, Debug)]
pub(crate) struct DeploymentFacts {
    pub(crate) id: DeploymentId,
    pub(crate) rollout: DeploymentRolloutState,
    /// Failures that count for the circuit breaker.
    pub(crate) failed_tasks: i64,
    /// How many of its tasks were healthy at the last decision.
    pub(crate) healthy_tasks: i64,
    /// Whether it undoes another deployment.
    pub(crate) is_rollback: bool,
    pub(crate) stop: Option<StopRequest>,
}

/// How a user requested to end a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopRequest {
    Abort,
    RollBack,
}

/// Where a task is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Starting,
    Running,
    /// It was told to stop, or is on its way without that.
    Stopping,
}

/// What the container health checks of a task say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HealthCheckState {
    /// No essential container has a check.
    Absent,
    Unknown,
    Healthy,
    Unhealthy,
}

/// A task that has not stopped.
#[derive(Clone, Debug)]
pub(crate) struct TaskFacts {
    pub(crate) id: TaskId,
    /// Its place in [`View::deployments`]; `None` for a deployment that is gone.
    pub(crate) deployment: Option<usize>,
    pub(crate) phase: Phase,
    pub(crate) check: HealthCheckState,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) protected_until: Option<Timestamp>,
    /// Its place in [`View::instances`].
    pub(crate) instance: Option<usize>,
}

/// What a service may do with an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum InstanceRole {
    /// Tasks may start and stay.
    Usable,
    /// Tasks may stay: the agent is not connected.
    Silent,
    /// Tasks are to go elsewhere. A daemon stays until the other tasks are gone.
    Draining,
    /// It does not meet the constraints, or is gone.
    Unfit,
}

/// A container instance.
#[derive(Clone, Debug)]
pub(crate) struct InstanceFacts {
    pub(crate) id: InstanceId,
    pub(crate) zone: Option<String>,
    pub(crate) role: InstanceRole,
    /// Whether tasks run there that are not of this service.
    pub(crate) has_other_tasks: bool,
    pub(crate) remaining: Capacity,
    /// By name.
    pub(crate) attributes: Arc<BTreeMap<String, Option<String>>>,
}

/// Why a task stopped, as far as decisions need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndCause {
    /// The scheduler or a user stopped it, or its instance went away.
    Told,
    /// It failed to start, or a container ended.
    Itself,
}

/// A task that stopped.
#[derive(Clone, Debug)]
pub(crate) struct EndedTask {
    pub(crate) id: TaskId,
    pub(crate) deployment: Option<usize>,
    pub(crate) cause: EndCause,
    /// Whether it reached `RUNNING`.
    pub(crate) has_run: bool,
}

/// How a task counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Starting,
    /// It runs, and is not yet known to be healthy.
    Maturing,
    Healthy,
    Unhealthy,
}

impl View {
    /// How long a task has run. One that started in the future did so by a clock that went back
    /// since: it has run long enough for everything.
    fn age(task: &TaskFacts, now: Timestamp) -> Duration {
        let age = |started_at: Timestamp| {
            if started_at > now.plus(MAX_SKEW) {
                Duration::MAX
            } else {
                now.since(started_at)
            }
        };
        task.started_at.map_or(Duration::ZERO, age)
    }

    /// How a task that is not told to stop counts at `now`.
    pub(super) fn health(&self, task: &TaskFacts, now: Timestamp) -> Health {
        if task.phase == Phase::Starting {
            return Health::Starting;
        }
        let age = Self::age(task, now);
        match task.check {
            HealthCheckState::Healthy => Health::Healthy,
            HealthCheckState::Unhealthy if age >= self.service.grace => Health::Unhealthy,
            HealthCheckState::Absent if age >= self.service.healthy_after => Health::Healthy,
            HealthCheckState::Absent | HealthCheckState::Unknown | HealthCheckState::Unhealthy => {
                Health::Maturing
            }
        }
    }

    /// When time alone changes how the task counts.
    pub(super) fn matures_at(&self, task: &TaskFacts) -> Option<Timestamp> {
        let started_at = task.started_at?;
        match task.check {
            HealthCheckState::Absent => Some(started_at.plus(self.service.healthy_after)),
            HealthCheckState::Unhealthy => Some(started_at.plus(self.service.grace)),
            HealthCheckState::Unknown | HealthCheckState::Healthy => None,
        }
    }

    pub(super) fn instance(&self, task: &TaskFacts) -> Option<&InstanceFacts> {
        self.instances.get(task.instance?)
    }

    pub(super) fn is_draining(&self, task: &TaskFacts) -> bool {
        let instance = self.instance(task);
        instance.is_some_and(|instance| instance.role == InstanceRole::Draining)
    }
}

impl TaskFacts {
    pub(super) fn is_primary(&self) -> bool {
        self.deployment == Some(0)
    }

    pub(super) fn is_protected(&self, now: Timestamp) -> bool {
        self.protected_until.is_some_and(|until| until > now)
    }
}
