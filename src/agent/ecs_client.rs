//! A client of the ECS API for commands, with keys as every AWS client finds them.

use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;
use wharfinger_base::Clock;

use crate::agent::{AgentError, tls};
use crate::aws_client::{AwsClient, ECS};
use crate::default_keys::DefaultKeys;
use crate::keys::KeySource as _;
use crate::trust::ServerTrust;

/// A client of the ECS API of one server and region.
pub struct EcsClient(AwsClient);

impl EcsClient {
    /// # Errors
    /// Where the TLS client cannot be made.
    pub async fn new(endpoint: Url, region: String) -> Result<Self, AgentError> {
        let tls = tls(ServerTrust::System).await?;
        let client = AwsClient::new(endpoint, region, &tls, Clock::default());
        client.map(Self).map_err(AgentError::of)
    }

    /// Calls an operation.
    ///
    /// # Errors
    /// Missing keys, a server that cannot be reached, or its refusal.
    pub async fn call<T: DeserializeOwned>(
        &self,
        operation: &str,
        request: &Value,
    ) -> Result<T, AgentError> {
        let keys = DefaultKeys.keys().await.map_err(AgentError::of)?;
        let reply = self.0.call(&keys, ECS, operation, request).await;
        reply.map_err(AgentError::of)
    }
}
