//! The network of a task: Docker's bridge, the host's, none, or a namespace of its own.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::context::Context;
use crate::labels;
use crate::record::{NamespaceRecord, TaskRecord};
use crate::runtime::{NewContainer, RuntimeError};

/// How ECS begins every reason of this kind.
const FAILED: &str = "ContainerNetworkingError";

/// A network namespace of a task, and the process that is in it.
pub(crate) struct Namespace {
    pub(crate) record: NamespaceRecord,
    pub(crate) pid: Option<i32>,
}

impl Context {
    /// Docker's network mode for the containers of a task, and the namespace of its own if it has
    /// one, which is made here.
    ///
    /// # Errors
    /// A reason as ECS gives it.
    pub(crate) async fn network(
        &self,
        record: &TaskRecord,
    ) -> Result<(String, Option<Namespace>), String> {
        match record.task.network_mode.as_deref() {
            Some("host") => Ok(("host".to_owned(), None)),
            Some("none") => Ok(("none".to_owned(), None)),
            // Its listener for credentials would be made for whatever has the same pid here.
            Some("awsvpc") if !self.engine_is_local => Err(format!(
                "{FAILED}: the network mode awsvpc needs a Docker Engine on the host of the agent"
            )),
            Some("awsvpc") => {
                let made = self.make_namespace(record).await;
                let made = made.map_err(|error| format!("{FAILED}: {error}"))?;
                let id = made.record.runtime_id.clone().unwrap_or_default();
                Ok((format!("container:{id}"), Some(made)))
            }
            _ => Ok(("bridge".to_owned(), None)),
        }
    }

    /// Makes the container that holds the network namespace of a task and starts it, if that was
    /// not done yet.
    ///
    /// # Errors
    /// Where it has ended: the containers of the task that run would stay in the old namespace.
    async fn make_namespace(&self, record: &TaskRecord) -> Result<Namespace, RuntimeError> {
        let Some(namespace) = &record.namespace else {
            return Err(RuntimeError::Invalid(
                "the task has no namespace".to_owned(),
            ));
        };
        let network = format!("wharfinger-{}", self.cluster);
        if let Some(id) = &namespace.runtime_id {
            let seen = self.runtime.inspect(id).await?;
            if !seen.running {
                return Err(RuntimeError::Missing(
                    "the network namespace of the task has ended".to_owned(),
                ));
            }
            return Ok(Namespace {
                record: namespace.clone(),
                pid: seen.pid,
            });
        }
        let label = BTreeMap::from([(labels::CLUSTER.to_owned(), self.cluster.clone())]);
        self.runtime.make_network(&network, label).await?;
        let image = self.pause_image.id(&*self.runtime).await?;
        let container = self.namespace_container(record, namespace, &network, &image);
        let id = match self.runtime.create(container).await {
            Err(RuntimeError::Missing(_)) => {
                self.pause_image.forget().await;
                let image = self.pause_image.id(&*self.runtime).await?;
                let container = self.namespace_container(record, namespace, &network, &image);
                self.runtime.create(container).await?
            }
            created => created?,
        };
        self.runtime.start(&id).await?;
        let seen = self.runtime.inspect(&id).await?;
        Ok(Namespace {
            record: NamespaceRecord {
                runtime_name: namespace.runtime_name.clone(),
                runtime_id: Some(id),
                address: seen.addresses.get(&network).cloned(),
                has_ended: false,
            },
            pid: seen.pid,
        })
    }

    fn namespace_container(
        &self,
        record: &TaskRecord,
        namespace: &NamespaceRecord,
        network: &str,
        image: &str,
    ) -> NewContainer {
        let labels = json!({
            labels::CLUSTER: self.cluster,
            labels::TASK_ARN: record.task.arn,
            labels::INSTANCE: self.instance_arn,
        });
        let mut config = Map::new();
        config.insert("Image".to_owned(), json!(image));
        config.insert("Labels".to_owned(), labels);
        // Host names, name servers and hosts of a namespace are those of its first container.
        let mut host_config = Map::new();
        let first = record.task.containers.first();
        let docker = first.and_then(|first| first.docker_config.clone());
        let object = |text: Option<String>| -> Map<String, Value> {
            text.and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default()
        };
        if let Some(docker) = docker {
            let from = object(docker.config);
            config.extend(from.into_iter().filter(|(key, _)| key == "Hostname"));
            let from = object(docker.host_config);
            let kept = ["ExtraHosts", "Dns", "DnsSearch"];
            host_config.extend(
                from.into_iter()
                    .filter(|(key, _)| kept.contains(&key.as_str())),
            );
        }
        host_config.insert("NetworkMode".to_owned(), json!(network));
        // The program needs no time to end.
        config.insert("StopTimeout".to_owned(), json!(0));
        NewContainer {
            name: namespace.runtime_name.clone(),
            config,
            host_config,
        }
    }
}
