//! Service deployments: listed, described and stopped.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use wharfinger_api_core::{Context, Demand, Operation, RequestScope};
use wharfinger_base::{PageToken, Timestamp};
use wharfinger_orchestrator::model::{
    Deployment, DeploymentConfiguration, DeploymentId,
    ServiceDeploymentRollbackMonitorsStatus as MonitorStatus, ServiceDeploymentStatus,
};
use wharfinger_orchestrator::{
    Error as OrchestratorError, RevisionCounts, ServiceDeploymentDescription, StopType,
};

use crate::paging::{self, MAX_ITEMS};
use crate::resource::{EcsResourceId, cluster_id, home};
use crate::service_parts::{DEPLOYMENT, Part};
use crate::service_view::{RevisionSummaryView, revision_arn, service_deployment_arn};
use crate::services::{named, on_service};
use crate::views::{EpochSeconds, Failure};
use crate::{Ecs, Result, error};

/// `CreatedAt` of the service model: seconds since the epoch.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
struct CreatedAt {
    before: Option<f64>,
    after: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListServiceDeployments {
    service: String,
    cluster: Option<String>,
    status: Option<Vec<ServiceDeploymentStatus>>,
    created_at: Option<CreatedAt>,
    next_token: Option<String>,
    max_results: Option<i64>,
}

/// `ServiceDeploymentBrief` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct BriefView {
    service_deployment_arn: String,
    service_arn: String,
    cluster_arn: String,
    started_at: Option<EpochSeconds>,
    created_at: EpochSeconds,
    finished_at: Option<EpochSeconds>,
    target_service_revision_arn: String,
    status: ServiceDeploymentStatus,
    status_reason: Option<String>,
}

#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ListServiceDeploymentsOutput {
    service_deployments: Vec<BriefView>,
    next_token: Option<String>,
}

impl ListServiceDeployments {
    /// The last deployment of the page before.
    fn position(&self, service: &str) -> Result<Option<(Timestamp, DeploymentId)>> {
        let Some(token) = &self.next_token else {
            return Ok(None);
        };
        let parts = PageToken::decode(Self::NAME, token);
        let parts = parts.and_then(|parts| <[String; 3]>::try_from(parts).ok());
        let position = parts.and_then(|[of, time, id]| {
            let time = time.parse().ok().filter(|_| of == service)?;
            Some((Timestamp::from_ms(time), DeploymentId(id)))
        });
        position
            .map(Some)
            .ok_or_else(|| error::invalid_parameter("Invalid token"))
    }
}

impl Operation for ListServiceDeployments {
    type Service = Ecs;
    type Output = ListServiceDeploymentsOutput;

    const NAME: &'static str = "ListServiceDeployments";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        cluster_id(scope, self.cluster.as_deref())
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let (cluster, name) = named(scope, self.cluster.as_deref(), &self.service)?;
        Ok(vec![on_service(Self::ACTION, &cluster, &name)])
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<ListServiceDeploymentsOutput> {
        let (_, name) = named(cx.scope(), self.cluster.as_deref(), &self.service)?;
        let cluster = cx.resource().active_cluster()?;
        let services = &cx.state().orchestrator.services;
        let service = services.find(cluster, &name).await?;
        let service = service.ok_or(OrchestratorError::ServiceNotFound)?;
        let limit = paging::limit(self.max_results, MAX_ITEMS)?;
        let position = self.position(&service.id.0)?;
        let (status, created) = (self.status, self.created_at.unwrap_or_default());
        let wanted = move |deployment: &Deployment| {
            let made = deployment.created_at.as_epoch_seconds();
            let has_status = status.as_ref().is_none_or(|status| {
                status.is_empty() || status.contains(&deployment.details.deployment_status)
            });
            has_status
                && created.before.is_none_or(|before| made < before)
                && created.after.is_none_or(|after| made > after)
        };
        let page = services
            .deployments_page(&service.id, position, limit, wanted)
            .await?;
        let brief = |deployment: &Deployment| {
            let details = &deployment.details;
            let id = &details.service_deployment_id;
            BriefView {
                service_deployment_arn: service_deployment_arn(&cluster.name, &name, id),
                service_arn: cluster.name.service_arn(&name).to_string(),
                cluster_arn: cluster.name.arn().to_string(),
                started_at: details.started_at.map(EpochSeconds::from),
                created_at: deployment.created_at.into(),
                finished_at: details.finished_at.map(EpochSeconds::from),
                target_service_revision_arn: revision_arn(
                    &cluster.name,
                    &name,
                    &details.revision_id,
                ),
                status: details.deployment_status,
                status_reason: details.status_reason.clone(),
            }
        };
        Ok(ListServiceDeploymentsOutput {
            service_deployments: page.items.iter().map(brief).collect(),
            next_token: page.next.map(|(time, id)| {
                let time = time.as_ms().to_string();
                PageToken::encode(Self::NAME, &[&service.id.0, &time, &id.0])
            }),
        })
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeServiceDeployments {
    service_deployment_arns: Vec<String>,
}

/// `ServiceDeployment` of the service model.
#[skip_serializing_none]
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceDeploymentView {
    service_deployment_arn: String,
    service_arn: String,
    cluster_arn: String,
    created_at: EpochSeconds,
    started_at: Option<EpochSeconds>,
    finished_at: Option<EpochSeconds>,
    stopped_at: Option<EpochSeconds>,
    updated_at: EpochSeconds,
    source_service_revisions: Vec<RevisionSummaryView>,
    target_service_revision: RevisionSummaryView,
    status: ServiceDeploymentStatus,
    status_reason: Option<String>,
    deployment_configuration: DeploymentConfiguration,
    rollback: Option<RollbackView>,
    deployment_circuit_breaker: CircuitBreakerView,
    alarms: AlarmsView,
}

/// `Rollback` of the service model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct RollbackView {
    reason: String,
    started_at: EpochSeconds,
    service_revision_arn: String,
}

/// `ServiceDeploymentCircuitBreaker` of the service model.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct CircuitBreakerView {
    status: MonitorStatus,
    failure_count: i64,
    threshold: usize,
}

/// `ServiceDeploymentAlarms` of the service model. Alarms are not watched.
#[derive(Debug, Serialize)]
struct AlarmsView {
    status: MonitorStatus,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DescribeServiceDeploymentsOutput {
    service_deployments: Vec<ServiceDeploymentView>,
    failures: Vec<Failure>,
}

impl ServiceDeploymentView {
    fn of(part: &Part, described: &ServiceDeploymentDescription) -> Self {
        let (cluster, name) = (&part.cluster, &part.service);
        let (deployment, details) = (&described.deployment, &described.deployment.details);
        let summary = |counts: &RevisionCounts| RevisionSummaryView {
            arn: revision_arn(cluster, name, &counts.revision_id),
            requested_task_count: counts.requested,
            running_task_count: counts.running,
            pending_task_count: counts.pending,
        };
        Self {
            service_deployment_arn: part.arn.to_string(),
            service_arn: cluster.service_arn(name).to_string(),
            cluster_arn: cluster.arn().to_string(),
            created_at: deployment.created_at.into(),
            started_at: details.started_at.map(EpochSeconds::from),
            finished_at: details.finished_at.map(EpochSeconds::from),
            stopped_at: details.stopped_at.map(EpochSeconds::from),
            updated_at: details.updated_at.into(),
            source_service_revisions: described.sources.iter().map(summary).collect(),
            target_service_revision: summary(&described.target),
            status: details.deployment_status,
            status_reason: details.status_reason.clone(),
            deployment_configuration: described.service.details.deployment_configuration.clone(),
            rollback: details.rollback.as_ref().map(|rollback| RollbackView {
                reason: rollback.reason.clone(),
                started_at: rollback.started_at.into(),
                service_revision_arn: revision_arn(cluster, name, &rollback.revision_id),
            }),
            deployment_circuit_breaker: CircuitBreakerView {
                status: details.circuit_breaker,
                failure_count: details.failed_tasks,
                threshold: described.threshold,
            },
            alarms: AlarmsView {
                status: MonitorStatus::Disabled,
            },
        }
    }
}

impl Operation for DescribeServiceDeployments {
    type Service = Ecs;
    type Output = DescribeServiceDeploymentsOutput;

    const NAME: &'static str = "DescribeServiceDeployments";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        Ok(EcsResourceId::Account(home(scope)))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let parts = Part::parse_all(scope, DEPLOYMENT, &self.service_deployment_arns)?;
        Ok(parts.iter().map(|part| part.demand(Self::ACTION)).collect())
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<DescribeServiceDeploymentsOutput> {
        let parts = Part::parse_all(cx.scope(), DEPLOYMENT, &self.service_deployment_arns)?;
        let orchestrator = &cx.state().orchestrator;
        let (mut service_deployments, mut failures) = (Vec::new(), Vec::new());
        for part in &parts {
            let found = match orchestrator.clusters.get(&part.cluster).await? {
                Some(cluster) => {
                    let services = &orchestrator.services;
                    services
                        .service_deployment(&cluster, &part.service, &part.id)
                        .await?
                }
                None => None,
            };
            match found {
                Some(found) => service_deployments.push(ServiceDeploymentView::of(part, &found)),
                None => failures.push(Failure::missing(&part.arn)),
            }
        }
        Ok(DescribeServiceDeploymentsOutput {
            service_deployments,
            failures,
        })
    }
}

/// `StopServiceDeploymentStopType` of the service model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum StopServiceDeploymentStopType {
    Abort,
    Rollback,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StopServiceDeployment {
    service_deployment_arn: String,
    stop_type: Option<StopServiceDeploymentStopType>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StopServiceDeploymentOutput {
    service_deployment_arn: String,
}

impl Operation for StopServiceDeployment {
    type Service = Ecs;
    type Output = StopServiceDeploymentOutput;

    const NAME: &'static str = "StopServiceDeployment";

    fn resource(&self, scope: &RequestScope) -> Result<EcsResourceId> {
        let part = Part::parse(scope, DEPLOYMENT, &self.service_deployment_arn)?;
        Ok(EcsResourceId::Cluster(part.cluster))
    }

    fn demands(&self, scope: &RequestScope) -> Result<Vec<Demand<Ecs>>> {
        let part = Part::parse(scope, DEPLOYMENT, &self.service_deployment_arn)?;
        Ok(vec![part.demand(Self::ACTION)])
    }

    async fn run(self, cx: &Context<Ecs>) -> Result<StopServiceDeploymentOutput> {
        let part = Part::parse(cx.scope(), DEPLOYMENT, &self.service_deployment_arn)?;
        // A cluster that does not exist has no deployments.
        let missing = OrchestratorError::ServiceDeploymentNotFound;
        let cluster = cx.resource().active_cluster().map_err(|_| missing)?;
        let stop = match self.stop_type {
            Some(StopServiceDeploymentStopType::Abort) => StopType::Abort,
            Some(StopServiceDeploymentStopType::Rollback) | None => StopType::Rollback,
        };
        let services = &cx.state().orchestrator.services;
        services
            .stop_deployment(cluster, &part.service, &part.id, stop)
            .await?;
        Ok(StopServiceDeploymentOutput {
            service_deployment_arn: self.service_deployment_arn,
        })
    }
}
