//! Protection of service tasks from scale-in and deployments.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_db::{self as db, Tx};

use crate::error::Result;
use crate::model::{ClusterId, DesiredStatus, Service, Task, TaskId};
use crate::store::{service_tasks, services};
use crate::tasks::Tasks;

/// How long a protection lasts where the request does not say (ECS API reference,
/// `UpdateTaskProtection`).
const DEFAULT_DURATION: Duration = Duration::from_hours(2);

/// What is wanted of the protection of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    Off,
    /// On for so long; by default two hours.
    On(Option<Duration>),
}

/// Why a task's protection cannot be read or set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtectionFailure {
    Missing,
    /// The task does not belong to a service, or is to stop.
    NotValid,
    /// The service has as many protected tasks as it shall have tasks: with one more, its
    /// deployments could not end.
    Blocked,
}

impl Tasks {
    /// Sets the protection of tasks; returns each as it is then, in their order.
    pub async fn protect(
        &self,
        cluster: &ClusterId,
        ids: &[TaskId],
        protection: Protection,
    ) -> Result<Vec<Result<Task, ProtectionFailure>>> {
        let until = match protection {
            Protection::Off => None,
            Protection::On(duration) => {
                let duration = duration.unwrap_or(DEFAULT_DURATION);
                Some(self.clock.now().plus(duration))
            }
        };
        let mut protected = Vec::with_capacity(ids.len());
        for (id, found) in ids.iter().zip(self.protectable(cluster, ids).await?) {
            let is_blocked = match &found {
                Ok(task) if until.is_some() => self.is_blocked(task).await?,
                _ => false,
            };
            let failure = found.err();
            let failure = failure.or(is_blocked.then_some(ProtectionFailure::Blocked));
            if let Some(failure) = failure {
                protected.push(Err(failure));
                continue;
            }
            let change = move |task: &mut Task| set(task, until);
            let (task, was_changed) = self.change(id, change).await?;
            if was_changed {
                self.touch_service(&task);
            }
            protected.push(checked(Some(task)));
        }
        Ok(protected)
    }

    /// Whether the service of a task that is not protected has no more tasks to protect. A service
    /// of daemons has no number of tasks that it shall have.
    async fn is_blocked(&self, task: &Task) -> Result<bool> {
        let now = self.clock.now();
        if task.protected_until.is_some_and(|until| until > now) {
            return Ok(false);
        }
        let Some(service) = task.service.clone() else {
            return Ok(false);
        };
        let read = move |tx: &mut Tx<'_>| -> db::Result<bool> {
            let service = services::by_id(tx, &service)?;
            let Some(service) = service.filter(Service::is_replicas) else {
                return Ok(false);
            };
            Ok(service_tasks::protected(tx, &service.id, now)? >= service.desired_count)
        };
        Ok(self.db.get(read).await?)
    }

    /// The tasks as far as they can be protected, in their order.
    pub async fn protectable(
        &self,
        cluster: &ClusterId,
        ids: &[TaskId],
    ) -> Result<Vec<Result<Task, ProtectionFailure>>> {
        let found = self.find_all(cluster, ids).await?;
        Ok(found.into_iter().map(checked).collect())
    }
}

fn set(task: &mut Task, until: Option<Timestamp>) -> bool {
    if task.desired_status == DesiredStatus::Stopped || task.protected_until == until {
        return false;
    }
    task.protected_until = until;
    true
}

fn checked(task: Option<Task>) -> Result<Task, ProtectionFailure> {
    let task = task.ok_or(ProtectionFailure::Missing)?;
    if task.service.is_none() || task.desired_status == DesiredStatus::Stopped {
        return Err(ProtectionFailure::NotValid);
    }
    Ok(task)
}
