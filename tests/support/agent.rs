//! An agent as far as the control plane sees one: it registers an instance, holds the websockets
//! and reports. It runs nothing.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use super::aws::Aws;
use super::ecs::Ecs;

/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_mins(1);

/// Attributes of the instances: what the tasks of tests need.
const CAPABILITIES: [&str; 6] = [
    "com.amazonaws.ecs.capability.docker-remote-api.1.18",
    "com.amazonaws.ecs.capability.docker-remote-api.1.24",
    "com.amazonaws.ecs.capability.task-iam-role",
    "com.amazonaws.ecs.capability.docker-remote-api.1.17",
    "com.amazonaws.ecs.capability.docker-remote-api.1.29",
    "ecs.capability.container-health-check",
];

/// The agent of one container instance.
#[derive(Clone)]
pub(crate) struct TestAgent {
    pub(crate) ecs: Ecs,
    pub(crate) cluster: String,
    /// The ARN of the instance.
    pub(crate) instance: String,
}

/// Status and document of a refused connection.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) document: Value,
}

/// One websocket of an agent.
pub(crate) struct AgentSocket(WebSocketStream<TcpStream>);

impl TestAgent {
    /// Registers an instance with four cores and 8 GiB.
    pub(crate) async fn register(ecs: &Ecs, cluster: &str) -> Self {
        Self::register_with(ecs, cluster, json!([])).await
    }

    /// The same, with attributes beside the capabilities.
    pub(crate) async fn register_with(ecs: &Ecs, cluster: &str, more: Value) -> Self {
        let resource = |name: &str, value: i64| {
            let kind = "INTEGER";
            json!({"name": name, "type": kind, "integerValue": value})
        };
        let ports = json!({"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22"]});
        let mut attributes: Vec<_> = CAPABILITIES.map(|name| json!({ "name": name })).into();
        attributes.extend(more.as_array().expect("attributes").iter().cloned());
        let request = json!({
            "cluster": cluster,
            "attributes": attributes,
            "totalResources": [resource("CPU", 4096), resource("MEMORY", 8192), ports],
            "versionInfo": {"agentVersion": "1.0.0", "dockerVersion": "DockerVersion: 1"},
        });
        let made = ecs.ok("RegisterContainerInstance", request).await;
        let arn = &made["containerInstance"]["containerInstanceArn"];
        Self {
            ecs: ecs.clone(),
            cluster: cluster.to_owned(),
            instance: arn.as_str().expect("an ARN").to_owned(),
        }
    }

    /// The same agent with another key.
    pub(crate) fn with(&self, ecs: &Ecs) -> Self {
        Self {
            ecs: ecs.clone(),
            ..self.clone()
        }
    }

    /// Opens ACS, and waits until tasks are placed on the instance.
    pub(crate) async fn acs(&self) -> AgentSocket {
        let socket = self.try_acs().await.expect("connected");
        let connected = async {
            while self.described().await["agentConnected"] != true {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, connected)
            .await
            .expect("connected in time");
        socket
    }

    /// Opens ACS once more, as an agent that has the credentials of its tasks.
    pub(crate) async fn acs_again(&self) -> AgentSocket {
        let socket = self.open_acs("false").await;
        socket.expect("connected")
    }

    pub(crate) async fn try_acs(&self) -> Result<AgentSocket, Refused> {
        self.open_acs("true").await
    }

    async fn open_acs(&self, send_credentials: &str) -> Result<AgentSocket, Refused> {
        let query = query(&[
            ("agentVersion", "1.0.0"),
            ("clusterArn", &self.cluster),
            ("containerInstanceArn", &self.instance),
            ("protocolVersion", "2"),
            ("sendCredentials", send_credentials),
            ("seqNum", "1"),
        ]);
        connect(self.ecs.aws(), "/acs/ws", &query).await
    }

    /// Opens TCS.
    pub(crate) async fn tcs(&self) -> AgentSocket {
        let query = query(&[
            ("agentVersion", "1.0.0"),
            ("cluster", &self.cluster),
            ("containerInstance", &self.instance),
        ]);
        let connected = connect(self.ecs.aws(), "/tcs/ws", &query).await;
        connected.expect("connected")
    }

    /// Reports the state of a task.
    pub(crate) async fn report(&self, task: &str, status: &str) {
        let report = json!({"cluster": self.cluster, "task": task, "status": status});
        self.ecs.ok("SubmitTaskStateChange", report).await;
    }

    /// The task as it is described.
    pub(crate) async fn task(&self, task: &str) -> Value {
        let request = json!({"cluster": self.cluster, "tasks": [task]});
        let mut described = self.ecs.ok("DescribeTasks", request).await;
        described["tasks"][0].take()
    }

    /// The instance as it is described.
    pub(crate) async fn described(&self) -> Value {
        let request = json!({"cluster": self.cluster, "containerInstances": [self.instance]});
        let mut described = self.ecs.ok("DescribeContainerInstances", request).await;
        described["containerInstances"][0].take()
    }
}

impl AgentSocket {
    /// The next message of this type; others are passed over.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        let found = async {
            loop {
                let message = self.0.next().await.expect("open").expect("a frame");
                let Message::Text(text) = message else {
                    continue;
                };
                let mut frame: Value = serde_json::from_str(&text).expect("JSON");
                if frame["type"] == kind {
                    return frame["message"].take();
                }
            }
        };
        timeout(PATIENCE, found).await.expect("a message in time")
    }

    /// The next payload, which is then acknowledged.
    pub(crate) async fn payload(&mut self) -> Value {
        let payload = self.next("PayloadMessage").await;
        self.acknowledge(&payload).await;
        payload
    }

    pub(crate) async fn acknowledge(&mut self, message: &Value) {
        let ack = json!({
            "cluster": message["clusterArn"],
            "containerInstance": message["containerInstanceArn"],
            "messageId": message["messageId"],
        });
        self.send("AckRequest", &ack).await;
    }

    pub(crate) async fn send(&mut self, kind: &str, message: &Value) {
        let frame = json!({"type": kind, "message": message});
        self.send_text(frame.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: String) {
        self.0.send(Message::text(text)).await.expect("sent");
    }

    /// Waits until the server closes the connection; returns its close frame.
    pub(crate) async fn closed(&mut self) -> Option<CloseFrame> {
        self.closed_within(PATIENCE).await
    }

    pub(crate) async fn closed_within(&mut self, patience: Duration) -> Option<CloseFrame> {
        let closed = async {
            loop {
                match self.0.next().await {
                    Some(Ok(Message::Close(frame))) => return frame,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        };
        timeout(patience, closed).await.expect("closed in time")
    }
}

/// The members of a query in their canonical form.
fn query(members: &[(&str, &str)]) -> String {
    let mut serializer = form_urlencoded::Serializer::new(String::new());
    serializer.extend_pairs(members).finish()
}

async fn connect(aws: &Aws, path: &str, query: &str) -> Result<AgentSocket, Refused> {
    let url = format!("ws://{}{path}?{query}", aws.address);
    let mut request = url.into_client_request().expect("a request");
    let headers = aws.signed_get(path, query);
    request.headers_mut().extend(headers);
    let stream = TcpStream::connect(aws.address).await.expect("connected");
    match client_async(request, stream).await {
        Ok((socket, _response)) => Ok(AgentSocket(socket)),
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            Err(Refused {
                status: response.status(),
                document: serde_json::from_slice(&body).unwrap_or_default(),
            })
        }
        Err(error) => panic!("no response to the handshake: {error}"),
    }
}
