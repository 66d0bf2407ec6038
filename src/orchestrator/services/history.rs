//! Service deployments and service revisions: the history of a service.

use wharfinger_base::{Page, Timestamp};
use wharfinger_db::Tx;

use crate::deployment::Threshold;
use crate::error::{Error, Result};
use crate::model::{
    AccountRegion, Cluster, Deployment, DeploymentId, DeploymentStatus, Service,
    ServiceDeploymentStatus, ServiceId, TaskDefinition, TaskStatus,
};
use crate::services::{Services, changed};
use crate::store::{deployments, service_tasks, services as store, task_definitions};

/// How a deployment is to be stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopType {
    Abort,
    Rollback,
}

/// Tasks of a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevisionCounts {
    pub revision_id: String,
    pub requested: i64,
    pub running: i64,
    pub pending: i64,
}

/// A service deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceDeploymentDescription {
    pub service: Service,
    pub deployment: Deployment,
    pub target: RevisionCounts,
    pub sources: Vec<RevisionCounts>,
    /// How many failures trigger the circuit breaker.
    pub threshold: usize,
}

/// A service revision.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionDescription {
    pub service: Service,
    /// The deployment that brought it.
    pub deployment: Deployment,
    /// Those of its task definition, while that exists.
    pub images: Vec<ContainerImage>,
}

/// The image of a container of a service revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerImage {
    pub container_name: String,
    pub image: String,
    /// What the definition names, or what the first task of the revision resolved the tag to.
    pub image_digest: Option<String>,
}

impl Services {
    /// Up to `limit` service deployments of a service that were made before the one in `before`,
    /// the newest first, as `wanted` selects them. The page's key names the last one.
    pub async fn deployments_page(
        &self,
        service: &ServiceId,
        before: Option<(Timestamp, DeploymentId)>,
        limit: usize,
        wanted: impl Fn(&Deployment) -> bool + Send + Sync + 'static,
    ) -> Result<Page<Deployment, (Timestamp, DeploymentId)>> {
        let service = service.clone();
        let read = move |tx: &mut Tx<'_>| {
            let mut before = before.clone();
            let mut found = Vec::new();
            loop {
                let key = before.as_ref().map(|(time, id)| (*time, id.0.as_str()));
                let rows = deployments::page(tx, &service, key, limit + 1)?;
                let is_last = rows.len() <= limit;
                before = rows
                    .last()
                    .map(|last| (last.created_at, last.id.clone()))
                    .or(before);
                let shown = |one: &Deployment| one.details.undoes.is_none() && wanted(one);
                found.extend(rows.into_iter().filter(shown));
                if is_last || found.len() > limit {
                    return Ok::<_, Error>(found);
                }
            }
        };
        let rows = self.db.read(read).await?;
        Ok(Page::of(rows, limit, |one| {
            (one.created_at, one.id.clone())
        }))
    }

    /// The service deployment with this id in its ARN, of the service of this name.
    pub async fn service_deployment(
        &self,
        cluster: &Cluster,
        name: &str,
        id: &str,
    ) -> Result<Option<ServiceDeploymentDescription>> {
        let (cluster, name, id) = (cluster.id.clone(), name.to_owned(), id.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let Some(deployment) = deployments::by_service_deployment(tx, &id)? else {
                return Ok(None);
            };
            let service = store::by_id(tx, &deployment.service)?;
            let service = service.filter(|one| one.cluster == cluster && one.name == name);
            match service {
                Some(service) if deployment.details.undoes.is_none() => {
                    describe(tx, service, deployment).map(Some)
                }
                _ => Ok(None),
            }
        };
        self.db.read(read).await
    }

    /// The revision with these 19 digits in its ARN, of the service of this name.
    pub async fn revision(
        &self,
        cluster: &Cluster,
        name: &str,
        revision_id: &str,
    ) -> Result<Option<RevisionDescription>> {
        let (cluster, home) = (cluster.id.clone(), cluster.name.home.clone());
        let (name, revision_id) = (name.to_owned(), revision_id.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let Some(service) = store::by_name(tx, &cluster, &name)? else {
                return Ok(None);
            };
            let deployment = deployments::by_revision(tx, &service.id, &revision_id)?;
            let Some(deployment) = deployment else {
                return Ok(None);
            };
            let definition = match &deployment.details.target.task_definition {
                Some(name) => task_definitions::by_name(tx, &home, name)?,
                None => None,
            };
            Ok(Some(RevisionDescription {
                service,
                images: definition.map_or_else(Vec::new, |one| images(&one, &deployment)),
                deployment,
            }))
        };
        self.db.read(read).await
    }

    /// Requests that a service deployment under way be stopped: undone, or left where it is.
    ///
    /// # Errors
    /// [`Error::ServiceDeploymentNotFound`]; [`Error::Conflict`] for one that has ended;
    /// [`Error::InvalidParameter`] where there is nothing to go back to.
    pub async fn stop_deployment(
        &self,
        cluster: &Cluster,
        name: &str,
        id: &str,
        stop: StopType,
    ) -> Result<()> {
        let (cluster, home) = (cluster.id.clone(), cluster.name.home.clone());
        let (name, id) = (name.to_owned(), id.to_owned());
        let now = self.clock.now();
        let work = move |tx: &mut Tx<'_>| {
            let found = deployments::by_service_deployment(tx, &id)?;
            let mut deployment = found.ok_or(Error::ServiceDeploymentNotFound)?;
            let service = store::by_id(tx, &deployment.service)?;
            let service = service.filter(|one| one.cluster == cluster && one.name == name);
            let service = service.ok_or(Error::ServiceDeploymentNotFound)?;
            let details = &mut deployment.details;
            if details.deployment_status != ServiceDeploymentStatus::InProgress
                || deployment.status != DeploymentStatus::Primary
                || details.undoes.is_some()
            {
                let status = details.deployment_status;
                return Err(Error::Conflict {
                    message: format!("The service deployment is {status} and cannot be stopped."),
                    resource_ids: Vec::new(),
                });
            }
            if stop == StopType::Rollback && rollback_to(tx, &home, &service.id)?.is_none() {
                return Err(Error::InvalidParameter(
                    "The service has no completed deployment to roll back to.".to_owned(),
                ));
            }
            details.deployment_status = match stop {
                StopType::Abort => ServiceDeploymentStatus::StopRequested,
                StopType::Rollback => ServiceDeploymentStatus::RollbackRequested,
            };
            details.updated_at = now;
            deployments::update(tx, &deployment)?;
            changed(store::update(tx, &service)?)?;
            Ok(service.id)
        };
        let service = self.db.write(work).await?;
        self.wake.touch(&service);
        Ok(())
    }
}

/// What a rollback brings back: the newest deployment that was completed, other than the primary
/// one, if its task definition still exists.
pub(crate) fn rollback_to(
    tx: &mut Tx<'_>,
    home: &AccountRegion,
    service: &ServiceId,
) -> Result<Option<Deployment>> {
    let Some(completed) = last_completed(tx, service)? else {
        return Ok(None);
    };
    let definition = match &completed.details.target.task_definition {
        Some(name) => task_definitions::by_name(tx, home, name)?,
        None => None,
    };
    Ok(definition.map(|_| completed))
}

/// The newest deployment that was completed, other than the primary one.
pub(crate) fn last_completed(tx: &mut Tx<'_>, service: &ServiceId) -> Result<Option<Deployment>> {
    const BATCH: usize = 20;
    let mut before: Option<(Timestamp, DeploymentId)> = None;
    loop {
        let key = before.as_ref().map(|(time, id)| (*time, id.0.as_str()));
        let rows = deployments::page(tx, service, key, BATCH)?;
        let is_last = rows.len() < BATCH;
        before = rows.last().map(|last| (last.created_at, last.id.clone()));
        let mut rows = rows.into_iter();
        let completed = rows.find(|one| {
            one.status != DeploymentStatus::Primary
                && one.details.rollout_state == crate::model::DeploymentRolloutState::Completed
        });
        if completed.is_some() || is_last {
            return Ok(completed);
        }
    }
}

fn images(definition: &TaskDefinition, deployment: &Deployment) -> Vec<ContainerImage> {
    let digests = &deployment.details.image_digests;
    let containers = definition.document.container_definitions.iter();
    let images = containers.map(|container| {
        let container_name = container.name.clone().unwrap_or_default();
        let pinned = container.pinned_digest().map(str::to_owned);
        ContainerImage {
            image: container.image.clone().unwrap_or_default(),
            image_digest: pinned.or_else(|| digests.get(&container_name).cloned()),
            container_name,
        }
    });
    images.collect()
}

fn describe(
    tx: &mut Tx<'_>,
    service: Service,
    deployment: Deployment,
) -> Result<ServiceDeploymentDescription> {
    let counts = service_tasks::counts(tx, &service.id)?;
    let current = deployments::current(tx, &service.id)?;
    let count = |revision_id: &str| {
        let of_revision: Vec<_> = current
            .iter()
            .filter(|one| one.details.revision_id == revision_id)
            .collect();
        let tasks = |wanted: &[TaskStatus]| -> i64 {
            let matches = counts.iter().filter(|count| {
                let of = count.deployment.as_ref();
                wanted.contains(&count.status) && of_revision.iter().any(|one| Some(&one.id) == of)
            });
            matches.map(|count| count.tasks).sum()
        };
        let is_primary = of_revision
            .iter()
            .any(|one| one.status == DeploymentStatus::Primary);
        let running = tasks(&[TaskStatus::Running]);
        let pending = tasks(&[
            TaskStatus::Provisioning,
            TaskStatus::Pending,
            TaskStatus::Activating,
        ]);
        RevisionCounts {
            revision_id: revision_id.to_owned(),
            requested: if is_primary {
                service.desired_count
            } else {
                running + pending
            },
            running,
            pending,
        }
    };
    let breaker = &service
        .details
        .deployment_configuration
        .deployment_circuit_breaker;
    let threshold = Threshold::configured(breaker.as_ref());
    let desired = usize::try_from(service.desired_count).unwrap_or_default();
    let details = &deployment.details;
    Ok(ServiceDeploymentDescription {
        target: count(&details.revision_id),
        sources: details
            .source_revision_ids
            .iter()
            .map(|id| count(id))
            .collect(),
        threshold: threshold.of(desired),
        service,
        deployment,
    })
}
