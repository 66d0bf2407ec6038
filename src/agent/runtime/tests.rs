//! The behaviour that every container runtime has. It is checked on the simulated runtime, and on
//! the Docker Engine that `WHARFINGER_TEST_DOCKER` names (`unix:///PATH`).

pub(crate) mod simulated;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;
use tokio::time::timeout;
use wharfinger_base::{Clock, Ids, Timestamp};

use super::*;
use crate::pause_image;
use crate::runtime::tests::simulated::Simulated;

/// An image with the busybox of Debian at `/busybox`.
const IMAGE: &str = "wharfinger-tests/busybox:1";
/// Everything here takes some seconds at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// A runtime, and a label of its own for what a test makes on it.
struct Bench {
    runtime: Box<dyn ContainerRuntime>,
    label: String,
}

impl Bench {
    /// The runtimes that are there.
    async fn all() -> Vec<Self> {
        let label = Ids::default().uuid().simple().to_string();
        let simulated = Self {
            runtime: Box::new(Simulated::new(Clock::default())),
            label: label.clone(),
        };
        let mut all = vec![simulated];
        if let Ok(host) = std::env::var("WHARFINGER_TEST_DOCKER") {
            let docker = Docker::connect(Some(&host))
                .await
                .expect("the engine replies");
            if docker.local_digests(IMAGE).await.is_err() {
                let busybox = std::fs::read("/bin/busybox").expect("busybox-static is there");
                let archive = pause_image::tar("busybox", &busybox);
                let imported = docker.import_image(IMAGE, archive, "/busybox").await;
                imported.expect("imported");
            }
            all.push(Self {
                runtime: Box::new(docker),
                label,
            });
        }
        all
    }

    fn container(&self, script: &str) -> NewContainer {
        let name = Ids::default().uuid().simple();
        let config = json!({
            "Image": IMAGE,
            "Cmd": ["sh", "-c", script],
            "Labels": {"test": self.label},
        });
        NewContainer {
            name: format!("wharfinger-test-{name}"),
            config: config.as_object().expect("an object").clone(),
            host_config: json!({"NetworkMode": "none"})
                .as_object()
                .expect("an object")
                .clone(),
        }
    }

    async fn started(&self, script: &str) -> String {
        let id = self.runtime.create(self.container(script)).await;
        let id = id.expect("created");
        self.runtime.start(&id).await.expect("started");
        id
    }

    /// Waits for the container to end.
    async fn ended(&self, id: &str) -> Inspection {
        let look = async {
            loop {
                let seen = self.runtime.inspect(id).await.expect("it is there");
                if !seen.running {
                    return seen;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, look).await.expect("it ends")
    }
}

#[tokio::test]
async fn a_container_is_made_once_runs_and_is_removed() {
    for bench in Bench::all().await {
        let runtime = &bench.runtime;
        let container = bench.container("exec sleep 1000");
        let id = runtime.create(container.clone()).await.expect("created");
        let again = runtime.create(container.clone()).await;
        assert_eq!(again.expect("the same"), id);
        let seen = runtime.inspect(&container.name).await.expect("it is there");
        assert_eq!((seen.running, seen.started_at), (false, None));
        runtime.start(&id).await.expect("started");
        runtime.start(&id).await.expect("started already");
        let seen = runtime.inspect(&id).await.expect("it is there");
        assert!(seen.running && seen.started_at.is_some());
        let label = format!("test={}", bench.label);
        let listed = runtime.list(&label).await.expect("listed");
        assert!(listed.iter().any(|one| one.id == id));
        runtime.remove(&id).await.expect("removed");
        runtime.remove(&id).await.expect("removed already");
        let gone = runtime.inspect(&id).await;
        assert!(matches!(gone, Err(RuntimeError::Missing(_))), "{gone:?}");
    }
}

#[tokio::test]
async fn a_container_ends_with_its_exit_code_and_can_start_again() {
    for bench in Bench::all().await {
        let id = bench.started("exit 3").await;
        let seen = bench.ended(&id).await;
        assert_eq!(seen.exit_code, 3);
        assert!(seen.finished_at >= seen.started_at);
        bench.runtime.start(&id).await.expect("started again");
        let again = bench.ended(&id).await;
        assert!(again.started_at >= seen.started_at);
        bench.runtime.remove(&id).await.expect("removed");
    }
}

#[tokio::test]
async fn a_container_that_ignores_the_signal_is_killed() {
    for bench in Bench::all().await {
        let id = bench
            .started("trap '' TERM; while true; do sleep 1; done")
            .await;
        let stop = bench.runtime.stop(&id, Duration::from_secs(1));
        timeout(PATIENCE, stop)
            .await
            .expect("in time")
            .expect("stopped");
        let seen = bench.runtime.inspect(&id).await.expect("it is there");
        assert_eq!((seen.running, seen.exit_code), (false, 137));
        bench.runtime.remove(&id).await.expect("removed");
    }
}

#[tokio::test]
async fn ends_are_told() {
    for bench in Bench::all().await {
        let label = format!("test={}", bench.label);
        let since = Clock::default().now();
        let mut events = bench.runtime.events(&label, since);
        let id = bench.started("exit 0").await;
        let told = async {
            while let Some(event) = events.next().await {
                if event.id == id {
                    return event;
                }
            }
            panic!("the events ended");
        };
        let event = timeout(PATIENCE, told).await.expect("told");
        assert_eq!(event.labels.get("test"), Some(&bench.label));
        bench.runtime.remove(&id).await.expect("removed");
    }
}

#[tokio::test]
async fn output_is_read_from_its_beginning_with_times() {
    for bench in Bench::all().await {
        let id = bench.started("echo hello").await;
        bench.ended(&id).await;
        let pieces = bench.runtime.logs(&id, Timestamp::from_ms(0));
        let pieces: Vec<_> = timeout(PATIENCE, pieces.collect()).await.expect("it ends");
        let text: String = pieces
            .into_iter()
            .map(|piece| String::from_utf8(piece.expect("read").bytes.to_vec()).expect("UTF-8"))
            .collect();
        let (time, line) = text.split_once(' ').expect("a time");
        assert!(time.parse::<jiff::Timestamp>().is_ok(), "{time}");
        assert_eq!(line, "hello\n");
        bench.runtime.remove(&id).await.expect("removed");
    }
}

#[tokio::test]
async fn a_container_that_runs_is_measured_twice() {
    for bench in Bench::all().await {
        let id = bench.started("exec sleep 1000").await;
        let measured = timeout(PATIENCE, bench.runtime.stats(&id)).await;
        let samples = measured.expect("in time").expect("measured");
        let time = |sample: &Value| -> jiff::Timestamp {
            let text = sample["read"].as_str().expect("a time");
            text.parse().expect("as RFC 3339 has it")
        };
        assert!(time(&samples.newest) > time(&samples.before));
        bench.runtime.remove(&id).await.expect("removed");
    }
}

#[tokio::test]
async fn what_is_missing_is_said_to_be_missing() {
    for bench in Bench::all().await {
        let runtime = &bench.runtime;
        let missing = |error: RuntimeError| matches!(error, RuntimeError::Missing(_));
        assert!(missing(
            runtime.start("nothing").await.expect_err("no container")
        ));
        assert!(missing(
            runtime
                .local_digests("no/such:image")
                .await
                .expect_err("no image")
        ));
        let stopped = runtime.stop("nothing", Duration::ZERO).await;
        assert!(missing(stopped.expect_err("no container")));
        let mut container = bench.container("exit 0");
        container
            .config
            .insert("Image".to_owned(), json!("no/such:image"));
        assert!(missing(
            runtime.create(container).await.expect_err("no image")
        ));
    }
}

#[tokio::test]
async fn volumes_are_made_once_and_removed() {
    for bench in Bench::all().await {
        let runtime = &bench.runtime;
        let volume = NewVolume {
            name: format!("wharfinger-test-{}", bench.label),
            labels: BTreeMap::from([("test".to_owned(), bench.label.clone())]),
            ..NewVolume::default()
        };
        let name = volume.name.clone();
        assert!(!runtime.has_volume(&name).await.expect("looked"));
        runtime.make_volume(volume.clone()).await.expect("made");
        runtime.make_volume(volume).await.expect("there already");
        assert!(runtime.has_volume(&name).await.expect("looked"));
        runtime.remove_volume(&name).await.expect("removed");
        runtime.remove_volume(&name).await.expect("removed already");
        assert!(!runtime.has_volume(&name).await.expect("looked"));
    }
}

#[tokio::test]
async fn tasks_that_start_together_share_one_network() {
    for bench in Bench::all().await {
        let name = format!("wharfinger-test-{}", bench.label);
        let made = (0..8).map(|_| bench.runtime.make_network(&name, BTreeMap::new()));
        for made in futures_util::future::join_all(made).await {
            made.expect("made, or there already");
        }
        let mut container = bench.container("exit 0");
        let network = json!(name);
        container
            .host_config
            .insert("NetworkMode".to_owned(), network);
        let id = bench.runtime.create(container).await.expect("created");
        bench
            .runtime
            .start(&id)
            .await
            .expect("only one has the name");
        bench.runtime.remove(&id).await.expect("removed");
    }
}

#[tokio::test]
async fn equal_requests_make_one_container() {
    for bench in Bench::all().await {
        let container = bench.container("exit 0");
        let made = (0..8).map(|_| bench.runtime.create(container.clone()));
        let made = futures_util::future::join_all(made).await;
        let ids: BTreeSet<_> = made.into_iter().map(|id| id.expect("created")).collect();
        assert_eq!(ids.len(), 1, "{ids:?}");
        for id in &ids {
            bench.runtime.remove(id).await.expect("removed");
        }
    }
}
