//! The ECS API through the program.

mod account_settings;
mod accounts;
mod agent_protocol;
mod agent_roles;
mod attributes;
mod capacity_providers;
mod clusters;
mod image_digests;
mod instances;
mod placement;
mod rollouts;
mod secrets;
mod services;
mod tags;
mod task_definitions;
mod tasks;

use serde_json::{Value, json};

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

/// What an agent with two cores and 3,900 MiB sends.
fn registration(cluster: &str) -> Value {
    let integer =
        |name: &str, value: i64| json!({"name": name, "type": "INTEGER", "integerValue": value});
    let ports = |name: &str, ports: &[&str]| {
        let kind = "STRINGSET";
        json!({"name": name, "type": kind, "stringSetValue": ports})
    };
    json!({
        "cluster": cluster,
        "instanceIdentityDocument": "",
        "instanceIdentityDocumentSignature": "",
        "totalResources": [integer("CPU", 2048), integer("MEMORY", 3900),
            ports("PORTS", &["22", "2375"]), ports("PORTS_UDP", &[])],
        "attributes": [{"name": "ecs.capability.execution-role-ecr-pull", "value": ""},
            {"name": "stack", "value": "blue"}],
        "versionInfo": {"agentHash": "1", "agentVersion": "1.105.1",
            "dockerVersion": "DockerVersion: 20.10.24"},
    })
}

/// Registers an instance, with these members in place of those of [`registration`].
async fn register(ecs: &Ecs, cluster: &str, members: Value) -> Value {
    let mut request = registration(cluster);
    for (name, value) in members.as_object().expect("members") {
        request[name] = value.clone();
    }
    ecs.ok("RegisterContainerInstance", request).await["containerInstance"].clone()
}
