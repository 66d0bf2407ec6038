//! `GetTaskProtection`, `UpdateTaskProtection`.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_orchestrator::model::{ClusterName, Task, TaskId};
use wharfinger_orchestrator::{Protection, ProtectionFailure};

use crate::paging::MAX_ITEMS;
use crate::resource::{EcsResourceId, cluster_id, cluster_of};
use crate::tasks::{on_tasks, task_ids};
use crate::views::{EpochSeconds, Failure};
use crate::{Ecs, Result, error};

/// Most tasks whose protection one request sets, and the longest protection, in minutes (ECS API
/// reference, `UpdateTaskProtection`).
const MAX_UPDATED: usize = 10;
const MAX_MINUTES: u32 = 2880;

/// `ProtectedTask` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ProtectedTask {
    task_arn: String,
    protection_enabled: bool,
    expiration_date: Option<EpochSeconds>,
}

/// The response of both operations.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ProtectionOutput {
    protected_tasks: Vec<ProtectedTask>,
    failures: Vec<Failure>,
}

fn output(
    cx: &Context<Ecs>,
    cluster: &ClusterName,
    ids: &[TaskId],
    found: Vec<Result<Task, ProtectionFailure>>,
) -> ProtectionOutput {
    let (mut protected_tasks, mut failures) = (Vec::new(), Vec::new());
    for (id, found) in ids.iter().zip(found) {
        let arn = cluster.task_arn(id);
        match found {
            Ok(task) => {
                let until = task.protected_until.filter(|until| *until > cx.now());
                protected_tasks.push(ProtectedTask {
                    task_arn: arn.to_string(),
                    protection_enabled: until.is_some(),
                    expiration_date: until.map(EpochSeconds::from),
                });
            }
            Err(ProtectionFailure::Missing) => failures.push(Failure::missing(&arn)),
            Err(ProtectionFailure::Blocked) => {
                failures.push(Failure::of(&arn, "DEPLOYMENT_BLOCKED"));
            }
            Err(ProtectionFailure::NotValid) => {
                let detail = "The specified task is not part of an Amazon ECS service.";
                failures.push(Failure {
                    detail: Some(detail.to_owned()),
                    ..Failure::of(&arn, "TASK_NOT_VALID")
                });
            }
        }
    }
    ProtectionOutput {
        protected_tasks,
        failures,
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct GetTaskProtection {
    cluster: String,
    tasks: Option<Vec<String>>,
}

impl GetTaskProtection {
    fn ids(&self, scope: &RequestScope) -> Result<(ClusterName, Vec<TaskId>)> {
        let cluster = cluster_of(scope, Some(&self.cluster))?;
        let given = self.tasks.as_deref().unwrap_or_default();
        let ids = task_ids(&cluster, given, MAX_ITEMS)?;
        Ok((cluster, ids))
    }
}

impl Operation for GetTaskProtection {
    type Service = Ecs;
    type Output = ProtectionOutput;

    const NAME: &'static str = "GetTaskProtection";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, Some(&self.cluster))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let (cluster, ids) = self.ids(scope)?;
        Ok(on_tasks(Self::ACTION, &cluster, &ids))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ProtectionOutput> {
        let (name, ids) = self.ids(cx.scope())?;
        let cluster = cx.resource().active_cluster()?;
        let tasks = &cx.state().orchestrator.tasks;
        let found = tasks.protectable(&cluster.id, &ids).await?;
        Ok(output(cx, &name, &ids, found))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UpdateTaskProtection {
    cluster: String,
    tasks: Vec<String>,
    protection_enabled: bool,
    expires_in_minutes: Option<i64>,
}

impl UpdateTaskProtection {
    fn ids(&self, scope: &RequestScope) -> Result<(ClusterName, Vec<TaskId>)> {
        let cluster = cluster_of(scope, Some(&self.cluster))?;
        let ids = task_ids(&cluster, &self.tasks, MAX_UPDATED)?;
        Ok((cluster, ids))
    }

    fn protection(&self) -> Result<Protection> {
        let minutes = match self.expires_in_minutes {
            None => None,
            Some(minutes) => {
                let minutes = u32::try_from(minutes).ok();
                let minutes = minutes.filter(|minutes| (1..=MAX_MINUTES).contains(minutes));
                let refused = || {
                    error::invalid_parameter(format!(
                        "expiresInMinutes should be between 1 and {MAX_MINUTES}."
                    ))
                };
                Some(minutes.ok_or_else(refused)?)
            }
        };
        let duration = minutes.map(|minutes| Duration::from_mins(minutes.into()));
        Ok(if self.protection_enabled {
            Protection::On(duration)
        } else {
            Protection::Off
        })
    }
}

impl Operation for UpdateTaskProtection {
    type Service = Ecs;
    type Output = ProtectionOutput;

    const NAME: &'static str = "UpdateTaskProtection";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, Some(&self.cluster))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let (cluster, ids) = self.ids(scope)?;
        Ok(on_tasks(Self::ACTION, &cluster, &ids))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ProtectionOutput> {
        let (name, ids) = self.ids(cx.scope())?;
        let protection = self.protection()?;
        let cluster = cx.resource().active_cluster()?;
        let tasks = &cx.state().orchestrator.tasks;
        let found = tasks.protect(&cluster.id, &ids, protection).await?;
        Ok(output(cx, &name, &ids, found))
    }
}
