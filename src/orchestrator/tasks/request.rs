//! Requests for tasks.

use std::collections::BTreeMap;

use crate::model::{
    Cluster, ClusterId, DeploymentId, InstanceId, NetworkConfiguration, PlacementConstraint,
    PlacementStrategy, ServiceId, Tag, Task, TaskDefinition, TaskOverride,
};
use crate::placement::Unplaced;
use crate::store::client_tokens::TokenKey;
use crate::tasks::launch::Launch;

/// Where tasks go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// So many tasks on instances that are chosen by the strategies.
    Chosen(usize),
    /// One task on each of these instances.
    On(Vec<InstanceId>),
}

/// A client token, with what makes two requests the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientToken {
    pub operation: &'static str,
    pub token: String,
    pub request: String,
}

impl ClientToken {
    pub(crate) fn key(&self, cluster: &ClusterId) -> TokenKey {
        TokenKey {
            cluster: cluster.clone(),
            operation: self.operation,
            token: self.token.clone(),
        }
    }
}

/// The state of a service that a request was decided on. Tasks are started only while the service
/// still has this version, and raise it by one, so that several servers start none twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceGuard {
    pub(crate) service: ServiceId,
    pub(crate) version: i64,
}

/// A request for tasks. `check_launch`, `check_placement` and `check_overrides` were passed.
#[derive(Clone, Debug)]
pub struct StartTasks {
    pub cluster: Cluster,
    pub definition: TaskDefinition,
    pub placement: Placement,
    pub launch: Launch,
    /// By default `family:` and the family of the definition.
    pub group: Option<String>,
    pub service: Option<ServiceId>,
    pub deployment: Option<DeploymentId>,
    pub started_by: Option<String>,
    pub overrides: TaskOverride,
    pub constraints: Vec<PlacementConstraint>,
    pub strategy: Vec<PlacementStrategy>,
    pub platform_version: Option<String>,
    pub network_configuration: Option<NetworkConfiguration>,
    pub enable_execute_command: bool,
    pub tags: Vec<Tag>,
    /// By container, what the tags of their images were resolved to.
    pub image_digests: BTreeMap<String, String>,
    pub token: Option<ClientToken>,
    /// For tasks of services. Where the service has changed, no task is started.
    pub guard: Option<ServiceGuard>,
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub struct StartedTasks {
    pub tasks: Vec<Task>,
    /// Why there are fewer tasks than requested.
    pub unplaced: Option<Unplaced>,
}

impl StartTasks {
    /// The group of the tasks.
    pub fn group(&self) -> String {
        let family = &self.definition.name.family;
        let group = self.group.clone();
        group.unwrap_or_else(|| format!("family:{family}"))
    }

    pub(super) fn token_key(&self) -> Option<TokenKey> {
        let token = self.token.as_ref()?;
        Some(token.key(&self.cluster.id))
    }

    pub(super) fn count(&self) -> usize {
        match &self.placement {
            Placement::Chosen(count) => *count,
            Placement::On(instances) => instances.len(),
        }
    }
}
