//! Rules of task definitions that have bounds: what is just allowed, and what is just refused.

use serde_json::{Value, json};

use super::{container, expect_refusals, merge, registered, with_container, with_task};

/// A task whose only container breaks a rule that ECS states with the name of the container.
fn breaks(members: Value, rule: &str) -> (Value, String) {
    let message = format!("Invalid setting for container 'web'. {rule}");
    (with_container(members), message)
}

fn expect_broken<const N: usize>(cases: [(Value, String); N]) {
    for (document, message) in cases {
        expect_refusals([(document, message.as_str())]);
    }
}

fn accept<const N: usize>(documents: [Value; N]) {
    for document in documents {
        assert!(registered(document.clone()).is_ok(), "{document}");
    }
}

#[test]
fn health_checks_have_a_command_and_ranges() {
    let command = "The health check command must start with CMD or CMD-SHELL and name a command.";
    let check = |members: Value| {
        let check = merge(json!({ "command": ["CMD", "true"] }), members);
        json!({ "healthCheck": check })
    };
    let with_command = |words: Value| check(json!({ "command": words }));
    expect_broken([
        breaks(with_command(json!([])), command),
        breaks(with_command(json!(["CMD"])), command),
        breaks(with_command(json!(["CMD-SHELL"])), command),
        breaks(with_command(json!(["CMD-SHELL", "true", "false"])), command),
        breaks(with_command(json!(["true"])), command),
    ]);
    for (member, least, most) in [
        ("interval", 5, 300),
        ("timeout", 2, 60),
        ("retries", 1, 10),
        ("startPeriod", 0, 300),
    ] {
        let with = |value: i32| check(json!({ member: value }));
        let rule = format!("The health check {member} must be between {least} and {most}.");
        accept([with_container(with(least)), with_container(with(most))]);
        expect_broken([
            breaks(with(least - 1), &rule),
            breaks(with(most + 1), &rule),
        ]);
    }
}

#[test]
fn restart_policies_have_a_period_and_at_most_50_exit_codes() {
    let policy =
        |members: Value| json!({ "restartPolicy": merge(json!({ "enabled": true }), members) });
    let period = |seconds: i32| policy(json!({ "restartAttemptPeriod": seconds }));
    let codes = |count: i32| policy(json!({ "ignoredExitCodes": (0..count).collect::<Vec<_>>() }));
    accept([period(60), period(1800), codes(50)].map(with_container));
    let between = "The 'restartAttemptPeriod' must be between 60 and 1800.";
    expect_broken([
        breaks(period(59), between),
        breaks(period(1801), between),
        breaks(
            codes(51),
            "A restart policy can ignore at most 50 exit codes.",
        ),
    ]);
}

#[test]
fn soft_limits_do_not_exceed_hard_limits() {
    let ulimit = |soft: i32, hard: i32| {
        let ulimit = json!({ "name": "nofile", "softLimit": soft, "hardLimit": hard });
        json!({ "ulimits": [ulimit] })
    };
    let unlimited = -1;
    accept(
        [
            ulimit(1024, 1024),
            ulimit(1024, unlimited),
            ulimit(unlimited, unlimited),
        ]
        .map(with_container),
    );
    let rule = "The soft limit of ulimit 'nofile' must not exceed its hard limit.";
    expect_broken([
        breaks(ulimit(1025, 1024), rule),
        breaks(ulimit(unlimited, 1024), rule),
        breaks(ulimit(-2, 1024), rule),
        breaks(ulimit(1024, -2), rule),
    ]);
    let memory = |hard: i32, soft: i32| json!({ "memory": hard, "memoryReservation": soft });
    accept([with_container(memory(128, 128))]);
    expect_broken([breaks(
        memory(128, 129),
        "The 'memory' must not be less than the 'memoryReservation'.",
    )]);
}

#[test]
fn a_container_that_must_be_healthy_has_a_health_check() {
    let task = |needed: Value| {
        let needs = json!({ "dependsOn": [{ "containerName": "db", "condition": "HEALTHY" }] });
        json!({ "containerDefinitions": [container("web", needs), container("db", needed)] })
    };
    accept([task(
        json!({ "healthCheck": { "command": ["CMD", "true"] } }),
    )]);
    expect_refusals([(
        task(json!({})),
        "A dependency container with HEALTHY condition must have a health check",
    )]);
}

#[test]
fn a_path_is_mounted_once() {
    let mounts = |second: &str| {
        let mount = |path: &str| json!({ "sourceVolume": "data", "containerPath": path });
        json!({ "mountPoints": [mount("/data"), mount(second)] })
    };
    let with_volume = |container: Value| {
        merge(
            with_container(container),
            json!({ "volumes": [{ "name": "data" }] }),
        )
    };
    accept([with_volume(mounts("/other"))]);
    let tmpfs =
        json!({ "linuxParameters": { "tmpfs": [{ "containerPath": "/other", "size": 1 }] } });
    let twice = |path: &str| {
        format!("Invalid setting for container 'web'. The path '{path}' is mounted more than once.")
    };
    expect_broken([
        (with_volume(mounts("/data")), twice("/data")),
        (with_volume(merge(mounts("/other"), tmpfs)), twice("/other")),
    ]);
}

#[test]
fn volumes_are_of_one_kind_and_have_names_of_their_own() {
    let volume = |members: Value| {
        let volume = merge(json!({ "name": "data" }), members);
        with_task(json!({ "volumes": [volume] }))
    };
    let docker = |members: Value| json!({ "dockerVolumeConfiguration": members });
    let shared = docker(json!({ "scope": "shared", "autoprovision": true }));
    let own = [
        json!({ "scope": "task" }),
        json!({ "scope": "task", "autoprovision": true }),
        json!({ "autoprovision": true }),
    ];
    accept([volume(shared)]);
    accept(own.map(|members| volume(docker(members))));
    let in_task = "When 'scope' parameter is 'task', 'autoprovision' must either not be \
                   specified or set to 'True'.";
    expect_refusals([
        (
            volume(merge(
                docker(json!({})),
                json!({ "host": { "sourcePath": "/data" } }),
            )),
            "Volume 'data' cannot have both 'host' and 'dockerVolumeConfiguration'.",
        ),
        (
            volume(docker(json!({ "scope": "task", "autoprovision": false }))),
            in_task,
        ),
        (volume(docker(json!({ "autoprovision": false }))), in_task),
        (
            with_task(json!({ "volumes": [{ "name": "data" }, { "name": "data" }] })),
            "Duplicate volume name 'data'.",
        ),
    ]);
}

#[test]
fn port_mappings_have_names_of_their_own_and_a_network() {
    let named = |second: &str| {
        let first = json!({ "portMappings": [{ "containerPort": 80, "name": "http" }] });
        let second = json!({ "portMappings": [{ "containerPort": 81, "name": second }] });
        json!({ "containerDefinitions": [container("web", first), container("db", second)] })
    };
    let mapped = with_container(json!({ "portMappings": [{ "containerPort": 80 }] }));
    let without_network = |task: Value| merge(task, json!({ "networkMode": "none" }));
    accept([named("admin"), without_network(with_container(json!({})))]);
    expect_refusals([
        (named("http"), "Duplicate port mapping name 'http'."),
        (
            without_network(mapped),
            "Port mappings are not supported when networkMode=none.",
        ),
    ]);
}

#[test]
fn swappiness_and_log_modes_have_values() {
    let swappiness = |value: i32| json!({ "linuxParameters": { "swappiness": value } });
    accept([swappiness(0), swappiness(100)].map(with_container));
    let rule = "The 'swappiness' must be between 0 and 100.";
    expect_broken([breaks(swappiness(-1), rule), breaks(swappiness(101), rule)]);
    let logs = |mode: &str| {
        let logs = json!({ "logDriver": "json-file", "options": { "mode": mode } });
        with_container(json!({ "logConfiguration": logs }))
    };
    accept([logs("blocking"), logs("non-blocking")]);
    expect_refusals([(logs("fast"), "Log mode 'fast' is not valid.")]);
}
