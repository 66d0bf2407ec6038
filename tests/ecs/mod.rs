//! The ECS API through the program.

mod account_settings;
mod capacity_providers;
mod clusters;
mod secrets;
mod tags;
mod task_definitions;

use serde_json::json;

use crate::support::{ACCOUNT, Ecs, Setup, TestServer};

/// The ARN of a resource in the account and region of most tests.
fn arn(resource: &str) -> String {
    format!("arn:aws:ecs:us-east-1:{ACCOUNT}:{resource}")
}

/// A server, and its root's client.
async fn server() -> (TestServer, Ecs) {
    let server = TestServer::start(Setup::default()).await;
    let ecs = Ecs::of(&server.aws());
    (server, ecs)
}

/// A server with a cluster of this name, and its root's client.
async fn with_cluster(name: &str) -> (TestServer, Ecs) {
    let (server, ecs) = server().await;
    ecs.ok("CreateCluster", json!({"clusterName": name})).await;
    (server, ecs)
}

/// A policy that allows an action on a resource.
fn allow(action: &str, resource: &str) -> String {
    let statement = json!({"Effect": "Allow", "Action": action, "Resource": resource});
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}
