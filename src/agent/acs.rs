//! The client of ACS: the websocket that brings tasks, credentials and manifests.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::StreamExt as _;
use rustls::ClientConfig;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use wharfinger_ecs_protocol::acs::{
    AckRequest, AgentMessage, HeartbeatAckRequest, IamRoleCredentialsAckRequest, ServerMessage,
    TaskManifestMessage, TaskStopVerificationMessage,
};
use wharfinger_ecs_protocol::limits::{PROTOCOL_VERSION, SERVER_FRAME_BYTES, SILENCE};
use wharfinger_ecs_protocol::{DesiredStatus, TaskIdentifier};

use crate::engine::Engine;
use crate::registration::{AGENT_HASH, AGENT_VERSION};
use crate::state_folder::InstanceRecord;
use crate::websocket::{Connect, ConnectError, SessionEnd, Socket, connect, send};

/// A connection to ACS.
pub(crate) struct Session<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) tls: &'a Arc<ClientConfig>,
    pub(crate) docker_version: &'a str,
    pub(crate) instance: &'a mut InstanceRecord,
}

impl Session<'_> {
    /// Connects and serves until the connection ends. `connected` is called once it stands.
    pub(crate) async fn run(
        &mut self,
        endpoint: &str,
        connected: impl FnOnce(),
    ) -> Result<(), SessionEnd> {
        let mut socket = match self.connect(endpoint).await {
            Err(ConnectError::Refused { message, .. }) if message.contains("InactiveInstance") => {
                return Err(SessionEnd::Inactive);
            }
            other => other?,
        };
        connected();
        loop {
            let next = timeout(SILENCE, socket.next()).await;
            let Some(frame) = next.map_err(|_| SessionEnd::Silence)? else {
                return Err(SessionEnd::Closed);
            };
            let text = match frame? {
                Message::Text(text) => text,
                Message::Close(_) => return Err(SessionEnd::Closed),
                // The library responds to pings when the socket is used next.
                _ => continue,
            };
            if let Some(message) = ServerMessage::from_frame(&text)? {
                self.take(&mut socket, message).await?;
            }
        }
    }

    async fn connect(&self, endpoint: &str) -> Result<Socket, ConnectError> {
        let context = self.engine.context();
        let keys = context.keys.get().await;
        let keys = keys.map_err(crate::aws_client::CallError::NoKeys)?;
        let (version, number) = (
            PROTOCOL_VERSION.to_string(),
            self.instance.sequence_number.max(1).to_string(),
        );
        let query = [
            ("agentHash", AGENT_HASH),
            ("agentVersion", AGENT_VERSION),
            ("clusterArn", self.instance.cluster.as_str()),
            ("containerInstanceArn", self.instance.instance_arn.as_str()),
            ("dockerVersion", self.docker_version),
            ("protocolVersion", &version),
            ("sendCredentials", "true"),
            ("seqNum", &number),
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
        connect(&to).await
    }

    async fn take(
        &mut self,
        socket: &mut Socket,
        message: ServerMessage,
    ) -> Result<(), SessionEnd> {
        match message {
            ServerMessage::Heartbeat(heartbeat) => {
                let message_id = heartbeat.message_id;
                let ack = AgentMessage::HeartbeatAck(HeartbeatAckRequest { message_id });
                send(socket, ack.to_frame()?).await
            }
            ServerMessage::Payload(payload) => {
                for task in payload.tasks {
                    let arn = task.arn.clone();
                    if let Err(error) = self.engine.accept(task).await {
                        // Without acknowledgement it comes again.
                        tracing::error!(task = arn, %error, "a task was not stored");
                        return Ok(());
                    }
                }
                self.instance.sequence_number = self.instance.sequence_number.max(payload.seq_num);
                self.store().await;
                send(socket, self.ack(payload.message_id).to_frame()?).await
            }
            ServerMessage::Credentials(message) => {
                let credentials = message.role_credentials;
                let ack = IamRoleCredentialsAckRequest {
                    message_id: Some(message.message_id),
                    credentials_id: Some(credentials.credentials_id.clone()),
                    expiration: Some(credentials.expiration.clone()),
                };
                self.engine
                    .credentials(&message.task_arn, message.role_type, credentials);
                let ack = AgentMessage::CredentialsAck(ack);
                send(socket, ack.to_frame()?).await
            }
            ServerMessage::TaskManifest(manifest) => self.compare(socket, manifest).await,
            ServerMessage::TaskStopVerificationAck(ack) => {
                for task in ack.stop_tasks {
                    tracing::info!(task = task.task_arn, "stopping a task that nobody wants");
                    self.engine.stop(&task.task_arn);
                }
                Ok(())
            }
            ServerMessage::Error(error) => {
                let message = error.message.unwrap_or_default();
                tracing::warn!(message, "the control plane reports an error");
                Ok(())
            }
            ServerMessage::Close(_) => Err(SessionEnd::Closed),
            ServerMessage::InactiveInstance(_) => Err(SessionEnd::Inactive),
        }
    }

    /// Compares what runs with what the control plane knows, and has a question about the rest.
    async fn compare(
        &mut self,
        socket: &mut Socket,
        manifest: TaskManifestMessage,
    ) -> Result<(), SessionEnd> {
        let ack = self.ack(manifest.message_id.clone());
        send(socket, ack.to_frame()?).await?;
        if manifest.timeline <= self.instance.manifest_timeline {
            return Ok(());
        }
        self.instance.manifest_timeline = manifest.timeline;
        self.store().await;
        for task in &manifest.tasks {
            if task.desired_status == DesiredStatus::Stopped {
                self.engine.stop(&task.task_arn);
            }
        }
        let wanted = |arn: &String| manifest.tasks.iter().any(|task| task.task_arn == *arn);
        let running = self.engine.snapshots().into_iter();
        let candidates = running
            .filter(|(arn, snapshot)| !snapshot.stopped && !wanted(arn))
            .map(|(task_arn, _)| TaskIdentifier {
                task_arn,
                task_cluster_arn: manifest.cluster_arn.clone(),
                desired_status: DesiredStatus::Stopped,
            });
        let stop_candidates: Vec<_> = candidates.collect();
        if stop_candidates.is_empty() {
            return Ok(());
        }
        let question = AgentMessage::TaskStopVerification(TaskStopVerificationMessage {
            message_id: manifest.message_id,
            stop_candidates,
        });
        send(socket, question.to_frame()?).await
    }

    fn ack(&self, message_id: String) -> AgentMessage {
        AgentMessage::Ack(AckRequest {
            cluster: self.instance.cluster.clone(),
            container_instance: self.instance.instance_arn.clone(),
            message_id,
        })
    }

    async fn store(&self) {
        let state = &self.engine.context().state;
        if let Err(error) = state.set_instance(self.instance).await {
            tracing::error!(%error, "the state of the instance was not stored");
        }
    }
}
