//! The host as a container instance of its own server.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Ecs, Setup, TestServer};

#[tokio::test]
async fn a_host_without_a_docker_engine_says_so_once_and_serves() {
    const SAID: &str = "no Docker Engine is reachable";
    let server = TestServer::start(Setup {
        arguments: &["--local-clusters=all", "--docker-host=unix:///nowhere"],
        ..Setup::default()
    })
    .await;
    let ecs = Ecs::of(&server.aws());
    let end = Instant::now() + Duration::from_secs(20);
    while !server.log().contains(SAID) {
        assert!(Instant::now() < end, "never said");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let listed = ecs.ok("ListClusters", json!({})).await;
    assert_eq!(listed, json!({"clusterArns": []}));

    // A cluster that somebody makes has no instances.
    ecs.ok("CreateCluster", json!({"clusterName": "c"})).await;
    let container = json!({"name": "web", "image": "nginx", "memory": 128});
    let definition = json!({"family": "web", "containerDefinitions": [container]});
    ecs.ok("RegisterTaskDefinition", definition).await;
    let run = json!({"cluster": "c", "taskDefinition": "web"});
    let message = "No Container Instances were found in your cluster.";
    let code = "InvalidParameterException";
    ecs.refused("RunTask", run, code, message).await;
    assert_eq!(server.log().matches(SAID).count(), 1, "{}", server.log());
}
