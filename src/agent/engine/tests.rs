//! Tasks on the simulated runtime, with a control plane that takes their reports.

use std::sync::Mutex as StdMutex;

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use serde_json::{Value, json};
use tokio::time::timeout;
use wharfinger_base::Clock;
use wharfinger_ecs_protocol::{Container, ContainerDependency, DependencyCondition, RestartPolicy};

use super::*;
use crate::context::tests::context;
use crate::runtime::ContainerRuntime;
use crate::runtime::tests::simulated::Simulated;
use crate::view::Health;

const PATIENCE: Duration = Duration::from_secs(20);
const ARN: &str = "arn:aws:ecs:us-east-1:123456789012:task/demo/0123";

type Reports = Arc<StdMutex<Vec<Value>>>;

/// An agent without ACS.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
    runtime: Simulated,
    reports: Reports,
    endpoint: String,
    is_local: bool,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let reports = Reports::default();
        let take = async |State(reports): State<Reports>, body: String| {
            let report = serde_json::from_str(&body).expect("JSON");
            reports.lock().expect("no test panics here").push(report);
            "{}"
        };
        let routes = Router::new().route("/", post(take));
        let routes = routes.with_state(Arc::clone(&reports));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            runtime: Simulated::new(Clock::default()),
            reports,
            endpoint: format!("http://{address}"),
            is_local: true,
        }
    }

    pub(crate) async fn engine(&self) -> Arc<Engine> {
        let endpoint = &self.endpoint;
        let context = context(self.runtime.clone(), endpoint, self.folder.path()).await;
        let context = Context {
            engine_is_local: self.is_local,
            ..context
        };
        let engine = Engine::open(Arc::new(context)).await.expect("opened");
        let engine = Arc::new(engine);
        let watching = Arc::downgrade(&engine);
        tokio::spawn(async move {
            if let Some(engine) = watching.upgrade() {
                let _ = timeout(PATIENCE, engine.watch()).await;
            }
        });
        engine
    }

    /// Waits for a report that `wanted` accepts.
    pub(crate) async fn report(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let look = async {
            loop {
                let all = self.reports.lock().expect("no test panics here").clone();
                if let Some(found) = all.into_iter().find(|report| wanted(report)) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, look).await.unwrap_or_else(|_| {
            panic!("no such report: {:?}", self.reports.lock());
        })
    }

    async fn status(&self, status: &str) -> Value {
        self.report(|report| report["status"] == status).await
    }

    /// Makes a container of the instance that no task has, and returns its id.
    async fn orphan(&self) -> String {
        let config = json!({"Image": "web", "Labels": {labels::INSTANCE: "arn:instance"}});
        let new = crate::runtime::NewContainer {
            name: "orphan".to_owned(),
            config: config.as_object().expect("an object").clone(),
            ..Default::default()
        };
        self.runtime.create(new).await.expect("created")
    }

    async fn until_removed(&self, id: &str) {
        let removed = async {
            while self.runtime.inspect(id).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, removed).await.expect("removed");
    }

    /// The id of a container in the runtime.
    async fn id(&self, name: &str) -> String {
        let labels = self
            .runtime
            .list(&format!("{}={ARN}", labels::TASK_ARN))
            .await;
        let listed = labels.expect("listed").into_iter();
        let mut found = listed.filter(|one| one.labels[labels::CONTAINER_NAME] == name);
        found.next().expect("a container").id
    }

    /// The id of the container that holds the network namespace: it has no name in the task.
    async fn namespace_id(&self) -> String {
        let label = format!("{}={ARN}", labels::TASK_ARN);
        let listed = self.runtime.list(&label).await.expect("listed");
        let mut listed = listed.into_iter();
        let found = listed.find(|one| !one.labels.contains_key(labels::CONTAINER_NAME));
        found.expect("a container").id
    }
}

pub(crate) fn container(name: &str, script: &str) -> Container {
    let words = ["sh", "-c", script].map(ToOwned::to_owned);
    Container {
        name: name.to_owned(),
        image: "web".to_owned(),
        essential: true,
        command: Some(words.to_vec()),
        ..Container::default()
    }
}

fn task(containers: Vec<Container>) -> Task {
    Task {
        arn: ARN.to_owned(),
        containers,
        ..Task::default()
    }
}

fn awsvpc_task() -> Task {
    Task {
        network_mode: Some("awsvpc".to_owned()),
        ..task(vec![container("web", "wait")])
    }
}

fn by_name<'a>(report: &'a Value, name: &str) -> &'a Value {
    let all = report["containers"].as_array().expect("a list");
    all.iter()
        .find(|one| one["containerName"] == name)
        .expect("a container")
}

#[tokio::test]
async fn a_task_is_reported_running_and_stopped() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    let accepted = engine.accept(task(vec![container("web", "wait")])).await;
    accepted.expect("stored");
    let running = bench.status("RUNNING").await;
    assert_eq!(running["cluster"], "demo");
    assert_eq!(by_name(&running, "web")["status"], "RUNNING");
    bench.runtime.end(&bench.id("web").await, 3);
    let stopped = bench.status("STOPPED").await;
    assert_eq!(stopped["reason"], "Essential container in task exited");
    assert_eq!(by_name(&stopped, "web")["exitCode"], 3);
}

#[tokio::test]
async fn a_task_ends_with_its_network_namespace() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    engine.accept(awsvpc_task()).await.expect("stored");
    bench.status("RUNNING").await;
    bench.runtime.end(&bench.namespace_id().await, 137);
    let stopped = bench.status("STOPPED").await;
    assert_eq!(stopped["reason"], "Essential container in task exited");
    assert_eq!(by_name(&stopped, "web")["exitCode"], 143);
}

#[tokio::test]
async fn a_restarted_agent_finds_that_a_network_namespace_ended() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    engine.accept(awsvpc_task()).await.expect("stored");
    bench.status("RUNNING").await;
    for handle in engine.tasks.lock().values() {
        handle.run.abort();
    }
    let namespace = bench.namespace_id().await;
    bench.runtime.remove(&namespace).await.expect("removed");
    let _again = bench.engine().await;
    bench.status("STOPPED").await;
}

#[tokio::test]
async fn a_repeated_payload_starts_nothing_and_a_stop_ends_the_task() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    for _ in 0..3 {
        let accepted = engine.accept(task(vec![container("web", "wait")])).await;
        accepted.expect("stored");
    }
    bench.status("RUNNING").await;
    let label = format!("{}={ARN}", labels::TASK_ARN);
    assert_eq!(bench.runtime.list(&label).await.expect("listed").len(), 1);
    let stop = Task {
        desired_status: DesiredStatus::Stopped,
        ..task(Vec::new())
    };
    engine.accept(stop).await.expect("taken");
    let stopped = bench.status("STOPPED").await;
    assert_eq!(by_name(&stopped, "web")["exitCode"], 143);
    assert_eq!(stopped.get("reason"), None);
}

#[tokio::test]
async fn a_task_that_is_not_known_is_reported_stopped() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    let stop = Task {
        desired_status: DesiredStatus::Stopped,
        ..task(Vec::new())
    };
    engine.accept(stop).await.expect("taken");
    assert_eq!(bench.status("STOPPED").await["task"], ARN);
}

#[tokio::test]
async fn what_fails_to_start_has_its_reason() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    let accepted = engine.accept(task(vec![container("web", "missing")])).await;
    accepted.expect("stored");
    let stopped = bench.status("STOPPED").await;
    assert_eq!(stopped["reason"], "Task failed to start");
    let reason = &by_name(&stopped, "web")["reason"];
    let expected = "CannotStartContainerError: Error response from daemon: exec: not found";
    assert_eq!(reason, expected);
    assert_eq!(by_name(&stopped, "web").get("exitCode"), None);
}

#[tokio::test]
async fn an_image_that_is_missing_has_its_reason() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    let mut web = container("web", "wait");
    web.image = "no/image".to_owned();
    engine.accept(task(vec![web])).await.expect("stored");
    let stopped = bench.status("STOPPED").await;
    let reason = by_name(&stopped, "web")["reason"]
        .as_str()
        .expect("a reason")
        .to_owned();
    let prefix = "CannotPullContainerError: Error response from daemon: ";
    assert!(reason.starts_with(prefix), "{reason}");
}

#[tokio::test]
async fn a_digest_is_reported_before_the_pull_and_then_pulled() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    // The tag moves between the look at it and the pull.
    bench.runtime.tag(Some("sha256:first"));
    bench.runtime.tag_after_next_look("sha256:second");
    let accepted = engine.accept(task(vec![container("web", "wait")])).await;
    accepted.expect("stored");
    let running = bench.status("RUNNING").await;
    let first = bench.reports.lock().expect("no test panics here")[0].clone();
    assert_eq!(first["status"], "PENDING");
    for report in [first, running] {
        assert_eq!(by_name(&report, "web")["imageDigest"], "sha256:first");
    }
    assert_eq!(bench.runtime.pulls(), ["web", "web@sha256:first"]);
    let image = bench.runtime.image(&bench.id("web").await);
    assert_eq!(image, "web@sha256:first");
}

#[tokio::test]
async fn the_digest_of_the_payload_is_pulled() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    let mut web = container("web", "wait");
    web.image = "web:1".to_owned();
    web.image_digest = Some("sha256:old".to_owned());
    engine.accept(task(vec![web])).await.expect("stored");
    let running = bench.status("RUNNING").await;
    assert_eq!(by_name(&running, "web")["imageDigest"], "sha256:old");
    assert_eq!(bench.runtime.pulls(), ["web@sha256:old"]);
    let image = bench.runtime.image(&bench.id("web").await);
    assert_eq!(image, "web@sha256:old");
}

#[tokio::test]
async fn an_image_that_somebody_removed_is_pulled_again() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    bench.runtime.lose_image();
    let accepted = engine.accept(task(vec![container("web", "wait")])).await;
    accepted.expect("stored");
    bench.status("RUNNING").await;
    assert_eq!(bench.runtime.pulls(), ["web", "web@sha256:simulated"]);
}

#[tokio::test]
async fn a_runtime_without_digests_runs_the_tag() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    bench.runtime.tag(None);
    let accepted = engine.accept(task(vec![container("web", "wait")])).await;
    accepted.expect("stored");
    let running = bench.status("RUNNING").await;
    assert_eq!(by_name(&running, "web").get("imageDigest"), None);
    assert_eq!(bench.runtime.pulls(), ["web"]);
}

#[tokio::test]
async fn networks_of_tasks_need_an_engine_on_this_host() {
    let bench = Bench {
        is_local: false,
        ..Bench::new().await
    };
    let engine = bench.engine().await;
    let task = Task {
        network_mode: Some("awsvpc".to_owned()),
        ..task(vec![container("web", "wait")])
    };
    engine.accept(task).await.expect("stored");
    let stopped = bench.status("STOPPED").await;
    let reason = &by_name(&stopped, "web")["reason"];
    let expected = "ContainerNetworkingError: the network mode awsvpc needs a Docker Engine on the \
                    host of the agent";
    assert_eq!(reason, expected);
}

#[tokio::test]
async fn health_is_awaited() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    let mut web = container("web", "wait");
    web.depends_on = vec![ContainerDependency {
        container_name: "db".to_owned(),
        condition: DependencyCondition::Healthy,
    }];
    let mut db = container("db", "wait");
    db.health_check_type = Some("docker".to_owned());
    engine.accept(task(vec![web, db])).await.expect("stored");
    let started = async {
        loop {
            let label = format!("{}=db", labels::CONTAINER_NAME);
            let listed = bench.runtime.list(&label).await.expect("listed");
            if let Some(db) = listed.first()
                && bench.runtime.inspect(&db.id).await.expect("seen").running
            {
                return db.id.clone();
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let db = timeout(PATIENCE, started).await.expect("started");
    let reports = bench.reports.lock().expect("no test panics here").clone();
    assert!(reports.iter().all(|report| report["status"] == "PENDING"));
    bench.runtime.set_health(&db, Health::Healthy);
    bench.status("RUNNING").await;
    let health = engine.snapshots()[ARN].health.clone();
    assert_eq!(health, [("db".to_owned(), Health::Healthy)]);
}

#[tokio::test]
async fn a_restarted_agent_takes_up_its_tasks() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    let accepted = engine.accept(task(vec![container("web", "wait")])).await;
    accepted.expect("stored");
    bench.status("RUNNING").await;
    let id = bench.id("web").await;
    let tasks = Arc::clone(&engine.tasks);
    for handle in tasks.lock().values() {
        handle.run.abort();
    }
    // It ends while no agent looks.
    bench.runtime.end(&id, 5);
    let _engine = bench.engine().await;
    let stopped = bench.status("STOPPED").await;
    assert_eq!(by_name(&stopped, "web")["exitCode"], 5);
    assert_eq!(by_name(&stopped, "web")["runtimeId"], json!(id));
}

#[tokio::test]
async fn what_is_not_removed_at_once_is_removed_later() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    let accepted = engine.accept(task(vec![container("web", "wait")])).await;
    accepted.expect("stored");
    bench.status("RUNNING").await;
    let id = bench.id("web").await;
    bench.runtime.fail_removals(2);
    bench.runtime.end(&id, 0);
    bench.until_removed(&id).await;
    let forgotten = async {
        while !engine.context.state.tasks().await.expect("read").is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, forgotten)
        .await
        .expect("its record goes last");
}

#[tokio::test]
async fn containers_without_a_task_are_removed() {
    let bench = Bench::new().await;
    let id = bench.orphan().await;
    let _engine = bench.engine().await;
    assert!(bench.runtime.inspect(&id).await.is_err());
}

#[tokio::test]
async fn containers_without_a_task_are_removed_in_the_end() {
    let bench = Bench::new().await;
    let id = bench.orphan().await;
    bench.runtime.fail_removals(2);
    let _engine = bench.engine().await;
    bench.until_removed(&id).await;
}

#[tokio::test]
async fn a_container_with_a_restart_policy_is_started_again() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    let mut web = container("web", "wait");
    web.restart_policy = Some(RestartPolicy {
        enabled: true,
        ignored_exit_codes: vec![7],
        restart_attempt_period: Some(0),
    });
    engine.accept(task(vec![web])).await.expect("stored");
    bench.status("RUNNING").await;
    let id = bench.id("web").await;
    bench.runtime.end(&id, 1);
    let again = async {
        while !bench.runtime.inspect(&id).await.expect("seen").running {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, again).await.expect("started again");
    let reports = bench.reports.lock().expect("no test panics here").clone();
    assert!(reports.iter().all(|report| report["status"] != "STOPPED"));
    bench.runtime.end(&id, 7);
    let stopped = bench.status("STOPPED").await;
    assert_eq!(by_name(&stopped, "web")["exitCode"], 7);
}

#[tokio::test]
async fn a_container_gets_the_newest_credentials_of_its_role() {
    let bench = Bench::new().await;
    let engine = bench.engine().await;
    let role = |key: &str| RoleCredentials {
        credentials_id: "role".to_owned(),
        access_key_id: key.to_owned(),
        ..RoleCredentials::default()
    };
    let task = Task {
        network_mode: Some("host".to_owned()),
        role_credentials: Some(role("FIRST")),
        ..task(vec![container("web", "wait")])
    };
    engine.accept(task).await.expect("stored");
    bench.status("RUNNING").await;
    let url = format!("{}/v2/credentials/role", engine.context.host_endpoints.base);
    let served = async |key: &str| {
        let told = async {
            loop {
                let response = reqwest::get(&url).await.expect("served");
                let body: Value = response.json().await.expect("JSON");
                if body["AccessKeyId"] == key {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, told).await.expect("the newest key");
    };
    served("FIRST").await;
    engine.credentials(ARN, RoleType::TaskApplication, role("SECOND"));
    served("SECOND").await;
    // Those of the execution role are not for it.
    engine.credentials(ARN, RoleType::TaskExecution, role("HIDDEN"));
    engine.credentials(ARN, RoleType::TaskApplication, role("THIRD"));
    served("THIRD").await;
}
