//! The websockets of agents: who may open them, and what they carry.

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};

use super::{allow, arn, with_cluster};
use crate::support::{ACCOUNT, Ecs, TestAgent, TestServer};

/// A server with the cluster `web`, an instance in it and the task definition `sleep`.
async fn with_agent() -> (TestServer, TestAgent) {
    let (server, ecs) = with_cluster("web").await;
    let container = json!({"name": "main", "image": "busybox", "memory": 64, "cpu": 10});
    let definition = json!({"family": "sleep", "containerDefinitions": [container]});
    ecs.ok("RegisterTaskDefinition", definition).await;
    let agent = TestAgent::register(&ecs, "web").await;
    (server, agent)
}

/// Runs tasks; returns their ARNs.
async fn run(agent: &TestAgent, count: usize) -> Vec<String> {
    let request = json!({"cluster": "web", "taskDefinition": "sleep", "count": count});
    let started = agent.ecs.ok("RunTask", request).await;
    assert_eq!(started["failures"], json!([]), "{started}");
    let tasks = started["tasks"].as_array().expect("tasks");
    tasks.iter().map(|task| text(&task["taskArn"])).collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn task_arns(payload: &Value) -> Vec<String> {
    let tasks = payload["tasks"].as_array().expect("tasks");
    let mut arns: Vec<_> = tasks.iter().map(|task| text(&task["arn"])).collect();
    arns.sort_unstable();
    arns
}

#[tokio::test]
async fn an_agent_is_told_its_tasks_once() {
    let (_server, agent) = with_agent().await;
    let mut acs = agent.acs().await;
    assert_eq!(agent.described().await["agentConnected"], true);
    let first = run(&agent, 1).await;
    let payload = acs.payload().await;
    assert_eq!(payload["clusterArn"], arn("cluster/web"));
    assert_eq!(payload["containerInstanceArn"], agent.instance);
    assert_eq!(task_arns(&payload), first);
    let task = &payload["tasks"][0];
    assert_eq!(task["desiredStatus"], "RUNNING");
    assert_eq!(task["family"], "sleep");
    assert_eq!(task["containers"][0]["name"], "main");
    let second = run(&agent, 1).await;
    let next = acs.payload().await;
    assert_eq!(task_arns(&next), second, "the first one was acknowledged");
    assert!(next["seqNum"].as_i64() > payload["seqNum"].as_i64());
}

#[tokio::test]
async fn what_was_not_acknowledged_is_told_again() {
    let (_server, agent) = with_agent().await;
    let mut acs = agent.acs().await;
    let tasks = run(&agent, 1).await;
    let unacknowledged = acs.next("PayloadMessage").await;
    assert_eq!(task_arns(&unacknowledged), tasks);
    // Within the same connection, after the time in which an agent acknowledges.
    let again = acs.next("PayloadMessage").await;
    assert_eq!(task_arns(&again), tasks);
    assert_ne!(again["messageId"], unacknowledged["messageId"]);
    drop(acs);
    let mut acs = agent.acs().await;
    assert_eq!(task_arns(&acs.payload().await), tasks);
}

/// An agent that has lost its state starts its tasks again; any other takes a task once.
#[tokio::test]
async fn an_agent_that_begins_anew_is_told_the_tasks_that_ran() {
    let (_server, agent) = with_agent().await;
    let mut acs = agent.acs().await;
    let tasks = run(&agent, 1).await;
    acs.payload().await;
    agent.report(&tasks[0], "RUNNING").await;
    assert_eq!(agent.task(&tasks[0]).await["connectivity"], "CONNECTED");
    drop(acs);
    let disconnected = async {
        while agent.task(&tasks[0]).await["connectivity"] != "DISCONNECTED" {
            tokio::task::yield_now().await;
        }
    };
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, disconnected)
        .await
        .expect("noticed in time");
    let mut acs = agent.acs().await;
    let payload = acs.payload().await;
    assert_eq!(task_arns(&payload), tasks);
    assert_eq!(payload["tasks"][0]["desiredStatus"], "RUNNING");
    assert_eq!(agent.task(&tasks[0]).await["connectivity"], "CONNECTED");
}

#[tokio::test]
async fn an_agent_that_lost_its_first_connection_is_told_the_tasks_that_ran() {
    let (_server, agent) = with_agent().await;
    let mut acs = agent.acs().await;
    let tasks = run(&agent, 1).await;
    acs.payload().await;
    agent.report(&tasks[0], "RUNNING").await;
    drop(acs);
    let mut first = agent.acs().await;
    assert_eq!(task_arns(&first.next("PayloadMessage").await), tasks);
    // It ends before the acknowledgement, and agents request credentials once only.
    drop(first);
    let mut second = agent.acs_again().await;
    assert_eq!(task_arns(&second.payload().await), tasks);
    // The acknowledgement has arrived when the next payload comes.
    let more = run(&agent, 1).await;
    assert_eq!(task_arns(&second.payload().await), more);
    agent.report(&more[0], "RUNNING").await;
    drop(second);
    let mut third = agent.acs_again().await;
    let last = run(&agent, 1).await;
    assert_eq!(task_arns(&third.payload().await), last);
}

#[tokio::test]
async fn a_task_runs_and_stops_as_its_agent_reports() {
    let (_server, agent) = with_agent().await;
    let mut acs = agent.acs().await;
    let tasks = run(&agent, 1).await;
    let task = tasks[0].as_str();
    acs.payload().await;
    let running = json!({
        "cluster": "web",
        "task": task,
        "status": "RUNNING",
        "pullStartedAt": 1_700_000_000.5,
        "containers": [{
            "containerName": "main",
            "status": "RUNNING",
            "runtimeId": "abc",
            "imageDigest": "sha256:1",
            "networkBindings": [
                {"bindIP": "0.0.0.0", "containerPort": 80, "hostPort": 32768, "protocol": "tcp"}
            ],
        }],
    });
    let acknowledged = agent.ecs.ok("SubmitTaskStateChange", running).await;
    assert!(acknowledged["acknowledgment"].is_string());
    let described = agent.task(task).await;
    assert_eq!(described["lastStatus"], "RUNNING");
    assert_eq!(described["pullStartedAt"], 1_700_000_000.5);
    assert!(described["startedAt"].is_number());
    let container = &described["containers"][0];
    assert_eq!(container["runtimeId"], "abc");
    assert_eq!(container["networkBindings"][0]["hostPort"], 32768);

    let stop = json!({"cluster": "web", "task": task, "reason": "enough"});
    agent.ecs.ok("StopTask", stop).await;
    let payload = acs.payload().await;
    assert_eq!(task_arns(&payload), tasks);
    assert_eq!(payload["tasks"][0]["desiredStatus"], "STOPPED");
    assert_eq!(payload["tasks"][0]["containers"], json!([]));

    let container = json!({
        "cluster": "web", "task": task, "containerName": "main", "status": "STOPPED",
        "exitCode": 137,
    });
    agent.ecs.ok("SubmitContainerStateChange", container).await;
    agent.report(task, "STOPPED").await;
    // Doubled and late reports change nothing.
    agent.report(task, "STOPPED").await;
    agent.report(task, "RUNNING").await;
    let described = agent.task(task).await;
    assert_eq!(described["lastStatus"], "STOPPED");
    assert_eq!(described["stoppedReason"], "enough");
    assert_eq!(described["stopCode"], "UserInitiated");
    assert_eq!(described["containers"][0]["exitCode"], 137);
    let remaining = agent.described().await["remainingResources"].to_string();
    assert!(
        remaining.contains("4096"),
        "resources are free again: {remaining}"
    );
}

#[tokio::test]
async fn a_report_for_no_task_is_refused_so_that_agents_give_up() {
    let (_server, agent) = with_agent().await;
    let unknown = json!({"cluster": "web", "task": "0".repeat(32), "status": "STOPPED"});
    let code = "InvalidParameterException";
    agent
        .ecs
        .refused(
            "SubmitTaskStateChange",
            unknown,
            code,
            "Could not find the task",
        )
        .await;
    let mut acs = agent.acs().await;
    let task = run(&agent, 1).await.remove(0);
    acs.payload().await;
    let odd = json!({"cluster": "web", "task": task, "status": "DANCING"});
    agent
        .ecs
        .refused(
            "SubmitTaskStateChange",
            odd,
            code,
            "Invalid status: DANCING",
        )
        .await;
}

#[tokio::test]
async fn a_manifest_tells_what_the_instance_has_and_strangers_are_stopped() {
    let (_server, agent) = with_agent().await;
    let mut acs = agent.acs().await;
    let tasks = run(&agent, 2).await;
    acs.payload().await;
    agent.report(&tasks[0], "RUNNING").await;
    drop(acs);
    let mut acs = agent.acs().await;
    let manifest = acs.next("TaskManifestMessage").await;
    let listed = manifest["tasks"].as_array().expect("tasks");
    let mut listed: Vec<_> = listed.iter().map(|task| text(&task["taskArn"])).collect();
    listed.sort_unstable();
    let mut expected = tasks.clone();
    expected.sort_unstable();
    assert_eq!(listed, expected);
    assert!(manifest["timeline"].as_i64() > Some(0));
    let stranger = arn(&format!("task/web/{}", "f".repeat(32)));
    let candidate = |task: &str| {
        json!({
            "taskArn": task, "taskClusterArn": arn("cluster/web"), "desiredStatus": "STOPPED",
        })
    };
    let question = json!({
        "messageId": "q1",
        "stopCandidates": [candidate(&tasks[0]), candidate(&stranger), candidate("nonsense")],
    });
    acs.send("TaskStopVerificationMessage", &question).await;
    let reply = acs.next("TaskStopVerificationAck").await;
    assert_eq!(reply["messageId"], "q1");
    assert_eq!(
        reply["stopTasks"],
        json!([candidate(&stranger), candidate("nonsense")])
    );
}

#[tokio::test]
async fn a_second_session_ends_the_first() {
    let (_server, agent) = with_agent().await;
    let mut first = agent.acs().await;
    let mut second = agent.acs().await;
    let close = first.next("CloseMessage").await;
    assert!(
        text(&close["message"]).contains("another connection"),
        "{close}"
    );
    first.closed().await;
    let tasks = run(&agent, 1).await;
    assert_eq!(task_arns(&second.payload().await), tasks);
    assert_eq!(agent.described().await["agentConnected"], true);
}

#[tokio::test]
async fn an_instance_without_a_session_gets_no_tasks() {
    let (_server, agent) = with_agent().await;
    let request = json!({"cluster": "web", "taskDefinition": "sleep"});
    let refused = agent.ecs.ok("RunTask", request.clone()).await;
    assert_eq!(refused["failures"][0]["reason"], "AGENT", "{refused}");
    let acs = agent.acs().await;
    run(&agent, 1).await;
    drop(acs);
    let disconnected = async {
        while agent.described().await["agentConnected"] != false {
            tokio::task::yield_now().await;
        }
    };
    let patience = Duration::from_secs(20);
    tokio::time::timeout(patience, disconnected)
        .await
        .expect("noticed in time");
    let refused = agent.ecs.ok("RunTask", request).await;
    assert_eq!(refused["failures"][0]["reason"], "AGENT", "{refused}");
}

#[tokio::test]
async fn only_the_registrant_or_an_administrator_connects_and_reports() {
    let (server, agent) = with_agent().await;
    let user = |name: &str, policy: &str| Ecs::of(&server.aws_user(ACCOUNT, name, policy));
    // Agents of other instances have this policy.
    let other = user("other", "AmazonEC2ContainerServiceforEC2Role");
    let refused = agent.with(&other).try_acs().await.err().expect("refused");
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    let message = text(&refused.document["AccessDeniedException"]);
    assert!(
        message.contains("Only the principal that registered"),
        "{message}"
    );
    let nobody = user("nobody", &allow("ecs:ListClusters", "*"));
    let refused = agent.with(&nobody).try_acs().await.err().expect("refused");
    let message = text(&refused.document["AccessDeniedException"]);
    assert!(
        message.contains("is not authorized to perform: ecs:Poll"),
        "{message}"
    );

    let mut acs = agent.acs().await;
    let task = run(&agent, 1).await.remove(0);
    acs.payload().await;
    let report = json!({"cluster": "web", "task": task, "status": "STOPPED"});
    let denied = other.call("SubmitTaskStateChange", report.clone()).await;
    assert_eq!(denied.code(), "AccessDeniedException");
    assert_eq!(agent.task(&task).await["lastStatus"], "PENDING");
    let administers = |instances: &str| {
        let statements = json!([
            {"Effect": "Allow", "Action": "ecs:Submit*", "Resource": "*"},
            {"Effect": "Allow", "Action": "ecs:UpdateContainerAgent", "Resource": instances},
        ]);
        json!({"Version": "2012-10-17", "Statement": statements}).to_string()
    };
    let elsewhere = user("elsewhere", &administers(&arn("container-instance/api/*")));
    let running = json!({"cluster": "web", "task": task, "status": "RUNNING"});
    let denied = elsewhere
        .call("SubmitTaskStateChange", running.clone())
        .await;
    assert_eq!(denied.code(), "AccessDeniedException");
    let here = user("here", &administers(&agent.instance));
    here.ok("SubmitTaskStateChange", running).await;
    assert_eq!(agent.task(&task).await["lastStatus"], "RUNNING");
    let administrator = user("admin", &allow("ecs:*", "*"));
    administrator.ok("SubmitTaskStateChange", report).await;
    assert_eq!(agent.task(&task).await["lastStatus"], "STOPPED");
    agent
        .with(&administrator)
        .try_acs()
        .await
        .expect("connected");
}

#[tokio::test]
async fn wrong_signatures_and_unknown_instances_are_refused() {
    let (server, agent) = with_agent().await;
    let wrong = server.aws_with(&agent.ecs.aws().access_key_id, "wrong");
    let refused = agent
        .with(&Ecs::of(&wrong))
        .try_acs()
        .await
        .err()
        .expect("refused");
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(
        refused.document["UnrecognizedClientException"].is_string(),
        "{refused:?}"
    );

    let mut unknown = agent.clone();
    unknown.instance = arn(&format!("container-instance/web/{}", "0".repeat(32)));
    let refused = unknown.try_acs().await.err().expect("refused");
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
    assert!(
        refused.document["InvalidInstanceException"].is_string(),
        "{refused:?}"
    );
    let mut elsewhere = agent.clone();
    "none".clone_into(&mut elsewhere.cluster);
    let refused = elsewhere.try_acs().await.err().expect("refused");
    assert!(
        refused.document["InvalidClusterException"].is_string(),
        "{refused:?}"
    );

    let request = json!({"cluster": "web", "containerInstance": agent.instance, "force": true});
    agent.ecs.ok("DeregisterContainerInstance", request).await;
    let refused = agent.try_acs().await.err().expect("refused");
    assert!(
        refused.document["InactiveInstanceException"].is_string(),
        "{refused:?}"
    );

    let plain = server
        .client()
        .get("/acs/ws?clusterArn=web&containerInstanceArn=x")
        .await;
    assert_eq!(plain.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn frames_that_are_too_large_or_no_messages_end_the_connection() {
    let (_server, agent) = with_agent().await;
    let mut acs = agent.acs().await;
    acs.send_text("x".repeat(200 * 1024)).await;
    let frame = acs.closed().await.expect("a close frame");
    assert_eq!(u16::from(frame.code), 1009);
    let mut acs = agent.acs().await;
    acs.send_text("no JSON".to_owned()).await;
    let frame = acs.closed().await.expect("a close frame");
    assert_eq!(u16::from(frame.code), 1008);
    let mut acs = agent.acs().await;
    acs.send("OfTheFuture", &json!({"a": 1})).await;
    let tasks = run(&agent, 1).await;
    assert_eq!(task_arns(&acs.payload().await), tasks);
}

#[tokio::test]
async fn a_silent_agent_is_disconnected_and_a_replying_one_is_not() {
    let (_server, agent) = with_agent().await;
    let replying = TestAgent::register(&agent.ecs, "web").await;
    let (mut silent, mut acs) = (agent.acs().await, replying.acs().await);
    let replies = async {
        loop {
            let heartbeat = acs.next("HeartbeatMessage").await;
            let ack = json!({"messageId": heartbeat["messageId"]});
            acs.send("HeartbeatAckRequest", &ack).await;
        }
    };
    tokio::select! {
        () = replies => {}
        _ = silent.closed_within(Duration::from_secs(100)) => {}
    }
    assert_eq!(agent.described().await["agentConnected"], false);
    assert_eq!(replying.described().await["agentConnected"], true);
}

#[tokio::test]
async fn health_comes_over_telemetry() {
    let (_server, agent) = with_agent().await;
    let check = json!({"command": ["CMD-SHELL", "true"]});
    let container = json!({
        "name": "main", "image": "busybox", "memory": 64, "healthCheck": check,
    });
    let definition = json!({"family": "sleep", "containerDefinitions": [container]});
    agent.ecs.ok("RegisterTaskDefinition", definition).await;
    let mut acs = agent.acs().await;
    let task = run(&agent, 1).await.remove(0);
    acs.payload().await;
    agent.report(&task, "RUNNING").await;
    let mut tcs = agent.tcs().await;
    let health = json!({
        "metadata": {"cluster": "web"},
        "tasks": [{
            "taskArn": task,
            "containers": [{"containerName": "main", "healthStatus": "HEALTHY"}],
        }],
    });
    let frame = json!({"type": "PublishHealthRequest", "message": health});
    // Amazon's agent writes header lines before its frames.
    tcs.send_text(format!("Host: x\r\nX-Amz-Date: 1\r\n\r\n{frame}"))
        .await;
    tcs.next("AckPublishHealth").await;
    let described = agent.task(&task).await;
    assert_eq!(described["healthStatus"], "HEALTHY");
    assert_eq!(described["containers"][0]["healthStatus"], "HEALTHY");
    tcs.send(
        "PublishMetricsRequest",
        &json!({"metadata": {"idle": true}}),
    )
    .await;
    tcs.next("AckPublishMetric").await;
}

#[tokio::test]
async fn telemetry_of_a_deregistered_instance_ends() {
    let (_server, agent) = with_agent().await;
    let mut tcs = agent.tcs().await;
    let request = json!({"cluster": "web", "containerInstance": agent.instance});
    agent.ecs.ok("DeregisterContainerInstance", request).await;
    // At the next heartbeat.
    let close = tcs.closed_within(Duration::from_secs(100)).await;
    let reason = close.expect("a close frame").reason;
    assert_eq!(reason, "the container instance was deregistered");
}

#[tokio::test]
async fn the_connections_of_a_principal_end_with_its_permission() {
    const ROLE: &str = "AmazonEC2ContainerServiceforEC2Role";
    let (server, ecs) = with_cluster("web").await;
    let mut connected = Vec::new();
    for name in ["disabled", "deleted", "detached"] {
        let user = Ecs::of(&server.aws_user(ACCOUNT, name, ROLE));
        let agent = TestAgent::register(&user, "web").await.with(&ecs);
        let agent_of_user = agent.with(&user);
        let acs = agent_of_user.try_acs().await.expect("connected");
        connected.push((agent, [acs, agent_of_user.tcs().await]));
    }
    server.command(&["user", "disable", "disabled"]);
    server.command(&["user", "delete", "deleted"]);
    server.command(&["user", "detach", "detached", ROLE]);
    for (agent, sockets) in connected {
        // At the next heartbeat.
        for mut socket in sockets {
            let close = socket.closed_within(Duration::from_secs(100)).await;
            let reason = close.expect("a close frame").reason;
            let expected = "the permission to connect for the container instance has ended";
            assert_eq!(reason, expected);
        }
        while agent.described().await["agentConnected"] != false {
            tokio::task::yield_now().await;
        }
    }
}

/// Revisions count from 1 again after the reset of a development server.
#[tokio::test]
async fn payloads_after_a_reset_have_the_new_task_definitions() {
    let server = TestServer::dev().await;
    let ecs = Ecs::of(&server.aws());
    for image in ["old", "new"] {
        ecs.ok("CreateCluster", json!({"clusterName": "web"})).await;
        let container = json!({"name": "main", "image": image, "memory": 64});
        let definition = json!({"family": "sleep", "containerDefinitions": [container]});
        ecs.ok("RegisterTaskDefinition", definition).await;
        let agent = TestAgent::register(&ecs, "web").await;
        let mut acs = agent.acs().await;
        run(&agent, 1).await;
        let payload = acs.payload().await;
        assert_eq!(payload["tasks"][0]["containers"][0]["image"], image);
        let reset = server.client().post("/_wharfinger/reset", "").await;
        assert_eq!(reset.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn endpoints_are_named_by_the_host_that_the_agent_used() {
    let (server, agent) = with_agent().await;
    let found = agent
        .ecs
        .ok("DiscoverPollEndpoint", json!({"cluster": "web"}))
        .await;
    let base = format!("http://{}", server.address);
    assert_eq!(found["endpoint"], format!("{base}/acs"));
    assert_eq!(found["telemetryEndpoint"], format!("{base}/tcs"));
}
