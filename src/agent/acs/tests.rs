//! A connection with a control plane that lists the tasks that it knows.

use std::time::Duration;

use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, accept_async};
use wharfinger_ecs_protocol::Task;

use super::*;
use crate::engine::tests::{Bench, container};
use crate::trust::{ServerTrust, Tls};

const PATIENCE: Duration = Duration::from_secs(20);

/// The control plane's end of a connection.
struct ControlPlane(WebSocketStream<TcpStream>);

impl ControlPlane {
    async fn send(&mut self, kind: &str, message: &Value) {
        let frame = json!({"type": kind, "message": message}).to_string();
        self.0.send(Message::text(frame)).await.expect("sent");
    }

    /// The next message of the agent of this kind.
    async fn next(&mut self, kind: &str) -> Value {
        let found = async {
            loop {
                let frame = self.0.next().await.expect("a frame").expect("read");
                let frame: Value =
                    serde_json::from_str(frame.to_text().expect("text")).expect("JSON");
                if frame["type"] == kind {
                    return frame["message"].clone();
                }
            }
        };
        timeout(PATIENCE, found).await.expect("in time")
    }

    /// Sends a manifest, and waits until the agent has it.
    async fn manifest(&mut self, timeline: i64, tasks: &[(&str, &str)]) {
        let tasks: Vec<_> = tasks
            .iter()
            .map(|(task, desired)| {
                json!({"taskArn": arn(task), "taskClusterArn": "demo", "desiredStatus": desired})
            })
            .collect();
        let message = json!({
            "clusterArn": "demo",
            "containerInstanceArn": "arn:instance",
            "messageId": format!("manifest-{timeline}"),
            "generatedAt": 1,
            "timeline": timeline,
            "tasks": tasks,
        });
        self.send("TaskManifestMessage", &message).await;
        self.next("AckRequest").await;
    }
}

fn arn(task: &str) -> String {
    format!("arn:aws:ecs:us-east-1:123456789012:task/demo/{task}")
}

async fn until(bench: &Bench, task: &str, status: &str) {
    let arn = arn(task);
    let is_wanted = |report: &Value| report["task"] == arn && report["status"] == status;
    bench.report(is_wanted).await;
}

#[tokio::test]
async fn tasks_that_nobody_wants_are_stopped_once_the_control_plane_says_so() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    for task in ["kept", "ended", "forgotten", "unlisted"] {
        let task = Task {
            arn: arn(task),
            containers: vec![container("web", "wait")],
            ..Task::default()
        };
        engine.accept(task).await.expect("stored");
    }
    for task in ["kept", "ended", "forgotten", "unlisted"] {
        until(&bench, task, "RUNNING").await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let tls = Tls::load(ServerTrust::OwnListener).await.expect("TLS");
    let mut instance = InstanceRecord {
        manifest_timeline: 4,
        ..InstanceRecord::default()
    };
    let mut session = Session {
        engine: &engine,
        tls: &tls.endpoint,
        docker_version: "",
        instance: &mut instance,
    };
    let control_plane = async {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut acs = ControlPlane(accept_async(stream).await.expect("a websocket"));
        // One that is not newer than the last changes nothing.
        acs.manifest(4, &[("kept", "STOPPED")]).await;
        let listed = [
            ("kept", "RUNNING"),
            ("ended", "STOPPED"),
            ("missing", "RUNNING"),
        ];
        acs.manifest(5, &listed).await;
        let verification = acs.next("TaskStopVerificationMessage").await;
        until(&bench, "ended", "STOPPED").await;
        let candidates = verification["stopCandidates"].as_array().expect("a list");
        let mut candidate_arns: Vec<_> = candidates
            .iter()
            .map(|one| one["taskArn"].clone())
            .collect();
        candidate_arns.retain(|task| *task != json!(arn("ended")));
        assert_eq!(
            candidate_arns,
            [json!(arn("forgotten")), json!(arn("unlisted"))]
        );
        let ack = json!({
            "messageId": verification["messageId"],
            "generatedAt": 2,
            "stopTasks": [candidates.iter().find(|one| one["taskArn"] == arn("forgotten"))],
        });
        acs.send("TaskStopVerificationAck", &ack).await;
        until(&bench, "forgotten", "STOPPED").await;
        for task in ["kept", "unlisted"] {
            let snapshots = engine.snapshots();
            assert!(!snapshots[&arn(task)].stopped, "{task}");
        }
    };
    tokio::select! {
        ended = session.run(&endpoint, || {}) => panic!("the session ended: {ended:?}"),
        () = control_plane => {}
    }
    assert_eq!(instance.manifest_timeline, 5);
}
