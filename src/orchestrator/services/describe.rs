//! What is described of a service.

use std::collections::BTreeMap;

use wharfinger_db::Tx;

use crate::error::Result;
use crate::model::{Deployment, DeploymentStatus, Service, ServiceEvent, TaskStatus};
use crate::store::{deployments, service_events, service_tasks};

/// Numbers of tasks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeploymentCounts {
    pub desired: i64,
    pub running: i64,
    pub pending: i64,
}

/// A service with its deployments, the newest first, and events.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceDescription {
    pub service: Service,
    /// Of all deployments together.
    pub running: i64,
    pub pending: i64,
    pub deployments: Vec<(Deployment, DeploymentCounts)>,
    pub events: Vec<ServiceEvent>,
}

/// Reads what belongs to the service.
pub(super) fn load(tx: &mut Tx<'_>, service: Service) -> Result<ServiceDescription> {
    let (mut running, mut pending) = (0, 0);
    let mut counts: BTreeMap<_, DeploymentCounts> = BTreeMap::new();
    for found in service_tasks::counts(tx, &service.id)? {
        let of_deployment = counts.entry(found.deployment).or_default();
        match found.status {
            TaskStatus::Provisioning | TaskStatus::Pending | TaskStatus::Activating => {
                pending += found.tasks;
                of_deployment.pending += found.tasks;
            }
            TaskStatus::Running => {
                running += found.tasks;
                of_deployment.running += found.tasks;
            }
            TaskStatus::Deactivating
            | TaskStatus::Stopping
            | TaskStatus::Deprovisioning
            | TaskStatus::Stopped => {}
        }
    }
    let current = deployments::current(tx, &service.id)?;
    let described = current.into_iter().map(|deployment| {
        let mut counts = counts
            .remove(&Some(deployment.id.clone()))
            .unwrap_or_default();
        counts.desired = match deployment.status {
            DeploymentStatus::Primary => service.desired_count,
            DeploymentStatus::Active => counts.running + counts.pending,
            DeploymentStatus::Inactive => 0,
        };
        (deployment, counts)
    });
    Ok(ServiceDescription {
        running,
        pending,
        deployments: described.collect(),
        events: service_events::newest(tx, &service.id)?,
        service,
    })
}
