//! Services roll: agents on real connections that report at once what they are told to run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::{AgentSocket, Ecs, Setup, TestAgent, TestServer};

const PATIENCE: Duration = Duration::from_mins(1);

/// An agent that reports each task as running, or as stopped if it is told to stop it. Tasks of
/// the families in `failing` never start.
struct Agent {
    instance: TestAgent,
    failing: Arc<Mutex<BTreeSet<String>>>,
    work: JoinHandle<()>,
}

impl Agent {
    async fn start(ecs: &Ecs) -> Self {
        Self::start_with(ecs, json!([])).await
    }

    async fn start_with(ecs: &Ecs, attributes: Value) -> Self {
        let agent = TestAgent::register_with(ecs, "c", attributes).await;
        let mut socket = agent.acs().await;
        let failing: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let (reporter, fails) = (agent.clone(), Arc::clone(&failing));
        let work = tokio::spawn(async move {
            loop {
                let payload = socket.payload().await;
                for task in payload["tasks"].as_array().expect("tasks") {
                    let arn = task["arn"].as_str().expect("an ARN");
                    let family = format!("{}:{}", task["family"], task["version"]);
                    let family = family.replace('"', "");
                    let fails = fails.lock().expect("a lock").contains(&family);
                    let runs = task["desiredStatus"] == "RUNNING" && !fails;
                    let status = if runs { "RUNNING" } else { "STOPPED" };
                    reporter.report(arn, status).await;
                }
            }
        });
        Self {
            instance: agent,
            failing,
            work,
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.work.abort();
    }
}

async fn start(agents: usize) -> (TestServer, Ecs, Vec<Agent>) {
    let server = TestServer::start(Setup {
        arguments: &["--service-healthy-seconds=1"],
        ..Setup::default()
    })
    .await;
    let ecs = Ecs::of(&server.aws());
    ecs.ok("CreateCluster", json!({"clusterName": "c"})).await;
    let mut started = Vec::new();
    for _ in 0..agents {
        started.push(Agent::start(&ecs).await);
    }
    (server, ecs, started)
}

async fn define(ecs: &Ecs) {
    let container = json!({"name": "web", "image": "nginx", "memory": 128});
    let request = json!({"family": "web", "containerDefinitions": [container]});
    ecs.ok("RegisterTaskDefinition", request).await;
}

async fn create(ecs: &Ecs, members: Value) {
    let mut request = json!({"cluster": "c", "serviceName": "web", "taskDefinition": "web"});
    for (name, value) in members.as_object().expect("members") {
        request[name] = value.clone();
    }
    ecs.ok("CreateService", request).await;
}

async fn update(ecs: &Ecs, members: Value) {
    let mut request = json!({"cluster": "c", "service": "web"});
    for (name, value) in members.as_object().expect("members") {
        request[name] = value.clone();
    }
    ecs.ok("UpdateService", request).await;
}

async fn describe(ecs: &Ecs) -> Value {
    let named = json!({"cluster": "c", "services": ["web"]});
    ecs.ok("DescribeServices", named).await["services"][0].clone()
}

/// What the waiter `services-stable` looks at, and the state of the rollout.
fn is_stable(service: &Value) -> bool {
    let deployments = service["deployments"].as_array().expect("deployments");
    deployments.len() == 1
        && service["runningCount"] == service["desiredCount"]
        && service["pendingCount"] == 0
        && deployments[0]["rolloutState"] == "COMPLETED"
}

/// Describes the service until it is as wanted; each description passes `check`.
async fn until(ecs: &Ecs, wanted: impl Fn(&Value) -> bool, check: impl Fn(&Value)) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let service = describe(ecs).await;
        check(&service);
        if wanted(&service) {
            return service;
        }
        assert!(Instant::now() < end, "never as wanted: {service}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn tasks(ecs: &Ecs) -> Vec<Value> {
    let listed = json!({"cluster": "c", "serviceName": "web"});
    let arns = ecs.ok("ListTasks", listed).await["taskArns"].clone();
    if arns.as_array().is_some_and(Vec::is_empty) {
        return Vec::new();
    }
    let described = json!({"cluster": "c", "tasks": arns});
    let described = ecs.ok("DescribeTasks", described).await;
    described["tasks"].as_array().expect("tasks").clone()
}

fn has_event(service: &Value, part: &str) -> bool {
    let events = service["events"].as_array().expect("events");
    let mut messages = events.iter().filter_map(|event| event["message"].as_str());
    messages.any(|message| message.contains(part))
}

#[tokio::test]
async fn a_service_rolls_within_its_bounds_heals_and_scales() {
    let (_server, ecs, agents) = start(2).await;
    define(&ecs).await;
    create(&ecs, json!({"desiredCount": 4})).await;
    let stable = until(&ecs, is_stable, |_| ()).await;
    let deployment = stable["deployments"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert!(has_event(
        &stable,
        "(service web) has started 4 tasks: (task "
    ));
    let first = tasks(&ecs).await;
    assert_eq!(first.len(), 4);
    let instances: BTreeSet<_> = first
        .iter()
        .map(|one| one["containerInstanceArn"].to_string())
        .collect();
    assert_eq!(instances.len(), 2, "spread over both instances");
    for task in &first {
        assert_eq!(task["startedBy"], json!(deployment));
        assert_eq!(task["group"], "service:web");
    }

    define(&ecs).await;
    update(&ecs, json!({"taskDefinition": "web"})).await;
    let within_bounds = |service: &Value| {
        let count = |member: &str| service[member].as_i64().expect("a count");
        assert!(
            count("runningCount") >= 4,
            "below the lower bound: {service}"
        );
        assert!(
            count("runningCount") + count("pendingCount") <= 8,
            "above the upper bound"
        );
    };
    let second = until(&ecs, is_stable, within_bounds).await;
    assert_ne!(second["deployments"][0]["id"], json!(deployment));
    assert!(has_event(
        &second,
        "(service web) has stopped 4 running tasks: (task "
    ));
    let stopped = json!({"cluster": "c", "tasks": [first[0]["taskArn"]]});
    let stopped = ecs.ok("DescribeTasks", stopped).await["tasks"][0].clone();
    let reason = format!(
        "Scaling activity initiated by (deployment {})",
        second["deployments"][0]["id"].as_str().expect("an id")
    );
    assert_eq!(stopped["stoppedReason"], reason);
    assert_eq!(stopped["stopCode"], "ServiceSchedulerInitiated");

    // A container ends by itself, and a user stops another.
    let running = tasks(&ecs).await;
    let arn = |task: &Value| task["taskArn"].as_str().expect("an ARN").to_owned();
    agents[0]
        .instance
        .report(&arn(&running[0]), "STOPPED")
        .await;
    ecs.ok(
        "StopTask",
        json!({"cluster": "c", "task": arn(&running[1])}),
    )
    .await;
    let gone: BTreeSet<_> = running[..2].iter().map(arn).collect();
    let end = Instant::now() + PATIENCE;
    loop {
        let left: BTreeSet<_> = tasks(&ecs).await.iter().map(arn).collect();
        if left.len() == 4 && left.is_disjoint(&gone) {
            break;
        }
        assert!(Instant::now() < end, "never replaced");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until(&ecs, is_stable, |_| ()).await;

    update(&ecs, json!({"desiredCount": 1})).await;
    until(
        &ecs,
        |one| is_stable(one) && one["runningCount"] == 1,
        |_| (),
    )
    .await;
    let delete = json!({"cluster": "c", "service": "web", "force": true});
    ecs.ok("DeleteService", delete).await;
    until(
        &ecs,
        |one| one["status"] == "INACTIVE" && one["runningCount"] == 0,
        |_| (),
    )
    .await;
}

#[tokio::test]
async fn a_deployment_that_fails_is_rolled_back_by_the_circuit_breaker() {
    let (_server, ecs, agents) = start(1).await;
    define(&ecs).await;
    let breaker = json!({"enable": true, "rollback": true});
    let configuration = json!({"deploymentCircuitBreaker": breaker});
    create(
        &ecs,
        json!({"desiredCount": 3, "deploymentConfiguration": configuration}),
    )
    .await;
    let good = until(&ecs, is_stable, |_| ()).await["deployments"][0]["id"].clone();
    define(&ecs).await;
    agents[0]
        .failing
        .lock()
        .expect("a lock")
        .insert("web:2".to_owned());
    update(&ecs, json!({"taskDefinition": "web:2"})).await;
    let bad = describe(&ecs).await["currentServiceDeployment"].clone();
    let all_run = |service: &Value| {
        assert!(
            service["runningCount"].as_i64() >= Some(3),
            "the old tasks serve: {service}"
        );
    };
    let back = |service: &Value| {
        let definition = service["taskDefinition"].as_str().expect("an ARN");
        definition.ends_with("/web:1") && is_stable(service)
    };
    let service = until(&ecs, back, all_run).await;
    assert!(has_event(
        &service,
        "deployment failed: tasks failed to start."
    ));
    let good = good.as_str().expect("an id");
    assert!(has_event(
        &service,
        &format!("rolling back to deployment {good}.")
    ));
    let described = json!({"serviceDeploymentArns": [bad]});
    let described = ecs.ok("DescribeServiceDeployments", described).await;
    let described = &described["serviceDeployments"][0];
    assert_eq!(described["status"], "ROLLBACK_SUCCESSFUL");
    assert_eq!(described["deploymentCircuitBreaker"]["status"], "TRIGGERED");
    // Another task may have been on its way to fail by then.
    let failures = described["deploymentCircuitBreaker"]["failureCount"].as_u64();
    assert!(failures.is_some_and(|count| count >= 3), "{described}");
}

#[tokio::test]
async fn tasks_leave_an_instance_that_drains_and_daemons_follow_instances() {
    let (_server, ecs, agents) = start(2).await;
    define(&ecs).await;
    create(&ecs, json!({"schedulingStrategy": "DAEMON"})).await;
    let both = |one: &Value| is_stable(one) && one["runningCount"] == 2;
    until(&ecs, both, |_| ()).await;
    let third = Agent::start(&ecs).await;
    until(
        &ecs,
        |one| is_stable(one) && one["runningCount"] == 3,
        |_| (),
    )
    .await;
    let drain = json!({"cluster": "c", "containerInstances": [agents[0].instance.instance],
        "status": "DRAINING"});
    ecs.ok("UpdateContainerInstancesState", drain).await;
    until(&ecs, both, |_| ()).await;
    let instances: BTreeSet<_> = tasks(&ecs)
        .await
        .iter()
        .map(|one| {
            one["containerInstanceArn"]
                .as_str()
                .expect("an ARN")
                .to_owned()
        })
        .collect();
    let expected = [&agents[1].instance.instance, &third.instance.instance];
    assert_eq!(instances, expected.into_iter().cloned().collect());
}

/// How many tasks of the service each capacity provider has; each is on an instance of it.
async fn by_provider(ecs: &Ecs, instances: &[(&str, &str)]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for task in tasks(ecs).await {
        let provider = task["capacityProviderName"].as_str().expect("a provider");
        let instance = task["containerInstanceArn"].as_str().expect("an instance");
        assert!(instances.contains(&(provider, instance)), "{task}");
        *counts.entry(provider.to_owned()).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_service_is_shared_among_capacity_providers_by_base_and_weight() {
    let (_server, ecs, _agents) = start(1).await;
    let group = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:\
                 00000000-0000-4000-8000-000000000000:autoScalingGroupName/";
    let mut hosts = Vec::new();
    for name in ["steady", "spot"] {
        let group = json!({"autoScalingGroupArn": format!("{group}{name}")});
        let provider = json!({"name": name, "autoScalingGroupProvider": group});
        ecs.ok("CreateCapacityProvider", provider).await;
        let attribute = json!([{"name": "ecs.capacity-provider", "value": name}]);
        hosts.push(Agent::start_with(&ecs, attribute).await);
    }
    let associate = json!({"cluster": "c", "capacityProviders": ["steady", "spot"],
        "defaultCapacityProviderStrategy": []});
    ecs.ok("PutClusterCapacityProviders", associate).await;
    define(&ecs).await;
    let strategy = json!([
        {"capacityProvider": "steady", "weight": 1, "base": 2},
        {"capacityProvider": "spot", "weight": 3, "base": 0},
    ]);
    create(
        &ecs,
        json!({"desiredCount": 6, "capacityProviderStrategy": strategy}),
    )
    .await;
    let stable = until(&ecs, is_stable, |_| ()).await;
    assert_eq!(stable["capacityProviderStrategy"], strategy);
    assert_eq!(stable["launchType"], Value::Null);
    let instances = [
        ("steady", &*hosts[0].instance.instance),
        ("spot", &*hosts[1].instance.instance),
    ];
    let counts = |steady: usize, spot: usize| {
        BTreeMap::from([("steady".to_owned(), steady), ("spot".to_owned(), spot)])
    };
    // Two as the base, and of four more one in four.
    assert_eq!(by_provider(&ecs, &instances).await, counts(3, 3));
    update(&ecs, json!({"desiredCount": 10})).await;
    let ten = |one: &Value| is_stable(one) && one["runningCount"] == 10;
    until(&ecs, ten, |_| ()).await;
    assert_eq!(by_provider(&ecs, &instances).await, counts(4, 6));
}

#[tokio::test]
async fn protected_tasks_stay_when_their_service_scales_in() {
    let (_server, ecs, _agents) = start(1).await;
    define(&ecs).await;
    create(&ecs, json!({"desiredCount": 4})).await;
    until(&ecs, is_stable, |_| ()).await;
    let arns = async || -> BTreeSet<String> {
        let tasks = tasks(&ecs).await;
        let arns = tasks.iter().map(|task| task["taskArn"].as_str());
        arns.map(|arn| arn.expect("an ARN").to_owned()).collect()
    };
    let all: Vec<_> = arns().await.into_iter().collect();
    let protect = async |tasks: &[String], on: bool| {
        let request = json!({"cluster": "c", "tasks": tasks, "protectionEnabled": on});
        ecs.ok("UpdateTaskProtection", request).await
    };
    let kept = &all[1..3];
    let protected = protect(kept, true).await;
    assert_eq!(protected["failures"], json!([]));
    let shown = protected["protectedTasks"].as_array().expect("tasks");
    for (task, arn) in shown.iter().zip(kept) {
        assert_eq!(task["taskArn"], *arn);
        assert_eq!(task["protectionEnabled"], true);
        assert!(task["expirationDate"].is_number(), "{task}");
    }
    assert_eq!(shown.len(), 2);
    let get = json!({"cluster": "c", "tasks": kept});
    assert_eq!(ecs.ok("GetTaskProtection", get.clone()).await, protected);

    update(&ecs, json!({"desiredCount": 1})).await;
    let running = |count: i64| move |one: &Value| one["runningCount"] == count;
    let spared = |one: &Value| assert!(one["runningCount"].as_i64() >= Some(2), "{one}");
    until(&ecs, running(2), spared).await;
    assert_eq!(arns().await, kept.iter().cloned().collect());

    // They hold a deployment up, and no more tasks are protected then than the service shall have.
    update(&ecs, json!({"desiredCount": 2})).await;
    define(&ecs).await;
    update(&ecs, json!({"taskDefinition": "web:2"})).await;
    let both_run = |one: &Value| one["deployments"][0]["runningCount"] == 2;
    until(&ecs, both_run, spared).await;
    let new: Vec<_> = arns().await.into_iter().collect();
    let new: Vec<_> = new.into_iter().filter(|arn| !kept.contains(arn)).collect();
    let blocked = protect(&new, true).await;
    let is_blocked = |arn: &String| json!({"arn": arn, "reason": "DEPLOYMENT_BLOCKED"});
    let failures: Vec<_> = new.iter().map(is_blocked).collect();
    assert_eq!(blocked, json!({"protectedTasks": [], "failures": failures}));
    let longer = protect(kept, true).await;
    assert_eq!(longer["failures"], json!([]), "it can always be longer");

    let off = protect(kept, false).await;
    let is_off = |arn: &String| json!({"taskArn": arn, "protectionEnabled": false});
    let expected: Vec<_> = kept.iter().map(is_off).collect();
    assert_eq!(off, json!({"protectedTasks": expected, "failures": []}));
    until(&ecs, is_stable, |_| ()).await;
    assert_eq!(arns().await, new.iter().cloned().collect());
}

/// An instance whose agent gets tasks and reports nothing.
async fn silent(ecs: &Ecs) -> (TestAgent, AgentSocket) {
    let agent = TestAgent::register(ecs, "c").await;
    let acs = agent.acs().await;
    (agent, acs)
}

const GUIDE: &str = "For more information, see the Troubleshooting section of the Amazon ECS \
                     Developer Guide.";

#[tokio::test]
async fn events_say_what_the_closest_instance_lacks() {
    let (_server, ecs, _agents) = start(0).await;
    let agent = TestAgent::register(&ecs, "c").await;
    let id = agent.instance.rsplit('/').next().expect("an identifier");
    define(&ecs).await;
    let expect = async |service: &str, lacks: &str| {
        let message = format!(
            "(service {service}) was unable to place a task because no container instance met \
             all of its requirements. The closest matching (container-instance {id}) {lacks} \
             {GUIDE}"
        );
        let named = json!({"cluster": "c", "services": [service]});
        let told = async {
            loop {
                let described = ecs.ok("DescribeServices", named.clone()).await;
                if has_event(&described["services"][0], &message) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let told = tokio::time::timeout(PATIENCE, told).await;
        told.unwrap_or_else(|_| panic!("never told: {message}"));
    };
    create(&ecs, json!({"desiredCount": 1})).await;
    expect("web", "encountered error \"AGENT\".").await;
    let _acs = agent.acs().await;
    let large = |name: &str| json!({"cpu": 1, "memory": 8, name: 100_000});
    let ports = json!([{"containerPort": 80, "hostPort": 22}]);
    for (service, container, lacks) in [
        ("cpu", large("cpu"), "has insufficient CPU units available."),
        (
            "memory",
            large("memory"),
            "has insufficient memory available.",
        ),
        (
            "port",
            json!({"memory": 8, "portMappings": ports}),
            "is already using a port required by your task.",
        ),
        (
            "attribute",
            json!({"memory": 8, "privileged": true}),
            "is missing an attribute required by your task.",
        ),
    ] {
        let mut container = container;
        container["name"] = "web".into();
        container["image"] = "nginx".into();
        let definition = json!({"family": service, "containerDefinitions": [container]});
        ecs.ok("RegisterTaskDefinition", definition).await;
        let new = json!({"serviceName": service, "taskDefinition": service, "desiredCount": 1});
        create(&ecs, new).await;
        expect(service, lacks).await;
    }
}

#[tokio::test]
async fn tasks_that_never_ran_are_counted_as_pending_when_they_stop() {
    let (_server, ecs, _agents) = start(0).await;
    let _silent = silent(&ecs).await;
    define(&ecs).await;
    create(&ecs, json!({"desiredCount": 2})).await;
    until(&ecs, |one| one["pendingCount"] == 2, |_| ()).await;
    update(&ecs, json!({"desiredCount": 0})).await;
    let stopped = |one: &Value| has_event(one, "(service web) stopped 2 pending tasks.");
    until(&ecs, stopped, |_| ()).await;
}

#[tokio::test]
async fn bounds_that_allow_no_step_are_told() {
    let (_server, ecs, _agents) = start(1).await;
    define(&ecs).await;
    // One task in four more would be a part of a task, and none of the three may stop.
    let bounds = json!({"minimumHealthyPercent": 100, "maximumPercent": 125});
    let service = json!({"desiredCount": 3, "deploymentConfiguration": bounds});
    create(&ecs, service).await;
    until(&ecs, is_stable, |_| ()).await;
    define(&ecs).await;
    update(&ecs, json!({"taskDefinition": "web"})).await;
    let message = "(service web) was unable to stop or start tasks during a deployment because \
                   of the service deployment configuration. Update the minimumHealthyPercent or \
                   maximumPercent value and try again.";
    until(&ecs, |one| has_event(one, message), |_| ()).await;
    let configuration = json!({"minimumHealthyPercent": 50, "maximumPercent": 125});
    update(&ecs, json!({"deploymentConfiguration": configuration})).await;
    until(&ecs, is_stable, |_| ()).await;
}

#[tokio::test]
async fn tasks_move_to_an_availability_zone_that_appears() {
    let (_server, ecs, _agents) = start(0).await;
    let zone = |name: &str| json!([{"name": "ecs.availability-zone", "value": name}]);
    let _first = Agent::start_with(&ecs, zone("us-east-1a")).await;
    define(&ecs).await;
    create(&ecs, json!({"desiredCount": 3})).await;
    until(&ecs, is_stable, |_| ()).await;
    let second = Agent::start_with(&ecs, zone("us-east-1b")).await;
    let started = "(service web) has started 1 tasks in us-east-1b to AZ Rebalance: (task ";
    let moved = |one: &Value| has_event(one, started) && is_stable(one);
    until(&ecs, moved, |_| ()).await;
    let there = tasks(&ecs).await;
    let there = there.iter().map(|task| &task["containerInstanceArn"]);
    let there = there.filter(|instance| **instance == *second.instance.instance);
    assert_eq!(there.count(), 1);
}
