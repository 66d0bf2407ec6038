//! A task as the agent runs it: its containers with their order, time limits and policies. PURE.

use std::collections::BTreeSet;
use std::time::Duration;

use wharfinger_ecs_protocol::{DependencyCondition, Task};

/// How long a container may take to end after its stop signal, unless its definition says so (ECS
/// developer guide, `stopTimeout`).
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a container must have run to be started again, unless its policy says so (ECS developer
/// guide, "Restart individual containers in Amazon ECS tasks").
const DEFAULT_RESTART_PERIOD: Duration = Duration::from_mins(5);

/// What is to be run of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskPlan {
    pub(crate) containers: Vec<ContainerPlan>,
}

/// What is to be run of a container, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ContainerPlan {
    pub(crate) name: String,
    /// Whether the task ends with this container.
    pub(crate) essential: bool,
    /// What must be true of others before this container starts.
    pub(crate) depends_on: Vec<Dependency>,
    /// Containers that must exist before this one is created: it uses their volumes or links.
    pub(crate) create_after: BTreeSet<String>,
    /// How long others wait for this container to complete or to become healthy, from its start.
    pub(crate) start_timeout: Option<Duration>,
    pub(crate) stop_timeout: Duration,
    pub(crate) restart: Option<RestartRule>,
}

/// A condition on another container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) on: String,
    pub(crate) condition: DependencyCondition,
}

/// When a container that ended is started again inside of its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RestartRule {
    pub(crate) ignored_exit_codes: Vec<i64>,
    /// A container that ran for less is not started again.
    pub(crate) period: Duration,
}

impl TaskPlan {
    /// Reads the plan of a task as its payload brought it.
    pub(crate) fn of(task: &Task) -> Self {
        let seconds = |value: u32| Duration::from_secs(u64::from(value));
        let containers = task.containers.iter().map(|container| {
            // A link is `name` or `name:alias`, and needs its container running.
            let links = container.links.iter();
            let links = links.map(|link| link.split(':').next().unwrap_or_default().to_owned());
            let links: Vec<String> = links.collect();
            let from = container.volumes_from.iter();
            let from = from.map(|volume| volume.source_container.clone());
            let stated = container.depends_on.iter().map(|dependency| Dependency {
                on: dependency.container_name.clone(),
                condition: dependency.condition,
            });
            let linked = links.iter().map(|name| Dependency {
                on: name.clone(),
                condition: DependencyCondition::Start,
            });
            let policy = container.restart_policy.as_ref();
            let restart = policy.filter(|policy| policy.enabled);
            ContainerPlan {
                name: container.name.clone(),
                essential: container.essential,
                depends_on: stated.chain(linked).collect(),
                create_after: links.iter().cloned().chain(from).collect(),
                start_timeout: container
                    .start_timeout
                    .filter(|wait| *wait > 0)
                    .map(seconds),
                stop_timeout: container.stop_timeout.map_or(DEFAULT_STOP_TIMEOUT, seconds),
                restart: restart.map(|policy| RestartRule {
                    ignored_exit_codes: policy
                        .ignored_exit_codes
                        .iter()
                        .map(|code| i64::from(*code))
                        .collect(),
                    period: policy
                        .restart_attempt_period
                        .map_or(DEFAULT_RESTART_PERIOD, seconds),
                }),
            }
        });
        Self {
            containers: containers.collect(),
        }
    }

    /// The container of this name.
    pub(crate) fn container(&self, name: &str) -> Option<&ContainerPlan> {
        self.containers.iter().find(|one| one.name == name)
    }

    /// Whether every container can start at some time: all that it depends on exists, and nothing
    /// depends on itself by whatever detour.
    pub(crate) fn is_resolvable(&self) -> bool {
        let mut settled: BTreeSet<&str> = BTreeSet::new();
        loop {
            let ready = |name: &String| settled.contains(name.as_str());
            let next: Vec<&str> = self
                .containers
                .iter()
                .filter(|one| !settled.contains(one.name.as_str()))
                .filter(|one| {
                    one.depends_on
                        .iter()
                        .all(|dependency| ready(&dependency.on))
                })
                .filter(|one| one.create_after.iter().all(ready))
                .map(|one| one.name.as_str())
                .collect();
            if next.is_empty() {
                return settled.len() == self.containers.len();
            }
            settled.extend(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_ecs_protocol::{Container, ContainerDependency, VolumeFrom};

    use super::*;

    fn container(name: &str, links: &[&str], after: &[&str]) -> Container {
        Container {
            name: name.to_owned(),
            links: links.iter().map(|link| (*link).to_owned()).collect(),
            depends_on: after
                .iter()
                .map(|on| ContainerDependency {
                    container_name: (*on).to_owned(),
                    condition: DependencyCondition::Healthy,
                })
                .collect(),
            ..Container::default()
        }
    }

    fn plan(containers: Vec<Container>) -> TaskPlan {
        TaskPlan::of(&Task {
            containers,
            ..Task::default()
        })
    }

    #[test]
    fn links_and_shared_volumes_are_dependencies() {
        let mut web = container("web", &["db:database"], &["init"]);
        web.volumes_from = vec![VolumeFrom {
            source_container: "data".to_owned(),
            read_only: true,
        }];
        let plan = plan(vec![web]);
        let web = plan.container("web").expect("it is there");
        let on: Vec<_> = web.depends_on.iter().map(|one| one.on.as_str()).collect();
        assert_eq!(on, ["init", "db"]);
        let after: Vec<_> = web.create_after.iter().map(String::as_str).collect();
        assert_eq!(after, ["data", "db"]);
        assert_eq!(web.stop_timeout, Duration::from_secs(30));
        assert_eq!(web.start_timeout, None);
    }

    #[test]
    fn cycles_and_missing_containers_are_not_resolvable() {
        let a_b = plan(vec![container("a", &[], &["b"]), container("b", &[], &[])]);
        assert!(a_b.is_resolvable());
        let cycle = plan(vec![
            container("a", &[], &["b"]),
            container("b", &["a"], &[]),
        ]);
        assert!(!cycle.is_resolvable());
        assert!(!plan(vec![container("a", &[], &["a"])]).is_resolvable());
        assert!(!plan(vec![container("a", &[], &["other"])]).is_resolvable());
        assert!(plan(Vec::new()).is_resolvable());
    }
}
