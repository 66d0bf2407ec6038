//! What all tasks of an instance share.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use wharfinger_base::{Clock, Ids};
use wharfinger_ecs_protocol::Task;

use crate::aws_client::AwsClient;
use crate::host_endpoints::HostEndpoints;
use crate::images::Images;
use crate::keys::{InstanceKeys, Keys};
use crate::runtime::ContainerRuntime;
use crate::state_folder::StateFolder;

/// What all tasks of an instance share.
pub(crate) struct Context {
    pub(crate) runtime: Arc<dyn ContainerRuntime>,
    pub(crate) client: AwsClient,
    pub(crate) keys: Arc<InstanceKeys>,
    pub(crate) images: Images,
    pub(crate) state: StateFolder,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    /// The name of the cluster.
    pub(crate) cluster: String,
    pub(crate) instance_arn: String,
    pub(crate) availability_zone: String,
    /// The address that host ports are bound to; `None` for all addresses of the host.
    pub(crate) bind_ip: Option<IpAddr>,
    pub(crate) host_endpoints: HostEndpoints,
    /// How the engine makes control groups.
    pub(crate) cgroup_driver: String,
    /// Whether the engine runs on this host.
    pub(crate) engine_is_local: bool,
    /// How long the containers of a stopped task are kept.
    pub(crate) cleanup_wait: Duration,
}

impl Context {
    /// The keys that the agent works for a task with: those of its execution role, or those of the
    /// instance where it has none.
    ///
    /// # Errors
    /// Where the instance has no keys.
    pub(crate) async fn execution_keys(&self, task: &Task) -> Result<Keys, String> {
        match &task.execution_role_credentials {
            Some(role) => Ok(Keys::of_role(role)),
            None => self.keys.get().await,
        }
    }
}
