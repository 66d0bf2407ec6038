//! Rules that hold after every event, and the state that is wanted at the end.

use std::collections::BTreeSet;
use std::time::Duration;

use wharfinger_db::{self as db, Tx};

use crate::model::{
    ContainerInstance, DeploymentRolloutState, DesiredStatus, InstanceId, Reservation, Task,
    TaskId, TaskStatus, TaskStopCode,
};
use crate::store;
use crate::tests::simulation::host::Host;
use crate::tests::simulation::world::{HOST_CPU, SERVICE, Seen, TASK_CPU, World};

/// So long an agent is silent at least before its tasks are given up: three minutes, less the
/// difference of clocks.
const LOST_AFTER: Duration = Duration::from_secs(175);

/// What a check reads.
struct State {
    instances: Vec<ContainerInstance>,
    /// Tasks that are not stopped, and those that were not when they were seen last.
    tasks: Vec<Task>,
}

impl World {
    async fn state(&self) -> State {
        let hosts: Vec<InstanceId> = self.hosts.iter().map(|host| host.id.clone()).collect();
        let known: Vec<TaskId> = self.seen.keys().cloned().collect();
        let read = self.db.read(move |tx: &mut Tx<'_>| -> db::Result<State> {
            let (mut instances, mut tasks) = (Vec::new(), Vec::new());
            for host in &hosts {
                instances.extend(store::instances::by_id(tx, host)?);
                tasks.extend(store::tasks::of_instance(tx, host)?);
            }
            let unfinished: BTreeSet<TaskId> = tasks.iter().map(|task| task.id.clone()).collect();
            for id in known.iter().filter(|id| !unfinished.contains(id)) {
                tasks.extend(store::tasks::by_id(tx, id)?);
            }
            Ok(State { instances, tasks })
        });
        read.await.expect("the statements run")
    }

    /// Where tasks were started since there were `before`, no more exist than the upper bound
    /// allows.
    pub(super) async fn check_bound(&self, before: usize) {
        let after = self.seen.len();
        if after <= before || self.is_daemon {
            return;
        }
        let described = self.describe().await;
        let desired = described.service.desired_count;
        let configuration = &described.service.details.deployment_configuration;
        let most = i64::from(configuration.maximum_percent.unwrap_or(200));
        let high = usize::try_from(desired * most / 100).unwrap_or_default();
        assert!(after <= high, "{after} tasks, at most {high} are allowed");
    }

    /// Checks the rules that always hold.
    pub(super) async fn check(&mut self) {
        let State { instances, tasks } = self.state().await;
        for task in &tasks {
            let again = self.stopped.contains(&task.id);
            assert!(
                !again || task.last_status == TaskStatus::Stopped,
                "a stopped task came back"
            );
            self.check_loss(task);
            let now = Seen {
                last: task.last_status,
                desired: task.desired_status,
                version: task.version,
            };
            if let Some(before) = self.seen.insert(task.id.clone(), now) {
                assert!(before.last <= now.last, "{before:?} moved back to {now:?}");
                let wanted_again = before.desired == DesiredStatus::Stopped
                    && now.desired == DesiredStatus::Running;
                assert!(!wanted_again, "a stopped task is wanted again");
                assert!(before.version <= now.version, "a version went back");
            }
        }
        for instance in &instances {
            let mut taken = Reservation::default();
            let here = tasks.iter().filter(|task| {
                task.instance.as_ref() == Some(&instance.id)
                    && task.last_status != TaskStatus::Stopped
            });
            let mut count = 0;
            for task in here {
                taken.take(&task.details.reservation);
                count += 1;
            }
            assert_eq!(
                instance.reserved, taken,
                "what an instance gave is what its tasks take"
            );
            assert!(
                instance.reserved.cpu <= HOST_CPU,
                "an instance is overfilled"
            );
            assert_eq!(taken.cpu, count * TASK_CPU);
            assert!(
                !self.is_daemon || count <= 1,
                "{count} daemons on an instance"
            );
        }
        let ended = tasks
            .iter()
            .filter(|task| task.last_status == TaskStatus::Stopped);
        for task in ended {
            self.seen.remove(&task.id);
            self.stopped.insert(task.id.clone());
        }
        let mut running = BTreeSet::new();
        for id in self.hosts.iter().flat_map(|host| &host.containers) {
            assert!(running.insert(id), "a task runs on two hosts");
        }
    }

    /// Tasks are given up only where nobody heard of their agent for long, whatever the clocks say.
    fn check_loss(&self, task: &Task) {
        if task.details.stop_code != Some(TaskStopCode::TerminationNotice) {
            return;
        }
        let of_task = |host: &&Host| task.instance.as_ref() == Some(&host.id);
        let host = self.hosts.iter().find(of_task).expect("a known host");
        let silent = self.elapsed.saturating_sub(host.heard_at);
        assert!(
            self.stopped.contains(&task.id) || silent >= LOST_AFTER,
            "{} was given up, but its agent was heard {silent:?} ago: {:?}",
            task.id.0,
            self.history
        );
    }

    /// Whether the service is as it was requested.
    pub(super) async fn is_as_wanted(&self) -> bool {
        let described = self.describe().await;
        let details = &described.service.details;
        let wanted = if self.is_daemon {
            let on = self.hosts.iter().filter(|host| host.is_on);
            i64::try_from(on.count()).unwrap_or_default()
        } else {
            described.service.desired_count
        };
        let containers: usize = self.hosts.iter().map(|host| host.containers.len()).sum();
        let [(deployment, counts)] = &described.deployments[..] else {
            return false;
        };
        assert_eq!(described.service.name, SERVICE);
        deployment.details.rollout_state == DeploymentRolloutState::Completed
            && details.is_steady
            && (described.running, described.pending) == (wanted, 0)
            && counts.running == wanted
            && i64::try_from(containers).ok() == Some(wanted)
    }
}
