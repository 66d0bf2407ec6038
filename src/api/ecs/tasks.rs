//! `StopTask`, `DescribeTasks`, `ListTasks`.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_orchestrator::identifiers::{instance_id, service_name, task_id};
use wharfinger_orchestrator::model::{
    Cluster, ClusterName, DesiredStatus, LaunchType, TaskId, TaskStopCode,
};
use wharfinger_orchestrator::{Orchestrator, TaskFilter};

use crate::demands::in_cluster;
use crate::paging::{self, MAX_ITEMS};
use crate::resource::{EcsResourceId, cluster_id, cluster_of};
use crate::task_view::TaskView;
use crate::views::Failure;
use crate::{Ecs, Result, error};

/// Why a task was stopped, where its user does not say.
const USUAL_REASON: &str = "Task stopped by user";

/// Demands of an action on tasks.
pub(super) fn on_tasks(action: &str, cluster: &ClusterName, tasks: &[TaskId]) -> Vec<Demand<Ecs>> {
    let demand = |task: &TaskId| {
        let id = EcsResourceId::Task(cluster.clone(), task.clone());
        in_cluster(action, id, cluster)
    };
    tasks.iter().map(demand).collect()
}

/// The tasks that a request names, each once.
///
/// # Errors
/// `InvalidParameterException` for none, or more than `most`.
pub(super) fn task_ids(
    cluster: &ClusterName,
    given: &[String],
    most: usize,
) -> Result<Vec<TaskId>> {
    if given.is_empty() {
        return Err(error::invalid_parameter("Tasks cannot be empty."));
    }
    if given.len() > most {
        let message = format!("Tasks can not have more than {most} items.");
        return Err(error::invalid_parameter(message));
    }
    let mut ids = Vec::with_capacity(given.len());
    for text in given {
        let id = task_id(cluster, text)?;
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

#[derive(Debug, Deserialize)]
pub(super) struct StopTask {
    cluster: Option<String>,
    task: String,
    reason: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct StopTaskOutput {
    task: TaskView,
}

impl StopTask {
    fn id(&self, scope: &RequestScope) -> Result<(ClusterName, TaskId)> {
        let cluster = cluster_of(scope, self.cluster.as_deref())?;
        let id = task_id(&cluster, &self.task)?;
        Ok((cluster, id))
    }
}

impl Operation for StopTask {
    type Service = Ecs;
    type Output = StopTaskOutput;

    const NAME: &'static str = "StopTask";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let (cluster, id) = self.id(scope)?;
        Ok(on_tasks(Self::ACTION, &cluster, &[id]))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<StopTaskOutput> {
        let (_, id) = self.id(cx.scope())?;
        let cluster = cx.resource().active_cluster()?;
        let tasks = &cx.state().orchestrator.tasks;
        if tasks.find(&cluster.id, &id).await?.is_none() {
            return Err(error::invalid_parameter(
                "The referenced task was not found.",
            ));
        }
        let reason = self.reason.as_deref().filter(|reason| !reason.is_empty());
        let reason = reason.unwrap_or(USUAL_REASON);
        let code = TaskStopCode::UserInitiated;
        let task = tasks.stop(&id, code, reason).await?;
        Ok(StopTaskOutput {
            task: TaskView::of(&cluster.name, &task, true),
        })
    }
}

/// `TaskField` of the service model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum TaskField {
    #[serde(rename = "TAGS")]
    Tags,
}

#[derive(Debug, Deserialize)]
pub(super) struct DescribeTasks {
    cluster: Option<String>,
    tasks: Vec<String>,
    include: Option<Vec<TaskField>>,
}

#[derive(Debug, Serialize)]
pub(super) struct DescribeTasksOutput {
    tasks: Vec<TaskView>,
    failures: Vec<Failure>,
}

impl DescribeTasks {
    fn ids(&self, scope: &RequestScope) -> Result<(ClusterName, Vec<TaskId>)> {
        let cluster = cluster_of(scope, self.cluster.as_deref())?;
        let ids = task_ids(&cluster, &self.tasks, MAX_ITEMS)?;
        Ok((cluster, ids))
    }
}

impl Operation for DescribeTasks {
    type Service = Ecs;
    type Output = DescribeTasksOutput;

    const NAME: &'static str = "DescribeTasks";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let (cluster, ids) = self.ids(scope)?;
        Ok(on_tasks(Self::ACTION, &cluster, &ids))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<DescribeTasksOutput> {
        let (name, ids) = self.ids(cx.scope())?;
        let cluster = cx.resource().active_cluster()?;
        let include = self.include.unwrap_or_default();
        let with_tags = include.contains(&TaskField::Tags);
        let found = &cx.state().orchestrator.tasks;
        let found = found.describe(&cluster.id, &ids).await?;
        let (mut tasks, mut failures) = (Vec::new(), Vec::new());
        for (id, task) in ids.iter().zip(found) {
            match task {
                Some(task) => tasks.push(TaskView::of(&name, &task, with_tags)),
                None => failures.push(Failure::missing(&name.task_arn(id))),
            }
        }
        Ok(DescribeTasksOutput { tasks, failures })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTasks {
    cluster: Option<String>,
    container_instance: Option<String>,
    family: Option<String>,
    next_token: Option<String>,
    max_results: Option<i64>,
    started_by: Option<String>,
    service_name: Option<String>,
    daemon_name: Option<String>,
    /// Also `PENDING`, which no task has.
    desired_status: Option<String>,
    launch_type: Option<LaunchType>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListTasksOutput {
    task_arns: Vec<String>,
    next_token: Option<String>,
}

impl ListTasks {
    /// The conditions; `None` where no task can meet them.
    ///
    /// # Errors
    /// `ServiceNotFoundException`, `InvalidParameterException`.
    async fn filter(
        &self,
        orchestrator: &Orchestrator,
        cluster: &Cluster,
    ) -> Result<Option<TaskFilter>> {
        if self.daemon_name.is_some() {
            return Err(error::invalid_parameter(
                "This server does not support managed daemons.",
            ));
        }
        let others = self.family.is_some() || self.service_name.is_some();
        if self.started_by.is_some() && (others || self.container_instance.is_some()) {
            return Err(error::invalid_parameter(
                "When startedBy is specified, it must be the only filter.",
            ));
        }
        let desired = self.desired_status.as_deref().unwrap_or("RUNNING");
        let Ok(desired) = desired.parse::<DesiredStatus>() else {
            return Ok(None);
        };
        let instance = self.container_instance.as_deref();
        let service = match self.service_name.as_deref() {
            None => None,
            Some(text) => {
                let name = service_name(&cluster.name, text)?;
                let found = orchestrator.services.find(cluster, &name).await?;
                let missing = wharfinger_orchestrator::Error::ServiceNotFound;
                Some(found.ok_or(missing)?.id)
            }
        };
        Ok(Some(TaskFilter {
            desired,
            instance: instance
                .map(|text| instance_id(&cluster.name, text))
                .transpose()?,
            service,
            family: self.family.clone(),
            started_by: self.started_by.clone(),
            launch_type: self.launch_type,
        }))
    }
}

impl Operation for ListTasks {
    type Service = Ecs;
    type Output = ListTasksOutput;

    const NAME: &'static str = "ListTasks";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let cluster = cluster_of(scope, self.cluster.as_deref())?;
        let listed = match &self.container_instance {
            Some(text) => EcsResourceId::Instance(cluster.clone(), instance_id(&cluster, text)?),
            None => {
                let all = format!("container-instance/{}/*", cluster.name);
                EcsResourceId::Named(cluster.home.clone(), all)
            }
        };
        Ok(vec![in_cluster(Self::ACTION, listed, &cluster)])
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ListTasksOutput> {
        let cluster = cx.resource().active_cluster()?;
        let limit = paging::limit(self.max_results, MAX_ITEMS)?;
        let of = &cluster.name.name;
        let after = paging::position(Self::NAME, of, self.next_token.as_deref())?;
        let Some(filter) = self.filter(&cx.state().orchestrator, cluster).await? else {
            return Ok(ListTasksOutput {
                task_arns: Vec::new(),
                next_token: None,
            });
        };
        let tasks = &cx.state().orchestrator.tasks;
        let page = tasks.list(&cluster.id, &filter, &after, limit).await?;
        let arns = page
            .items
            .iter()
            .map(|id| cluster.name.task_arn(id).to_string());
        let next = page.next.as_deref();
        Ok(ListTasksOutput {
            task_arns: arns.collect(),
            next_token: next.map(|after| paging::token(Self::NAME, of, after)),
        })
    }
}
