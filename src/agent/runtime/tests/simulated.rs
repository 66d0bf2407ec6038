//! A container runtime in memory. Its containers know a few scripts: `exit N`, `echo TEXT`, `exec
//! sleep N`, and one that ignores signals.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde_json::json;
use tokio::sync::broadcast;
use wharfinger_base::{Clock, Timestamp};

use crate::runtime::{
    ContainerEvent, ContainerRuntime, HostInfo, Inspection, ListedContainer, LogPiece,
    NewContainer, NewVolume, RegistryLogin, RuntimeError, Samples,
};
use crate::view::Health;

/// The runtime. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Simulated {
    clock: Clock,
    world: Arc<Mutex<World>>,
    events: broadcast::Sender<ContainerEvent>,
}

#[derive(Default)]
struct World {
    containers: BTreeMap<String, Simulation>,
    volumes: BTreeSet<String>,
    made: u32,
    /// Removals of containers that fail before one succeeds.
    failing_removals: u32,
    /// The digest that all tags have; `None` where the runtime tells none.
    tag: Option<String>,
    /// The one that they get after the next look.
    moving_tag: Option<String>,
    /// What was pulled.
    pulls: Vec<String>,
    /// Images that are removed before the next container is made.
    losing: u32,
}

struct Simulation {
    name: String,
    image: String,
    script: String,
    labels: BTreeMap<String, String>,
    seen: Inspection,
    output: Vec<String>,
}

impl Simulated {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            world: Arc::new(Mutex::new(World {
                tag: Some("sha256:simulated".to_owned()),
                ..World::default()
            })),
            events: broadcast::channel(1_000).0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no test panics here")
    }

    /// Ends a container.
    pub(crate) fn end(&self, id: &str, code: i64) {
        let mut world = self.lock();
        let container = world.find(id).expect("a container");
        container.seen.running = false;
        container.seen.exit_code = code;
        container.seen.finished_at = Some(self.clock.now());
        self.tell(container);
    }

    /// The image that a container was made from.
    pub(crate) fn image(&self, id: &str) -> String {
        let mut world = self.lock();
        world.find(id).expect("a container").image.clone()
    }

    /// Lets the next removals of containers fail.
    pub(crate) fn fail_removals(&self, count: u32) {
        self.lock().failing_removals = count;
    }

    /// Changes the digest that all tags have.
    pub(crate) fn tag(&self, digest: Option<&str>) {
        self.lock().tag = digest.map(ToOwned::to_owned);
    }

    /// Changes it after the next look at a tag.
    pub(crate) fn tag_after_next_look(&self, digest: &str) {
        self.lock().moving_tag = Some(digest.to_owned());
    }

    /// Removes the image of the next container before that is made.
    pub(crate) fn lose_image(&self) {
        self.lock().losing = 1;
    }

    /// What was pulled.
    pub(crate) fn pulls(&self) -> Vec<String> {
        self.lock().pulls.clone()
    }

    /// Changes what the health check of a container says.
    pub(crate) fn set_health(&self, id: &str, health: Health) {
        let mut world = self.lock();
        let container = world.find(id).expect("a container");
        container.seen.health = health;
        self.tell(container);
    }

    fn tell(&self, container: &Simulation) {
        // Nobody may listen.
        let _ = self.events.send(ContainerEvent {
            id: container.seen.id.clone(),
            labels: container.labels.clone(),
        });
    }
}

impl World {
    fn digest_of(&self, image: &str) -> Option<String> {
        let own = image.split_once('@').map(|(_, digest)| digest.to_owned());
        own.or_else(|| self.tag.clone())
    }

    fn find(&mut self, id: &str) -> Result<&mut Simulation, RuntimeError> {
        let mut all = self.containers.values_mut();
        all.find(|one| one.seen.id == id || one.name == id)
            .ok_or_else(|| RuntimeError::Missing(format!("No such container: {id}")))
    }
}

/// The images that the runtime has: those whose name does not say otherwise.
fn has_image(image: &str) -> Result<(), RuntimeError> {
    if image.starts_with("no/") {
        return Err(RuntimeError::Missing(format!("No such image: {image}")));
    }
    Ok(())
}

#[async_trait]
impl ContainerRuntime for Simulated {
    async fn info(&self) -> Result<HostInfo, RuntimeError> {
        Ok(HostInfo {
            cpus: 2,
            memory_bytes: 4 << 30,
            architecture: "x86_64".to_owned(),
            version: "simulated".to_owned(),
            api_minor: 41,
            cgroup_driver: "cgroupfs".to_owned(),
            is_local: true,
        })
    }

    async fn pull(
        &self,
        image: &str,
        _: Option<&RegistryLogin>,
    ) -> Result<Option<String>, RuntimeError> {
        has_image(image).map_err(|error| RuntimeError::Refused(error.to_string()))?;
        let mut world = self.lock();
        world.pulls.push(image.to_owned());
        Ok(world.digest_of(image))
    }

    async fn resolve(
        &self,
        image: &str,
        _: Option<&RegistryLogin>,
    ) -> Result<String, RuntimeError> {
        has_image(image)?;
        let mut world = self.lock();
        let digest = world.digest_of(image);
        if let Some(moved) = world.moving_tag.take() {
            world.tag = Some(moved);
        }
        digest.ok_or_else(|| RuntimeError::Refused("404 page not found".to_owned()))
    }

    async fn local_digests(&self, image: &str) -> Result<Vec<String>, RuntimeError> {
        has_image(image).map(|()| Vec::new())
    }

    async fn remove_image(&self, image: &str) -> Result<(), RuntimeError> {
        has_image(image)
    }

    async fn import_image(&self, _: &str, _: Vec<u8>, _: &str) -> Result<String, RuntimeError> {
        Ok("sha256:imported".to_owned())
    }

    async fn create(&self, container: NewContainer) -> Result<String, RuntimeError> {
        has_image(container.config["Image"].as_str().unwrap_or_default())?;
        let mut world = self.lock();
        if world.losing > 0 {
            world.losing -= 1;
            return Err(RuntimeError::Missing("No such image".to_owned()));
        }
        if let Ok(known) = world.find(&container.name) {
            return Ok(known.seen.id.clone());
        }
        world.made += 1;
        let id = format!("container-{}", world.made);
        let command = container.config.get("Cmd").cloned().unwrap_or_default();
        let labels = container.config.get("Labels").cloned().unwrap_or_default();
        let simulation = Simulation {
            name: container.name,
            image: container.config["Image"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
            script: command[2].as_str().unwrap_or_default().to_owned(),
            labels: serde_json::from_value(labels).unwrap_or_default(),
            output: Vec::new(),
            seen: Inspection {
                id: id.clone(),
                running: false,
                exit_code: 0,
                killed_for_memory: false,
                error: String::new(),
                started_at: None,
                finished_at: None,
                health: Health::Unknown,
                ports: Vec::new(),
                addresses: BTreeMap::new(),
                pid: None,
            },
        };
        world.containers.insert(id.clone(), simulation);
        Ok(id)
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        let now = self.clock.now();
        let mut world = self.lock();
        let container = world.find(id)?;
        if container.seen.running {
            return Ok(());
        }
        if container.script == "missing" {
            return Err(RuntimeError::Refused("exec: not found".to_owned()));
        }
        container.seen.running = true;
        container.seen.started_at = Some(now);
        let end = match container.script.split_once(' ') {
            Some(("exit", code)) => code.parse().ok(),
            Some(("echo", text)) => {
                let time = now.to_rfc3339();
                container.output.push(format!("{time} {text}\n"));
                Some(0)
            }
            _ => None,
        };
        drop(world);
        if let Some(code) = end {
            self.end(id, code);
        }
        Ok(())
    }

    async fn stop(&self, id: &str, _: Duration) -> Result<(), RuntimeError> {
        let (running, ignores) = {
            let mut world = self.lock();
            let container = world.find(id)?;
            (container.seen.running, container.script.starts_with("trap"))
        };
        if running {
            self.end(id, if ignores { 137 } else { 143 });
        }
        Ok(())
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let mut world = self.lock();
        if world.failing_removals > 0 {
            world.failing_removals -= 1;
            return Err(RuntimeError::Refused("device or resource busy".to_owned()));
        }
        let found = world.find(id).map(|one| one.seen.id.clone());
        if let Ok(id) = found {
            world.containers.remove(&id);
        }
        Ok(())
    }

    async fn inspect(&self, id: &str) -> Result<Inspection, RuntimeError> {
        self.lock().find(id).map(|one| one.seen.clone())
    }

    async fn list(&self, label: &str) -> Result<Vec<ListedContainer>, RuntimeError> {
        let (name, value) = label.split_once('=').expect("a name and a value");
        let world = self.lock();
        let all = world.containers.values();
        let found = all.filter(|one| one.labels.get(name).is_some_and(|label| label == value));
        let listed = found.map(|one| ListedContainer {
            id: one.seen.id.clone(),
            labels: one.labels.clone(),
        });
        Ok(listed.collect())
    }

    fn events(&self, label: &str, _: Timestamp) -> BoxStream<'static, ContainerEvent> {
        let (name, value) = label.split_once('=').expect("a name and a value");
        let (name, value) = (name.to_owned(), value.to_owned());
        let events = stream::unfold(self.events.subscribe(), |mut events| async {
            let event = events.recv().await.ok()?;
            Some((event, events))
        });
        let wanted = move |event: &ContainerEvent| {
            std::future::ready(event.labels.get(&name) == Some(&value))
        };
        events.filter(wanted).boxed()
    }

    fn logs(&self, id: &str, _: Timestamp) -> BoxStream<'static, Result<LogPiece, RuntimeError>> {
        let output = self.lock().find(id).map(|one| one.output.clone());
        let output = output.unwrap_or_default().into_iter();
        let pieces = output.map(|line| {
            Ok(LogPiece {
                is_stderr: false,
                bytes: line.into_bytes().into(),
            })
        });
        stream::iter(pieces.collect::<Vec<_>>()).boxed()
    }

    async fn stats(&self, id: &str) -> Result<Samples, RuntimeError> {
        self.lock().find(id)?;
        let sample = |second: u32| {
            let time = format!("2026-01-01T00:00:0{second}Z");
            json!({
                "read": time,
                "networks": {"eth0": {"rx_bytes": second, "tx_bytes": 2 * second}},
            })
        };
        Ok(Samples {
            before: sample(1),
            newest: sample(2),
        })
    }

    async fn make_volume(&self, volume: NewVolume) -> Result<(), RuntimeError> {
        self.lock().volumes.insert(volume.name);
        Ok(())
    }

    async fn has_volume(&self, name: &str) -> Result<bool, RuntimeError> {
        Ok(self.lock().volumes.contains(name))
    }

    async fn remove_volume(&self, name: &str) -> Result<(), RuntimeError> {
        self.lock().volumes.remove(name);
        Ok(())
    }

    async fn make_network(&self, _: &str, _: BTreeMap<String, String>) -> Result<(), RuntimeError> {
        Ok(())
    }
}
