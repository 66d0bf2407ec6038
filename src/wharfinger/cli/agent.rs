//! `wharfinger agent`: joins this host to a cluster, as one container instance or as several.

use std::fs::{self, File};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use url::Url;
use wharfinger_agent::{Agent, AgentConfig, DefaultKeys, InstanceConfig, ServerTrust};
use wharfinger_base::{Clock, Ids};
use wharfinger_telemetry::{self as telemetry, LogFormat, LogsConfig};

use crate::loopback::address;

/// Instances of one agent at most: they share one Docker Engine.
const MAX_INSTANCES: u16 = 200;

/// The options of `wharfinger agent`. Keys come from the environment, a profile or the role of the
/// machine, as for every AWS client.
#[derive(Args)]
pub(super) struct AgentArguments {
    /// URL of the server
    #[arg(long, env = "AWS_ENDPOINT_URL", value_name = "URL")]
    endpoint: Url,
    /// Cluster to join
    #[arg(
        long,
        env = "ECS_CLUSTER",
        default_value = "default",
        value_name = "NAME"
    )]
    cluster: String,
    /// Region of the cluster
    #[arg(
        long,
        env = "AWS_REGION",
        default_value = "us-east-1",
        value_name = "REGION"
    )]
    region: String,
    /// Container instances on this host. Where there are several, each has its own loopback address
    /// for host ports
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    instances: u16,
    /// Folder for the agent's state
    #[arg(
        long,
        env = "WHARFINGER_AGENT_DIR",
        default_value = "./agent",
        value_name = "DIR"
    )]
    data_dir: PathBuf,
    /// Docker Engine: `unix:///PATH` or `tcp://HOST:PORT` [default: `DOCKER_HOST`, else the
    /// system's socket]
    #[arg(long, value_name = "URL")]
    docker_host: Option<String>,
    /// Availability zones, which the instances take in turn [default: a, b and c of the region]
    #[arg(long, value_delimiter = ',', value_name = "ZONE")]
    availability_zones: Vec<String>,
    /// Attribute of the instances, for placement constraints; may be given several times
    #[arg(long = "attribute", value_name = "NAME[=VALUE]")]
    attributes: Vec<String>,
    /// Address for host ports, for one instance only [default: all addresses]
    #[arg(long, value_name = "ADDRESS")]
    bind_address: Option<IpAddr>,
    /// MiB of the host's memory that tasks do not get
    #[arg(long, default_value_t = 0, value_name = "MIB")]
    reserved_memory: u32,
    /// Seconds for which the containers of a stopped task are kept
    #[arg(
        long,
        env = "WHARFINGER_TASK_CLEANUP_SECONDS",
        default_value_t = 10_800,
        value_name = "SECONDS"
    )]
    task_cleanup_seconds: u64,
    /// A level (error, warn, info, debug, trace) or directives
    #[arg(
        long,
        env = "WHARFINGER_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVEL"
    )]
    log_level: String,
    /// Log lines for people (plain) or for machines (json)
    #[arg(
        long,
        env = "WHARFINGER_LOG_FORMAT",
        default_value = "plain",
        value_name = "plain|json"
    )]
    log_format: LogFormat,
}

pub(super) fn run(arguments: &AgentArguments) -> anyhow::Result<ExitCode> {
    let logs = LogsConfig {
        level: arguments.log_level.clone(),
        format: arguments.log_format,
    };
    let telemetry = telemetry::init(&logs, None)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("wharfinger")
        .build();
    let outcome = runtime
        .context("cannot start the runtime")?
        .block_on(serve(arguments));
    telemetry.shut_down();
    outcome.map(|()| ExitCode::SUCCESS)
}

async fn serve(arguments: &AgentArguments) -> anyhow::Result<()> {
    let instances = instances(arguments)?;
    let _lock = lock(&arguments.data_dir)?;
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let config = AgentConfig {
        endpoint: arguments.endpoint.clone(),
        region: arguments.region.clone(),
        trust: ServerTrust::System,
        docker_host: arguments.docker_host.clone(),
    };
    let keys = Arc::new(DefaultKeys);
    let agent = Agent::connect(config, keys, Clock::default(), Ids::default()).await;
    let agent = agent.context("cannot use the Docker Engine")?;
    let mut running = JoinSet::new();
    for instance in instances {
        let agent = agent.clone();
        running.spawn(async move { agent.run(instance).await });
    }
    tokio::select! {
        // An instance ends only where it cannot go on.
        _ = running.join_next() => bail!("an instance ended; the log says why"),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("stopped; the tasks go on, and the next start takes them up");
    Ok(())
}

fn instances(arguments: &AgentArguments) -> anyhow::Result<Vec<InstanceConfig>> {
    let count = arguments.instances;
    if !(1..=MAX_INSTANCES).contains(&count) {
        bail!("--instances must be between 1 and {MAX_INSTANCES}");
    }
    if count > 1 && arguments.bind_address.is_some() {
        bail!("--bind-address is for one instance; several have loopback addresses");
    }
    let zones = if arguments.availability_zones.is_empty() {
        ["a", "b", "c"]
            .map(|zone| format!("{}{zone}", arguments.region))
            .to_vec()
    } else {
        arguments.availability_zones.clone()
    };
    let attributes = arguments
        .attributes
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
            None => (text.clone(), None),
        });
    let attributes: Vec<_> = attributes.collect();
    let several = (1..=count).zip(zones.iter().cycle()).map(|(number, zone)| {
        let loopback = (count > 1).then(|| IpAddr::V4(address(number)));
        InstanceConfig {
            cluster: arguments.cluster.clone(),
            state: arguments.data_dir.join(format!("instance-{number}")),
            availability_zone: zone.clone(),
            bind_ip: loopback.or(arguments.bind_address),
            reserved_memory_mib: i64::from(arguments.reserved_memory),
            attributes: attributes.clone(),
            cleanup_wait: Duration::from_secs(arguments.task_cleanup_seconds),
            ends_when_inactive: false,
        }
    });
    Ok(several.collect())
}

/// Locks the folder for this process: two agents with one state would run each task twice.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let cannot = || format!("cannot use the folder {}", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    let file = File::create(folder.join("lock")).with_context(cannot)?;
    if file.try_lock().is_err() {
        bail!("another agent uses the folder {}", folder.display());
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: AgentArguments,
    }

    fn parse(options: &[&str]) -> AgentArguments {
        let fixed = ["agent", "--endpoint", "http://localhost:4566"];
        let line = fixed.iter().chain(options);
        Line::try_parse_from(line).expect("valid").arguments
    }

    #[test]
    fn several_instances_take_zones_and_loopback_addresses_in_turn() {
        let made = instances(&parse(&["--instances", "4", "--attribute", "stack=blue"]));
        let made = made.expect("valid");
        let zones: Vec<_> = made
            .iter()
            .map(|one| one.availability_zone.as_str())
            .collect();
        assert_eq!(
            zones,
            ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1a"]
        );
        let loopback = IpAddr::V4(Ipv4Addr::new(127, 0, 1, 4));
        assert_eq!(made[3].bind_ip, Some(loopback));
        assert_eq!(
            made[0].attributes,
            [("stack".to_owned(), Some("blue".to_owned()))]
        );
    }

    #[test]
    fn one_instance_uses_all_addresses() {
        assert_eq!(instances(&parse(&[])).expect("valid")[0].bind_ip, None);
        assert!(instances(&parse(&["--instances", "0"])).is_err());
        let both = ["--instances", "2", "--bind-address", "127.0.0.1"];
        assert!(instances(&parse(&both)).is_err());
    }
}
