//! The parameters of the requests that open the websockets.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

/// The path of the ACS endpoint, below the URL of the control plane. Agents add `/ws` to an
/// endpoint.
pub const ACS_PATH: &str = "/acs";
/// The path of the TCS endpoint.
pub const TCS_PATH: &str = "/tcs";

/// The query of `GET /ws` for ACS. An agent may leave out all but the two ARNs.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcsParameters {
    pub agent_hash: Option<String>,
    pub agent_version: Option<String>,
    /// The name or ARN of the cluster.
    pub cluster_arn: String,
    /// The id or ARN of the instance.
    pub container_instance_arn: String,
    /// `DockerVersion: X`.
    pub docker_version: Option<String>,
    pub protocol_version: Option<String>,
    /// `true` where payloads are to hold credentials.
    pub send_credentials: Option<String>,
    pub seq_num: Option<String>,
}

/// The query of `GET /ws` for TCS.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TcsParameters {
    pub agent_hash: Option<String>,
    pub agent_version: Option<String>,
    /// The name or ARN of the cluster.
    pub cluster: String,
    /// The id or ARN of the instance.
    pub container_instance: String,
    pub docker_version: Option<String>,
}
