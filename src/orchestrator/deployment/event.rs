//! PURE: the events of a service, in the words of ECS.
//!
//! Source: ECS developer guide, "Amazon ECS service event messages", and events that users quote.

use std::fmt;

use crate::model::{DeploymentId, TaskId};

/// Tasks that an event names at most. The number before them counts all.
const MAX_NAMED: usize = 100;

const GUIDE: &str = "For more information, see the Troubleshooting section of the Amazon ECS \
                     Developer Guide.";

/// An event, without the name of its service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    SteadyState,
    Started(Vec<TaskId>),
    StoppedRunning(Vec<TaskId>),
    StoppedPending(usize),
    Unhealthy(TaskId),
    Completed(DeploymentId),
    Failed(DeploymentId),
    RollingBack(DeploymentId),
    /// Why no instance could take a task.
    Unplaced(String),
    CannotStart,
    Blocked,
    /// The tasks of each availability zone.
    Unbalanced(Vec<(String, usize)>),
    StartedToBalance {
        zone: String,
        tasks: Vec<TaskId>,
    },
}

impl Event {
    /// Whether the event is recorded only if the same one was not recorded lately: these would
    /// come again with each attempt.
    pub(crate) fn is_muted(&self) -> bool {
        matches!(
            self,
            Self::Unplaced(_) | Self::CannotStart | Self::Blocked | Self::Unbalanced(_)
        )
    }

    pub(crate) fn message(&self, service: &str) -> String {
        format!("(service {service}) {self}")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SteadyState => write!(f, "has reached a steady state."),
            Self::Started(tasks) => {
                write!(f, "has started {} tasks: {}.", tasks.len(), Tasks(tasks))
            }
            Self::StoppedRunning(tasks) => {
                let count = tasks.len();
                write!(f, "has stopped {count} running tasks: {}.", Tasks(tasks))
            }
            Self::StoppedPending(count) => write!(f, "stopped {count} pending tasks."),
            Self::Unhealthy(task) => write!(f, "(task {}) failed container health checks.", task.0),
            Self::Completed(id) => write!(f, "(deployment {}) deployment completed.", id.0),
            Self::Failed(id) => {
                write!(
                    f,
                    "(deployment {}) deployment failed: tasks failed to start.",
                    id.0
                )
            }
            Self::RollingBack(id) => write!(f, "rolling back to deployment {}.", id.0),
            Self::Unplaced(why) => write!(
                f,
                "was unable to place a task because no container instance met all of its \
                 requirements. {why} {GUIDE}"
            ),
            Self::CannotStart => {
                write!(
                    f,
                    "is unable to consistently start tasks successfully. {GUIDE}"
                )
            }
            Self::Blocked => write!(
                f,
                "was unable to stop or start tasks during a deployment because of the service \
                 deployment configuration. Update the minimumHealthyPercent or maximumPercent \
                 value and try again."
            ),
            Self::Unbalanced(zones) => {
                let zones: Vec<_> = zones
                    .iter()
                    .map(|(zone, count)| format!("{count} tasks in {zone}"))
                    .collect();
                let zones = zones.join(", ");
                write!(
                    f,
                    "is not AZ balanced with {zones}. AZ Rebalancing in progress."
                )
            }
            Self::StartedToBalance { zone, tasks } => {
                let count = tasks.len();
                write!(
                    f,
                    "has started {count} tasks in {zone} to AZ Rebalance: {}.",
                    Tasks(tasks)
                )
            }
        }
    }
}

/// `(task A) (task B)`.
struct Tasks<'a>(&'a [TaskId]);

impl fmt::Display for Tasks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, task) in self.0.iter().take(MAX_NAMED).enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}(task {})", task.0)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_read_as_those_of_ecs() {
        let task = |id: &str| TaskId(id.into());
        let deployment = || DeploymentId("ecs-svc/1234567890123456789".into());
        let message = |event: Event| event.message("web");
        assert_eq!(
            message(Event::SteadyState),
            "(service web) has reached a steady state."
        );
        assert_eq!(
            message(Event::Started(vec![task("a"), task("b")])),
            "(service web) has started 2 tasks: (task a) (task b)."
        );
        assert_eq!(
            message(Event::StoppedRunning(vec![task("a")])),
            "(service web) has stopped 1 running tasks: (task a)."
        );
        assert_eq!(
            message(Event::StoppedPending(2)),
            "(service web) stopped 2 pending tasks."
        );
        assert_eq!(
            message(Event::Unhealthy(task("a"))),
            "(service web) (task a) failed container health checks."
        );
        assert_eq!(
            message(Event::CannotStart),
            "(service web) is unable to consistently start tasks successfully. For more \
             information, see the Troubleshooting section of the Amazon ECS Developer Guide."
        );
        assert_eq!(
            message(Event::Blocked),
            "(service web) was unable to stop or start tasks during a deployment because of the \
             service deployment configuration. Update the minimumHealthyPercent or maximumPercent \
             value and try again."
        );
        assert_eq!(
            message(Event::Completed(deployment())),
            "(service web) (deployment ecs-svc/1234567890123456789) deployment completed."
        );
        assert_eq!(
            message(Event::Failed(deployment())),
            "(service web) (deployment ecs-svc/1234567890123456789) deployment failed: tasks \
             failed to start."
        );
        assert_eq!(
            message(Event::RollingBack(deployment())),
            "(service web) rolling back to deployment ecs-svc/1234567890123456789."
        );
        let none = "Reason: No Container Instances were found in your cluster.";
        assert_eq!(
            message(Event::Unplaced(none.into())),
            "(service web) was unable to place a task because no container instance met all of \
             its requirements. Reason: No Container Instances were found in your cluster. For \
             more information, see the Troubleshooting section of the Amazon ECS Developer Guide."
        );
        let zones = vec![("a".to_owned(), 3), ("b".to_owned(), 1)];
        assert_eq!(
            message(Event::Unbalanced(zones)),
            "(service web) is not AZ balanced with 3 tasks in a, 1 tasks in b. AZ Rebalancing in \
             progress."
        );
        let moved = Event::StartedToBalance {
            zone: "us-east-1b".to_owned(),
            tasks: vec![task("a"), task("b")],
        };
        assert_eq!(
            message(moved),
            "(service web) has started 2 tasks in us-east-1b to AZ Rebalance: (task a) (task b)."
        );
    }

    #[test]
    fn an_event_names_a_bounded_number_of_tasks() {
        let tasks: Vec<_> = (0..1_000)
            .map(|number| TaskId(format!("{number:032}")))
            .collect();
        let message = Event::Started(tasks).message("web");
        assert!(message.starts_with("(service web) has started 1000 tasks: (task 000"));
        assert!(message.len() < 5_000);
    }
}
