//! What the engine measures of containers, in Docker's form, with the rates of their networks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::metadata::Endpoints;
use crate::record::{ContainerRecord, TaskRecord};
use crate::runtime::Samples;

/// Containers that the agent measures at once: each takes a connection to the engine for a second.
const AT_ONCE: usize = 16;
/// How long the engine may take for two samples, and a request wait for others.
const TIMEOUT: Duration = Duration::from_secs(10);

static SLOTS: Semaphore = Semaphore::const_new(AT_ONCE);

/// The same for the containers of one task, so that it leaves some to others. A task has ten
/// containers at most, and all are measured in time.
const OF_TASK_AT_ONCE: usize = 4;
/// Requests for figures of a task at once: each holds a connection to the agent, and tasks in the
/// network of the host share 32.
const REQUESTS_OF_TASK: usize = 8;

/// What one task may take of the agent at once.
pub(crate) struct TaskShare {
    requests: Semaphore,
    measurements: Semaphore,
}

impl Default for TaskShare {
    fn default() -> Self {
        Self {
            requests: Semaphore::new(REQUESTS_OF_TASK),
            measurements: Semaphore::new(OF_TASK_AT_ONCE),
        }
    }
}

impl TaskShare {
    /// The right to request figures until it is dropped; `None` where too many requests are under
    /// way.
    pub(super) fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.requests.try_acquire().ok()
    }
}

/// The figures of a container; `None` where it does not run.
pub(super) async fn container_stats(
    endpoints: &Endpoints,
    record: &TaskRecord,
    name: &str,
) -> Option<Value> {
    let samples = container_samples(endpoints, record.containers.get(name)?);
    let (samples, network) = join(samples, network_samples(endpoints, record)).await;
    figures(record, samples.as_ref(), network.as_ref())
}

/// The figures of all containers of a task by their ids; `null` for one that does not run.
pub(super) async fn task_stats(endpoints: &Endpoints, record: &TaskRecord) -> Value {
    let all = record.containers.values().filter_map(|container| {
        let id = container.runtime_id.clone()?;
        Some(async move { (id, container_samples(endpoints, container).await) })
    });
    let (all, network) = join(join_all(all), network_samples(endpoints, record)).await;
    let all = all.into_iter().map(|(id, samples)| {
        let figures = figures(record, samples.as_ref(), network.as_ref());
        (id, figures.into())
    });
    Value::Object(all.collect())
}

async fn container_samples(endpoints: &Endpoints, container: &ContainerRecord) -> Option<Samples> {
    let id = container.runtime_id.as_deref();
    samples(endpoints, id.filter(|_| container.state.is_running())?).await
}

/// Samples of the container to which the network of the whole task belongs, if there is one.
async fn network_samples(endpoints: &Endpoints, record: &TaskRecord) -> Option<Samples> {
    samples(endpoints, &record.namespace.as_ref()?.runtime_name).await
}

fn figures(
    record: &TaskRecord,
    samples: Option<&Samples>,
    network: Option<&Samples>,
) -> Option<Value> {
    let samples = samples?;
    let network = match record.namespace {
        Some(_) => network?,
        None => samples,
    };
    Some(document(samples, network))
}

async fn samples(endpoints: &Endpoints, id: &str) -> Option<Samples> {
    let runtime = Arc::clone(&endpoints.runtime);
    let measured = async {
        // The semaphores are never closed. That of the task comes first: while it waits for its own
        // containers, it takes nothing from others.
        let _own = endpoints.share.measurements.acquire().await.ok();
        let _slot = SLOTS.acquire().await.ok();
        runtime.stats(id).await
    };
    match timeout(TIMEOUT, measured).await {
        Ok(Ok(samples)) => Some(samples),
        Ok(Err(error)) => {
            tracing::debug!(container = id, %error, "a container was not measured");
            None
        }
        Err(_) => None,
    }
}

/// The newest sample of a container, with its network.
fn document(samples: &Samples, network: &Samples) -> Value {
    let mut document = samples.newest.clone();
    if let Some(networks) = network.newest.get("networks") {
        document["networks"] = networks.clone();
    }
    if let Some(rates) = rates(network) {
        document["network_rate_stats"] = rates;
    }
    document
}

/// Bytes per second over all interfaces between two samples.
fn rates(network: &Samples) -> Option<Value> {
    let time = |sample: &Value| -> Option<jiff::Timestamp> {
        let text = sample.get("read")?.as_str()?;
        text.parse().ok()
    };
    let total = |sample: &Value, member: &str| -> Option<u64> {
        let networks = sample.get("networks")?.as_object()?.values();
        Some(networks.filter_map(|one| one.get(member)?.as_u64()).sum())
    };
    let (before, newest) = (&network.before, &network.newest);
    let seconds = time(newest)?.duration_since(time(before)?).as_secs_f64();
    let rate = |member: &str| -> Option<f64> {
        let bytes = total(newest, member)?.saturating_sub(total(before, member)?);
        #[expect(clippy::cast_precision_loss, reason = "a rate is no exact number")]
        let bytes = bytes as f64;
        Some(bytes / seconds).filter(|rate| rate.is_finite())
    };
    Some(json!({
        "rx_bytes_per_sec": rate("rx_bytes")?,
        "tx_bytes_per_sec": rate("tx_bytes")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(second: u32, cpu: u64, networks: &Value) -> Value {
        json!({
            "read": format!("2026-01-01T00:00:0{second}.500000000Z"),
            "cpu_stats": {"cpu_usage": {"total_usage": cpu}},
            "networks": networks,
        })
    }

    fn samples(first: &Value, second: &Value) -> Samples {
        Samples {
            before: sample(1, 5, first),
            newest: sample(3, 9, second),
        }
    }

    #[test]
    fn rates_are_bytes_per_second_of_all_interfaces() {
        let first = json!({
            "eth0": {"rx_bytes": 100, "tx_bytes": 7},
            "eth1": {"rx_bytes": 50, "tx_bytes": 0},
        });
        let second = json!({
            "eth0": {"rx_bytes": 300, "tx_bytes": 7},
            "eth1": {"rx_bytes": 51, "tx_bytes": 4},
        });
        let both = samples(&first, &second);
        let made = document(&both, &both);
        assert_eq!(made["cpu_stats"]["cpu_usage"]["total_usage"], 9);
        assert_eq!(made["networks"], second);
        let expected = json!({"rx_bytes_per_sec": 100.5, "tx_bytes_per_sec": 2.0});
        assert_eq!(made["network_rate_stats"], expected);
    }

    #[test]
    fn the_network_is_that_of_the_task() {
        let own = samples(&Value::Null, &Value::Null);
        assert_eq!(document(&own, &own).get("network_rate_stats"), None);
        let bytes = |count: u32| json!({"eth0": {"rx_bytes": count, "tx_bytes": count}});
        let made = document(&own, &samples(&bytes(0), &bytes(10)));
        assert_eq!(made["networks"], bytes(10));
        assert_eq!(made["network_rate_stats"]["rx_bytes_per_sec"], 5.0);
    }

    #[test]
    fn a_task_has_so_many_requests_and_no_more() {
        let (own, other) = (TaskShare::default(), TaskShare::default());
        let mut turns: Vec<_> = (0..REQUESTS_OF_TASK).map(|_| own.turn()).collect();
        assert!(turns.iter().all(Option::is_some));
        assert!(own.turn().is_none() && other.turn().is_some());
        turns.pop();
        assert!(own.turn().is_some());
    }

    #[test]
    fn samples_of_one_moment_have_no_rates() {
        let networks = json!({"eth0": {"rx_bytes": 1, "tx_bytes": 1}});
        let same = sample(1, 5, &networks);
        let both = Samples {
            before: same.clone(),
            newest: same,
        };
        assert_eq!(rates(&both), None);
    }
}
