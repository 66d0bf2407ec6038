//! TCS: takes the health of containers, and figures, from an agent.

use std::sync::Arc;

use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use wharfinger_ecs_protocol::limits::{HEARTBEAT_INTERVAL, SILENCE};
use wharfinger_ecs_protocol::tcs::{
    Acknowledgement, AgentMessage, HealthStatus, Heartbeat, PublishHealthRequest, ServerMessage,
    TaskHealth,
};
use wharfinger_orchestrator::identifiers::task_id;
use wharfinger_orchestrator::model;
use wharfinger_orchestrator::{self as orchestrator, Reporter};

use crate::AgentState;
use crate::acs::delivery::Pulse;
use crate::acs::{End, MAX_AGE, check, stopped};
use crate::connected_instance::ConnectedInstance;
use crate::socket::AgentSocket;

/// Serves the connection of an agent to its end.
pub(crate) async fn serve(
    state: Arc<AgentState>,
    socket: AgentSocket,
    instance: ConnectedInstance,
) {
    let id = instance.id.clone();
    let mut connection = Tcs {
        state,
        instance,
        socket,
    };
    let end = connection.run().await;
    tracing::debug!(instance = id.0, reason = %end, "the telemetry of an agent ended");
    connection.close(&end).await;
}

struct Tcs {
    state: Arc<AgentState>,
    instance: ConnectedInstance,
    socket: AgentSocket,
}

impl Tcs {
    async fn run(&mut self) -> End {
        match self.serve_messages().await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn serve_messages(&mut self) -> Result<std::convert::Infallible, End> {
        let mut stop = self.state.stop.subscribe();
        let session = &self.state.telemetry_sessions;
        let session = session.begin(&self.instance.id, self.state.clock.now());
        let now = Instant::now();
        let (mut pulse, expires_at) = (Pulse::new(now, HEARTBEAT_INTERVAL, SILENCE), now + MAX_AGE);
        loop {
            tokio::select! {
                frame = self.socket.next() => {
                    let frame = frame?;
                    pulse.heard(Instant::now());
                    if let Some(text) = frame {
                        self.take(&text).await?;
                    }
                }
                _ = session.event() => return Err(End::Replaced),
                () = stopped(&mut stop) => return Err(End::Stopping),
                () = sleep_until(pulse.next().min(expires_at)) => {
                    let now = Instant::now();
                    if pulse.is_silent(now) {
                        return Err(End::Silent);
                    }
                    if now >= expires_at {
                        return Err(End::Expired);
                    }
                    if pulse.beats(now) {
                        check(&self.state, &self.instance).await?;
                        let heartbeat = Heartbeat { healthy: Some(true) };
                        self.send(&ServerMessage::Heartbeat(heartbeat)).await?;
                        // Agents do not acknowledge heartbeats here, and may have nothing to say.
                        self.socket.ping().await?;
                    }
                }
            }
        }
    }

    async fn take(&mut self, text: &Utf8Bytes) -> Result<(), End> {
        let ack = Acknowledgement {
            message: Some("ok".to_owned()),
        };
        let reply = match AgentMessage::from_signed_frame(text)? {
            Some(AgentMessage::Health(health)) => {
                self.take_health(health).await?;
                ServerMessage::AckHealth(ack)
            }
            // Figures are the input of metrics, which this server does not keep.
            Some(AgentMessage::Metrics(_)) => ServerMessage::AckMetrics(ack),
            Some(AgentMessage::InstanceStatus(_)) => ServerMessage::AckInstanceStatus(ack),
            None => return Ok(()),
        };
        self.send(&reply).await
    }

    async fn take_health(&mut self, health: PublishHealthRequest) -> Result<(), End> {
        let assignments = &self.state.orchestrator.assignments;
        let cluster = &self.instance.cluster;
        for TaskHealth {
            task_arn,
            containers,
            ..
        } in health.tasks
        {
            let Ok(id) = task_id(&cluster.name, &task_arn) else {
                continue;
            };
            let containers = containers.into_iter();
            let containers = containers.map(|one| (one.container_name, status(one.health_status)));
            let sender = Reporter::Instance(&self.instance.id);
            let reported = assignments.report_health(cluster, &id, sender, containers.collect());
            match reported.await {
                // A task of before: the agent learns elsewhere that it is not its own any more.
                Ok(())
                | Err(
                    orchestrator::Error::InvalidParameter(_) | orchestrator::Error::NotAllowed(_),
                ) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    async fn send(&mut self, message: &ServerMessage) -> Result<(), End> {
        let frame = message.to_frame()?;
        self.socket.send(frame).await.map_err(End::Socket)
    }

    async fn close(mut self, end: &End) {
        let code = match end {
            End::Socket(error) => return self.socket.close(error).await,
            End::Frame(_) | End::Revoked => CloseCode::Policy,
            End::Stopping => CloseCode::Away,
            End::Failed(_) => CloseCode::Error,
            _ => CloseCode::Normal,
        };
        self.socket.close_with(code, &end.to_string()).await;
    }
}

const fn status(reported: HealthStatus) -> model::HealthStatus {
    match reported {
        HealthStatus::Healthy => model::HealthStatus::Healthy,
        HealthStatus::Unhealthy => model::HealthStatus::Unhealthy,
        HealthStatus::Unknown => model::HealthStatus::Unknown,
    }
}
