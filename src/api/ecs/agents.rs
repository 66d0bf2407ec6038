//! The operations of container agents: where their websockets are, and what they report.

use serde::{Deserialize, Serialize};
use wharfinger_api_core::{Context, Operation, RequestScope};
use wharfinger_base::Timestamp;
use wharfinger_ecs_protocol::{ACS_PATH, TCS_PATH};
use wharfinger_orchestrator::identifiers::task_id;
use wharfinger_orchestrator::model::{Cluster, NetworkBinding};
use wharfinger_orchestrator::{
    self as orchestrator, ContainerReport, ReportedStatus, Reporter, TaskReport, registrant,
};

use crate::demands::administered;
use crate::error::invalid_parameter;
use crate::resource::{EcsResourceId, home};
use crate::{Ecs, Result};

/// The reply to a report.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Acknowledged {
    acknowledgment: &'static str,
}

impl Acknowledged {
    const fn new() -> Self {
        Self {
            acknowledgment: "ACK",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DiscoverPollEndpoint {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DiscoverPollEndpointOutput {
    endpoint: String,
    telemetry_endpoint: String,
}

impl Operation for DiscoverPollEndpoint {
    type Service = Ecs;
    type Output = DiscoverPollEndpointOutput;

    const NAME: &'static str = "DiscoverPollEndpoint";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<DiscoverPollEndpointOutput> {
        let base = cx.origin().base_url(&cx.state().names);
        Ok(DiscoverPollEndpointOutput {
            endpoint: format!("{base}{ACS_PATH}"),
            telemetry_endpoint: format!("{base}{TCS_PATH}"),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubmitTaskStateChange {
    cluster: Option<String>,
    task: Option<String>,
    status: Option<String>,
    reason: Option<String>,
    containers: Option<Vec<ContainerStateChange>>,
    attachments: Option<Vec<AttachmentStateChange>>,
    pull_started_at: Option<f64>,
    pull_stopped_at: Option<f64>,
    execution_stopped_at: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStateChange {
    container_name: Option<String>,
    image_digest: Option<String>,
    runtime_id: Option<String>,
    exit_code: Option<i32>,
    network_bindings: Option<Vec<NetworkBinding>>,
    reason: Option<String>,
    status: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AttachmentStateChange {
    attachment_arn: String,
    status: String,
}

impl ContainerStateChange {
    fn report(self) -> Result<ContainerReport> {
        Ok(ContainerReport {
            name: self.container_name.unwrap_or_default(),
            status: self.status.as_deref().map(status).transpose()?,
            exit_code: self.exit_code,
            reason: self.reason,
            image_digest: self.image_digest,
            runtime_id: self.runtime_id,
            network_bindings: self.network_bindings,
        })
    }
}

impl Operation for SubmitTaskStateChange {
    type Service = Ecs;
    type Output = Acknowledged;

    const NAME: &'static str = "SubmitTaskStateChange";
    /// Every start and end of a task is one.
    const IS_AUDITED: bool = false;

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<Acknowledged> {
        let containers = self.containers.into_iter().flatten();
        let report = TaskReport {
            status: self.status.as_deref().map(status).transpose()?,
            reason: self.reason,
            pull_started_at: self.pull_started_at.map(time),
            pull_stopped_at: self.pull_stopped_at.map(time),
            execution_stopped_at: self.execution_stopped_at.map(time),
            containers: containers
                .map(ContainerStateChange::report)
                .collect::<Result<_>>()?,
            attachments: pairs(self.attachments.unwrap_or_default()),
        };
        submit(cx, self.cluster.as_deref(), self.task.as_deref(), report).await
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubmitContainerStateChange {
    cluster: Option<String>,
    task: Option<String>,
    #[serde(flatten)]
    change: ContainerStateChange,
}

impl Operation for SubmitContainerStateChange {
    type Service = Ecs;
    type Output = Acknowledged;

    const NAME: &'static str = "SubmitContainerStateChange";
    const IS_AUDITED: bool = false;

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<Acknowledged> {
        let report = TaskReport {
            containers: vec![self.change.report()?],
            ..TaskReport::default()
        };
        submit(cx, self.cluster.as_deref(), self.task.as_deref(), report).await
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubmitAttachmentStateChanges {
    cluster: Option<String>,
    attachments: Vec<AttachmentStateChange>,
}

impl Operation for SubmitAttachmentStateChanges {
    type Service = Ecs;
    type Output = Acknowledged;

    const NAME: &'static str = "SubmitAttachmentStateChanges";
    const IS_AUDITED: bool = false;

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<Acknowledged> {
        let cluster = find_cluster(cx, self.cluster.as_deref()).await?;
        let changes = pairs(self.attachments);
        let assignments = &cx.state().orchestrator.assignments;
        let tasks = assignments.of_attachments(&cluster, &changes).await?;
        for (task, attachments) in tasks {
            let report = TaskReport {
                attachments,
                ..TaskReport::default()
            };
            report_as(cx, &cluster, &task, report).await?;
        }
        Ok(Acknowledged::new())
    }
}

async fn find_cluster(cx: &Context<Ecs>, cluster: Option<&str>) -> Result<Cluster> {
    let clusters = &cx.state().orchestrator.clusters;
    Ok(clusters.find(&home(cx.scope()), cluster).await?)
}

async fn submit(
    cx: &Context<Ecs>,
    cluster: Option<&str>,
    task: Option<&str>,
    report: TaskReport,
) -> Result<Acknowledged> {
    let cluster = find_cluster(cx, cluster).await?;
    let task = task.ok_or_else(|| invalid_parameter("Task cannot be blank."))?;
    let task = task_id(&cluster.name, task)?;
    report_as(cx, &cluster, &task, report).await?;
    Ok(Acknowledged::new())
}

/// Records a report of the caller, if it registered the instance or may administer its agent.
async fn report_as(
    cx: &Context<Ecs>,
    cluster: &Cluster,
    task: &orchestrator::model::TaskId,
    report: TaskReport,
) -> Result<()> {
    let assignments = &cx.state().orchestrator.assignments;
    let principal = Reporter::Principal(registrant(cx.caller()));
    let reported = assignments.report(cluster, task, principal, report.clone());
    let Err(refused) = reported.await else {
        return Ok(());
    };
    let instance = administered(cx, &cluster.name, refused).await?;
    let administrator = Reporter::Instance(&instance);
    Ok(assignments
        .report(cluster, task, administrator, report)
        .await?)
}

fn pairs(changes: Vec<AttachmentStateChange>) -> Vec<(String, String)> {
    let changes = changes.into_iter();
    changes
        .map(|change| (change.attachment_arn, change.status))
        .collect()
}

fn status(name: &str) -> Result<ReportedStatus> {
    let unknown = || invalid_parameter(format!("Invalid status: {name}"));
    ReportedStatus::parse(name).ok_or_else(unknown)
}

/// Epoch seconds with a fraction, as the protocol has times.
#[expect(
    clippy::cast_possible_truncation,
    reason = "a time beyond the range becomes the last one"
)]
fn time(seconds: f64) -> Timestamp {
    Timestamp::from_ms((seconds * 1000.0) as i64)
}
