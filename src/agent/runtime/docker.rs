//! The Docker Engine as container runtime, or Podman, whose socket speaks the same API.

mod convert;
mod host;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::auth::DockerCredentials;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, NetworkCreateRequest, VolumeCreateRequest};
use bollard::query_parameters::{
    CreateContainerOptions, CreateImageOptions, EventsOptions, ListContainersOptions, LogsOptions,
    RemoveContainerOptions, RemoveImageOptions, RemoveVolumeOptions, StatsOptions,
    StopContainerOptions,
};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout};
use wharfinger_base::Timestamp;

use crate::runtime::docker::convert::{inspection, runtime_error};
use crate::runtime::docker::host::{has_socket, is_this_host};
use crate::runtime::{
    ContainerEvent, ContainerRuntime, HostInfo, Inspection, ListedContainer, LogPiece,
    NewContainer, NewVolume, RegistryLogin, RuntimeError, Samples,
};

/// Longest wait for a response of the engine. A start runs hooks and mounts, a creation copies
/// volumes.
const REQUEST_TIMEOUT: Duration = Duration::from_mins(3);
/// A pull that shows no progress for this long is given up, as Amazon's agent does.
const PULL_STALL_TIMEOUT: Duration = Duration::from_mins(1);
/// How long a registry may take to say which image a tag names. The pull that follows may take
/// longer.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the engine may take to kill a container after its stop timeout.
const KILL_TIMEOUT: Duration = Duration::from_mins(1);
/// Between two looks for a container whose name is taken.
const CREATE_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// How often a container is looked at again that is in a state without a name in Docker's API.
const STATE_RETRIES: u32 = 100;
const STATE_RETRY_INTERVAL: Duration = Duration::from_millis(100);
/// What `/var/run/docker.sock` and the others are called without `DOCKER_HOST`.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// A Docker Engine. Cloning shares the connections.
#[derive(Clone, Debug)]
pub(crate) struct Docker {
    client: bollard::Docker,
    /// Held while a network is made: engines before version 25 make a second one of the same name,
    /// and then start no container in either.
    making_network: Arc<Mutex<()>>,
    /// Whether it was reached by the path of a socket. A port of loopback may lead anywhere.
    has_socket: bool,
}

impl Docker {
    /// Connects to the engine at `host` (`unix:///…` or `tcp://…`), else to that of `DOCKER_HOST`,
    /// else to the socket of the system.
    ///
    /// # Errors
    /// Where nothing replies.
    pub(crate) async fn connect(host: Option<&str>) -> Result<Self, RuntimeError> {
        let named = host
            .map(ToOwned::to_owned)
            .or_else(|| std::env::var("DOCKER_HOST").ok());
        let host = named.unwrap_or_else(|| DEFAULT_HOST.to_owned());
        let mut docker = bollard::Docker::connect_with_host(&host).map_err(runtime_error)?;
        docker.set_timeout(REQUEST_TIMEOUT);
        let docker = docker.negotiate_version().await.map_err(runtime_error)?;
        Ok(Self {
            client: docker,
            making_network: Arc::default(),
            has_socket: has_socket(&host),
        })
    }
}

#[async_trait]
impl ContainerRuntime for Docker {
    async fn info(&self) -> Result<HostInfo, RuntimeError> {
        let info = self.client.info().await.map_err(runtime_error)?;
        let version = self.client.version().await.map_err(runtime_error)?;
        let api = version.api_version.unwrap_or_default();
        let minor = api.split('.').nth(1).and_then(|minor| minor.parse().ok());
        Ok(HostInfo {
            cpus: info.ncpu.unwrap_or(1),
            memory_bytes: info.mem_total.unwrap_or(0),
            architecture: info.architecture.unwrap_or_default(),
            version: version.version.unwrap_or_default(),
            api_minor: minor.unwrap_or(0),
            cgroup_driver: info
                .cgroup_driver
                .map(|driver| driver.to_string())
                .unwrap_or_default(),
            is_local: self.has_socket
                && is_this_host(info.name.as_deref(), info.kernel_version.as_deref()).await,
        })
    }

    async fn pull(
        &self,
        image: &str,
        login: Option<&RegistryLogin>,
    ) -> Result<Option<String>, RuntimeError> {
        let (name, tag) = split_reference(image);
        let options = CreateImageOptions {
            from_image: Some(name.to_owned()),
            tag: Some(tag.to_owned()),
            ..CreateImageOptions::default()
        };
        let credentials = login.map(credentials);
        let mut progress = Box::pin(self.client.create_image(Some(options), None, credentials));
        let mut digest = None;
        loop {
            let next = timeout(PULL_STALL_TIMEOUT, progress.next()).await;
            let Some(line) = next.map_err(|_| RuntimeError::TimedOut(PULL_STALL_TIMEOUT))? else {
                return Ok(digest);
            };
            let status = line.map_err(runtime_error)?.status.unwrap_or_default();
            if let Some(found) = status.strip_prefix("Digest: ") {
                digest = Some(found.to_owned());
            }
        }
    }

    async fn resolve(
        &self,
        image: &str,
        login: Option<&RegistryLogin>,
    ) -> Result<String, RuntimeError> {
        let credentials = login.map(credentials);
        let inspected = self.client.inspect_registry_image(image, credentials);
        let inspected = timeout(RESOLVE_TIMEOUT, inspected).await;
        let found = inspected.map_err(|_| RuntimeError::TimedOut(RESOLVE_TIMEOUT))?;
        let digest = found.map_err(runtime_error)?.descriptor.digest;
        digest.ok_or_else(|| RuntimeError::Invalid(format!("{image} has no digest")))
    }

    async fn local_digests(&self, image: &str) -> Result<Vec<String>, RuntimeError> {
        let found = self
            .client
            .inspect_image(image)
            .await
            .map_err(runtime_error)?;
        let (name, _) = split_reference(image);
        let digests = found.repo_digests.unwrap_or_default();
        let own = digests.iter().filter_map(|digest| digest.split_once('@'));
        let own = own.filter(|(repository, _)| *repository == name);
        Ok(own.map(|(_, digest)| digest.to_owned()).collect())
    }

    async fn remove_image(&self, image: &str) -> Result<(), RuntimeError> {
        let options = None::<RemoveImageOptions>;
        let removed = self.client.remove_image(image, options, None).await;
        removed.map(drop).map_err(runtime_error)
    }

    async fn import_image(
        &self,
        name: &str,
        archive: Vec<u8>,
        entry_point: &str,
    ) -> Result<String, RuntimeError> {
        let (repo, tag) = split_reference(name);
        let options = CreateImageOptions {
            from_src: Some("-".to_owned()),
            repo: Some(repo.to_owned()),
            tag: Some(tag.to_owned()),
            changes: vec![format!("ENTRYPOINT [\"{entry_point}\"]")],
            ..CreateImageOptions::default()
        };
        let archive = bollard::body_full(archive.into());
        let progress = self.client.create_image(Some(options), Some(archive), None);
        let lines: Vec<_> = progress.try_collect().await.map_err(runtime_error)?;
        // The id is the last line. The name may be that of another image by now.
        let id = lines.into_iter().rev().find_map(|line| line.status);
        id.ok_or_else(|| RuntimeError::Invalid("an imported image has no id".to_owned()))
    }

    async fn create(&self, container: NewContainer) -> Result<String, RuntimeError> {
        let options = CreateContainerOptions {
            name: Some(container.name.clone()),
            ..CreateContainerOptions::default()
        };
        let mut body = container.config;
        body.insert(
            "HostConfig".to_owned(),
            Value::Object(container.host_config),
        );
        let body: ContainerCreateBody = serde_json::from_value(Value::Object(body))
            .map_err(|why| RuntimeError::Invalid(why.to_string()))?;
        // The other request has as long as this one.
        let end = Instant::now() + REQUEST_TIMEOUT;
        while Instant::now() < end {
            let created = self
                .client
                .create_container(Some(options.clone()), body.clone());
            match created.await {
                Ok(created) => return Ok(created.id),
                // Names are random, so this one belongs to an equal request: one whose response
                // was lost, or that of another container of the task for their namespace.
                Err(error) if is_name_taken(&error) => {}
                Err(error) => return Err(runtime_error(error)),
            }
            match self.inspect(&container.name).await {
                Ok(found) => return Ok(found.id),
                // The engine reserves the name some time before it shows the container.
                Err(RuntimeError::Missing(_)) => sleep(CREATE_RETRY_INTERVAL).await,
                Err(error) => return Err(error),
            }
        }
        Err(RuntimeError::Missing(container.name))
    }

    async fn start(&self, id: &str) -> Result<(), RuntimeError> {
        // 304, already started, is no error.
        self.client
            .start_container(id, None)
            .await
            .map_err(runtime_error)
    }

    async fn stop(&self, id: &str, wait: Duration) -> Result<(), RuntimeError> {
        let options = StopContainerOptions {
            t: Some(i32::try_from(wait.as_secs()).unwrap_or(i32::MAX)),
            ..StopContainerOptions::default()
        };
        let mut patient = self.client.clone();
        patient.set_timeout(wait + KILL_TIMEOUT);
        let stopped = patient.stop_container(id, Some(options)).await;
        stopped.map_err(runtime_error)
    }

    async fn remove(&self, id: &str) -> Result<(), RuntimeError> {
        let options = RemoveContainerOptions {
            v: true,
            force: true,
            link: false,
        };
        match self.client.remove_container(id, Some(options)).await {
            // 409, another removal is under way, is an error: that one may still fail.
            Err(Error::DockerResponseServerError {
                status_code: 404, ..
            })
            | Ok(()) => Ok(()),
            Err(error) => Err(runtime_error(error)),
        }
    }

    async fn inspect(&self, id: &str) -> Result<Inspection, RuntimeError> {
        for _ in 0..STATE_RETRIES {
            match self.client.inspect_container(id, None).await {
                // Of Podman, between the end of a container and its clean-up.
                Err(Error::JsonDataError { message, .. })
                    if message.contains("unknown variant `stopped`") =>
                {
                    sleep(STATE_RETRY_INTERVAL).await;
                }
                found => return Ok(inspection(found.map_err(runtime_error)?)),
            }
        }
        Err(RuntimeError::TimedOut(STATE_RETRY_INTERVAL * STATE_RETRIES))
    }

    async fn list(&self, label: &str) -> Result<Vec<ListedContainer>, RuntimeError> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([(
                "label".to_owned(),
                vec![label.to_owned()],
            )])),
            ..ListContainersOptions::default()
        };
        let found = self.client.list_containers(Some(options)).await;
        let found = found.map_err(runtime_error)?.into_iter();
        let listed = found.map(|one| ListedContainer {
            id: one.id.unwrap_or_default(),
            labels: one.labels.unwrap_or_default().into_iter().collect(),
        });
        Ok(listed.collect())
    }

    fn events(&self, label: &str, since: Timestamp) -> BoxStream<'static, ContainerEvent> {
        // The words of the Docker Engine, and those by which Podman filters.
        let names = ["die", "health_status", "destroy", "died", "remove"];
        let options = EventsOptions {
            since: Some((since.as_ms() / 1000).to_string()),
            filters: Some(HashMap::from([
                ("type".to_owned(), vec!["container".to_owned()]),
                ("label".to_owned(), vec![label.to_owned()]),
                ("event".to_owned(), names.map(ToOwned::to_owned).to_vec()),
            ])),
            ..EventsOptions::default()
        };
        let events = self.client.events(Some(options));
        let events = events.take_while(|event| std::future::ready(event.is_ok()));
        let events = events.filter_map(|event| {
            let actor = event.ok().and_then(|event| event.actor);
            std::future::ready(actor.map(|actor| ContainerEvent {
                id: actor.id.unwrap_or_default(),
                labels: actor.attributes.unwrap_or_default().into_iter().collect(),
            }))
        });
        events.boxed()
    }

    fn logs(
        &self,
        id: &str,
        since: Timestamp,
    ) -> BoxStream<'static, Result<LogPiece, RuntimeError>> {
        let options = LogsOptions {
            follow: true,
            stdout: true,
            stderr: true,
            since: i32::try_from(since.as_ms() / 1000).unwrap_or(0),
            timestamps: true,
            ..LogsOptions::default()
        };
        let pieces = self.client.logs(id, Some(options));
        let pieces = pieces.map(|piece| match piece.map_err(runtime_error)? {
            LogOutput::StdErr { message } => Ok(LogPiece {
                is_stderr: true,
                bytes: message,
            }),
            LogOutput::StdOut { message }
            | LogOutput::StdIn { message }
            | LogOutput::Console { message } => Ok(LogPiece {
                is_stderr: false,
                bytes: message,
            }),
        });
        pieces.boxed()
    }

    async fn stats(&self, id: &str) -> Result<Samples, RuntimeError> {
        let options = StatsOptions {
            stream: true,
            one_shot: false,
        };
        let mut measured = Box::pin(self.client.stats(id, Some(options)));
        let mut sample = async || {
            let next = measured.next().await;
            let next = next.ok_or_else(|| RuntimeError::Refused("it does not run".to_owned()))?;
            let sample = next.map_err(runtime_error)?;
            serde_json::to_value(sample).map_err(|why| RuntimeError::Invalid(why.to_string()))
        };
        Ok(Samples {
            before: sample().await?,
            newest: sample().await?,
        })
    }

    async fn make_volume(&self, volume: NewVolume) -> Result<(), RuntimeError> {
        let request = VolumeCreateRequest {
            name: Some(volume.name),
            driver: volume.driver,
            driver_opts: Some(volume.driver_options.into_iter().collect()),
            labels: Some(volume.labels.into_iter().collect()),
            ..VolumeCreateRequest::default()
        };
        let made = self.client.create_volume(request).await;
        made.map(drop).map_err(runtime_error)
    }

    async fn has_volume(&self, name: &str) -> Result<bool, RuntimeError> {
        match self
            .client
            .inspect_volume(name)
            .await
            .map_err(runtime_error)
        {
            Ok(_) => Ok(true),
            Err(RuntimeError::Missing(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn remove_volume(&self, name: &str) -> Result<(), RuntimeError> {
        let options = None::<RemoveVolumeOptions>;
        match self
            .client
            .remove_volume(name, options)
            .await
            .map_err(runtime_error)
        {
            Ok(()) | Err(RuntimeError::Missing(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn make_network(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<(), RuntimeError> {
        let _making = self.making_network.lock().await;
        let found = self.client.inspect_network(name, None).await;
        match found.map_err(runtime_error) {
            Ok(_) => return Ok(()),
            Err(RuntimeError::Missing(_)) => {}
            Err(error) => return Err(error),
        }
        let request = NetworkCreateRequest {
            name: name.to_owned(),
            driver: Some("bridge".to_owned()),
            labels: Some(labels.into_iter().collect()),
            ..NetworkCreateRequest::default()
        };
        match self.client.create_network(request).await {
            // Another program made it in the meantime.
            Err(Error::DockerResponseServerError {
                status_code: 409, ..
            })
            | Ok(_) => Ok(()),
            Err(error) => Err(runtime_error(error)),
        }
    }
}

/// Whether a container was not made because there is one of its name. Podman says so with the
/// status 500 where both were requested at once.
fn is_name_taken(error: &Error) -> bool {
    let Error::DockerResponseServerError {
        status_code,
        message,
    } = error
    else {
        return false;
    };
    *status_code == 409 || message.contains("that name is already in use")
}

fn credentials(login: &RegistryLogin) -> DockerCredentials {
    DockerCredentials {
        username: Some(login.username.clone()),
        password: Some(login.password.reveal().clone()),
        ..DockerCredentials::default()
    }
}

/// The name and the tag or digest of an image: `latest` where it has none.
fn split_reference(image: &str) -> (&str, &str) {
    if let Some((name, digest)) = image.split_once('@') {
        return (name, digest);
    }
    // A colon before a slash belongs to a port.
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::split_reference;

    #[test]
    fn references_have_a_name_and_a_tag() {
        let cases = [
            ("busybox", ("busybox", "latest")),
            ("busybox:1.36", ("busybox", "1.36")),
            ("localhost:4566/web", ("localhost:4566/web", "latest")),
            ("localhost:4566/web:v1", ("localhost:4566/web", "v1")),
            ("a.b/c@sha256:12", ("a.b/c", "sha256:12")),
        ];
        for (image, expected) in cases {
            assert_eq!(split_reference(image), expected, "{image}");
        }
    }
}
