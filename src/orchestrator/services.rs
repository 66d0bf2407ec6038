//! Services: created, updated, deleted and described. What they run is decided by
//! [`crate::deployment`] and carried out by [`crate::reconcile`].

mod change;
mod describe;
pub(crate) mod history;
pub(crate) mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

pub use change::{NewService, ServiceUpdate};
pub use describe::{DeploymentCounts, ServiceDescription};
pub use history::{
    ContainerImage, RevisionCounts, RevisionDescription, ServiceDeploymentDescription, StopType,
};
use wharfinger_base::{Clock, Ids, Page, Timestamp};
use wharfinger_db::{self as db, Db, Tx};

use crate::error::{Error, Result};
use crate::model::{
    Cluster, ClusterStatus, Deployment, DeploymentDetails, DeploymentId, DeploymentRolloutState,
    DeploymentStatus, Service, ServiceDeploymentRollbackMonitorsStatus, ServiceDeploymentStatus,
    ServiceId, ServiceStatus, ServiceTarget, TaskDefinition, new_hex_id,
};
use crate::quotas;
use crate::service_wake::ServiceWake;
use crate::store::client_tokens::{self, TokenUse};
use crate::store::{clusters, deployments, services as store, task_definitions};
use crate::tasks::ClientToken;

/// What ECS says of a request that repeats an earlier one in part only.
const NOT_IDEMPOTENT: &str = "Creation of service was not idempotent.";

/// How services are run.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// How long a task without a container health check runs until it counts as healthy.
    pub healthy_after: Duration,
}

impl Default for ServiceSettings {
    /// 40 seconds, as in ECS (ECS API reference, `minimumHealthyPercent`).
    fn default() -> Self {
        Self {
            healthy_after: Duration::from_secs(40),
        }
    }
}

/// Operations on services.
#[derive(Clone)]
pub struct Services {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) wake: ServiceWake,
    pub(crate) settings: ServiceSettings,
}

impl Services {
    pub(crate) const fn new(
        db: Db,
        clock: Clock,
        ids: Ids,
        wake: ServiceWake,
        settings: ServiceSettings,
    ) -> Self {
        Self {
            db,
            clock,
            ids,
            wake,
            settings,
        }
    }

    /// Makes a service that is to run `definition`, and its first deployment. A request with the
    /// client token of an earlier one, or that differs in nothing from an active service of the
    /// name, returns what that made.
    ///
    /// # Errors
    /// [`Error::InvalidParameter`] for a configuration that is not legal, a name in use, or a
    /// client token of another request; [`Error::LimitExceeded`].
    pub async fn create(
        &self,
        cluster: &Cluster,
        definition: &TaskDefinition,
        new: NewService,
    ) -> Result<ServiceDescription> {
        let now = self.clock.now();
        let token = new.token.clone();
        let service = new.into_service(cluster, definition, self.new_id(), now)?;
        let deployment = self.deployment(&service, &service.details.target, Vec::new());
        let cluster = cluster.clone();
        let work = move |tx: &mut Tx<'_>| {
            still_active(tx, &cluster)?;
            if let Some(token) = &token
                && let Some(made) = made_by(tx, &cluster, token)?
            {
                return describe::load(tx, made);
            }
            if let Some(old) = store::by_name(tx, &cluster.id, &service.name)? {
                match old.status {
                    ServiceStatus::Active if change::is_same(&old, &service) => {
                        note_token(tx, &old, token.as_ref(), now)?;
                        return describe::load(tx, old);
                    }
                    ServiceStatus::Active => return invalid(NOT_IDEMPOTENT),
                    ServiceStatus::Draining => {
                        return invalid("Unable to Start a service that is still Draining.");
                    }
                    ServiceStatus::Inactive => {}
                }
            }
            quotas::check_services(tx, &cluster.id)?;
            note_token(tx, &service, token.as_ref(), now)?;
            store::insert(tx, &service)?;
            deployments::insert(tx, &deployment)?;
            describe::load(tx, service.clone())
        };
        let made = self.db.write(work).await?;
        self.wake.touch(&made.service.id);
        Ok(made)
    }

    /// Changes a service. What changes its tasks makes a new deployment. `definition` is the task
    /// definition that the request names; without one the service keeps the one that it has when
    /// the change is written.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`], [`Error::ServiceNotActive`]; [`Error::InvalidParameter`] for a
    /// configuration that is not legal; [`Error::Client`] where the service's task definition is
    /// gone.
    pub async fn update(
        &self,
        cluster: &Cluster,
        name: &str,
        definition: Option<&TaskDefinition>,
        update: ServiceUpdate,
    ) -> Result<ServiceDescription> {
        let (cluster, name, named) = (cluster.clone(), name.to_owned(), definition.cloned());
        let this = self.clone();
        let work = move |tx: &mut Tx<'_>| {
            let old = store::by_name(tx, &cluster.id, &name)?.ok_or(Error::ServiceNotFound)?;
            if old.status != ServiceStatus::Active {
                return Err(Error::ServiceNotActive);
            }
            let definition = match &named {
                Some(definition) => definition.clone(),
                None => current_definition(tx, &cluster, &old)?,
            };
            let (mut service, redeploys) = update.apply(old, &cluster, &definition)?;
            service.details.failed_starts = 0;
            service.details.last_failed_at = None;
            service.details.throttled_until = None;
            if redeploys {
                let target = service.details.target.clone();
                this.replace_deployments(tx, &service, &target, |_| ())?;
                service.details.is_steady = false;
            }
            changed(store::update(tx, &service)?)?;
            describe::load(tx, service)
        };
        let updated = self.db.write(work).await?;
        self.wake.touch(&updated.service.id);
        Ok(updated)
    }

    /// Ends a service: its tasks are stopped. Replicas must be scaled to zero before, unless
    /// `force` is set.
    ///
    /// # Errors
    /// [`Error::ServiceNotFound`], [`Error::InvalidParameter`].
    pub async fn delete(
        &self,
        cluster: &Cluster,
        name: &str,
        force: bool,
    ) -> Result<ServiceDescription> {
        let (cluster, name) = (cluster.id.clone(), name.to_owned());
        let work = move |tx: &mut Tx<'_>| {
            let mut service = store::by_name(tx, &cluster, &name)?.ok_or(Error::ServiceNotFound)?;
            match service.status {
                ServiceStatus::Inactive => return Err(Error::ServiceNotFound),
                ServiceStatus::Draining => return describe::load(tx, service),
                ServiceStatus::Active => {}
            }
            if service.is_replicas() && service.desired_count > 0 && !force {
                return invalid("The service cannot be stopped while it is scaled above 0.");
            }
            service.status = ServiceStatus::Draining;
            service.desired_count = 0;
            changed(store::update(tx, &service)?)?;
            describe::load(tx, service)
        };
        let deleted = self.db.write(work).await?;
        self.wake.touch(&deleted.service.id);
        Ok(deleted)
    }

    /// The newest service of this name in the cluster, also an inactive one.
    pub async fn find(&self, cluster: &Cluster, name: &str) -> Result<Option<Service>> {
        let (cluster, name) = (cluster.id.clone(), name.to_owned());
        let read = move |tx: &mut Tx<'_>| store::by_name(tx, &cluster, &name);
        Ok(self.db.get(read).await?)
    }

    /// Describes the services of these names; `None` for one that does not exist.
    pub async fn describe(
        &self,
        cluster: &Cluster,
        names: Vec<String>,
    ) -> Result<Vec<Option<ServiceDescription>>> {
        let cluster = cluster.id.clone();
        let read = move |tx: &mut Tx<'_>| {
            let mut found = Vec::with_capacity(names.len());
            for name in &names {
                let service = store::by_name(tx, &cluster, name)?;
                found.push(
                    service
                        .map(|service| describe::load(tx, service))
                        .transpose()?,
                );
            }
            Ok(found)
        };
        self.db.read(read).await
    }

    /// Up to `limit` active services with names after `after`, by name, as `wanted` selects them.
    /// The page's key is the last name.
    pub async fn page(
        &self,
        cluster: &Cluster,
        after: &str,
        limit: usize,
        wanted: impl Fn(&Service) -> bool + Send + Sync + 'static,
    ) -> Result<Page<Service>> {
        let (cluster, after) = (cluster.id.clone(), after.to_owned());
        let read = move |tx: &mut Tx<'_>| {
            let mut after = after.clone();
            let mut found = Vec::new();
            loop {
                let rows = store::page(tx, &cluster, &after, limit + 1)?;
                let is_last = rows.len() <= limit;
                if let Some(last) = rows.last() {
                    after.clone_from(&last.name);
                }
                found.extend(rows.into_iter().filter(|service| wanted(service)));
                if is_last || found.len() > limit {
                    return Ok::<_, Error>(found);
                }
            }
        };
        let rows = self.db.read(read).await?;
        Ok(Page::of(rows, limit, |service| service.name.clone()))
    }

    fn new_id(&self) -> ServiceId {
        ServiceId(new_hex_id(&self.ids))
    }

    /// A new primary deployment of the service.
    pub(crate) fn deployment(
        &self,
        service: &Service,
        target: &ServiceTarget,
        source_revision_ids: Vec<String>,
    ) -> Deployment {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let id = DeploymentId::new(&self.ids);
        let now = self.clock.now();
        let breaker = &service
            .details
            .deployment_configuration
            .deployment_circuit_breaker;
        let monitored = breaker.as_ref().is_some_and(|breaker| breaker.enable);
        Deployment {
            service: service.id.clone(),
            status: DeploymentStatus::Primary,
            created_at: now,
            version: 1,
            details: DeploymentDetails {
                target: target.clone(),
                service_deployment_id: self.ids.text(LETTERS, 21),
                // Clients find the revision of a deployment by the digits that both have.
                revision_id: id.digits().to_owned(),
                image_digests: BTreeMap::new(),
                source_revision_ids,
                desired_count: service.desired_count,
                failed_tasks: 0,
                healthy_tasks: 0,
                rollout_state: DeploymentRolloutState::InProgress,
                rollout_state_reason: format!("ECS deployment {} in progress.", id.0),
                deployment_status: ServiceDeploymentStatus::InProgress,
                status_reason: None,
                circuit_breaker: if monitored {
                    ServiceDeploymentRollbackMonitorsStatus::Monitoring
                } else {
                    ServiceDeploymentRollbackMonitorsStatus::Disabled
                },
                started_at: Some(now),
                finished_at: None,
                stopped_at: None,
                updated_at: now,
                rollback: None,
                undoes: None,
            },
            id,
        }
    }

    /// Makes a deployment that replaces the current ones, as `change` makes it differ from a plain
    /// one. Returns all that are current then, the new one first.
    pub(crate) fn replace_deployments(
        &self,
        tx: &mut Tx<'_>,
        service: &Service,
        target: &ServiceTarget,
        change: impl Fn(&mut Deployment),
    ) -> Result<Vec<Deployment>> {
        let now = self.clock.now();
        let mut current = deployments::current(tx, &service.id)?;
        let mut sources = Vec::new();
        for old in &mut current {
            sources.push(old.details.revision_id.clone());
            let details = &mut old.details;
            let rolls_back =
                details.deployment_status == ServiceDeploymentStatus::RollbackInProgress;
            if details.deployment_status.is_under_way() && !rolls_back {
                details.deployment_status = ServiceDeploymentStatus::Stopped;
                details.status_reason = Some("A newer deployment replaced it.".to_owned());
                details.stopped_at = Some(now);
                details.circuit_breaker = details.circuit_breaker.ended();
            }
            details.updated_at = now;
            let undone = details.undoes.clone();
            if old.status == DeploymentStatus::Primary
                && details.rollout_state == DeploymentRolloutState::InProgress
                && let Some(undone) = undone
            {
                // The rollback itself was replaced.
                end_rollback(tx, &undone, ServiceDeploymentStatus::RollbackFailed, now)?;
            }
            old.status = DeploymentStatus::Active;
            deployments::update(tx, old)?;
        }
        let mut new = self.deployment(service, target, sources);
        change(&mut new);
        deployments::insert(tx, &new)?;
        current.insert(0, new);
        Ok(current)
    }
}

fn invalid<T>(message: &str) -> Result<T> {
    Err(Error::InvalidParameter(message.to_owned()))
}

/// What a statement compared was read in the same transaction, so that it is the same.
pub(crate) fn changed(written: bool) -> Result<()> {
    if written {
        Ok(())
    } else {
        Err(Error::Index(db::Error::Conflict))
    }
}

/// The service that an earlier request with the same client token made; `None` for a token that
/// was not used, or whose service was deleted.
fn made_by(tx: &mut Tx<'_>, cluster: &Cluster, token: &ClientToken) -> Result<Option<Service>> {
    match client_tokens::get(tx, &token.key(&cluster.id))? {
        Some(used) if used.request != token.request => invalid(NOT_IDEMPOTENT),
        Some(used) => {
            let made = store::by_id(tx, &ServiceId(used.result))?;
            Ok(made.filter(|made| made.status == ServiceStatus::Active))
        }
        None => Ok(None),
    }
}

fn note_token(
    tx: &mut Tx<'_>,
    service: &Service,
    token: Option<&ClientToken>,
    now: Timestamp,
) -> Result<()> {
    if let Some(token) = token {
        let used = TokenUse {
            request: token.request.clone(),
            result: service.id.0.clone(),
            created_at: now,
        };
        client_tokens::put(tx, &token.key(&service.cluster), &used)?;
    }
    Ok(())
}

fn still_active(tx: &mut Tx<'_>, cluster: &Cluster) -> Result<()> {
    let found = clusters::by_name(tx, &cluster.name)?;
    let found = found.filter(|found| found.id == cluster.id);
    match found.ok_or(Error::ClusterNotFound)?.status {
        ClusterStatus::Active => Ok(()),
        ClusterStatus::Inactive => Err(Error::ClusterInactive),
    }
}

/// The task definition that the service has.
fn current_definition(
    tx: &mut Tx<'_>,
    cluster: &Cluster,
    service: &Service,
) -> Result<TaskDefinition> {
    let missing = || Error::Client("Unable to describe task definition.".to_owned());
    let name = service.details.target.task_definition.as_ref();
    let name = name.ok_or_else(missing)?;
    task_definitions::by_name(tx, &cluster.name.home, name)?.ok_or_else(missing)
}

/// Records how a rollback ended at the deployment that it undid.
pub(crate) fn end_rollback(
    tx: &mut Tx<'_>,
    undone: &DeploymentId,
    status: ServiceDeploymentStatus,
    now: Timestamp,
) -> Result<()> {
    if let Some(mut undone) = deployments::by_id(tx, undone)? {
        undone.details.deployment_status = status;
        undone.details.finished_at = Some(now);
        undone.details.updated_at = now;
        deployments::update(tx, &undone)?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
