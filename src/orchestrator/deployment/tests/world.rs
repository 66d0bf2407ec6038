//! A service whose tasks start, end and stop as a test says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wharfinger_base::Timestamp;

use super::super::plan::Plan;
use super::super::view::Health;
use super::super::*;
use crate::model::{Capacity, DeploymentId, DeploymentRolloutState, InstanceId, TaskId};
use crate::placement::Strategies;

const HEALTHY_AFTER: Duration = Duration::from_secs(40);

/// The service, and the time there.
pub(super) struct World {
    pub(super) view: View,
    pub(super) now: Timestamp,
    pub(super) made: usize,
    pub(super) events: Vec<Event>,
    pub(super) deactivated: bool,
}

impl World {
    pub(super) fn new(desired: usize, percents: (u32, u32)) -> Self {
        let instance = |number: usize| InstanceFacts {
            id: InstanceId(format!("i{number}")),
            zone: Some(["a", "b", "c"][number % 3].to_owned()),
            role: InstanceRole::Usable,
            has_other_tasks: false,
            remaining: Capacity::default(),
            attributes: Arc::new(BTreeMap::from([(
                "ecs.availability-zone".to_owned(),
                Some(["a", "b", "c"][number % 3].to_owned()),
            )])),
        };
        let service = ServiceFacts {
            is_draining: false,
            scheduling: Scheduling::Replicas,
            desired,
            percents: Percents {
                minimum_healthy: percents.0,
                maximum: percents.1,
            },
            breaker: Breaker {
                enabled: false,
                rolls_back: false,
                resets: true,
                threshold: Threshold::BoundedPercent(50),
            },
            starts: StartHistory::default(),
            is_steady: false,
            healthy_after: HEALTHY_AFTER,
            grace: Duration::ZERO,
            strategies: Strategies::default(),
        };
        let mut world = Self {
            view: View {
                service,
                deployments: Vec::new(),
                tasks: Vec::new(),
                ended: Vec::new(),
                instances: (0..6).map(instance).collect(),
                rollback_to: None,
            },
            now: Timestamp::from_ms(1_000_000),
            made: 0,
            events: Vec::new(),
            deactivated: false,
        };
        world.deploy();
        world
    }

    pub(super) fn primary(&self) -> &DeploymentFacts {
        &self.view.deployments[0]
    }

    /// A new primary deployment.
    pub(super) fn deploy(&mut self) {
        self.made += 1;
        let id = DeploymentId(format!("ecs-svc/{}", self.made));
        self.push_deployment(id, false);
    }

    pub(super) fn push_deployment(&mut self, id: DeploymentId, is_rollback: bool) {
        if let Some(old) = self.view.deployments.first()
            && old.rollout == DeploymentRolloutState::Completed
        {
            self.view.rollback_to = Some(old.id.clone());
        }
        for task in &mut self.view.tasks {
            task.deployment = task.deployment.map(|place| place + 1);
        }
        for task in &mut self.view.ended {
            task.deployment = task.deployment.map(|place| place + 1);
        }
        let deployment = DeploymentFacts {
            id,
            rollout: DeploymentRolloutState::InProgress,
            failed_tasks: 0,
            healthy_tasks: 0,
            is_rollback,
            stop: None,
        };
        self.view.deployments.insert(0, deployment);
        self.view.service.starts = StartHistory::default();
    }

    pub(super) fn count(&self, wanted: impl Fn(&TaskFacts) -> bool) -> usize {
        self.view.tasks.iter().filter(|task| wanted(task)).count()
    }

    pub(super) fn healthy(&self) -> usize {
        self.count(|task| {
            task.phase != Phase::Stopping && self.view.health(task, self.now) == Health::Healthy
        })
    }

    pub(super) fn bounds(&self) -> (usize, usize) {
        let bounds = self.view.service.percents.of(self.view.service.desired);
        (bounds.low, bounds.high)
    }

    /// Decides, checks the rules that every decision keeps, and carries it out.
    pub(super) fn step(&mut self) -> Plan {
        let mut plan = step(&self.view, self.now);
        // As the reconciler does.
        plan.changes.retain(|change| match change {
            Change::Event(event) => !event.is_muted() || !self.events.contains(event),
            _ => true,
        });
        let started: usize = plan
            .changes
            .iter()
            .map(|change| match change {
                Change::Start { count, .. } => *count,
                Change::StartOn(instances) => instances.len(),
                _ => 0,
            })
            .sum();
        let (low, high) = self.bounds();
        if started > 0 && self.view.service.scheduling != Scheduling::Daemon {
            assert!(
                self.view.tasks.len() + started <= high,
                "above the upper bound: {plan:?}"
            );
        }
        let healthy_before = self.healthy();
        self.apply(&plan);
        if self.view.service.scheduling != Scheduling::Daemon && !self.view.service.is_draining {
            let least = healthy_before.min(low);
            assert!(self.healthy() >= least, "below the lower bound: {plan:?}");
        }
        plan
    }

    pub(super) fn apply(&mut self, plan: &Plan) {
        for change in &plan.changes {
            match change {
                Change::Start { count, zone } => {
                    for _ in 0..*count {
                        let zone = zone.as_deref();
                        self.start(|instance| {
                            zone.is_none_or(|zone| instance.zone.as_deref() == Some(zone))
                        });
                    }
                }
                Change::StartOn(instances) => {
                    for id in instances {
                        self.start(|instance| instance.id == *id);
                    }
                }
                Change::Stop { task, .. } => {
                    let mut tasks = self.view.tasks.iter_mut();
                    let task = tasks
                        .find(|known| known.id == *task)
                        .expect("a task of the view");
                    assert_ne!(task.phase, Phase::Stopping, "stopped twice");
                    task.phase = Phase::Stopping;
                }
                Change::Considered(tasks) => {
                    self.view.ended.retain(|task| !tasks.contains(&task.id));
                }
                Change::Starts(starts) => self.view.service.starts = *starts,
                Change::Progress {
                    failed_tasks,
                    healthy_tasks,
                } => {
                    let primary = &mut self.view.deployments[0];
                    (primary.failed_tasks, primary.healthy_tasks) = (*failed_tasks, *healthy_tasks);
                }
                Change::Complete => {
                    self.view.deployments[0].rollout = DeploymentRolloutState::Completed;
                }
                Change::Fail { .. } => {
                    self.view.deployments[0].rollout = DeploymentRolloutState::Failed;
                }
                Change::RollBack { .. } => {
                    self.made += 1;
                    let id = DeploymentId(format!("ecs-svc/{}", self.made));
                    self.push_deployment(id, true);
                }
                Change::Retire(id) => {
                    let place = self
                        .view
                        .deployments
                        .iter()
                        .position(|known| known.id == *id)
                        .expect("known");
                    self.view.deployments.remove(place);
                    for task in &mut self.view.ended {
                        task.deployment = match task.deployment {
                            Some(of) if of == place => None,
                            Some(of) if of > place => Some(of - 1),
                            other => other,
                        };
                    }
                    for task in &mut self.view.tasks {
                        assert_ne!(task.deployment, Some(place), "retired with tasks");
                        task.deployment = task.deployment.map(|of| of - usize::from(of > place));
                    }
                }
                Change::Steady(steady) => self.view.service.is_steady = *steady,
                Change::DesiredCount(count) => self.view.service.desired = *count,
                Change::Deactivate => self.deactivated = true,
                Change::Event(event) => self.events.push(event.clone()),
            }
        }
    }

    pub(super) fn start(&mut self, fits: impl Fn(&InstanceFacts) -> bool) {
        let instances = self.view.instances.iter().enumerate();
        let usable = instances
            .filter(|(_, instance)| instance.role == InstanceRole::Usable && fits(instance));
        let load = |place: usize| self.count(|task| task.instance == Some(place));
        let Some(instance) = usable
            .map(|(place, _)| place)
            .min_by_key(|place| load(*place))
        else {
            return;
        };
        self.made += 1;
        self.view.tasks.push(TaskFacts {
            id: TaskId(format!("t{}", self.made)),
            deployment: Some(0),
            phase: Phase::Starting,
            check: HealthCheckState::Absent,
            started_at: None,
            protected_until: None,
            instance: Some(instance),
        });
    }

    /// The task runs.
    pub(super) fn run(&mut self, place: usize) {
        let task = &mut self.view.tasks[place];
        if task.phase == Phase::Starting {
            task.phase = Phase::Running;
            task.started_at = Some(self.now);
        }
    }

    /// The task is reported stopped.
    pub(super) fn end(&mut self, place: usize) {
        let task = self.view.tasks.remove(place);
        let told = task.phase == Phase::Stopping;
        self.view.ended.push(EndedTask {
            id: task.id,
            deployment: task.deployment,
            cause: if told {
                EndCause::Told
            } else {
                EndCause::Itself
            },
            has_run: task.started_at.is_some(),
        });
    }

    pub(super) fn advance(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
    }

    /// Steps until nothing is wanted. Fails if that takes long: then decisions contradict each
    /// other.
    pub(super) fn settle(&mut self) {
        for _ in 0..12 {
            let tasks = self.view.tasks.len();
            let changes = self.step().changes;
            // Where no instance takes a task, the next attempt comes with the next period.
            let unplaced = |change: &Change| matches!(change, Change::Start { .. });
            if changes.iter().all(unplaced) && self.view.tasks.len() == tasks {
                return;
            }
        }
        panic!("decisions never end: {:?}", step(&self.view, self.now));
    }

    /// Everything that starts runs, everything that is stopped ends, time passes.
    pub(super) fn calm(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.settle();
            for place in (0..self.view.tasks.len()).rev() {
                match self.view.tasks[place].phase {
                    Phase::Starting => self.run(place),
                    Phase::Stopping => self.end(place),
                    Phase::Running => {}
                }
            }
            self.advance(41);
        }
        self.settle();
    }
}
