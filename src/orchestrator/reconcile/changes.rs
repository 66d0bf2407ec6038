//! Writes what a decision changes of rows: all of it in one transaction, or nothing if the service
//! is not the one any more that was decided on.

use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_db::Tx;

use crate::deployment::{Change, Event, StopCause, StopRequest};
use crate::error::Result;
use crate::model::{
    Deployment, DeploymentRollback, DeploymentRolloutState, DeploymentStatus, InstanceId, Service,
    ServiceDeploymentRollbackMonitorsStatus, ServiceDeploymentStatus, ServiceEvent, ServiceStatus,
    TaskStopCode,
};
use crate::reconcile::service_view::ServiceRows;
use crate::services::{Services, changed, end_rollback};
use crate::store::{deployments, service_events, service_tasks, services, tasks};
use crate::tasks::request_stop;

/// For how long an event that says the same as an earlier one is not recorded again.
const MUTED: Duration = Duration::from_hours(6);

/// Whether the service had the event lately.
pub(super) fn has_lately(
    tx: &mut Tx<'_>,
    service: &Service,
    event: &Event,
    now: Timestamp,
) -> Result<bool> {
    let message = event.message(&service.name);
    Ok(service_events::had(
        tx,
        &service.id,
        &message,
        now.minus(MUTED),
    )?)
}

/// What was written.
#[derive(Clone, Debug, Default)]
pub(super) struct Written {
    /// The service's version since.
    pub(super) version: i64,
    /// Instances with tasks that are to stop.
    pub(super) instances: Vec<InstanceId>,
}

/// The changes of a decision, on their way into the index.
struct Writing<'a> {
    services: &'a Services,
    now: Timestamp,
    service: Service,
    deployments: Vec<Deployment>,
    written: Written,
}

/// Writes the changes; `None` if the service was changed since it was read.
pub(super) fn write(
    tx: &mut Tx<'_>,
    services: &Services,
    rows: &ServiceRows,
    changes: &[Change],
    now: Timestamp,
) -> Result<Option<Written>> {
    if services::version(tx, &rows.service.id)? != Some(rows.service.version) {
        return Ok(None);
    }
    let mut writing = Writing {
        services,
        now,
        service: rows.service.clone(),
        deployments: rows.deployments.clone(),
        written: Written::default(),
    };
    for change in changes {
        writing.write(tx, rows, change)?;
    }
    changed(services::update(tx, &writing.service)?)?;
    let messages = changes.iter().filter_map(|change| match change {
        Change::Event(event) => Some(event),
        _ => None,
    });
    let events = events(services, &writing.service, messages, now);
    if !events.is_empty() {
        service_events::insert(tx, &writing.service.id, &events)?;
    }
    writing.written.version = rows.service.version + 1;
    Ok(Some(writing.written))
}

/// Events as they are stored. Each is a millisecond later than the one before, which keeps their
/// order.
pub(super) fn events<'a>(
    services: &Services,
    service: &Service,
    events: impl Iterator<Item = &'a Event>,
    now: Timestamp,
) -> Vec<ServiceEvent> {
    let events = events.zip(0..).map(|(event, number)| ServiceEvent {
        id: services.ids.uuid().to_string(),
        created_at: Timestamp::from_ms(now.as_ms() + number),
        message: event.message(&service.name),
    });
    events.collect()
}

impl Writing<'_> {
    fn write(&mut self, tx: &mut Tx<'_>, rows: &ServiceRows, change: &Change) -> Result<()> {
        match change {
            Change::Start { .. } | Change::StartOn(_) | Change::Event(_) => {}
            Change::Stop { task, cause } => {
                let reason = self.stop_reason(*cause);
                if let Some(mut task) = tasks::by_id(tx, task)?
                    && request_stop(
                        &mut task,
                        TaskStopCode::ServiceSchedulerInitiated,
                        &reason,
                        self.now,
                    )
                {
                    // A race with a report that is committed first brings another decision.
                    let _ = tasks::update(tx, &task)?;
                    self.written.instances.extend(task.instance);
                }
            }
            Change::Considered(tasks) => {
                for task in tasks {
                    service_tasks::set_considered(tx, task)?;
                }
            }
            Change::Starts(starts) => {
                let details = &mut self.service.details;
                details.failed_starts = starts.failed;
                details.last_failed_at = starts.last_failed_at;
                details.throttled_until = starts.throttled_until;
            }
            Change::Progress {
                failed_tasks,
                healthy_tasks,
            } => {
                let (failed, healthy) = (*failed_tasks, *healthy_tasks);
                self.primary(tx, |primary| {
                    primary.details.failed_tasks = failed;
                    primary.details.healthy_tasks = healthy;
                })?;
            }
            Change::Complete => self.complete(tx)?,
            Change::Fail { request } => self.fail(tx, *request)?,
            Change::RollBack { .. } => self.roll_back(tx, rows)?,
            Change::Retire(id) => {
                let now = self.now;
                let retired = self.deployments.iter_mut().find(|known| known.id == *id);
                if let Some(retired) = retired {
                    retired.status = DeploymentStatus::Inactive;
                    retired.details.updated_at = now;
                    deployments::update(tx, retired)?;
                }
            }
            Change::Steady(steady) => self.service.details.is_steady = *steady,
            Change::DesiredCount(count) => {
                self.service.desired_count = i64::try_from(*count).unwrap_or(i64::MAX);
            }
            Change::Deactivate => self.deactivate(tx)?,
        }
        Ok(())
    }

    fn stop_reason(&self, cause: StopCause) -> String {
        match (cause, self.deployments.first()) {
            (StopCause::Unhealthy, _) => "Task failed container health checks".to_owned(),
            (StopCause::Scaling, Some(primary)) => format!(
                "Scaling activity initiated by (deployment {})",
                primary.id.0
            ),
            (StopCause::Scaling, None) => "Scaling activity initiated by the service".to_owned(),
        }
    }

    /// Changes the primary deployment.
    fn primary(&mut self, tx: &mut Tx<'_>, change: impl Fn(&mut Deployment)) -> Result<()> {
        if let Some(primary) = self.deployments.first_mut() {
            change(primary);
            primary.details.updated_at = self.now;
            deployments::update(tx, primary)?;
        }
        Ok(())
    }

    fn complete(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        let now = self.now;
        self.primary(tx, |primary| {
            let id = primary.id.0.clone();
            let details = &mut primary.details;
            details.rollout_state = DeploymentRolloutState::Completed;
            details.rollout_state_reason = format!("ECS deployment {id} completed.");
            details.deployment_status = ServiceDeploymentStatus::Successful;
            details.finished_at = Some(now);
            details.circuit_breaker = details.circuit_breaker.ended();
        })?;
        self.end_undone(tx, ServiceDeploymentStatus::RollbackSuccessful)
    }

    /// Records the end of a rollback at the deployment that was undone.
    fn end_undone(&mut self, tx: &mut Tx<'_>, status: ServiceDeploymentStatus) -> Result<()> {
        let primary = self.deployments.first();
        let Some(undone) = primary.and_then(|primary| primary.details.undoes.clone()) else {
            return Ok(());
        };
        end_rollback(tx, &undone, status, self.now)?;
        // What was read before must not be written over it.
        if let Some(known) = self.deployments.iter_mut().find(|known| known.id == undone)
            && let Some(stored) = deployments::by_id(tx, &undone)?
        {
            *known = stored;
        }
        Ok(())
    }

    fn fail(&mut self, tx: &mut Tx<'_>, request: Option<StopRequest>) -> Result<()> {
        let now = self.now;
        self.primary(tx, |primary| {
            let id = primary.id.0.clone();
            let details = &mut primary.details;
            details.rollout_state = DeploymentRolloutState::Failed;
            details.deployment_status = ServiceDeploymentStatus::Stopped;
            details.stopped_at = Some(now);
            if request.is_some() {
                details.rollout_state_reason = format!("ECS deployment {id} stopped by user.");
                details.status_reason = Some("Service deployment stopped by user.".to_owned());
                details.circuit_breaker = details.circuit_breaker.ended();
            } else {
                details.rollout_state_reason =
                    "ECS deployment circuit breaker: tasks failed to start.".into();
                details.status_reason = Some(
                    "The deployment failed because the circuit breaker threshold was reached."
                        .to_owned(),
                );
                details.circuit_breaker = ServiceDeploymentRollbackMonitorsStatus::Triggered;
            }
        })?;
        self.end_undone(tx, ServiceDeploymentStatus::RollbackFailed)
    }

    /// Makes the deployment that brings back what the last completed one ran.
    fn roll_back(&mut self, tx: &mut Tx<'_>, rows: &ServiceRows) -> Result<()> {
        let (Some(to), Some(failed)) = (rows.rollback_to(), self.deployments.first().cloned())
        else {
            return Ok(());
        };
        let (now, revision_id) = (self.now, to.details.revision_id.clone());
        let reason = failed.details.status_reason.clone().unwrap_or_default();
        self.primary(tx, |primary| {
            let details = &mut primary.details;
            details.deployment_status = ServiceDeploymentStatus::RollbackInProgress;
            details.stopped_at = None;
            details.rollback = Some(DeploymentRollback {
                reason: reason.clone(),
                started_at: now,
                revision_id: revision_id.clone(),
            });
        })?;
        let target = to.details.target.clone();
        self.deployments =
            self.services
                .replace_deployments(tx, &self.service, &target, |new| {
                    new.details.undoes = Some(failed.id.clone());
                    new.details.revision_id.clone_from(&to.details.revision_id);
                    new.details
                        .image_digests
                        .clone_from(&to.details.image_digests);
                    new.details.rollout_state_reason = format!(
                        "ECS deployment circuit breaker: rolling back to deploymentId {}.",
                        to.id.0
                    );
                })?;
        self.service.details.target = target;
        self.service.details.failed_starts = 0;
        self.service.details.last_failed_at = None;
        self.service.details.throttled_until = None;
        Ok(())
    }

    fn deactivate(&mut self, tx: &mut Tx<'_>) -> Result<()> {
        self.service.status = ServiceStatus::Inactive;
        self.service.details.ended_at = Some(self.now);
        for deployment in &mut self.deployments {
            deployment.status = DeploymentStatus::Inactive;
            let details = &mut deployment.details;
            if details.deployment_status.is_under_way() {
                details.deployment_status = ServiceDeploymentStatus::Stopped;
                details.status_reason = Some("The service was deleted.".to_owned());
                details.stopped_at = Some(self.now);
                details.circuit_breaker = details.circuit_breaker.ended();
            }
            details.updated_at = self.now;
            deployments::update(tx, deployment)?;
        }
        Ok(())
    }
}
