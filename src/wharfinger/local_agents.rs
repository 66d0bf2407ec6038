//! The container instances of this very host: one in each local cluster, run by the server itself
//! where a Docker Engine is reachable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinHandle;
use url::Url;
use wharfinger_agent::{Agent, AgentConfig, InstanceConfig, KeySource, Keys, ServerTrust};
use wharfinger_base::Chain;
use wharfinger_iam::{
    self as iam, Caller, EntityKind, Iam, NewEntity, NewRole, NewRoleSession, Principal,
};
use wharfinger_orchestrator::model::{AccountRegion, ClusterDetails, ClusterId, ClusterName};
use wharfinger_orchestrator::{self as orchestrator, Orchestrator};

use crate::app::App;
use crate::config::LocalClusters;
use crate::loopback::address;

/// The cluster that is made for this host.
const DEFAULT_CLUSTER: &str = "default";
/// How often clusters are looked for, and a Docker Engine that was not there.
const CLUSTERS_INTERVAL: Duration = Duration::from_secs(1);
const DOCKER_INTERVAL: Duration = Duration::from_secs(30);
/// Clusters that are read at once, and that this host serves at most.
const PAGE: usize = 100;
const MAX_CLUSTERS: usize = 200;
/// The role of the instances, as AWS calls it, the policy that it has, and who assumes it.
const ROLE: &str = "ecsInstanceRole";
const ROLE_POLICY: &str =
    "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role";
const SERVICE: &str = "ec2.amazonaws.com";
/// The file that holds the number of each cluster's instance.
const NUMBERS: &str = "instances.json";

/// Runs the instances of this host until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let clusters = &app.config.local_clusters;
    if *clusters == LocalClusters::None {
        return;
    }
    let agent = connect(&app).await;
    let home = AccountRegion {
        account: app.config.names.account,
        region: app.config.names.region.clone(),
    };
    let hosts = Hosts {
        agent,
        home,
        clusters,
        folder: app.config.data_dir.join("agent"),
        cleanup_wait: app.config.task_cleanup_wait,
    };
    if let Err(error) = hosts.make_default(&app.orchestrator).await {
        tracing::error!(error = %Chain(&error), "the default cluster was not made");
    }
    hosts.serve(&app.orchestrator).await;
}

/// Waits for a Docker Engine.
async fn connect(app: &Arc<App>) -> Agent {
    let connect = || {
        let config = AgentConfig {
            endpoint: own_endpoint(app.config.listen, app.config.tls.is_some()),
            region: app.config.names.region.as_str().to_owned(),
            trust: ServerTrust::OwnListener,
            docker_host: app.config.docker_host.clone(),
        };
        let keys = Arc::new(InstanceRole {
            iam: Arc::clone(&app.iam),
        });
        Agent::connect(config, keys, app.clock.clone(), app.ids.clone())
    };
    until_connected(connect, DOCKER_INTERVAL, |error| {
        tracing::info!(
            %error,
            "no Docker Engine is reachable, so this host is no container instance"
        );
    })
    .await
}

/// Connects by interval until that succeeds. Only the first failure is told.
async fn until_connected<T, E, F: Future<Output = Result<T, E>>>(
    connect: impl Fn() -> F,
    interval: Duration,
    tell: impl FnOnce(E),
) -> T {
    let mut tell = Some(tell);
    loop {
        match connect().await {
            Ok(connected) => return connected,
            Err(error) => {
                if let Some(tell) = tell.take() {
                    tell(error);
                }
            }
        }
        tokio::time::sleep(interval).await;
    }
}

/// The listener of this process, as it is reached from this host.
pub(crate) fn own_endpoint(listen: SocketAddr, tls: bool) -> Url {
    let ip = match listen.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let address = SocketAddr::new(ip, listen.port());
    let scheme = if tls { "https" } else { "http" };
    Url::parse(&format!("{scheme}://{address}")).expect("an address makes a URL")
}

/// The instances of this host.
struct Hosts<'a> {
    agent: Agent,
    home: AccountRegion,
    clusters: &'a LocalClusters,
    folder: std::path::PathBuf,
    cleanup_wait: Duration,
}

impl Hosts<'_> {
    async fn make_default(&self, orchestrator: &Orchestrator) -> Result<(), orchestrator::Error> {
        if !self.clusters.includes(DEFAULT_CLUSTER) {
            return Ok(());
        }
        let name = ClusterName {
            home: self.home.clone(),
            name: DEFAULT_CLUSTER.to_owned(),
        };
        // One that was deleted stays so.
        if orchestrator.clusters.get(&name).await?.is_none() {
            let details = ClusterDetails::default();
            orchestrator.clusters.create(&name, details).await?;
        }
        Ok(())
    }

    /// Runs an instance in each cluster that is local, as long as the cluster is there. An instance
    /// that somebody deregisters stays away until the next start.
    async fn serve(&self, orchestrator: &Orchestrator) {
        let mut running: BTreeMap<ClusterId, AbortOnDrop> = BTreeMap::new();
        let mut looks = tokio::time::interval(CLUSTERS_INTERVAL);
        loop {
            looks.tick().await;
            let clusters = match self.local_clusters(orchestrator).await {
                Ok(clusters) => clusters,
                Err(error) => {
                    tracing::error!(error = %Chain(&error), "the clusters were not read");
                    continue;
                }
            };
            running.retain(|id, _| clusters.iter().any(|(known, _)| known == id));
            for (id, name) in clusters {
                if running.contains_key(&id) || running.len() >= MAX_CLUSTERS {
                    continue;
                }
                match self.instance(&name).await {
                    Ok(instance) => {
                        let agent = self.agent.clone();
                        let run = tokio::spawn(async move { agent.run(instance).await });
                        running.insert(id, AbortOnDrop(run));
                    }
                    Err(error) => {
                        tracing::error!(cluster = name, %error, "this host did not join");
                    }
                }
            }
        }
    }

    async fn local_clusters(
        &self,
        orchestrator: &Orchestrator,
    ) -> Result<Vec<(ClusterId, String)>, orchestrator::Error> {
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let page = orchestrator.clusters.page(&self.home, &after, PAGE).await?;
            let found = page
                .items
                .into_iter()
                .map(|cluster| (cluster.id, cluster.name.name));
            all.extend(found.filter(|(_, name)| self.clusters.includes(name)));
            match page.next {
                Some(next) => after = next,
                None => return Ok(all),
            }
        }
    }

    async fn instance(&self, cluster: &str) -> io::Result<InstanceConfig> {
        let (folder, name) = (self.folder.clone(), cluster.to_owned());
        let number = tokio::task::spawn_blocking(move || number(&folder, &name)).await;
        let number = number.map_err(io::Error::other)??;
        Ok(InstanceConfig {
            cluster: cluster.to_owned(),
            state: self.folder.join(cluster),
            availability_zone: format!("{}a", self.home.region.as_str()),
            bind_ip: Some(address(number).into()),
            reserved_memory_mib: 0,
            attributes: Vec::new(),
            cleanup_wait: self.cleanup_wait,
            ends_when_inactive: true,
        })
    }
}

/// A task that ends when this is dropped.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The number of a cluster's instance, which it keeps: running containers are bound to its address.
fn number(folder: &Path, cluster: &str) -> io::Result<u16> {
    fs::create_dir_all(folder)?;
    let path = folder.join(NUMBERS);
    let mut numbers: BTreeMap<String, u16> = match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error),
    };
    if let Some(number) = numbers.get(cluster) {
        return Ok(*number);
    }
    // The default cluster has the address that everybody tries first.
    let first = u16::from(cluster != DEFAULT_CLUSTER);
    let taken: BTreeSet<u16> = numbers.values().copied().collect();
    let number = (first..u16::MAX).find(|number| !taken.contains(number));
    let number = number.ok_or_else(|| io::Error::other("too many clusters"))?;
    numbers.insert(cluster.to_owned(), number);
    let temporary = path.with_extension("new");
    fs::write(&temporary, serde_json::to_vec(&numbers)?)?;
    fs::rename(&temporary, &path)?;
    Ok(number)
}

/// Credentials of the role of instances, which is made where it is missing.
struct InstanceRole {
    iam: Arc<Iam>,
}

#[async_trait]
impl KeySource for InstanceRole {
    async fn keys(&self) -> Result<Keys, String> {
        let session = self.session().await;
        session.map_err(|error| Chain(&error).to_string())
    }
}

impl InstanceRole {
    async fn session(&self) -> Result<Keys, iam::Error> {
        let account = self.iam.account();
        let arn = format!("arn:aws:iam::{}:role/{ROLE}", account.as_str());
        let arn = arn
            .parse()
            .map_err(|_| iam::Error::NoSuchRole(arn.clone()))?;
        let sessions = self.iam.role_sessions();
        let caller = Caller::new(account, Principal::Service(SERVICE.into()), Arc::default());
        let new = || NewRoleSession {
            name: "local-instance".to_owned(),
            ..NewRoleSession::default()
        };
        let role = sessions.role(&arn).await?;
        let assumed = match sessions.assume(&caller, &role, new()).await {
            Err(iam::Error::NoSuchRole(_)) => {
                self.make_role().await?;
                let role = sessions.role(&arn).await?;
                sessions.assume(&caller, &role, new()).await?
            }
            other => other?,
        };
        let session = assumed.session;
        Ok(Keys {
            access_key_id: session.access_key_id,
            secret_access_key: session.secret_access_key,
            session_token: Some(session.session_token.into_inner()),
            expires_at: Some(session.expires_at),
        })
    }

    async fn make_role(&self) -> Result<(), iam::Error> {
        let account = self.iam.account();
        let trust = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": "Allow",
                "Principal": {"Service": SERVICE},
                "Action": "sts:AssumeRole",
            }],
        });
        let role = NewRole {
            trust_policy: trust.to_string(),
            description: Some("Role of the container instances of this host.".to_owned()),
            max_session: None,
        };
        let new = NewEntity {
            role: Some(role),
            ..NewEntity::new(EntityKind::Role, ROLE)
        };
        let entities = self.iam.entities();
        let made = entities.create(account, new).await?;
        let policy = ROLE_POLICY.to_owned();
        entities.attach_policy(account, &made.name, policy).await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_missing_docker_engine_is_told_once_and_awaited() {
        let attempts = Cell::new(0);
        let connect = || {
            attempts.set(attempts.get() + 1);
            let attempt = attempts.get();
            std::future::ready(if attempt < 4 {
                Err(attempt)
            } else {
                Ok("engine")
            })
        };
        let told = Cell::new(None);
        let found = until_connected(connect, Duration::ZERO, |error| told.set(Some(error))).await;
        assert_eq!((found, told.get(), attempts.get()), ("engine", Some(1), 4));
    }

    #[test]
    fn a_cluster_keeps_its_number() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |name: &str| number(folder.path(), name).expect("a number");
        assert_eq!(of("demo"), 1);
        assert_eq!(of("default"), 0);
        assert_eq!(of("other"), 2);
        assert_eq!(of("demo"), 1);
    }

    #[test]
    fn the_own_listener_is_reached_on_loopback() {
        let of = |text: &str, tls| own_endpoint(text.parse().expect("an address"), tls).to_string();
        assert_eq!(of("0.0.0.0:4566", false), "http://127.0.0.1:4566/");
        assert_eq!(of("[::]:443", true), "https://[::1]/");
        assert_eq!(of("10.0.0.1:80", false), "http://10.0.0.1/");
    }
}
