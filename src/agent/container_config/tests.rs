//! Create requests of containers.

use wharfinger_ecs_protocol::{DockerConfig, MountPoint, PortMapping, VolumeFrom};

use super::*;

fn task() -> Task {
    Task {
        arn: "arn:aws:ecs:us-east-1:123456789012:task/demo/0123".to_owned(),
        family: Some("web".to_owned()),
        version: Some("3".to_owned()),
        ..Task::default()
    }
}

fn container() -> Container {
    let config = json!({"User": "app", "Labels": {"own": "1"}});
    let log = json!({"Type": "awslogs", "Config": {"awslogs-group": "/ecs/web"}});
    let host_config = json!({"LogConfig": log, "Binds": ["/etc/a:/a"]});
    Container {
        name: "web".to_owned(),
        cpu: 0,
        memory: 128,
        command: Some(vec!["serve".to_owned()]),
        environment: BTreeMap::from([("A".to_owned(), "definition".to_owned())]),
        docker_config: Some(DockerConfig {
            version: None,
            config: Some(config.to_string()),
            host_config: Some(host_config.to_string()),
        }),
        ..Container::default()
    }
}

fn host() -> HostChoices {
    HostChoices {
        name: "ecs-web-3-web-ab".to_owned(),
        image: "localhost:4566/web:latest".to_owned(),
        cluster: "demo".to_owned(),
        instance_arn: "arn:instance".to_owned(),
        network: "bridge".to_owned(),
        ..HostChoices::default()
    }
}

fn made(container: &Container, host: &HostChoices) -> (Value, Value) {
    let made = new_container(&task(), container, host).expect("valid");
    (Value::Object(made.config), Value::Object(made.host_config))
}

#[test]
fn the_labels_of_amazons_agent_are_set() {
    let (config, _) = made(&container(), &host());
    assert_eq!(
        config["Labels"],
        json!({
            "own": "1",
            "com.amazonaws.ecs.cluster": "demo",
            "com.amazonaws.ecs.container-name": "web",
            "com.amazonaws.ecs.task-arn": task().arn,
            "com.amazonaws.ecs.task-definition-family": "web",
            "com.amazonaws.ecs.task-definition-version": "3",
            "wharfinger.container-instance": "arn:instance",
        })
    );
    assert_eq!(config["User"], "app");
    assert_eq!(config["Cmd"], json!(["serve"]));
    assert_eq!(config.get("Entrypoint"), None);
}

#[test]
fn variables_of_the_definition_go_before_files_and_after_secrets() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let mut host = host();
    host.file_environment = BTreeMap::from([pair("A", "file"), pair("B", "file")]);
    host.environment = BTreeMap::from([pair("C", "secret")]);
    let (config, _) = made(&container(), &host);
    assert_eq!(config["Env"], json!(["A=definition", "B=file", "C=secret"]));
}

#[test]
fn sizes_have_the_least_that_docker_takes() {
    let (_, host_config) = made(&container(), &host());
    assert_eq!(host_config["CpuShares"], 2);
    assert_eq!(host_config["Memory"], 128 * 1024 * 1024);
    let mut small = container();
    (small.cpu, small.memory) = (512, 4);
    let (_, host_config) = made(&small, &host());
    assert_eq!(host_config["CpuShares"], 512);
    assert_eq!(host_config["Memory"], 6 * 1024 * 1024);
    small.memory = 0;
    assert_eq!(made(&small, &host()).1.get("Memory"), None);
}

#[test]
fn the_size_of_a_task_limits_its_group_or_each_container() {
    let sized = Task {
        cpu: Some(0.5),
        memory: Some(64),
        ..task()
    };
    let mut web = container();
    web.memory = 0;
    let made = |host: &HostChoices| {
        let made = new_container(&sized, &web, host).expect("valid");
        Value::Object(made.host_config)
    };
    let alone = made(&host());
    assert_eq!(alone["NanoCpus"], 500_000_000);
    assert_eq!(alone["Memory"], 64 * 1024 * 1024);
    let grouped = made(&HostChoices {
        cgroup_parent: Some("/ecs/ab".to_owned()),
        ..host()
    });
    assert_eq!(grouped["CgroupParent"], "/ecs/ab");
    assert_eq!(
        (grouped.get("NanoCpus"), grouped.get("Memory")),
        (None, None)
    );
}

#[test]
fn mounts_name_the_volume_of_the_host() {
    let mut web = container();
    web.mount_points = vec![MountPoint {
        source_volume: "data".to_owned(),
        container_path: "/data".to_owned(),
        read_only: true,
    }];
    web.volumes_from = vec![VolumeFrom {
        source_container: "init".to_owned(),
        read_only: false,
    }];
    web.links = vec!["init:first".to_owned()];
    assert!(new_container(&task(), &web, &host()).is_err());
    let mut host = host();
    host.volumes = BTreeMap::from([("data".to_owned(), "/srv/data".to_owned())]);
    host.siblings = BTreeMap::from([("init".to_owned(), "ecs-init".to_owned())]);
    let (_, host_config) = made(&web, &host);
    assert_eq!(
        host_config["Binds"],
        json!(["/etc/a:/a", "/srv/data:/data:ro"])
    );
    assert_eq!(host_config["VolumesFrom"], json!(["ecs-init"]));
    assert_eq!(host_config["Links"], json!(["ecs-init:first"]));
}

#[test]
fn ports_are_published_on_bridges_only() {
    let mut web = container();
    web.port_mappings = vec![PortMapping {
        container_port: Some(80),
        ..PortMapping::default()
    }];
    let (_, host_config) = made(&web, &host());
    assert!(host_config["PortBindings"].get("80/tcp").is_some());
    for network in ["host", "none", "container:pause"] {
        let host = HostChoices {
            network: network.to_owned(),
            ..host()
        };
        let (_, host_config) = made(&web, &host);
        assert_eq!(host_config.get("PortBindings"), None, "{network}");
        assert_eq!(host_config["NetworkMode"], network);
    }
}

#[test]
fn output_that_the_agent_ships_is_kept_in_files() {
    let (driver, options) = log_driver(&container());
    assert_eq!(driver, "awslogs");
    assert_eq!(options["awslogs-group"], "/ecs/web");
    assert_eq!(
        made(&container(), &host()).1["LogConfig"]["Type"],
        "awslogs"
    );
    let host = HostChoices {
        ships_output: true,
        ..host()
    };
    assert_eq!(
        made(&container(), &host).1["LogConfig"]["Type"],
        "json-file"
    );
}

#[test]
fn secrets_are_options_of_the_log_driver() {
    let logs = json!({"Type": "splunk", "Config": {"splunk-url": "https://splunk"}});
    let container = Container {
        docker_config: Some(DockerConfig {
            host_config: Some(json!({"LogConfig": logs}).to_string()),
            ..DockerConfig::default()
        }),
        ..container()
    };
    let host = HostChoices {
        log_options: BTreeMap::from([("splunk-token".to_owned(), "secret".to_owned())]),
        ..host()
    };
    let (config, host_config) = made(&container, &host);
    let options = json!({"splunk-url": "https://splunk", "splunk-token": "secret"});
    let expected = json!({"Type": "splunk", "Config": options});
    assert_eq!(host_config["LogConfig"], expected);
    assert!(!config.to_string().contains("secret"));
}

#[test]
fn names_hold_what_docker_takes() {
    let name = container_name(&task(), "my web/1", "ab12");
    assert_eq!(name, "ecs-web-3-my-web-1-ab12");
}

#[test]
fn a_broken_configuration_is_refused() {
    let mut web = container();
    web.docker_config = Some(DockerConfig {
        config: Some("[1]".to_owned()),
        ..DockerConfig::default()
    });
    assert!(new_container(&task(), &web, &host()).is_err());
}
