//! What agents get of task definitions.

use serde_json::{Value, json};
use wharfinger_base::Timestamp;
use wharfinger_ecs_protocol as protocol;

use super::{Registries, TaskParts, execution_role, payload, task_role};
use crate::model::{
    ClusterId, ClusterName, Container, DesiredStatus, FamilyRevision, LaunchType, Task,
    TaskDefinition, TaskDefinitionDocument, TaskDefinitionStatus, TaskDetails, TaskId,
    TaskOverride, TaskStatus, home,
};
use crate::task_definition::validate;

const ROLE: &str = "arn:aws:iam::123456789012:role/execution";

fn registries() -> Registries {
    Registries {
        hosts: ["localhost:4566".to_owned()].into(),
        domain: None,
        region: "eu-west-1".parse().expect("a region"),
        endpoint: "http://localhost:4566".to_owned(),
    }
}

fn definition(document: Value) -> TaskDefinition {
    let document: TaskDefinitionDocument = serde_json::from_value(document).expect("a document");
    TaskDefinition {
        home: home(),
        name: FamilyRevision {
            family: "web".to_owned(),
            revision: 3,
        },
        status: TaskDefinitionStatus::Active,
        registered_at: Timestamp::from_ms(0),
        deregistered_at: None,
        delete_requested_at: None,
        registered_by: String::new(),
        document: validate(&home(), "web", document).expect("a valid document"),
        tags: Vec::new(),
    }
}

fn task(overrides: Value) -> Task {
    let overrides: TaskOverride = serde_json::from_value(overrides).expect("overrides");
    let made = Container {
        name: Some("web".to_owned()),
        container_arn: Some("arn:aws:ecs:us-east-1:123456789012:container/c/t/1".to_owned()),
        ..Container::default()
    };
    Task {
        id: TaskId("0123456789abcdef0123456789abcdef".to_owned()),
        cluster: ClusterId("1".to_owned()),
        instance: None,
        service: None,
        deployment: None,
        definition: FamilyRevision {
            family: "web".to_owned(),
            revision: 3,
        },
        group: "family:web".to_owned(),
        started_by: None,
        launch_type: LaunchType::Ec2,
        last_status: TaskStatus::Pending,
        desired_status: DesiredStatus::Running,
        created_at: Timestamp::from_ms(0),
        stopped_at: None,
        protected_until: None,
        version: 1,
        details: TaskDetails {
            overrides,
            containers: vec![made],
            image_digests: [("web".to_owned(), "sha256:00".to_owned())].into(),
            ..TaskDetails::default()
        },
    }
}

fn sent(document: Value, overrides: Value) -> protocol::Task {
    let cluster = ClusterName {
        home: home(),
        name: "demo".to_owned(),
    };
    payload(&TaskParts {
        cluster: &cluster,
        task: &task(overrides),
        definition: &definition(document),
        service_name: Some("front"),
        registries: &registries(),
    })
}

/// A task of one container with the given members beside those that it must have.
fn of_container(members: Value) -> Value {
    let mut container = json!({ "name": "web", "image": "nginx", "memory": 128 });
    if let Value::Object(members) = members {
        for (member, value) in members {
            container[member] = value;
        }
    }
    json!({ "containerDefinitions": [container], "executionRoleArn": ROLE })
}

/// The container of such a task.
fn container(members: Value, overrides: Value) -> protocol::Container {
    sent(of_container(members), overrides).containers.remove(0)
}

/// Docker's structures of such a container.
fn docker(members: Value) -> (Value, Value) {
    let docker = container(members, json!({}))
        .docker_config
        .expect("a configuration");
    let parsed = |text: Option<String>| serde_json::from_str(&text.expect("a text")).expect("JSON");
    (parsed(docker.config), parsed(docker.host_config))
}

#[test]
fn a_task_has_its_names_and_limits() {
    let mut document = of_container(json!({}));
    document["cpu"] = "512".into();
    document["memory"] = "1GB".into();
    document["networkMode"] = "host".into();
    document["volumes"] = json!([
        { "name": "own" },
        { "name": "srv", "host": { "sourcePath": "/srv" } },
        { "name": "docker", "dockerVolumeConfiguration": { "scope": "shared" } },
    ]);
    let task = sent(document.clone(), json!({}));
    assert_eq!(
        task.arn,
        "arn:aws:ecs:us-east-1:123456789012:task/demo/0123456789abcdef0123456789abcdef"
    );
    assert_eq!(
        task.task_cluster_arn.as_deref(),
        Some("arn:aws:ecs:us-east-1:123456789012:cluster/demo")
    );
    assert_eq!(
        (task.family.as_deref(), task.version.as_deref()),
        (Some("web"), Some("3"))
    );
    assert_eq!((task.cpu, task.memory), (Some(0.5), Some(1024)));
    assert_eq!(task.network_mode.as_deref(), Some("host"));
    assert_eq!(task.service_name.as_deref(), Some("front"));
    let kinds: Vec<_> = task.volumes.iter().map(|volume| volume.kind).collect();
    let host = protocol::VolumeType::Host;
    assert_eq!(kinds, [host, host, protocol::VolumeType::Docker]);
    let path = task.volumes[1]
        .host
        .as_ref()
        .and_then(|host| host.source_path.as_deref());
    assert_eq!(path, Some("/srv"));
    let container_arn = task.containers[0].container_arn.as_deref();
    assert_eq!(
        container_arn,
        Some("arn:aws:ecs:us-east-1:123456789012:container/c/t/1")
    );

    let larger = sent(document, json!({ "cpu": "1 vCPU", "memory": "2048" }));
    assert_eq!((larger.cpu, larger.memory), (Some(1.0), Some(2048)));
}

#[test]
fn volumes_of_docker_get_the_defaults_that_definitions_leave_out() {
    let sent = |members: Value| {
        let mut document = of_container(json!({}));
        document["volumes"] = json!([{ "name": "v", "dockerVolumeConfiguration": members }]);
        let volume = sent(document, json!({})).volumes.remove(0);
        let docker = volume.docker_volume_configuration.expect("of Docker");
        (docker.scope, docker.autoprovision, docker.driver)
    };
    let expected = |scope: &str, autoprovision, driver: &str| {
        (
            Some(scope.to_owned()),
            autoprovision,
            Some(driver.to_owned()),
        )
    };
    assert_eq!(sent(json!({})), expected("task", None, "local"));
    let shared = sent(json!({ "scope": "shared" }));
    assert_eq!(shared, expected("shared", Some(false), "local"));
    let full = json!({ "scope": "shared", "autoprovision": true, "driver": "nfs" });
    assert_eq!(sent(full), expected("shared", Some(true), "nfs"));
}

#[test]
fn a_task_to_be_stopped_has_no_containers() {
    let cluster = ClusterName {
        home: home(),
        name: "demo".to_owned(),
    };
    let mut stopped = task(json!({}));
    stopped.desired_status = DesiredStatus::Stopped;
    let sent = payload(&TaskParts {
        cluster: &cluster,
        task: &stopped,
        definition: &definition(of_container(json!({}))),
        service_name: None,
        registries: &registries(),
    });
    assert_eq!(sent.desired_status, protocol::DesiredStatus::Stopped);
    assert!(sent.containers.is_empty());
}

#[test]
fn overrides_replace_what_the_definition_says() {
    let members = json!({
        "command": ["serve"], "cpu": 10, "memoryReservation": 64,
        "environment": [{ "name": "A", "value": "1" }, { "name": "B", "value": "2" }],
    });
    let overrides = json!({ "containerOverrides": [
        { "name": "other", "command": ["no"] },
        { "name": "web", "command": ["migrate"], "cpu": 20, "memory": 256,
          "memoryReservation": 32, "environment": [{ "name": "B", "value": "3" }] },
        // Placement reserved for the first one; requests have no second one any more.
        { "name": "web", "command": ["other"], "cpu": 2000, "memory": 4000 },
    ] });
    let changed = container(members.clone(), overrides);
    assert_eq!(changed.command, Some(vec!["migrate".to_owned()]));
    assert_eq!((changed.cpu, changed.memory), (20, 256));
    let environment: Vec<_> = changed.environment.into_iter().collect();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(environment, [pair("A", "1"), pair("B", "3")]);
    let host_config = changed.docker_config.and_then(|docker| docker.host_config);
    assert!(
        host_config
            .expect("a text")
            .contains(r#""MemoryReservation":33554432"#)
    );

    let same = container(members, json!({}));
    assert_eq!(same.command, Some(vec!["serve".to_owned()]));
    assert_eq!((same.cpu, same.memory), (10, 128));
}

#[test]
fn roles_are_those_of_the_overrides_or_the_definition() {
    let definition = definition(of_container(json!({})));
    assert_eq!(task_role(&task(json!({})), &definition), None);
    assert_eq!(execution_role(&task(json!({})), &definition), Some(ROLE));
    let overridden = task(json!({ "taskRoleArn": "t", "executionRoleArn": "e" }));
    assert_eq!(task_role(&overridden, &definition), Some("t"));
    assert_eq!(execution_role(&overridden, &definition), Some("e"));
}

#[test]
fn images_of_registries_get_their_credentials() {
    let ecr = |image: &str| {
        let container = container(json!({ "image": image }), json!({}));
        container.registry_authentication.map(|found| {
            let data = found.ecr_auth_data.expect("data of ECR");
            assert!(data.use_execution_role);
            (data.registry_id, data.region, data.endpoint_override)
        })
    };
    let own = Some("http://localhost:4566".to_owned());
    let registry =
        |account: &str, region: &str| Some((account.to_owned(), region.to_owned(), own.clone()));
    assert_eq!(
        ecr("localhost:4566/web:1"),
        registry("123456789012", "eu-west-1")
    );
    assert_eq!(
        ecr("999999999999.dkr.ecr.ap-south-1.localhost:4566/web"),
        registry("999999999999", "ap-south-1")
    );
    for other in [
        "nginx",
        "library/nginx",
        "quay.io/a/b:1",
        "localhost:5000/web",
        "123456789012.dkr.ecr.us-east-1.evil.example/web",
        "123456789012.dkr.ecr.us-east-1.localhost:9999/web",
    ] {
        assert_eq!(ecr(other), None, "{other}");
    }
    let private = container(
        json!({ "image": "quay.io/a/b", "repositoryCredentials":
            { "credentialsParameter": "arn:aws:secretsmanager:eu-north-1:1:secret:login-a1b2" } }),
        json!({}),
    );
    let data = private
        .registry_authentication
        .and_then(|found| found.asm_auth_data);
    assert_eq!(data.expect("data").region, "eu-north-1");
}

#[test]
fn a_configured_domain_excludes_other_ones() {
    let mut own = registries();
    own.domain = Some("registry.example".to_owned());
    own.hosts.insert("registry.example:8443".to_owned());
    let cluster = ClusterName {
        home: home(),
        name: "demo".to_owned(),
    };
    let endpoint = |image: &str| {
        let sent = payload(&TaskParts {
            cluster: &cluster,
            task: &task(json!({})),
            definition: &definition(of_container(json!({ "image": image }))),
            service_name: None,
            registries: &own,
        });
        let found = sent.containers[0].registry_authentication.clone();
        found
            .and_then(|found| found.ecr_auth_data)
            .map(|data| data.endpoint_override)
    };
    let host = |domain: &str| format!("123456789012.dkr.ecr.us-east-1.{domain}/web");
    let own_endpoint = Some("http://localhost:4566".to_owned());
    assert_eq!(endpoint(&host("registry.example:8443")), Some(own_endpoint));
    assert_eq!(endpoint(&host("amazonaws.com")), Some(None));
    assert_eq!(endpoint(&host("other.example")), None);
    assert_eq!(
        endpoint(&host("registry.example:9999")),
        None,
        "a container's port"
    );
}

#[test]
fn secrets_name_their_store_and_region() {
    let members = json!({ "secrets": [
        { "name": "A", "valueFrom": "/db/password" },
        { "name": "B", "valueFrom": "arn:aws:secretsmanager:eu-west-1:123456789012:secret:b-a1b2" },
    ] });
    let secrets = container(members, json!({})).secrets;
    let found: Vec<_> = secrets
        .iter()
        .map(|secret| (secret.provider.as_deref(), secret.region.as_deref()))
        .collect();
    assert_eq!(
        found,
        [
            (Some("ssm"), Some("us-east-1")),
            (Some("asm"), Some("eu-west-1"))
        ]
    );
}

#[test]
fn a_container_without_logs_has_the_driver_none() {
    let members = json!({ "logConfiguration": { "logDriver": "none" } });
    let sent = container(members.clone(), json!({}));
    assert_eq!(sent.logs_auth_strategy, None);
    let (_, host_config) = docker(members);
    let expected = json!({ "Type": "none", "Config": {} });
    assert_eq!(host_config["LogConfig"], expected);
}

#[test]
fn secrets_of_log_drivers_are_not_for_the_container() {
    let members = json!({
        "secrets": [{ "name": "A", "valueFrom": "/a" }],
        "logConfiguration": { "logDriver": "splunk",
            "secretOptions": [{ "name": "splunk-token", "valueFrom": "/splunk" }] },
    });
    let secrets = container(members, json!({})).secrets;
    let found: Vec<_> = secrets
        .iter()
        .map(|secret| (secret.name.as_str(), secret.target.as_deref()))
        .collect();
    let expected = [
        ("A", Some("CONTAINER")),
        ("splunk-token", Some("LOG_DRIVER")),
    ];
    assert_eq!(found, expected);
}

#[test]
fn digests_are_kept_unless_tags_are_resolved_anew() {
    let digest = |members: Value| container(members, json!({})).image_digest;
    assert_eq!(digest(json!({})).as_deref(), Some("sha256:00"));
    assert_eq!(digest(json!({ "versionConsistency": "disabled" })), None);
    assert_eq!(digest(json!({ "image": "web@sha256:11" })), None);
}

#[test]
fn docker_gets_what_the_container_says() {
    let (config, host_config) = docker(json!({
        "hostname": "web", "user": "1000:1000", "workingDirectory": "/app", "interactive": true,
        "pseudoTerminal": true, "dockerLabels": { "team": "a" },
        "healthCheck": { "command": ["CMD", "true"], "startPeriod": 10 },
        "privileged": false, "readonlyRootFilesystem": true, "memoryReservation": 64,
        "dnsServers": ["10.0.0.2"], "extraHosts": [{ "hostname": "db", "ipAddress": "10.0.0.3" }],
        "dockerSecurityOptions": ["no-new-privileges"],
        "ulimits": [{ "name": "nofile", "softLimit": 1024, "hardLimit": 4096 }],
        "systemControls": [{ "namespace": "net.core.somaxconn", "value": "1024" }],
        "linuxParameters": {
            "capabilities": { "add": ["SYS_PTRACE"], "drop": ["ALL"] },
            "devices": [{ "hostPath": "/dev/fuse", "permissions": ["read", "write"] }],
            "initProcessEnabled": true, "sharedMemorySize": 64, "maxSwap": 64, "swappiness": 10,
            "tmpfs": [{ "containerPath": "/run", "size": 32, "mountOptions": ["noexec"] }],
        },
        "logConfiguration": { "logDriver": "awslogs", "options": {
            "awslogs-group": "g", "awslogs-region": "r", "awslogs-stream-prefix": "p" } },
    }));
    assert_eq!(
        config,
        json!({
            "Hostname": "web", "User": "1000:1000", "WorkingDir": "/app", "OpenStdin": true,
            "Tty": true, "Labels": { "team": "a" },
            "Healthcheck": { "Test": ["CMD", "true"], "Interval": 30_000_000_000_i64,
                "Timeout": 5_000_000_000_i64, "Retries": 3, "StartPeriod": 10_000_000_000_i64 },
        })
    );
    assert_eq!(
        host_config,
        json!({
            "MemoryReservation": 67_108_864, "Privileged": false, "ReadonlyRootfs": true,
            "Dns": ["10.0.0.2"], "ExtraHosts": ["db:10.0.0.3"],
            "SecurityOpt": ["no-new-privileges"],
            "Ulimits": [{ "Name": "nofile", "Soft": 1024, "Hard": 4096 }],
            "Sysctls": { "net.core.somaxconn": "1024" },
            "CapAdd": ["SYS_PTRACE"], "CapDrop": ["ALL"],
            "Devices": [{ "PathOnHost": "/dev/fuse", "PathInContainer": "/dev/fuse",
                "CgroupPermissions": "rw" }],
            "Init": true, "ShmSize": 67_108_864, "MemorySwap": 201_326_592,
            "MemorySwappiness": 10, "Tmpfs": { "/run": "size=32m,noexec" },
            "LogConfig": { "Type": "awslogs", "Config": { "awslogs-group": "g",
                "awslogs-region": "r",
                "awslogs-stream": "p/web/0123456789abcdef0123456789abcdef" } },
        })
    );
}

#[test]
fn docker_ignores_health_checks_of_images() {
    let (config, host_config) = docker(json!({}));
    assert_eq!(config, json!({ "Healthcheck": { "Test": ["NONE"] } }));
    assert_eq!(host_config, json!({}));
    assert_eq!(container(json!({}), json!({})).health_check_type, None);
}
