//! Where tasks are placed, and what is said where they are not.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{arn, with_cluster};
use crate::support::{AgentSocket, Ecs, TestAgent, command, stderr};

/// An instance with a connected agent.
struct Host {
    agent: TestAgent,
    /// Placement is on instances with an open connection only.
    _acs: AgentSocket,
}

/// Registers an instance in the cluster `web` with 1,024 CPU units and 1,024 MiB.
async fn registered(ecs: &Ecs, zone: &str, attributes: &[(&str, &str)]) -> TestAgent {
    let resource =
        |name: &str, value: i64| json!({"name": name, "type": "INTEGER", "integerValue": value});
    let ports = json!({"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22"]});
    let zone = [("ecs.availability-zone", zone)];
    let attributes = zone.iter().chain(attributes);
    let attributes = attributes.map(|(name, value)| json!({"name": name, "value": value}));
    let request = json!({
        "cluster": "web",
        "totalResources": [resource("CPU", 1024), resource("MEMORY", 1024), ports],
        "versionInfo": {"agentVersion": "1.0.0", "dockerVersion": "DockerVersion: 1"},
        "attributes": attributes.collect::<Vec<_>>(),
    });
    let made = ecs.ok("RegisterContainerInstance", request).await;
    let instance = text(&made["containerInstance"]["containerInstanceArn"]);
    TestAgent {
        ecs: ecs.clone(),
        cluster: "web".to_owned(),
        instance,
    }
}

async fn host(ecs: &Ecs, zone: &str, attributes: &[(&str, &str)]) -> Host {
    let agent = registered(ecs, zone, attributes).await;
    let acs = agent.acs().await;
    Host { agent, _acs: acs }
}

/// Registers the task definition `app` of a container with 256 CPU units and 128 MiB, and what is
/// given.
async fn define(ecs: &Ecs, container: Value, task: Value) {
    let mut app = json!({"name": "app", "image": "busybox", "cpu": 256, "memory": 128});
    let mut definition = json!({"family": "app"});
    merge(&mut app, container);
    merge(&mut definition, task);
    definition["containerDefinitions"] = json!([app]);
    ecs.ok("RegisterTaskDefinition", definition).await;
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

/// Runs the task definition `app`, with further members of the request.
async fn run(ecs: &Ecs, count: usize, more: Value) -> Value {
    let mut request = json!({"cluster": "web", "taskDefinition": "app", "count": count});
    merge(&mut request, more);
    ecs.ok("RunTask", request).await
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// How many tasks went to each instance.
fn by_instance(started: &Value) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for task in started["tasks"].as_array().expect("tasks") {
        *counts
            .entry(text(&task["containerInstanceArn"]))
            .or_default() += 1;
    }
    counts
}

/// Checks that no task was started, with this reason for each of the instances.
fn assert_refused(started: &Value, hosts: &[&TestAgent], reason: &str) {
    assert_eq!(started["tasks"], json!([]), "{started}");
    let failures = started["failures"].as_array().expect("failures");
    let mut told: Vec<_> = failures.iter().map(|one| text(&one["arn"])).collect();
    told.sort_unstable();
    let mut expected: Vec<_> = hosts.iter().map(|host| host.instance.clone()).collect();
    expected.sort_unstable();
    assert_eq!(told, expected);
    for failure in failures {
        assert_eq!(failure["reason"], reason);
    }
}

#[tokio::test]
async fn a_cluster_without_instances_says_so() {
    let (_server, ecs) = with_cluster("web").await;
    define(&ecs, json!({}), json!({})).await;
    let request = json!({"cluster": "web", "taskDefinition": "app"});
    let message = "No Container Instances were found in your cluster.";
    let code = "InvalidParameterException";
    ecs.refused("RunTask", request, code, message).await;
}

#[tokio::test]
async fn an_instance_without_its_agent_gets_no_tasks() {
    let (_server, ecs) = with_cluster("web").await;
    define(&ecs, json!({}), json!({})).await;
    let agent = registered(&ecs, "us-east-1a", &[]).await;
    assert_refused(&run(&ecs, 1, json!({})).await, &[&agent], "AGENT");
    let _acs = agent.acs().await;
    let started = run(&ecs, 1, json!({})).await;
    assert_eq!(by_instance(&started), BTreeMap::from([(agent.instance, 1)]));
}

#[tokio::test]
async fn tasks_are_spread_over_zones_and_then_over_instances() {
    let (_server, ecs) = with_cluster("web").await;
    define(&ecs, json!({}), json!({})).await;
    let one = host(&ecs, "us-east-1a", &[]).await;
    let two = host(&ecs, "us-east-1a", &[]).await;
    let other = host(&ecs, "us-east-1b", &[]).await;
    let started = run(&ecs, 4, json!({})).await;
    assert_eq!(started["failures"], json!([]));
    let expected = BTreeMap::from([
        (one.agent.instance.clone(), 1),
        (two.agent.instance.clone(), 1),
        (other.agent.instance.clone(), 2),
    ]);
    assert_eq!(by_instance(&started), expected);
    let zones = started["tasks"].as_array().expect("tasks").iter();
    let in_other = zones.filter(|task| task["availabilityZone"] == "us-east-1b");
    assert_eq!(in_other.count(), 2);
}

#[tokio::test]
async fn packed_tasks_fill_one_instance_first() {
    let (_server, ecs) = with_cluster("web").await;
    define(&ecs, json!({}), json!({})).await;
    let _hosts = [
        host(&ecs, "us-east-1a", &[]).await,
        host(&ecs, "us-east-1b", &[]).await,
    ];
    let binpack = json!({"placementStrategy": [{"type": "binpack", "field": "memory"}]});
    let started = run(&ecs, 4, binpack.clone()).await;
    assert_eq!(by_instance(&started).into_values().collect::<Vec<_>>(), [4]);
    // 1,024 CPU units are taken: the rest goes to the other one.
    let rest = run(&ecs, 5, binpack).await;
    assert_eq!(by_instance(&rest).into_values().collect::<Vec<_>>(), [4]);
    let failures = rest["failures"].as_array().expect("failures");
    assert_eq!(failures.len(), 2);
    assert!(failures.iter().all(|one| one["reason"] == "RESOURCE:CPU"));
}

#[tokio::test]
async fn each_instance_tells_what_it_lacks() {
    let (_server, ecs) = with_cluster("web").await;
    let host = host(&ecs, "us-east-1a", &[]).await;
    let agents = [&host.agent];
    for (container, reason) in [
        (json!({"cpu": 2000}), "RESOURCE:CPU"),
        (json!({"memory": 2000}), "RESOURCE:MEMORY"),
        (
            json!({"portMappings": [{"containerPort": 80, "hostPort": 22}]}),
            "RESOURCE:PORTS",
        ),
    ] {
        define(&ecs, container, json!({})).await;
        assert_refused(&run(&ecs, 1, json!({})).await, &agents, reason);
    }
    let expression = json!({"placementConstraints": [
        {"type": "memberOf", "expression": "attribute:rack == r1"}
    ]});
    define(&ecs, json!({}), json!({})).await;
    let reason = "MemberOf placement constraint unsatisfied.";
    assert_refused(&run(&ecs, 1, expression.clone()).await, &agents, reason);
    define(&ecs, json!({}), expression).await;
    assert_refused(&run(&ecs, 1, json!({})).await, &agents, reason);
}

#[tokio::test]
async fn a_static_port_is_free_again_when_its_task_has_stopped() {
    let (_server, ecs) = with_cluster("web").await;
    let ports = json!({"portMappings": [{"containerPort": 80, "hostPort": 8080}]});
    define(&ecs, ports, json!({})).await;
    let host = host(&ecs, "us-east-1a", &[]).await;
    let started = run(&ecs, 1, json!({})).await;
    let task = text(&started["tasks"][0]["taskArn"]);
    let agents = [&host.agent];
    assert_refused(&run(&ecs, 1, json!({})).await, &agents, "RESOURCE:PORTS");
    ecs.ok("StopTask", json!({"cluster": "web", "task": task}))
        .await;
    // The container still runs.
    assert_refused(&run(&ecs, 1, json!({})).await, &agents, "RESOURCE:PORTS");
    host.agent.report(&task, "STOPPED").await;
    let started = run(&ecs, 1, json!({})).await;
    assert_eq!(started["tasks"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_distinct_instance_for_each_task_of_a_group() {
    let (_server, ecs) = with_cluster("web").await;
    define(&ecs, json!({}), json!({})).await;
    let one = host(&ecs, "us-east-1a", &[]).await;
    let two = host(&ecs, "us-east-1a", &[]).await;
    let distinct = json!({"placementConstraints": [{"type": "distinctInstance"}]});
    let started = run(&ecs, 3, distinct).await;
    assert_eq!(
        by_instance(&started).into_values().collect::<Vec<_>>(),
        [1, 1]
    );
    let failures = started["failures"].as_array().expect("failures");
    let reason = "DistinctInstance placement constraint unsatisfied.";
    assert!(failures.iter().all(|one| one["reason"] == reason));
    let other = json!({
        "group": "batch",
        "placementConstraints": [{"type": "distinctInstance"}],
    });
    let started = run(&ecs, 2, other).await;
    let expected = BTreeMap::from([(one.agent.instance, 1), (two.agent.instance, 1)]);
    assert_eq!(by_instance(&started), expected);
}

#[tokio::test]
async fn expressions_choose_instances() {
    let (_server, ecs) = with_cluster("web").await;
    define(&ecs, json!({}), json!({})).await;
    let small = host(&ecs, "us-east-1a", &[("ecs.instance-type", "t3.small")]).await;
    let large = host(&ecs, "us-east-1a", &[("ecs.instance-type", "m5.large")]).await;
    let member_of =
        |text: &str| json!({"placementConstraints": [{"type": "memberOf", "expression": text}]});
    for (expression, expected) in [
        ("attribute:ecs.instance-type =~ m5.*", &large),
        ("attribute:ecs.instance-type == t3.small", &small),
    ] {
        let started = run(&ecs, 1, member_of(expression)).await;
        let instance = &expected.agent.instance;
        assert_eq!(started["tasks"][0]["containerInstanceArn"], *instance);
    }
    // Both have a task of the family by now.
    let nowhere = run(&ecs, 1, member_of("not(task:group == family:app)")).await;
    let reason = "MemberOf placement constraint unsatisfied.";
    assert_refused(&nowhere, &[&small.agent, &large.agent], reason);
    for (expression, message) in [
        ("attribute:a ==", "the expression ends too early"),
        ("color == red", "unknown subject 'color'"),
        ("attribute:a =~ '('", "'(' is not a regular expression"),
    ] {
        let mut request = member_of(expression);
        merge(
            &mut request,
            json!({"cluster": "web", "taskDefinition": "app"}),
        );
        let code = "InvalidParameterException";
        ecs.refused("RunTask", request, code, message).await;
    }
}

#[tokio::test]
async fn expressions_count_the_tasks_that_run_now() {
    let (_server, ecs) = with_cluster("web").await;
    let first = host(&ecs, "a", &[]).await;
    let _second = host(&ecs, "a", &[]).await;
    define(&ecs, json!({}), json!({})).await;
    let attribute = json!({"name": "place", "value": "first", "targetId": first.agent.instance});
    let put = json!({"cluster": "web", "attributes": [attribute]});
    ecs.ok("PutAttributes", put).await;
    let on_first = |count: &str| {
        let expression = format!("runningTasksCount == {count} and attribute:place == first");
        json!({"placementConstraints": [{"type": "memberOf", "expression": expression}]})
    };
    let started = run(&ecs, 1, on_first("0")).await;
    let task = text(&started["tasks"][0]["taskArn"]);
    // It waits for its agent and does not run yet.
    let refused = run(&ecs, 1, on_first("1")).await;
    assert_eq!(refused["tasks"], json!([]));
    first.agent.report(&task, "RUNNING").await;
    let started = run(&ecs, 1, on_first("1")).await;
    assert_eq!(
        text(&started["tasks"][0]["containerInstanceArn"]),
        first.agent.instance
    );
}

#[tokio::test]
async fn instances_are_listed_by_the_same_language() {
    let (_server, ecs) = with_cluster("web").await;
    define(&ecs, json!({}), json!({})).await;
    let one = host(&ecs, "us-east-1a", &[("rack", "r1")]).await;
    let two = host(&ecs, "us-east-1b", &[("rack", "r2")]).await;
    let list = async |filter: &str| {
        let request = json!({"cluster": "web", "filter": filter});
        let listed = ecs.ok("ListContainerInstances", request).await;
        let arns = listed["containerInstanceArns"].as_array().expect("ARNs");
        let mut arns: Vec<_> = arns.iter().map(text).collect();
        arns.sort_unstable();
        arns
    };
    let one = one.agent.instance.clone();
    assert_eq!(
        list("attribute:rack == r1").await,
        std::slice::from_ref(&one)
    );
    assert_eq!(
        list("attribute:rack != r1").await,
        std::slice::from_ref(&two.agent.instance)
    );
    assert_eq!(list("agentConnected == true").await.len(), 2);
    assert_eq!(list("task:group == family:app").await, Vec::<String>::new());
    let on_one = json!({"placementConstraints": [
        {"type": "memberOf", "expression": "attribute:rack == r1"}
    ]});
    run(&ecs, 1, on_one).await;
    assert_eq!(list("task:group == family:app").await, [one]);
}

#[tokio::test]
async fn an_instance_that_drains_gets_no_tasks() {
    let (_server, ecs) = with_cluster("web").await;
    define(&ecs, json!({}), json!({})).await;
    let one = host(&ecs, "us-east-1a", &[]).await;
    let two = host(&ecs, "us-east-1a", &[]).await;
    let drain = json!({
        "cluster": "web",
        "containerInstances": [one.agent.instance],
        "status": "DRAINING",
    });
    ecs.ok("UpdateContainerInstancesState", drain).await;
    let started = run(&ecs, 2, json!({})).await;
    let expected = BTreeMap::from([(two.agent.instance.clone(), 2)]);
    assert_eq!(by_instance(&started), expected);
    let start = json!({
        "cluster": "web",
        "taskDefinition": "app",
        "containerInstances": [
            one.agent.instance,
            two.agent.instance,
            arn(&format!("container-instance/web/{}", "0".repeat(32))),
        ],
    });
    let started = ecs.ok("StartTask", start).await;
    assert_eq!(
        by_instance(&started),
        BTreeMap::from([(two.agent.instance, 1)])
    );
    let failures = started["failures"].as_array().expect("failures");
    let reasons: Vec<_> = failures.iter().map(|one| text(&one["reason"])).collect();
    assert_eq!(reasons, ["INACTIVE", "MISSING"]);
}

#[tokio::test]
async fn the_command_line_explains_placement() {
    let (server, ecs) = with_cluster("web").await;
    let ports = json!({"portMappings": [{"containerPort": 80, "hostPort": 8080}]});
    define(&ecs, ports, json!({})).await;
    let near = host(&ecs, "us-east-1a", &[]).await;
    let far = registered(&ecs, "us-east-1b", &[]).await;
    let arguments = [
        "explain",
        "placement",
        "--cluster",
        "web",
        "--task-definition",
        "app",
    ];
    let explained = server.command(&[&arguments[..], &["--count", "2", "--json"]].concat());
    let explained: Value = serde_json::from_str(&explained).expect("JSON");
    let id = |arn: &str| arn.rsplit('/').next().map(str::to_owned);
    let near_id = id(&near.agent.instance).expect("an identifier");
    assert_eq!(explained["chosen"], json!([near_id]));
    let instances = explained["instances"].as_array().expect("instances");
    let far_id = id(&far.instance).expect("an identifier");
    let far = instances.iter().find(|one| one["instance"] == *far_id);
    assert_eq!(far.expect("it is listed")["reasons"], json!(["AGENT"]));

    run(&ecs, 1, json!({})).await;
    let text = server.command(&arguments);
    let of_near = text.lines().find(|line| line.starts_with(&near_id));
    let of_near = of_near.expect("a line for the instance");
    assert!(
        of_near.contains("us-east-1a") && of_near.ends_with("RESOURCE:PORTS"),
        "{text}"
    );
    assert!(text.contains("needs 256 CPU units and 128 MiB, and the ports 8080/tcp."));
    assert!(
        text.ends_with("No container instance meets all requirements.\n"),
        "{text}"
    );
}

#[tokio::test]
async fn the_command_line_shows_clusters_once() {
    let (server, ecs) = with_cluster("web").await;
    ecs.ok("CreateCluster", json!({"clusterName": "api"})).await;
    define(&ecs, json!({}), json!({})).await;
    let host = host(&ecs, "us-east-1a", &[]).await;
    run(&ecs, 2, json!({})).await;
    let service = json!({"cluster": "web", "serviceName": "front", "taskDefinition": "app",
        "desiredCount": 0});
    ecs.ok("CreateService", service).await;
    let (folder, aws) = (server.folder().to_owned(), ecs.aws().clone());
    let top = move |more: &[&str]| {
        let endpoint = format!("http://{}", aws.address);
        let output = command(&folder)
            .env("AWS_ACCESS_KEY_ID", &aws.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &aws.secret)
            .args(["top", "--once", "--endpoint", &endpoint])
            .args(more)
            .output()
            .expect("the program runs");
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).expect("text")
    };
    let (text_of_web, text_of_first) =
        tokio::task::spawn_blocking(move || (top(&["--cluster", "web"]), top(&[])))
            .await
            .expect("both ran");
    let id = text(&json!(host.agent.instance));
    let id = id.rsplit('/').next().expect("an identifier");
    let line = |start: &str| -> Vec<&str> {
        let line = text_of_web.lines().find(|line| line.starts_with(start));
        let line = line.unwrap_or_else(|| panic!("no {start}: {text_of_web}"));
        line.split_whitespace().collect()
    };
    assert_eq!(line("api "), ["api", "ACTIVE", "0", "0", "0", "0"]);
    assert_eq!(line("web "), ["web", "ACTIVE", "1", "0", "2", "1"]);
    assert_eq!(
        line("front ")[..6],
        ["front", "ACTIVE", "0", "0", "0", "app:1"]
    );
    assert_eq!(line(id)[..4], [id, "ACTIVE", "yes", "2"]);
    assert!(text_of_web.contains("\nservices of web\n"), "{text_of_web}");
    // The first one by name, where none is named.
    assert!(
        text_of_first.contains("\nservices of api\n"),
        "{text_of_first}"
    );
}
