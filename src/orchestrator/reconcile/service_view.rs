//! Reads what a decision about a service may know.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use wharfinger_db::Tx;

use crate::deployment::{
    Breaker, DeploymentFacts, EndCause, EndedTask, HealthCheckState, InstanceFacts, InstanceRole,
    Percents, Phase, Scheduling, ServiceFacts, StartHistory, StopRequest, TaskFacts, View,
};
use crate::error::Result;
use crate::model::{
    AvailabilityZoneRebalancing, Capacity, Cluster, Deployment, DeploymentRolloutState,
    DesiredStatus, HealthStatus, InstanceId, InstanceStatus, LaunchType, SchedulingStrategy,
    Service, ServiceDeploymentStatus, ServiceId, ServiceStatus, TaskDefinition, TaskOverride,
    TaskStatus, TaskStopCode,
};
use crate::placement::{ClusterNodes, LaunchKind, Needs, Node, Refusal, Strategies};
use crate::services::{ServiceSettings, history, rules};
use crate::store::service_tasks::{StoppedTask, TasksState, UnfinishedTask};
use crate::store::{clusters, deployments, service_tasks, services, task_definitions};

/// Stopped tasks that one decision considers.
const MAX_STOPPED: usize = 1_000;

/// Rows of a service, as one transaction read them.
#[derive(Clone, Debug)]
pub(super) struct ServiceRows {
    pub(super) cluster: Cluster,
    pub(super) service: Service,
    pub(super) deployments: Vec<Deployment>,
    /// The task definition of each deployment, in their order.
    pub(super) definitions: Vec<Option<TaskDefinition>>,
    tasks: Vec<UnfinishedTask>,
    stopped: Vec<StoppedTask>,
    rollback_to: Option<Deployment>,
}

impl ServiceRows {
    /// Reads the service; `None` if it is gone or nothing is left to do for it.
    pub(super) fn load(tx: &mut Tx<'_>, id: &ServiceId) -> Result<Option<Self>> {
        let Some(service) = services::by_id(tx, id)? else {
            return Ok(None);
        };
        if service.status == ServiceStatus::Inactive {
            return Ok(None);
        }
        let Some(cluster) = clusters::by_id(tx, &service.cluster)? else {
            return Ok(None);
        };
        let deployments = deployments::current(tx, id)?;
        let mut definitions = Vec::with_capacity(deployments.len());
        for deployment in &deployments {
            let name = deployment.details.target.task_definition.as_ref();
            let found = name.map(|name| task_definitions::by_name(tx, &cluster.name.home, name));
            definitions.push(found.transpose()?.flatten());
        }
        let primary = deployments.first();
        let in_progress = primary.is_some_and(|primary| {
            primary.details.rollout_state == DeploymentRolloutState::InProgress
        });
        let rollback_to = if in_progress {
            history::rollback_to(tx, &cluster.name.home, id)?
        } else {
            None
        };
        Ok(Some(Self {
            tasks: service_tasks::unfinished(tx, id)?,
            stopped: service_tasks::stopped(tx, id, MAX_STOPPED)?,
            cluster,
            service,
            deployments,
            definitions,
            rollback_to,
        }))
    }

    /// The tasks' group.
    pub(super) fn group(&self) -> String {
        format!("service:{}", self.service.name)
    }

    pub(super) fn is_daemon(&self) -> bool {
        self.service.details.scheduling_strategy == SchedulingStrategy::Daemon
    }

    /// The state of the tasks, as [`service_tasks::state`] reads it.
    pub(super) fn tasks_state(&self) -> TasksState {
        TasksState {
            unfinished: i64::try_from(self.tasks.len()).unwrap_or(i64::MAX),
            versions: self.tasks.iter().map(|task| task.version).sum(),
            has_stopped: !self.stopped.is_empty(),
        }
    }

    pub(super) fn rollback_to(&self) -> Option<&Deployment> {
        self.rollback_to.as_ref()
    }

    /// The view, with the instances as `nodes` has them.
    pub(super) fn view(
        &self,
        settings: &ServiceSettings,
        nodes: &ClusterNodes,
        daemon_groups: &[String],
    ) -> View {
        let (instances, places) = self.instances(nodes, daemon_groups);
        let by_id: BTreeMap<_, _> = self
            .deployments
            .iter()
            .enumerate()
            .map(|(place, deployment)| (&deployment.id, place))
            .collect();
        let place_of = |id: Option<&_>| id.and_then(|id| by_id.get(id).copied());
        let checks: Vec<bool> = self
            .definitions
            .iter()
            .map(|one| checks_health(one.as_ref()))
            .collect();
        let tasks = self.tasks.iter().map(|task| {
            let deployment = place_of(task.deployment.as_ref());
            TaskFacts {
                id: task.id.clone(),
                deployment,
                phase: phase(task),
                check: health_check(task, deployment.is_some_and(|place| checks[place])),
                started_at: task.started_at,
                protected_until: task.protected_until,
                instance: task
                    .instance
                    .as_ref()
                    .and_then(|id| places.get(id).copied()),
            }
        });
        let ended = self.stopped.iter().map(|task| EndedTask {
            id: task.id.clone(),
            deployment: place_of(task.deployment.as_ref()),
            cause: end_cause(task.stop_code),
            has_run: task.started_at.is_some(),
        });
        View {
            service: self.service_facts(settings),
            deployments: self.deployments.iter().map(deployment_facts).collect(),
            tasks: tasks.collect(),
            ended: ended.collect(),
            instances,
            rollback_to: self.rollback_to.as_ref().map(|one| one.id.clone()),
        }
    }

    fn service_facts(&self, settings: &ServiceSettings) -> ServiceFacts {
        let details = &self.service.details;
        let configuration = &details.deployment_configuration;
        let (least, most) = rules::default_percents(details.scheduling_strategy);
        let percent = |value: Option<i32>, default: i32| {
            u32::try_from(value.unwrap_or(default)).unwrap_or_default()
        };
        let balanced =
            details.availability_zone_rebalancing == AvailabilityZoneRebalancing::Enabled;
        let grace = details
            .health_check_grace_period_seconds
            .unwrap_or_default();
        ServiceFacts {
            is_draining: self.service.status == ServiceStatus::Draining,
            scheduling: match details.scheduling_strategy {
                SchedulingStrategy::Daemon => Scheduling::Daemon,
                SchedulingStrategy::Replica if balanced => Scheduling::BalancedReplicas,
                SchedulingStrategy::Replica => Scheduling::Replicas,
            },
            desired: usize::try_from(self.service.desired_count).unwrap_or_default(),
            percents: Percents {
                minimum_healthy: percent(configuration.minimum_healthy_percent, least),
                maximum: percent(configuration.maximum_percent, most),
            },
            breaker: Breaker::configured(configuration.deployment_circuit_breaker.as_ref()),
            starts: StartHistory {
                failed: details.failed_starts,
                last_failed_at: details.last_failed_at,
                throttled_until: details.throttled_until,
            },
            is_steady: details.is_steady,
            healthy_after: settings.healthy_after,
            grace: Duration::from_secs(u64::try_from(grace).unwrap_or_default()),
            // Checked when the service was made.
            strategies: Strategies::parse(&details.placement_strategy).unwrap_or_default(),
        }
    }

    /// The instances that matter, and the place of each in the list.
    fn instances<'a>(
        &'a self,
        nodes: &'a ClusterNodes,
        daemon_groups: &[String],
    ) -> (Vec<InstanceFacts>, HashMap<&'a InstanceId, usize>) {
        let needs = self.daemon_needs(nodes);
        let group = self.group();
        let mut places = HashMap::new();
        let mut instances = Vec::new();
        for node in nodes.nodes().filter(|node| self.may_use(node)) {
            places.insert(&node.id, instances.len());
            let is_other =
                |other: &str| other != group && !daemon_groups.iter().any(|one| one == other);
            let fits = needs
                .as_ref()
                .is_none_or(|needs| meets_constraints(needs, node));
            instances.push(InstanceFacts {
                id: node.id.clone(),
                zone: node.zone().map(str::to_owned),
                role: match node.status {
                    InstanceStatus::Active if !fits => InstanceRole::Unfit,
                    InstanceStatus::Active if node.agent_connected => InstanceRole::Usable,
                    InstanceStatus::Active => InstanceRole::Silent,
                    InstanceStatus::Draining => InstanceRole::Draining,
                    InstanceStatus::Registering
                    | InstanceStatus::Deregistering
                    | InstanceStatus::Inactive => InstanceRole::Unfit,
                },
                has_other_tasks: node.status == InstanceStatus::Draining
                    && node.groups().any(is_other),
                remaining: node.remaining,
                attributes: node.attributes(),
            });
        }
        // An instance that is not known any more.
        for id in self.tasks.iter().filter_map(|task| task.instance.as_ref()) {
            if !places.contains_key(id) {
                places.insert(id, instances.len());
                instances.push(InstanceFacts {
                    id: id.clone(),
                    zone: None,
                    role: InstanceRole::Unfit,
                    has_other_tasks: false,
                    remaining: Capacity::default(),
                    attributes: Arc::default(),
                });
            }
        }
        (instances, places)
    }

    /// Whether the service's tasks could be on such an instance at all.
    fn may_use(&self, node: &Node) -> bool {
        let launch_type = self.service.details.target.launch_type;
        let external = node.attribute("ecs.capability.external").is_some();
        match launch_type {
            Some(LaunchType::External) => external,
            _ => true,
        }
    }

    /// What a daemon's task needs of its instance; `None` for replicas.
    fn daemon_needs(&self, nodes: &ClusterNodes) -> Option<Needs> {
        if !self.is_daemon() {
            return None;
        }
        let definition = self.definitions.first()?.as_ref()?;
        let details = &self.service.details;
        let launch_type = details.target.launch_type.unwrap_or(LaunchType::Ec2);
        let kind = LaunchKind::of(launch_type, nodes.has_fargate_instances());
        let constraints = &details.placement_constraints;
        let overrides = TaskOverride::default();
        Needs::of(
            &definition.document,
            &overrides,
            &self.group(),
            kind,
            constraints,
        )
        .ok()
    }
}

/// Whether a daemon belongs on the instance, whatever else runs there.
fn meets_constraints(needs: &Needs, node: &Node) -> bool {
    let refusals = Refusal::all(needs, node);
    !refusals.iter().any(|refusal| {
        matches!(
            refusal,
            Refusal::Kind | Refusal::Attribute | Refusal::MemberOf
        )
    })
}

fn deployment_facts(deployment: &Deployment) -> DeploymentFacts {
    let details = &deployment.details;
    DeploymentFacts {
        id: deployment.id.clone(),
        rollout: details.rollout_state,
        failed_tasks: details.failed_tasks,
        healthy_tasks: details.healthy_tasks,
        is_rollback: details.undoes.is_some(),
        stop: match details.deployment_status {
            ServiceDeploymentStatus::StopRequested => Some(StopRequest::Abort),
            ServiceDeploymentStatus::RollbackRequested => Some(StopRequest::RollBack),
            _ => None,
        },
    }
}

/// Whether an essential container has a health check.
fn checks_health(definition: Option<&TaskDefinition>) -> bool {
    let containers = definition
        .into_iter()
        .flat_map(|one| &one.document.container_definitions);
    let mut essential = containers.filter(|container| container.essential.unwrap_or(true));
    essential.any(|container| container.health_check.is_some())
}

fn phase(task: &UnfinishedTask) -> Phase {
    if task.desired_status == DesiredStatus::Stopped || task.last_status > TaskStatus::Running {
        Phase::Stopping
    } else if task.last_status == TaskStatus::Running {
        Phase::Running
    } else {
        Phase::Starting
    }
}

fn health_check(task: &UnfinishedTask, has_check: bool) -> HealthCheckState {
    match task.health {
        _ if !has_check => HealthCheckState::Absent,
        Some(HealthStatus::Healthy) => HealthCheckState::Healthy,
        Some(HealthStatus::Unhealthy) => HealthCheckState::Unhealthy,
        Some(HealthStatus::Unknown) | None => HealthCheckState::Unknown,
    }
}

/// Whether the task ended for a reason of its own.
fn end_cause(code: Option<TaskStopCode>) -> EndCause {
    match code {
        Some(
            TaskStopCode::UserInitiated
            | TaskStopCode::ServiceSchedulerInitiated
            | TaskStopCode::SpotInterruption
            | TaskStopCode::TerminationNotice
            | TaskStopCode::InfrastructureHealth,
        ) => EndCause::Told,
        Some(TaskStopCode::TaskFailedToStart | TaskStopCode::EssentialContainerExited) | None => {
            EndCause::Itself
        }
    }
}
