//! The client of TCS: the websocket that takes the health of containers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use rustls::ClientConfig;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use wharfinger_base::Timestamp;
use wharfinger_ecs_protocol::limits::{SERVER_FRAME_BYTES, SILENCE, TASKS_PER_METRICS};
use wharfinger_ecs_protocol::tcs::{
    AgentMessage, ContainerHealth, HealthStatus, InstanceStatus, Metadata, PublishHealthRequest,
    PublishInstanceStatusRequest, TaskHealth,
};

use crate::aws_client::CallError;
use crate::engine::Engine;
use crate::registration::{AGENT_HASH, AGENT_VERSION};
use crate::state_folder::InstanceRecord;
use crate::view::Health;
use crate::websocket::{Connect, ConnectError, SessionEnd, Socket, connect, send};

/// How often changes are looked for, and all is published again.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const PUBLISH_INTERVAL: Duration = Duration::from_secs(20);

/// The health of the containers of each task that have a health check.
type HealthOfTasks = BTreeMap<String, Vec<(String, Health)>>;

/// A connection to TCS.
pub(crate) struct Telemetry<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) tls: &'a Arc<ClientConfig>,
    pub(crate) docker_version: &'a str,
    pub(crate) instance: &'a InstanceRecord,
}

impl Telemetry<'_> {
    /// Connects and publishes until the connection ends. `connected` is called once it stands.
    pub(crate) async fn run(
        &self,
        endpoint: &str,
        connected: impl FnOnce(),
    ) -> Result<(), SessionEnd> {
        let mut socket = self.connect(endpoint).await?;
        connected();
        self.publish_status(&mut socket).await?;
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        let mut published = HealthOfTasks::new();
        let mut publish_at = Instant::now();
        let mut heard = Instant::now();
        loop {
            tokio::select! {
                frame = socket.next() => {
                    match frame {
                        None | Some(Ok(Message::Close(_))) => return Err(SessionEnd::Closed),
                        // Acknowledgements and heartbeats: signs of life.
                        Some(frame) => drop(frame?),
                    }
                    heard = Instant::now();
                    continue;
                }
                _ = looks.tick() => {}
            }
            if heard.elapsed() > SILENCE {
                return Err(SessionEnd::Silence);
            }
            let health = self.health();
            let changed = health != published;
            if changed || publish_at <= Instant::now() {
                self.publish(&mut socket, &health).await?;
                published = health;
                publish_at = Instant::now() + PUBLISH_INTERVAL;
            }
        }
    }

    async fn connect(&self, endpoint: &str) -> Result<Socket, SessionEnd> {
        let context = self.engine.context();
        let keys = context.keys.get().await.map_err(CallError::NoKeys);
        let keys = keys.map_err(ConnectError::from)?;
        let query = [
            ("agentHash", AGENT_HASH),
            ("agentVersion", AGENT_VERSION),
            ("cluster", self.instance.cluster.as_str()),
            ("containerInstance", self.instance.instance_arn.as_str()),
            ("dockerVersion", self.docker_version),
        ];
        let to = Connect {
            endpoint,
            query: &query,
            keys: &keys,
            region: context.client.region(),
            clock: &context.clock,
            tls: self.tls,
            max_bytes: SERVER_FRAME_BYTES,
        };
        Ok(connect(&to).await?)
    }

    fn health(&self) -> HealthOfTasks {
        let tasks = self.engine.snapshots().into_iter();
        tasks
            .map(|(arn, snapshot)| (arn, snapshot.health))
            .filter(|(_, health)| !health.is_empty())
            .collect()
    }

    fn metadata(&self, fin: bool) -> Metadata {
        Metadata {
            cluster: Some(self.instance.cluster.clone()),
            container_instance: Some(self.instance.instance_arn.clone()),
            fin: Some(fin),
            message_id: Some(self.engine.context().ids.uuid().to_string()),
            ..Metadata::default()
        }
    }

    fn now(&self) -> f64 {
        Timestamp::as_epoch_seconds(self.engine.context().clock.now())
    }

    async fn publish(&self, socket: &mut Socket, health: &HealthOfTasks) -> Result<(), SessionEnd> {
        let tasks: Vec<TaskHealth> = health
            .iter()
            .map(|(arn, containers)| self.task_health(arn, containers))
            .collect();
        let parts: Vec<_> = tasks.chunks(TASKS_PER_METRICS).collect();
        for (number, part) in parts.iter().enumerate() {
            let request = PublishHealthRequest {
                metadata: self.metadata(number + 1 == parts.len()),
                tasks: part.to_vec(),
                timestamp: Some(self.now()),
            };
            send(socket, AgentMessage::Health(request).to_frame()?).await?;
        }
        Ok(())
    }

    fn task_health(&self, arn: &str, containers: &[(String, Health)]) -> TaskHealth {
        let containers = containers.iter().map(|(name, health)| ContainerHealth {
            container_name: name.clone(),
            health_status: match health {
                Health::Unknown => HealthStatus::Unknown,
                Health::Healthy => HealthStatus::Healthy,
                Health::Unhealthy => HealthStatus::Unhealthy,
            },
            status_since: Some(self.now()),
        });
        TaskHealth {
            task_arn: arn.to_owned(),
            containers: containers.collect(),
            ..TaskHealth::default()
        }
    }

    /// Publishes that the container runtime works: the agent would not be connected otherwise.
    async fn publish_status(&self, socket: &mut Socket) -> Result<(), SessionEnd> {
        let status = InstanceStatus {
            kind: Some("CONTAINER_RUNTIME".to_owned()),
            status: Some("OK".to_owned()),
            last_status_change: Some(self.now()),
            last_updated: Some(self.now()),
        };
        let request = PublishInstanceStatusRequest {
            metadata: self.metadata(true),
            statuses: vec![status],
            timestamp: Some(self.now()),
        };
        send(socket, AgentMessage::InstanceStatus(request).to_frame()?).await
    }
}
