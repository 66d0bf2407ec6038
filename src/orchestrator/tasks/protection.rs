//! Protection of service tasks from scale-in and deployments.

use std::time::Duration;

use wharfinger_base::Timestamp;

use crate::error::Result;
use crate::model::{ClusterId, DesiredStatus, Task, TaskId};
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
            if let Err(failure) = found {
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
