//! Simulated agents: each holds an ACS socket, acknowledges what it gets, and has its tasks
//! reported as running. They share the connections by which they report, as agents after one proxy
//! do.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::json;
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use wharfinger_ecs_protocol::acs::{
    AckRequest, AgentMessage, HeartbeatAckRequest, PayloadMessage, ServerMessage,
};
use wharfinger_ecs_protocol::{ACS_PATH, DesiredStatus};

use crate::agents_support::api::Api;

/// The buffer of one socket, in bytes.
const BUFFER_BYTES: usize = 4 * 1024;

/// What all agents share.
#[derive(Clone)]
pub(crate) struct Counters {
    /// Tasks whose reports were acknowledged.
    pub(crate) reported: Arc<AtomicU64>,
    reports: mpsc::UnboundedSender<(String, &'static str)>,
}

impl Counters {
    /// Starts the connections by which tasks are reported.
    pub(crate) async fn start(api: &Api, reporters: usize) -> anyhow::Result<Self> {
        let (reports, waiting) = mpsc::unbounded_channel::<(String, &'static str)>();
        let waiting = Arc::new(Mutex::new(waiting));
        let reported = Arc::new(AtomicU64::new(0));
        for _ in 0..reporters {
            let mut client = api.client().await?;
            let (waiting, reported) = (Arc::clone(&waiting), Arc::clone(&reported));
            tokio::spawn(async move {
                loop {
                    let next = waiting.lock().await.recv().await;
                    let Some((task, status)) = next else {
                        return anyhow::Ok(());
                    };
                    let container = json!({"containerName": "main", "status": status});
                    let report = json!({
                        "cluster": "bench", "task": task, "status": status,
                        "containers": [container],
                    });
                    client.call("SubmitTaskStateChange", &report).await?;
                    reported.fetch_add(1, Relaxed);
                }
            });
        }
        Ok(Self { reported, reports })
    }
}

/// Connects the agent of an instance, which then serves itself until the server ends.
pub(crate) async fn connect(api: Api, instance: String, counters: Counters) -> anyhow::Result<()> {
    let path = format!("{ACS_PATH}/ws");
    let members = [
        ("agentVersion", "1.0.0"),
        ("clusterArn", "bench"),
        ("containerInstanceArn", &instance),
        ("sendCredentials", "true"),
        ("seqNum", "1"),
    ];
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(members)
        .finish();
    let url = format!("ws://{}{path}?{query}", api.address);
    let mut request = url.into_client_request()?;
    request
        .headers_mut()
        .extend(api.signed(("GET", &path, &query), &[], b"")?);
    let stream = TcpStream::connect(&*api.address).await?;
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(0);
    let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
    tokio::spawn(serve(socket, counters));
    Ok(())
}

async fn serve(mut socket: WebSocketStream<TcpStream>, counters: Counters) -> anyhow::Result<()> {
    while let Some(message) = socket.next().await {
        let Message::Text(text) = message? else {
            continue;
        };
        let reply = match ServerMessage::from_frame(&text)? {
            Some(ServerMessage::Payload(payload)) => {
                let ack = acknowledgement(&payload);
                for task in payload.tasks {
                    let status = match task.desired_status {
                        DesiredStatus::Running => "RUNNING",
                        DesiredStatus::Stopped => "STOPPED",
                    };
                    counters.reports.send((task.arn, status))?;
                }
                ack
            }
            Some(ServerMessage::Heartbeat(heartbeat)) => {
                let message_id = heartbeat.message_id;
                AgentMessage::HeartbeatAck(HeartbeatAckRequest { message_id })
            }
            _ => continue,
        };
        socket.send(Message::text(reply.to_frame()?)).await?;
    }
    Ok(())
}

fn acknowledgement(payload: &PayloadMessage) -> AgentMessage {
    AgentMessage::Ack(AckRequest {
        cluster: payload.cluster_arn.clone(),
        container_instance: payload.container_instance_arn.clone(),
        message_id: payload.message_id.clone(),
    })
}
