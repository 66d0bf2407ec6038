//! All tasks of a service revision run the images that its first task resolved.

use serde_json::{Value, json};

use super::with_cluster;
use crate::support::{AgentSocket, Ecs, TestAgent};

const CONTAINERS: [&str; 3] = ["web", "log", "fixed"];

/// The next task that the agent is told to run.
async fn told(acs: &mut AgentSocket) -> Value {
    loop {
        let payload = acs.payload().await;
        let mut tasks = payload["tasks"].as_array().expect("tasks").iter();
        let started = tasks.find(|task| task["desiredStatus"] == "RUNNING");
        if let Some(task) = started {
            return task.clone();
        }
    }
}

fn digests(task: &Value) -> Vec<Value> {
    let containers = task["containers"].as_array().expect("containers");
    let digests = containers.iter().map(|one| one["imageDigest"].clone());
    digests.collect()
}

async fn report(agent: &TestAgent, task: &Value, digest: &str) {
    let containers = CONTAINERS
        .map(|name| json!({"containerName": name, "status": "RUNNING", "imageDigest": digest}));
    let report = json!({
        "cluster": agent.cluster, "task": task["arn"], "status": "RUNNING",
        "containers": containers,
    });
    agent.ecs.ok("SubmitTaskStateChange", report).await;
}

/// The images of the newest service revision.
async fn images(ecs: &Ecs) -> Value {
    let named = json!({"cluster": "web", "service": "web"});
    let listed = ecs.ok("ListServiceDeployments", named).await;
    let newest = &listed["serviceDeployments"][0]["targetServiceRevisionArn"];
    let named = json!({"serviceRevisionArns": [newest]});
    let described = ecs.ok("DescribeServiceRevisions", named).await;
    let revision = &described["serviceRevisions"][0];
    assert_eq!(
        revision["resolvedConfiguration"],
        json!({"loadBalancers": []})
    );
    revision["containerImages"].clone()
}

#[tokio::test]
async fn tasks_of_a_revision_get_the_digests_of_its_first_task() {
    let (_server, ecs) = with_cluster("web").await;
    let pinned = format!("sha256:{}", "0".repeat(64));
    let fixed = format!("fixed@{pinned}");
    let container = |name: &str, image: &str| json!({"name": name, "image": image, "memory": 64});
    let mut log = container("log", "log:latest");
    log["versionConsistency"] = json!("disabled");
    let definition = json!({"family": "web", "containerDefinitions":
        [container("web", "web:latest"), log, container("fixed", &fixed)]});
    ecs.ok("RegisterTaskDefinition", definition).await;
    let agent = TestAgent::register(&ecs, "web").await;
    let mut acs = agent.acs().await;
    let service = json!({"cluster": "web", "serviceName": "web", "taskDefinition": "web",
        "desiredCount": 1});
    ecs.ok("CreateService", service).await;
    let first = told(&mut acs).await;
    assert_eq!(digests(&first), [Value::Null, Value::Null, Value::Null]);
    let shown = |digest: Option<&str>| {
        let mut web = json!({"containerName": "web", "image": "web:latest"});
        if let Some(digest) = digest {
            web["imageDigest"] = json!(digest);
        }
        json!([web, {"containerName": "log", "image": "log:latest"},
            {"containerName": "fixed", "image": fixed, "imageDigest": pinned}])
    };
    assert_eq!(images(&ecs).await, shown(None));
    let resolved = format!("sha256:{}", "a".repeat(64));
    report(&agent, &first, &resolved).await;
    assert_eq!(images(&ecs).await, shown(Some(&resolved)));

    let update = |members: Value| {
        let mut request = json!({"cluster": "web", "service": "web"});
        for (name, value) in members.as_object().expect("members") {
            request[name] = value.clone();
        }
        ecs.ok("UpdateService", request)
    };
    update(json!({"desiredCount": 2})).await;
    let second = told(&mut acs).await;
    assert_eq!(
        digests(&second),
        [json!(resolved), Value::Null, Value::Null]
    );
    // What a later task finds changes nothing.
    report(&agent, &second, &format!("sha256:{}", "b".repeat(64))).await;
    assert_eq!(images(&ecs).await, shown(Some(&resolved)));
    let arn = second["arn"].as_str().expect("an ARN");
    let described = agent.task(arn).await;
    assert_eq!(described["containers"][0]["image"], "web:latest");

    update(json!({"forceNewDeployment": true})).await;
    let third = told(&mut acs).await;
    assert_eq!(digests(&third)[0], Value::Null, "the tag is resolved anew");
    assert_eq!(images(&ecs).await, shown(None));
}
