//! Registers a host as a container instance.
//!
//! Source: ECS API reference, `RegisterContainerInstance` and `DiscoverPollEndpoint`; the
//! attributes that Amazon's agent registers.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::aws_client::{AwsClient, CallError, ECS};
use crate::keys::Keys;
use crate::runtime::HostInfo;

/// The agent's version in the terms of the Amazon ECS agent: control planes and constraints compare
/// it. It is that of the agent whose protocol this one speaks.
pub(crate) const AGENT_VERSION: &str = "1.105.1";
/// Names this agent where Amazon's names the commit that it was built from.
pub(crate) const AGENT_HASH: &str = concat!("wharfinger-", env!("CARGO_PKG_VERSION"));

/// CPU units of a core.
const CPU_UNITS: i64 = 1024;
/// Host ports that are never given to tasks: SSH, Docker's API, and the ports of Amazon's agent.
const RESERVED_PORTS: [&str; 5] = ["22", "2375", "2376", "51678", "51679"];
/// Oldest version of the Docker Engine API that agents name.
const FIRST_API_MINOR: u32 = 17;

/// What task definitions may require of an instance, and this agent does.
const CAPABILITIES: &[&str] = &[
    "com.amazonaws.ecs.capability.privileged-container",
    "com.amazonaws.ecs.capability.logging-driver.awslogs",
    "com.amazonaws.ecs.capability.logging-driver.json-file",
    "com.amazonaws.ecs.capability.logging-driver.none",
    "com.amazonaws.ecs.capability.logging-driver.syslog",
    "com.amazonaws.ecs.capability.logging-driver.journald",
    "com.amazonaws.ecs.capability.logging-driver.gelf",
    "com.amazonaws.ecs.capability.logging-driver.fluentd",
    "com.amazonaws.ecs.capability.logging-driver.splunk",
    "com.amazonaws.ecs.capability.ecr-auth",
    "ecs.capability.execution-role-awslogs",
    "ecs.capability.execution-role-ecr-pull",
    "ecs.capability.secrets.asm.environment-variables",
    "ecs.capability.secrets.ssm.environment-variables",
    "ecs.capability.secrets.asm.bootstrap.log-driver",
    "ecs.capability.secrets.ssm.bootstrap.log-driver",
    "ecs.capability.private-registry-authentication.secretsmanager",
    "ecs.capability.env-files.s3",
    "ecs.capability.container-health-check",
    "ecs.capability.container-ordering",
    "ecs.capability.container-port-range",
    "ecs.capability.container-restart-policy",
    "ecs.capability.docker-plugin.local",
    "ecs.capability.full-sync",
    "ecs.capability.task-cpu-mem-limit",
];

/// The same for an engine on the host of the agent, where it can serve tasks in their networks.
const LOCAL_CAPABILITIES: &[&str] = &[
    "com.amazonaws.ecs.capability.task-iam-role",
    "com.amazonaws.ecs.capability.task-iam-role-network-host",
    "ecs.capability.task-eni",
];

/// What an instance says of itself.
#[derive(Clone, Debug)]
pub(crate) struct NewInstance {
    pub(crate) cluster: String,
    /// That of an earlier registration.
    pub(crate) instance_arn: Option<String>,
    /// The same for each attempt of one registration.
    pub(crate) client_token: String,
    pub(crate) availability_zone: String,
    pub(crate) region: String,
    /// MiB of the host's memory that tasks do not get.
    pub(crate) reserved_memory_mib: i64,
    /// Attributes that the operator sets.
    pub(crate) attributes: Vec<(String, Option<String>)>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegisterOutput {
    container_instance: RegisteredInstance,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RegisteredInstance {
    container_instance_arn: String,
}

/// Where the agent finds the control plane.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PollEndpoints {
    pub(crate) endpoint: String,
    pub(crate) telemetry_endpoint: String,
}

/// Registers the instance and returns its ARN.
///
/// # Errors
/// Those of the call.
pub(crate) async fn register(
    client: &AwsClient,
    keys: &Keys,
    host: &HostInfo,
    instance: &NewInstance,
) -> Result<String, CallError> {
    let body = register_input(host, instance);
    let output: RegisterOutput = client
        .call(keys, ECS, "RegisterContainerInstance", &body)
        .await?;
    Ok(output.container_instance.container_instance_arn)
}

/// Requests where the websockets are.
///
/// # Errors
/// Those of the call.
pub(crate) async fn poll_endpoints(
    client: &AwsClient,
    keys: &Keys,
    cluster: &str,
    instance_arn: &str,
) -> Result<PollEndpoints, CallError> {
    let body = json!({"cluster": cluster, "containerInstance": instance_arn});
    client.call(keys, ECS, "DiscoverPollEndpoint", &body).await
}

fn register_input(host: &HostInfo, instance: &NewInstance) -> Value {
    let memory = host.memory_bytes / (1024 * 1024) - instance.reserved_memory_mib;
    let integer = |name: &str, value: i64| {
        let value = value.max(0);
        json!({"name": name, "type": "INTEGER", "integerValue": value})
    };
    let ports = |name: &str, taken: &[&str]| {
        let kind = "STRINGSET";
        json!({"name": name, "type": kind, "stringSetValue": taken})
    };
    let identity = json!({
        "availabilityZone": instance.availability_zone,
        "region": instance.region,
    });
    let mut body = json!({
        "cluster": instance.cluster,
        "clientToken": instance.client_token,
        "instanceIdentityDocument": identity.to_string(),
        "totalResources": [
            integer("CPU", host.cpus * CPU_UNITS),
            integer("MEMORY", memory),
            ports("PORTS", &RESERVED_PORTS),
            ports("PORTS_UDP", &[]),
        ],
        "attributes": attributes(host, instance),
        "versionInfo": {
            "agentHash": AGENT_HASH,
            "agentVersion": AGENT_VERSION,
            "dockerVersion": docker_version(host),
        },
    });
    if let Some(arn) = &instance.instance_arn {
        body["containerInstanceArn"] = json!(arn);
    }
    body
}

/// As agents write the version of the runtime.
pub(crate) fn docker_version(host: &HostInfo) -> String {
    format!("DockerVersion: {}", host.version)
}

fn attributes(host: &HostInfo, instance: &NewInstance) -> Vec<Value> {
    let architecture = match host.architecture.as_str() {
        "aarch64" | "arm64" => "arm64",
        other => other,
    };
    let with_value = |name: &str, value: &str| json!({"name": name, "value": value});
    let mut all = vec![
        with_value("ecs.os-type", "linux"),
        with_value("ecs.os-family", "LINUX"),
        with_value("ecs.cpu-architecture", architecture),
        with_value("ecs.availability-zone", &instance.availability_zone),
    ];
    let versions = (FIRST_API_MINOR..=host.api_minor)
        .map(|minor| format!("com.amazonaws.ecs.capability.docker-remote-api.1.{minor}"));
    let local = LOCAL_CAPABILITIES.iter().filter(|_| host.is_local);
    let capabilities = CAPABILITIES.iter().chain(local);
    let capabilities = capabilities.map(|name| (*name).to_owned());
    all.extend(
        versions
            .chain(capabilities)
            .map(|name| json!({"name": name})),
    );
    all.extend(instance.attributes.iter().map(|(name, value)| match value {
        Some(value) => with_value(name, value),
        None => json!({"name": name}),
    }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(is_local: bool) -> HostInfo {
        HostInfo {
            cpus: 2,
            memory_bytes: 4 * 1024 * 1024 * 1024,
            architecture: "aarch64".to_owned(),
            version: "20.10.24".to_owned(),
            api_minor: 18,
            cgroup_driver: String::new(),
            is_local,
        }
    }

    fn instance() -> NewInstance {
        NewInstance {
            cluster: "demo".to_owned(),
            instance_arn: None,
            client_token: "token".to_owned(),
            availability_zone: "us-east-1a".to_owned(),
            region: "us-east-1".to_owned(),
            reserved_memory_mib: 96,
            attributes: vec![("stack".to_owned(), Some("blue".to_owned()))],
        }
    }

    #[test]
    fn an_engine_elsewhere_has_no_networks_of_tasks() {
        let has = |is_local: bool, name: &str| {
            let body = register_input(&host(is_local), &instance());
            let attributes = body["attributes"].as_array().expect("a list");
            attributes.contains(&json!({"name": name}))
        };
        for name in LOCAL_CAPABILITIES {
            assert!(has(true, name) && !has(false, name), "{name}");
        }
        assert!(has(false, "ecs.capability.container-health-check"));
    }

    #[test]
    fn an_instance_registers_its_resources_and_capabilities() {
        let body = register_input(&host(true), &instance());
        assert_eq!(body["totalResources"][0]["integerValue"], 2048);
        assert_eq!(body["totalResources"][1]["integerValue"], 4000);
        assert_eq!(
            body["versionInfo"]["dockerVersion"],
            "DockerVersion: 20.10.24"
        );
        assert_eq!(body.get("containerInstanceArn"), None);
        let attributes = body["attributes"].as_array().expect("a list");
        let has = |value: Value| assert!(attributes.contains(&value), "{value}");
        has(json!({"name": "ecs.cpu-architecture", "value": "arm64"}));
        has(json!({"name": "com.amazonaws.ecs.capability.docker-remote-api.1.18"}));
        has(json!({"name": "stack", "value": "blue"}));
        assert!(!attributes.iter().any(|one| {
            one["name"]
                .as_str()
                .is_some_and(|name| name.ends_with("remote-api.1.19"))
        }));
    }
}
