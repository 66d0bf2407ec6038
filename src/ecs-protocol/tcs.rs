//! The messages of TCS, the websocket that takes figures and health of tasks.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;

use crate::FrameError;
use crate::frame::messages;
use crate::limits::{SERVER_FRAME_BYTES, TCS_AGENT_FRAME_BYTES};

messages! {
    /// A message of the control plane.
    pub enum ServerMessage up to SERVER_FRAME_BYTES => {
        Heartbeat(Heartbeat) = "HeartbeatMessage",
        AckMetrics(Acknowledgement) = "AckPublishMetric",
        AckHealth(Acknowledgement) = "AckPublishHealth",
        AckInstanceStatus(Acknowledgement) = "AckPublishInstanceStatus",
        Error(Acknowledgement) = "ErrorMessage",
        /// The control plane ends the connection; the agent connects again.
        Close(Acknowledgement) = "CloseMessage",
    }
}

messages! {
    /// A message of the agent.
    pub enum AgentMessage up to TCS_AGENT_FRAME_BYTES => {
        Metrics(PublishMetricsRequest) = "PublishMetricsRequest",
        Health(PublishHealthRequest) = "PublishHealthRequest",
        InstanceStatus(PublishInstanceStatusRequest) = "PublishInstanceStatusRequest",
    }
}

impl AgentMessage {
    /// Reads what an agent sent: a frame, before which header lines as those of HTTP and a blank
    /// line may stand, as Amazon's agent writes them. The header lines are not looked at: the
    /// connection was authenticated when it was made.
    ///
    /// # Errors
    /// As [`AgentMessage::from_frame`].
    pub fn from_signed_frame(text: &str) -> Result<Option<Self>, FrameError> {
        let frame = if text.starts_with('{') {
            text
        } else {
            let body = text
                .split_once("\r\n\r\n")
                .or_else(|| text.split_once("\n\n"));
            body.map_or(text, |(_headers, body)| body)
        };
        Self::from_frame(frame)
    }
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Heartbeat {
    pub healthy: Option<bool>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Acknowledgement {
    pub message: Option<String>,
}

/// Who sends, and which part of a publication the frame is.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub cluster: Option<String>,
    pub container_instance: Option<String>,
    /// Whether the instance runs no task.
    pub idle: Option<bool>,
    /// Whether this is the last frame of the publication.
    pub fin: Option<bool>,
    pub message_id: Option<String>,
    pub request_id: Option<String>,
}

/// The figures of tasks since the last publication, some 20 seconds before.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishMetricsRequest {
    pub metadata: Metadata,
    pub task_metrics: Vec<TaskMetric>,
    /// Seconds since the epoch.
    pub timestamp: Option<f64>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskMetric {
    pub cluster_arn: Option<String>,
    pub task_arn: String,
    pub task_definition_family: Option<String>,
    pub task_definition_version: Option<String>,
    pub container_metrics: Vec<ContainerMetric>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerMetric {
    pub container_arn: Option<String>,
    pub container_name: Option<String>,
    /// In percent of one core.
    pub cpu_stats_set: Option<StatsSet>,
    /// In MiB.
    pub memory_stats_set: Option<StatsSet>,
    pub network_stats_set: Option<NetworkStatsSet>,
    pub storage_stats_set: Option<StorageStatsSet>,
    pub restart_stats_set: Option<RestartStatsSet>,
}

/// The distribution of the samples of one figure.
#[derive(Clone, Copy, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatsSet {
    pub min: f64,
    pub max: f64,
    pub sum: f64,
    pub sample_count: i64,
}

/// In bytes and packets.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkStatsSet {
    pub rx_bytes: Option<StatsSet>,
    pub rx_dropped: Option<StatsSet>,
    pub rx_errors: Option<StatsSet>,
    pub rx_packets: Option<StatsSet>,
    pub tx_bytes: Option<StatsSet>,
    pub tx_dropped: Option<StatsSet>,
    pub tx_errors: Option<StatsSet>,
    pub tx_packets: Option<StatsSet>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StorageStatsSet {
    pub read_size_bytes: Option<StatsSet>,
    pub write_size_bytes: Option<StatsSet>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RestartStatsSet {
    pub restart_count: Option<i64>,
}

/// The health of containers that have a health check.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishHealthRequest {
    pub metadata: Metadata,
    pub tasks: Vec<TaskHealth>,
    /// Seconds since the epoch.
    pub timestamp: Option<f64>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TaskHealth {
    pub cluster_arn: Option<String>,
    pub task_arn: String,
    pub task_definition_family: Option<String>,
    pub task_definition_version: Option<String>,
    pub containers: Vec<ContainerHealth>,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContainerHealth {
    pub container_name: String,
    pub health_status: HealthStatus,
    /// Seconds since the epoch.
    pub status_since: Option<f64>,
}

/// What the health check of a container says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HealthStatus {
    Healthy,
    Unhealthy,
    #[default]
    Unknown,
}

#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PublishInstanceStatusRequest {
    pub metadata: Metadata,
    pub statuses: Vec<InstanceStatus>,
    /// Seconds since the epoch.
    pub timestamp: Option<f64>,
}

/// The state of a part of the host.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct InstanceStatus {
    /// `CONTAINER_RUNTIME`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// `OK`, `IMPAIRED`, `INSUFFICIENT_DATA` or `INITIALIZING`.
    pub status: Option<String>,
    /// Seconds since the epoch.
    pub last_status_change: Option<f64>,
    pub last_updated: Option<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: &str = concat!(
        r#"{"type":"PublishHealthRequest","message":{"tasks":[{"taskArn":"a","#,
        r#""containers":[{"containerName":"web","healthStatus":"HEALTHY"}]}]}}"#
    );

    #[test]
    fn header_lines_before_a_frame_are_skipped() {
        let plain = AgentMessage::from_signed_frame(FRAME).expect("a frame");
        let signed = format!("Authorization: AWS4\r\nX-Amz-Date: 2026\r\n\r\n{FRAME}");
        let signed = AgentMessage::from_signed_frame(&signed).expect("a frame");
        assert_eq!(plain, signed);
        let Some(AgentMessage::Health(health)) = plain else {
            panic!("not a health message");
        };
        let container = &health.tasks[0].containers[0];
        assert_eq!(container.health_status, HealthStatus::Healthy);
    }

    #[test]
    fn header_lines_without_a_frame_are_malformed() {
        let read = AgentMessage::from_signed_frame("Authorization: AWS4\r\n");
        assert!(matches!(read, Err(FrameError::Malformed(_))));
    }
}
