//! Whether what a container depends on has come about, may still do so, or never will. PURE.

use wharfinger_base::Timestamp;
use wharfinger_ecs_protocol::DependencyCondition;

use crate::plan::{ContainerPlan, Dependency, TaskPlan};
use crate::step::{Unresolvable, restarts};
use crate::view::{ContainerState, Health, TaskView};

/// The state of a dependency, or of all those of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Met,
    /// Until this time, if there is a limit.
    Waiting(Option<Timestamp>),
    Never(Unresolvable),
}

/// The state of all dependencies of a container. One that can never be met decides.
pub(super) fn outcome(
    plan: &TaskPlan,
    container: &ContainerPlan,
    view: &TaskView,
    now: Timestamp,
) -> Outcome {
    let mut all = Outcome::Met;
    for dependency in &container.depends_on {
        match (one(plan, dependency, view, now), &all) {
            (never @ Outcome::Never(_), _) => return never,
            (Outcome::Waiting(until), Outcome::Waiting(other)) => {
                all = Outcome::Waiting([until, *other].into_iter().flatten().min());
            }
            (waiting @ Outcome::Waiting(_), _) => all = waiting,
            (Outcome::Met, _) => {}
        }
    }
    all
}

fn one(plan: &TaskPlan, dependency: &Dependency, view: &TaskView, now: Timestamp) -> Outcome {
    let condition = word(dependency.condition);
    let on = || dependency.on.clone();
    let never = || {
        Outcome::Never(Unresolvable::Impossible {
            on: on(),
            condition,
        })
    };
    let other = plan.container(&dependency.on);
    let (Some(other), Some(seen)) = (other, view.containers.get(&dependency.on)) else {
        return never();
    };
    match (dependency.condition, seen.state) {
        (_, ContainerState::Failed) => never(),
        (DependencyCondition::Create, state) => {
            let absent = matches!(state, ContainerState::Absent | ContainerState::Pulled);
            if absent {
                Outcome::Waiting(None)
            } else {
                Outcome::Met
            }
        }
        (DependencyCondition::Start, state) if state.is_past_start() => Outcome::Met,
        (DependencyCondition::Healthy, ContainerState::Running { .. })
            if seen.health == Health::Healthy =>
        {
            Outcome::Met
        }
        // It ended only if it is not started again.
        (_, ContainerState::Exited(exit)) if restarts(other, &exit) => Outcome::Waiting(None),
        (DependencyCondition::Complete, ContainerState::Exited(_)) => Outcome::Met,
        (DependencyCondition::Success, ContainerState::Exited(exit)) if exit.code == 0 => {
            Outcome::Met
        }
        (_, ContainerState::Exited(_)) => never(),
        (_, ContainerState::Running { since }) => {
            let until = other.start_timeout.map(|timeout| since.plus(timeout));
            if until.is_some_and(|until| until <= now) {
                return Outcome::Never(Unresolvable::TimedOut {
                    on: on(),
                    condition,
                });
            }
            Outcome::Waiting(until)
        }
        _ => Outcome::Waiting(None),
    }
}

const fn word(condition: DependencyCondition) -> &'static str {
    match condition {
        DependencyCondition::Create => "CREATE",
        DependencyCondition::Start => "START",
        DependencyCondition::Complete => "COMPLETE",
        DependencyCondition::Success => "SUCCESS",
        DependencyCondition::Healthy => "HEALTHY",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::view::{ContainerView, Exit};

    const START: Timestamp = Timestamp::from_ms(1_000);

    fn container(name: &str, depends_on: &[(&str, DependencyCondition)]) -> ContainerPlan {
        ContainerPlan {
            name: name.to_owned(),
            essential: true,
            depends_on: depends_on
                .iter()
                .map(|(on, condition)| Dependency {
                    on: (*on).to_owned(),
                    condition: *condition,
                })
                .collect(),
            create_after: std::collections::BTreeSet::new(),
            start_timeout: Some(Duration::from_secs(5)),
            stop_timeout: Duration::from_secs(30),
            restart: None,
        }
    }

    fn seen(state: ContainerState, health: Health) -> Vec<(DependencyCondition, &'static str)> {
        let conditions = [
            DependencyCondition::Create,
            DependencyCondition::Start,
            DependencyCondition::Complete,
            DependencyCondition::Success,
            DependencyCondition::Healthy,
        ];
        let outcomes = conditions.map(|condition| {
            let plan = TaskPlan {
                containers: vec![container("a", &[]), container("b", &[("a", condition)])],
            };
            let mut view = TaskView::default();
            let other = ContainerView {
                state,
                work: None,
                health,
            };
            view.containers.insert("a".to_owned(), other);
            let now = START.plus(Duration::from_secs(1));
            let word = match outcome(&plan, &plan.containers[1], &view, now) {
                Outcome::Met => "met",
                Outcome::Waiting(None) => "waiting",
                Outcome::Waiting(Some(_)) => "limited",
                Outcome::Never(_) => "never",
            };
            (condition, word)
        });
        outcomes.to_vec()
    }

    #[test]
    fn each_condition_in_each_state() {
        let exit = |code| {
            ContainerState::Exited(Exit {
                code,
                since: START,
                at: START,
            })
        };
        let running = ContainerState::Running { since: START };
        let table = [
            (
                ContainerState::Absent,
                Health::Unknown,
                ["waiting", "waiting", "waiting", "waiting", "waiting"],
            ),
            (
                ContainerState::Created,
                Health::Unknown,
                ["met", "waiting", "waiting", "waiting", "waiting"],
            ),
            (
                running,
                Health::Unknown,
                ["met", "met", "limited", "limited", "limited"],
            ),
            (
                running,
                Health::Healthy,
                ["met", "met", "limited", "limited", "met"],
            ),
            (
                running,
                Health::Unhealthy,
                ["met", "met", "limited", "limited", "limited"],
            ),
            (
                exit(0),
                Health::Unknown,
                ["met", "met", "met", "met", "never"],
            ),
            (
                exit(1),
                Health::Unknown,
                ["met", "met", "met", "never", "never"],
            ),
            (
                ContainerState::Failed,
                Health::Unknown,
                ["never", "never", "never", "never", "never"],
            ),
        ];
        for (state, health, expected) in table {
            let words: Vec<_> = seen(state, health).iter().map(|(_, word)| *word).collect();
            assert_eq!(words, expected, "{state:?} {health:?}");
        }
    }
}
