//! What all tasks of an instance share.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use wharfinger_base::{Clock, Ids};
use wharfinger_ecs_protocol::Task;

use crate::aws_client::AwsClient;
use crate::host_endpoints::HostEndpoints;
use crate::images::Images;
use crate::imported_image::PauseImage;
use crate::keys::{InstanceKeys, Keys};
use crate::runtime::ContainerRuntime;
use crate::state_folder::StateFolder;

/// What all tasks of an instance share.
pub(crate) struct Context {
    pub(crate) runtime: Arc<dyn ContainerRuntime>,
    pub(crate) client: AwsClient,
    pub(crate) keys: Arc<InstanceKeys>,
    pub(crate) images: Images,
    pub(crate) pause_image: PauseImage,
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

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use url::Url;

    use super::*;
    use crate::image_cleanup::RecentPulls;
    use crate::keys::tests::TestKeys;
    use crate::runtime::tests::simulated::Simulated;
    use crate::trust::{ServerTrust, Tls};

    /// What the tasks of the instance `arn:instance` share, on a simulated runtime.
    pub(crate) async fn context(runtime: Simulated, endpoint: &str, folder: &Path) -> Context {
        let clock = Clock::default();
        let runtime: Arc<dyn ContainerRuntime> = Arc::new(runtime);
        let keys = InstanceKeys::new(Arc::new(TestKeys::default()), clock.clone());
        let tls = Tls::load(ServerTrust::OwnListener).await;
        let tls = tls.expect("a TLS client");
        let endpoint = Url::parse(endpoint).expect("a URL");
        let client = AwsClient::new(endpoint, "us-east-1".to_owned(), &tls, clock.clone());
        let client = client.expect("a client");
        let state = StateFolder::open(folder).await.expect("a folder");
        let images = Images::open(
            Arc::clone(&runtime),
            client.clone(),
            clock.clone(),
            state.clone(),
            RecentPulls::default(),
        );
        Context {
            pause_image: PauseImage::default(),
            runtime,
            client,
            keys: Arc::new(keys),
            images: images.await,
            state,
            clock,
            ids: Ids::default(),
            cluster: "demo".to_owned(),
            instance_arn: "arn:instance".to_owned(),
            availability_zone: "us-east-1a".to_owned(),
            bind_ip: None,
            host_endpoints: HostEndpoints::listen(0).expect("a port"),
            cgroup_driver: "cgroupfs".to_owned(),
            engine_is_local: true,
            cleanup_wait: Duration::ZERO,
        }
    }
}
