//! The agent of a host: one Docker Engine, one control plane, any number of instances.

use std::sync::Arc;

use url::Url;
use wharfinger_base::{Clock, Ids};

use crate::aws_client::AwsClient;
use crate::image_cleanup::RecentPulls;
use crate::imported_image::PauseImage;
use crate::instance::{self, InstanceConfig, Shared};
use crate::keys::{InstanceKeys, KeySource};
use crate::runtime::{ContainerRuntime as _, Docker, RuntimeError};
use crate::trust::{ServerTrust, Tls};

/// What the instances of an agent share.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// The control plane, which serves all APIs.
    pub endpoint: Url,
    pub region: String,
    pub trust: ServerTrust,
    /// The Docker Engine (`unix:///…`, `tcp://…`); that of the environment without.
    pub docker_host: Option<String>,
}

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct AgentError(String);

impl AgentError {
    pub(crate) fn of(cause: impl std::fmt::Display) -> Self {
        Self(cause.to_string())
    }
}

/// An agent that has reached its Docker Engine. Cloning shares it.
#[derive(Clone)]
pub struct Agent(Shared);

impl Agent {
    /// Connects to the Docker Engine.
    ///
    /// # Errors
    /// Where no Docker Engine replies, or TLS cannot be set up.
    pub async fn connect(
        config: AgentConfig,
        keys: Arc<dyn KeySource>,
        clock: Clock,
        ids: Ids,
    ) -> Result<Self, AgentError> {
        let unreachable = |error: RuntimeError| AgentError(error.to_string());
        let docker = Docker::connect(config.docker_host.as_deref()).await;
        let docker = docker.map_err(unreachable)?;
        let host = docker.info().await.map_err(unreachable)?;
        let tls = tls(config.trust).await?;
        let own = config.trust == ServerTrust::OwnListener;
        let poll_endpoint = own.then(|| config.endpoint.as_str().trim_end_matches('/').to_owned());
        let client = AwsClient::new(config.endpoint, config.region, &tls, clock.clone());
        Ok(Self(Shared {
            runtime: Arc::new(docker),
            pause_image: PauseImage::default(),
            recent_pulls: RecentPulls::default(),
            host,
            client: client.map_err(|error| AgentError(error.to_string()))?,
            keys: Arc::new(InstanceKeys::new(keys, clock.clone())),
            tls: tls.endpoint,
            poll_endpoint,
            clock,
            ids,
        }))
    }

    /// Runs one instance. Ends only where it is deregistered and told to end then, or its state
    /// cannot be kept. Dropping the future ends the agent's work, and containers go on.
    pub async fn run(&self, instance: InstanceConfig) {
        instance::run(self.0.clone(), instance).await;
    }
}

pub(crate) async fn tls(trust: ServerTrust) -> Result<Tls, AgentError> {
    let loaded = Tls::load(trust).await;
    loaded.map_err(|error| AgentError(format!("a TLS client cannot be made: {error}")))
}
