//! One container instance: registers, connects, and runs its tasks until it is told to end.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use wharfinger_base::{Chain, Clock, Ids};
use wharfinger_ecs_protocol::{ACS_PATH, TCS_PATH};

use crate::acs::Session;
use crate::aws_client::{AwsClient, CallError};
use crate::backoff::Backoff;
use crate::context::Context;
use crate::engine::Engine;
use crate::host_endpoints::HostEndpoints;
use crate::image_cleanup::RecentPulls;
use crate::images::Images;
use crate::imported_image::PauseImage;
use crate::keys::InstanceKeys;
use crate::labels;
use crate::registration::{NewInstance, PollEndpoints, docker_version, poll_endpoints, register};
use crate::removal::remove_containers;
use crate::runtime::{ContainerRuntime, HostInfo};
use crate::state_folder::{InstanceRecord, StateFolder};
use crate::tcs::Telemetry;
use crate::websocket::SessionEnd;

/// Between attempts to register and to connect, as Amazon's agent waits.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_mins(2);
/// How the code begins where an instance that registers again is registered no more.
const NOT_REGISTERED: &str = "Client";
/// How long a deregistered instance waits before it requests again, as Amazon's agent does.
const INACTIVE_WAIT: Duration = Duration::from_hours(1);

/// What one instance is.
#[derive(Clone, Debug)]
pub struct InstanceConfig {
    /// The name of the cluster that it joins.
    pub cluster: String,
    /// The folder for its state. Two instances never share one.
    pub state: PathBuf,
    pub availability_zone: String,
    /// The address that host ports are bound to; `None` for all.
    pub bind_ip: Option<IpAddr>,
    /// MiB of the host's memory that tasks do not get.
    pub reserved_memory_mib: i64,
    /// Attributes of the instance, with or without a value.
    pub attributes: Vec<(String, Option<String>)>,
    /// How long the containers of a stopped task are kept.
    pub cleanup_wait: Duration,
    /// Whether the instance ends when it is deregistered, or waits and requests again.
    pub ends_when_inactive: bool,
}

/// What all instances of a process share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) runtime: Arc<dyn ContainerRuntime>,
    pub(crate) pause_image: PauseImage,
    pub(crate) recent_pulls: RecentPulls,
    pub(crate) host: HostInfo,
    pub(crate) client: AwsClient,
    pub(crate) keys: Arc<InstanceKeys>,
    pub(crate) tls: Arc<ClientConfig>,
    /// Where ACS is, if the control plane is not to be requested: no other server may be trusted as
    /// the own one is.
    pub(crate) poll_endpoint: Option<String>,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
}

/// Runs an instance. Ends only where it is deregistered and told to end then, or its state cannot
/// be stored; may be dropped at any time.
pub(crate) async fn run(shared: Shared, config: InstanceConfig) {
    let state = match StateFolder::open(&config.state).await {
        Ok(state) => state,
        Err(error) => {
            let path = config.state.display();
            tracing::error!(%path, %error, "the agent's folder cannot be used");
            return;
        }
    };
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY, shared.ids.clone());
    let before = state.instance().await.unwrap_or_else(|error| {
        tracing::error!(%error, "the registration cannot be read; registering anew");
        None
    });
    let before = before.filter(|before| before.cluster == config.cluster);
    // The same for all attempts: one whose response was lost may have registered the instance.
    let token = shared.ids.uuid().to_string();
    let mut instance = loop {
        match registered(&shared, &config, before.as_ref(), &token).await {
            Ok(record) => break record,
            Err(error) => {
                let cluster = &config.cluster;
                tracing::warn!(cluster, %error, "the instance was not registered; trying again");
                shared.keys.forget().await;
                backoff.wait().await;
            }
        }
    };
    let arn = &instance.instance_arn;
    tracing::info!(cluster = config.cluster, instance = arn, "registered");
    if let Some(before) = before.filter(|before| before.instance_arn != instance.instance_arn) {
        forget_tasks(&state).await;
        instance.former = before.former;
        instance.former.insert(before.instance_arn);
    }
    remove_former(&shared, &mut instance.former).await;
    let endpoints = match HostEndpoints::listen(instance.endpoints_port) {
        Ok(endpoints) => endpoints,
        Err(error) => {
            tracing::error!(%error, "the endpoints for tasks cannot listen");
            return;
        }
    };
    instance.endpoints_port = endpoints.port;
    if let Err(error) = state.set_instance(&instance).await {
        tracing::error!(%error, "the registration was not stored");
    }
    let context = context(&shared, &config, state, &instance, endpoints).await;
    let context = Arc::new(context);
    let engine = match Engine::open(context).await {
        Ok(engine) => engine,
        Err(error) => {
            tracing::error!(%error, "the agent's tasks cannot be read");
            return;
        }
    };
    let former = instance.former.clone();
    tokio::select! {
        () = engine.watch() => {}
        () = remove_all_former(&shared, former) => {}
        () = engine.context().images.clean_up() => {}
        () = serve(&shared, &config, &engine, &mut instance) => {}
    }
}

/// Registers the instance, as the one that it was before if that is still known.
async fn registered(
    shared: &Shared,
    config: &InstanceConfig,
    known: Option<&InstanceRecord>,
    client_token: &str,
) -> Result<InstanceRecord, CallError> {
    let keys = shared.keys.get().await.map_err(CallError::NoKeys)?;
    let new = NewInstance {
        cluster: config.cluster.clone(),
        instance_arn: known.map(|known| known.instance_arn.clone()),
        client_token: client_token.to_owned(),
        availability_zone: config.availability_zone.clone(),
        region: shared.client.region().to_owned(),
        reserved_memory_mib: config.reserved_memory_mib,
        attributes: config.attributes.clone(),
    };
    let arn = match register(&shared.client, &keys, &shared.host, &new).await {
        Ok(arn) => arn,
        // The instance, or the cluster that it was in, is gone: this is a new one. Nothing else may
        // make it one, as the containers of the earlier instance are removed then.
        Err(error) if known.is_some() && error.is(NOT_REGISTERED) => {
            tracing::warn!(%error, "the earlier instance cannot register again; a new one does");
            let new = NewInstance {
                instance_arn: None,
                ..new
            };
            register(&shared.client, &keys, &shared.host, &new).await?
        }
        Err(error) => return Err(error),
    };
    let record = match known {
        Some(known) if known.instance_arn == arn => known.clone(),
        _ => InstanceRecord {
            cluster: config.cluster.clone(),
            instance_arn: arn,
            ..InstanceRecord::default()
        },
    };
    Ok(record)
}

/// Forgets the tasks of an instance that is registered no more: the control plane has given them
/// up.
async fn forget_tasks(state: &StateFolder) {
    let tasks = state.tasks().await.unwrap_or_default();
    for task in tasks {
        if let Err(error) = state.remove_task(task.id()).await {
            tracing::warn!(task = task.task.arn, %error, "a task was not removed");
        }
    }
}

/// Removes the containers of instances that are registered no more, by their ARNs. Those that have
/// containers left stay in the set.
async fn remove_former(shared: &Shared, former: &mut BTreeSet<String>) {
    for arn in former.clone() {
        let label = format!("{}={arn}", labels::INSTANCE);
        if remove_containers(&*shared.runtime, &label, |_| false).await {
            former.remove(&arn);
        }
    }
}

/// Removes containers again and again until none is left, and then waits for ever.
async fn remove_all_former(shared: &Shared, mut former: BTreeSet<String>) {
    let mut backoff = Backoff::of_removals(shared.ids.clone());
    while !former.is_empty() {
        backoff.wait().await;
        remove_former(shared, &mut former).await;
    }
    std::future::pending::<()>().await;
}

async fn context(
    shared: &Shared,
    config: &InstanceConfig,
    state: StateFolder,
    instance: &InstanceRecord,
    host_endpoints: HostEndpoints,
) -> Context {
    Context {
        runtime: Arc::clone(&shared.runtime),
        pause_image: shared.pause_image.clone(),
        client: shared.client.clone(),
        keys: Arc::clone(&shared.keys),
        images: Images::open(
            Arc::clone(&shared.runtime),
            shared.client.clone(),
            shared.clock.clone(),
            state.clone(),
            shared.recent_pulls.clone(),
        )
        .await,
        state,
        clock: shared.clock.clone(),
        ids: shared.ids.clone(),
        cluster: config.cluster.clone(),
        instance_arn: instance.instance_arn.clone(),
        availability_zone: config.availability_zone.clone(),
        bind_ip: config.bind_ip,
        host_endpoints,
        cgroup_driver: shared.host.cgroup_driver.clone(),
        engine_is_local: shared.host.is_local,
        cleanup_wait: config.cleanup_wait,
    }
}

/// Holds sessions with ACS and TCS, again and again. Ends where the instance was deregistered.
async fn serve(
    shared: &Shared,
    config: &InstanceConfig,
    engine: &Engine,
    instance: &mut InstanceRecord,
) {
    let docker_version = docker_version(&shared.host);
    let seen = instance.clone();
    tokio::select! {
        () = receive_tasks(shared, config, engine, instance, &docker_version) => {}
        () = publish_health(shared, engine, &seen, &docker_version) => {}
    }
}

/// Holds a session with ACS, again and again. Ends where the instance was deregistered.
async fn receive_tasks(
    shared: &Shared,
    config: &InstanceConfig,
    engine: &Engine,
    instance: &mut InstanceRecord,
    docker_version: &str,
) {
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY, shared.ids.clone());
    loop {
        let endpoint = match endpoints(shared, instance).await {
            Ok(endpoints) => endpoints.endpoint,
            Err(error) => {
                tracing::warn!(%error, "the control plane's endpoint is not known");
                shared.keys.forget().await;
                backoff.wait().await;
                continue;
            }
        };
        let mut session = Session {
            engine,
            tls: &shared.tls,
            docker_version,
            instance,
        };
        let connected = || {
            tracing::info!(endpoint, "connected to the control plane");
            backoff.reset();
        };
        match session.run(&endpoint, connected).await {
            Ok(()) | Err(SessionEnd::Closed) => {}
            Err(SessionEnd::Inactive) if config.ends_when_inactive => {
                tracing::info!(cluster = config.cluster, "the instance was deregistered");
                return;
            }
            Err(SessionEnd::Inactive) => {
                tracing::error!("the instance was deregistered; requesting again in an hour");
                tokio::time::sleep(INACTIVE_WAIT).await;
            }
            Err(error) => {
                let error = Chain(&error).to_string();
                tracing::warn!(error, "the connection to the control plane ended");
                shared.keys.forget().await;
            }
        }
        backoff.wait().await;
    }
}

/// Holds a session with TCS, again and again.
async fn publish_health(
    shared: &Shared,
    engine: &Engine,
    instance: &InstanceRecord,
    docker_version: &str,
) {
    let mut backoff = Backoff::new(FIRST_RETRY, LONGEST_RETRY, shared.ids.clone());
    loop {
        let telemetry = Telemetry {
            engine,
            tls: &shared.tls,
            docker_version,
            instance,
        };
        // ACS reports why the control plane cannot be reached.
        if let Ok(endpoints) = endpoints(shared, instance).await {
            let connected = || backoff.reset();
            let ended = telemetry
                .run(&endpoints.telemetry_endpoint, connected)
                .await;
            if let Err(error) = ended {
                let error = Chain(&error).to_string();
                tracing::debug!(error, "the telemetry connection ended");
            }
        }
        backoff.wait().await;
    }
}

async fn endpoints(shared: &Shared, instance: &InstanceRecord) -> Result<PollEndpoints, CallError> {
    if let Some(endpoint) = &shared.poll_endpoint {
        return Ok(PollEndpoints {
            endpoint: format!("{endpoint}{ACS_PATH}"),
            telemetry_endpoint: format!("{endpoint}{TCS_PATH}"),
        });
    }
    let keys = shared.keys.get().await.map_err(CallError::NoKeys)?;
    let (cluster, arn) = (&instance.cluster, &instance.instance_arn);
    poll_endpoints(&shared.client, &keys, cluster, arn).await
}
