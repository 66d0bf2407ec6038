//! The messages of ACS, the websocket that brings tasks to an agent.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::frame::messages;
use crate::limits::{ACS_AGENT_FRAME_BYTES, SERVER_FRAME_BYTES};
use crate::{RoleCredentials, RoleType, Task, TaskIdentifier};

messages! {
    /// A message of the control plane.
    pub enum ServerMessage up to SERVER_FRAME_BYTES => {
        Heartbeat(HeartbeatMessage) = "HeartbeatMessage",
        Payload(PayloadMessage) = "PayloadMessage",
        Credentials(IamRoleCredentialsMessage) = "IAMRoleCredentialsMessage",
        TaskManifest(TaskManifestMessage) = "TaskManifestMessage",
        TaskStopVerificationAck(TaskStopVerificationAck) = "TaskStopVerificationAck",
        /// The control plane could not handle a message of the agent.
        Error(ErrorMessage) = "ErrorMessage",
        /// The control plane ends the connection; the agent connects again.
        Close(CloseMessage) = "CloseMessage",
        /// The instance is deregistered.
        InactiveInstance(ErrorMessage) = "InactiveInstanceException",
    }
}

messages! {
    /// A message of the agent.
    pub enum AgentMessage up to ACS_AGENT_FRAME_BYTES => {
        HeartbeatAck(HeartbeatAckRequest) = "HeartbeatAckRequest",
        /// Acknowledges a payload or a manifest.
        Ack(AckRequest) = "AckRequest",
        Nack(NackRequest) = "NackRequest",
        CredentialsAck(IamRoleCredentialsAckRequest) = "IAMRoleCredentialsAckRequest",
        TaskStopVerification(TaskStopVerificationMessage) = "TaskStopVerificationMessage",
    }
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatMessage {
    pub healthy: Option<bool>,
    pub message_id: Option<String>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeartbeatAckRequest {
    pub message_id: Option<String>,
}

/// Tasks that the agent is to run, and tasks that it is to stop. A task that the agent has already
/// is not started again: payloads are repeated until they are acknowledged.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PayloadMessage {
    pub cluster_arn: String,
    pub container_instance_arn: String,
    pub message_id: String,
    /// Counts the payloads of an instance.
    pub seq_num: i64,
    /// Milliseconds since the epoch.
    pub generated_at: i64,
    pub tasks: Vec<Task>,
}

#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AckRequest {
    pub cluster: String,
    pub container_instance: String,
    pub message_id: String,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NackRequest {
    pub cluster: String,
    pub container_instance: String,
    pub message_id: String,
    pub reason: Option<String>,
}

/// Credentials of a role of a task, in place of those that end soon.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IamRoleCredentialsMessage {
    pub message_id: String,
    pub task_arn: String,
    pub role_type: RoleType,
    pub role_credentials: RoleCredentials,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IamRoleCredentialsAckRequest {
    pub message_id: Option<String>,
    pub credentials_id: Option<String>,
    /// As in the credentials: RFC 3339.
    pub expiration: Option<String>,
}

/// All tasks that the control plane knows of the instance. The agent has a question about those
/// that it runs and that are missing here, by a [`TaskStopVerificationMessage`].
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskManifestMessage {
    pub cluster_arn: String,
    pub container_instance_arn: String,
    pub message_id: String,
    /// Milliseconds since the epoch.
    pub generated_at: i64,
    pub tasks: Vec<TaskIdentifier>,
    /// Greater in each manifest than in the one before; agents ignore others.
    pub timeline: i64,
}

/// Tasks that the agent runs and that its manifest lacks.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskStopVerificationMessage {
    pub message_id: String,
    pub stop_candidates: Vec<TaskIdentifier>,
}

/// Which of the candidates the agent is to stop.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskStopVerificationAck {
    /// That of the agent's message.
    pub message_id: String,
    /// Milliseconds since the epoch.
    pub generated_at: i64,
    pub stop_tasks: Vec<TaskIdentifier>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ErrorMessage {
    pub message: Option<String>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CloseMessage {
    pub message: Option<String>,
}

#[cfg(test)]
mod tests;
