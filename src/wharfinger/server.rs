//! The server: assembles the application from its configuration, serves it, and drains requests on
//! a signal.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;
use wharfinger_audit::AuditLog;
use wharfinger_base::{Chain, Clock, Ids};
use wharfinger_blobs::{self as blobs, BlobStore};
use wharfinger_db::{
    self as db, DatabaseConfig, Db, Migration, Serving, ServingError, ServingLock, Upgrade,
};
use wharfinger_event_sinks::Sink;
use wharfinger_http::{Certificates, Drained, Listener, RELOAD_INTERVAL, TlsError};
use wharfinger_iam::{self as iam, Iam, KeyFileError, MasterKey, NewAccessKey, SecretSeal};
use wharfinger_monitoring::{self as monitoring, Logs};
use wharfinger_orchestrator::{
    self as orchestrator, AgentPoll, InstanceReconciler, Orchestrator, TaskDefinitionCleanup,
};
use wharfinger_reconcile::Driver;
use wharfinger_registry::{
    Archive, BlobStoreError, DeliverySettings, GarbageCollection, ImageReplication, ImageSigning,
    JournalStartError, LifecycleReconciler, PullThrough, PullThroughRules, Registry,
    RemoteDestinations, SigningKeys, UploadSweep,
};
use wharfinger_scanning::{self as scanning, Advisories};
use wharfinger_secrets::{self as secrets, Parameters, Secrets};
use wharfinger_telemetry::MetricsError;

use crate::api::routes::http_service;
use crate::app::App;
use crate::config::Config;
use crate::data_folder;
use crate::event_delivery::{EventSinkError, event_sinks};
use crate::local_agents;
use crate::readings;
use crate::replication_destinations::{self, DestinationError};
use crate::upstream_roles::UpstreamRoles;
use crate::upstreams;

/// Time for the last records of the audit log when the server stops.
const AUDIT_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The SQLite file of logs, beside the index.
const LOGS_FILE: &str = "logs.sqlite";

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("cannot write to the data folder: {path}")]
    Folder { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Serving(#[from] ServingError),
    #[error("cannot listen on {address}")]
    Listen {
        address: std::net::SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error("cannot open the index")]
    Index(#[from] db::OpenError),
    #[error(transparent)]
    BlobRoot(#[from] blobs::LockError),
    #[error("cannot open the blob store")]
    Blobs(#[from] blobs::Error),
    #[error(transparent)]
    BlobStore(#[from] BlobStoreError),
    #[error(transparent)]
    Journal(#[from] JournalStartError),
    #[error(transparent)]
    KeyFile(#[from] KeyFileError),
    #[error("cannot open users and keys")]
    Iam(#[from] iam::Error),
    #[error(transparent)]
    EventSink(#[from] EventSinkError),
    #[error(transparent)]
    ReplicationDestination(#[from] DestinationError),
    #[error("cannot set up metrics")]
    Metrics(#[from] MetricsError),
    #[error("cannot listen for signals")]
    Signals(#[source] io::Error),
}

/// A server that listens and is about to serve.
pub struct Server {
    app: Arc<App>,
    listener: Listener,
    certificates: Option<Arc<Certificates>>,
    sinks: Vec<(Sink, DeliverySettings)>,
    destinations: RemoteDestinations,
    /// Held for as long as this process serves.
    lock: ServingLock,
    _blobs_lock: Option<blobs::RootLock>,
    _archive_lock: Option<blobs::RootLock>,
}

impl Server {
    /// Opens everything. No request is served before [`Server::run`].
    pub async fn start(mut config: Config) -> Result<Self, StartError> {
        make_folder(&config.data_dir)?;
        let lock = ServingLock::acquire(&config.data_dir, &config.database, Serving::Beside)?;
        let blobs_lock = blobs::RootLock::acquire(&config.blobs)?;
        let archive_lock = match &config.archive {
            Some(archive) => blobs::RootLock::acquire(archive)?,
            None => None,
        };
        raise_open_files();
        let certificates = config.tls.clone().map(Certificates::load).transpose()?;
        let sinks = event_sinks(&config)?;
        let tls = certificates
            .as_ref()
            .map(Certificates::acceptor)
            .transpose()?;
        let failed = |source| StartError::Listen {
            address: config.listen,
            source,
        };
        let listener = Listener::bind(config.listen, tls, config.limits.clone()).map_err(failed)?;
        config.listen = listener.address().map_err(failed)?;
        config.names.follow_port(config.listen.port());
        let mut app = open(config, Upgrade::Apply).await?;
        if let Some(audit) = &app.config.audit {
            let started = AuditLog::start(audit, app.clock.clone(), app.ids.clone());
            let path = &audit.folder;
            app.audit = started.map_err(|source| StartError::Folder {
                path: path.clone(),
                source,
            })?;
        }
        let app = Arc::new(app);
        let destinations = replication_destinations::remote_destinations(
            &app.config.replication_destinations,
            &app.clock,
            &upstreams::own_secrets(
                &app.secrets,
                UpstreamRoles::new(&app.iam, &app.clock, &app.config),
            ),
        )?;
        app.iam.claim_index().await?;
        app.registry.claim_blob_store(app.ids.uuid()).await?;
        app.registry.claim_archive(app.ids.uuid()).await?;
        app.registry.check_journal().await?;
        advertise(&app.config)?;
        Ok(Self {
            app,
            listener,
            certificates,
            sinks,
            destinations,
            lock,
            _blobs_lock: blobs_lock,
            _archive_lock: archive_lock,
        })
    }

    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// A new access key of the account's root; `None` where the root has one.
    pub async fn first_key(&self) -> Result<Option<NewAccessKey>, StartError> {
        Ok(self.app.iam.bootstrap().await?)
    }

    /// Serves until SIGTERM or SIGINT, then drains. A second signal ends the drain.
    pub async fn run(self) -> Result<Drained, StartError> {
        let signals = |kind| signal(kind).map_err(StartError::Signals);
        let (mut terminate, mut interrupt) = (
            signals(SignalKind::terminate())?,
            signals(SignalKind::interrupt())?,
        );
        let reloading = tokio::spawn(reload(self.certificates, signals(SignalKind::hangup())?));
        let mut driver = Driver::new(self.app.clock.clone());
        driver.run(UploadSweep(self.app.registry.uploads.clone()));
        driver.run(self.app.registry.repositories.cleanup());
        driver.run(self.app.registry.scans.reconciler());
        driver.run(ImageSigning::new(
            self.app.registry.clone(),
            self.app.signing_keys.clone(),
        ));
        driver.run(ImageReplication::new(
            self.app.registry.clone(),
            self.destinations,
        ));
        driver.run(self.app.advisories.cleanup());
        if let Some(collection) = GarbageCollection::of(&self.app.registry.collector) {
            driver.run(collection);
        }
        if let Some(mover) = self.app.registry.archive_mover(&self.app.ids) {
            driver.run(mover);
        }
        driver.run(self.app.registry.journal(&self.app.ids));
        driver.run(LifecycleReconciler(self.app.registry.lifecycle.clone()));
        driver.run(self.app.registry.event_retention());
        for (sink, settings) in self.sinks {
            driver.run(self.app.registry.event_delivery(sink, settings));
        }
        driver.run(self.app.logs.retention());
        driver.run(self.app.secrets.cleanup());
        let orchestrator = &self.app.orchestrator;
        driver.run(AgentPoll(orchestrator.assignments.clone()));
        driver.run(InstanceReconciler::new(orchestrator.assignments.clone()));
        driver.run(orchestrator.service_reconciler());
        driver.run(orchestrator.waiting_tasks());
        driver.run(orchestrator.cleanup());
        driver.run(TaskDefinitionCleanup::new(&self.app.db));
        let readings = readings::all(&self.listener.traffic(), &self.app);
        let agents = Arc::new(self.app.agent_state());
        let service = http_service(&self.app, &agents, readings)?;
        let config = &self.app.config;
        tracing::info!(
            address = %config.listen,
            url = config.names.public_url,
            dev = config.dev,
            index = self.app.db.engine(),
            "serving"
        );
        let (stop_sender, stop) = tokio::sync::oneshot::channel::<()>();
        let serving = self.listener.serve(service, async move {
            // A dropped sender stops the service as well.
            let _ = stop.await;
        });
        tokio::pin!(serving);
        let local_agents = tokio::spawn(local_agents::run(Arc::clone(&self.app)));
        let early = tokio::select! {
            drained = &mut serving => Some(drained),
            () = stopped(&mut terminate, &mut interrupt) => None,
            () = self.lock.lost() => None,
        };
        // Their connections would keep the drain waiting. Containers go on.
        local_agents.abort();
        drop(stop_sender);
        agents.stop();
        let drained = match early {
            Some(drained) => drained,
            None => drain(serving, &mut terminate, &mut interrupt).await,
        };
        reloading.abort();
        driver.stop().await;
        if timeout(AUDIT_CLOSE_TIMEOUT, self.app.audit.close())
            .await
            .is_err()
        {
            tracing::error!("the last records of the audit log were not written");
        }
        tracing::info!(cut = drained.cut, "stopped");
        Ok(drained)
    }
}

/// The tables of all crates that use the index.
pub fn migrations(database: &DatabaseConfig) -> Vec<Migration> {
    let mut all = [
        wharfinger_registry::MIGRATIONS,
        iam::MIGRATIONS,
        orchestrator::MIGRATIONS,
        secrets::MIGRATIONS,
        scanning::MIGRATIONS,
    ]
    .concat();
    if let DatabaseConfig::Postgres { .. } = database {
        all.extend(monitoring::MIGRATIONS);
    }
    all
}

/// The databases of a server with the tables of each, the index first.
pub(crate) fn databases(index: &DatabaseConfig) -> Vec<(DatabaseConfig, Vec<Migration>)> {
    let mut all = vec![(index.clone(), migrations(index))];
    all.extend(logs_database(index).map(|logs| (logs, monitoring::MIGRATIONS.to_vec())));
    all
}

/// The database of logs beside an index; `None` where the index has them.
fn logs_database(index: &DatabaseConfig) -> Option<DatabaseConfig> {
    match index {
        DatabaseConfig::Sqlite { path, durability } => Some(DatabaseConfig::Sqlite {
            path: path.with_file_name(LOGS_FILE),
            durability: *durability,
        }),
        DatabaseConfig::Postgres { .. } => None,
    }
}

/// Opens the database of logs: PostgreSQL with the index, so that every server finds them, or a
/// SQLite file of their own, so that containers that write much do not hold up pushes.
fn open_logs(database: &DatabaseConfig, index: &Db, upgrade: Upgrade) -> Result<Db, StartError> {
    match logs_database(database) {
        Some(logs) => Ok(Db::open(&logs, monitoring::MIGRATIONS, upgrade)?),
        None => Ok(index.clone()),
    }
}

/// Opens the store of archived blobs: a configured one, or one within the store of blobs.
pub(crate) async fn open_archive(config: &Config, ids: &Ids) -> Result<Archive, StartError> {
    let within = || config.blobs.archive_within();
    let place = config.archive.clone().unwrap_or_else(within);
    let store = BlobStore::open(&place, config.durability, ids.clone()).await?;
    Ok(Archive {
        store,
        takes_all: config.archive.is_some(),
    })
}

/// Opens index, keys and blobs, and assembles the application. Does not take the serving lock:
/// commands use it beside a running server, with [`Upgrade::Refuse`].
pub async fn open(config: Config, upgrade: Upgrade) -> Result<App, StartError> {
    make_folder(&config.data_dir)?;
    warn_if_readable(&config.data_dir);
    let (clock, ids) = (Clock::default(), Ids::default());
    let database = config.database.clone();
    let key_file = config.key_file.clone();
    let making_key = ids.clone();
    // Both block: migrations may take a while, and the key file is synced to the disk.
    let opened = tokio::task::spawn_blocking(move || {
        let db = Db::open(&database, &migrations(&database), upgrade)?;
        let logs = open_logs(&database, &db, upgrade)?;
        let master = MasterKey::open_or_create(&key_file, &making_key)?;
        Ok::<_, StartError>((db, logs, master))
    });
    let (db, logs, master) = opened
        .await
        .map_err(|panic| StartError::Signals(io::Error::other(panic)))??;
    let identities = iam::Config {
        account: config.names.account,
        registry_token_ttl: config.registry_token_ttl,
        oidc_key_sets: config.oidc_key_sets.clone(),
        dev: config.dev,
    };
    let iam = Iam::open(db.clone(), &master, clock.clone(), ids.clone(), identities).await?;
    let blobs = BlobStore::open(&config.blobs, config.durability, ids.clone()).await?;
    let registry_clock = if config.dev {
        Clock::adjustable()
    } else {
        clock.clone()
    };
    let registry = Registry::new(&db, &blobs, &registry_clock, &ids, config.registry.clone())
        .with_archive(open_archive(&config, &ids).await?);
    let logs = Logs::new(logs, clock.clone(), ids.clone());
    let seal = SecretSeal::new(&master, ids.clone());
    let secrets = Secrets::new(db.clone(), clock.clone(), ids.clone(), seal.clone());
    let signing_keys = SigningKeys::new(db.clone(), clock.clone(), seal.clone());
    let parameters = Parameters::new(db.clone(), clock.clone(), seal);
    let iam = Arc::new(iam);
    let assumed = UpstreamRoles::new(&iam, &clock, &config);
    let upstreams = upstreams::access(&config.upstreams, &clock, &secrets, assumed);
    let rules = PullThroughRules::new(db.clone(), clock.clone(), upstreams);
    let pull_through = PullThrough::new(
        registry.clone(),
        rules,
        clock.clone(),
        ids.uuid(),
        config.pull_through_refresh,
    );
    let orchestrator = Orchestrator::new(&db, &clock, &ids).with_services(config.services.clone());
    let advisories = Advisories::new(db.clone(), clock.clone());
    Ok(App {
        clock,
        registry_clock,
        ids,
        db,
        iam,
        registry,
        advisories,
        pull_through,
        orchestrator,
        logs,
        secrets,
        parameters,
        signing_keys,
        audit: AuditLog::off(),
        config,
    })
}

fn make_folder(path: &Path) -> Result<(), StartError> {
    data_folder::create(path).map_err(|source| StartError::Folder {
        path: path.to_owned(),
        source,
    })
}

/// Warns about a data folder that existed before and that other users of this machine can read.
/// Changing its mode is left to its owner, who may have a reason.
fn warn_if_readable(path: &Path) {
    let others = |metadata: fs::Metadata| metadata.permissions().mode() & 0o077 != 0;
    if fs::metadata(path).is_ok_and(others) {
        tracing::warn!(
            path = %path.display(),
            "other users of this machine can read the data folder: chmod 700 it"
        );
    }
}

/// The file of the data folder that tells where its server is to be reached.
const ENDPOINT: &str = "endpoint";

/// Writes down the server's URL, so that commands beside it print the right one.
fn advertise(config: &Config) -> Result<(), StartError> {
    let path = config.data_dir.join(ENDPOINT);
    fs::write(&path, &config.names.public_url).map_err(|source| StartError::Folder { path, source })
}

/// The URL for clients: the configured one, else that of the server which serves this data folder,
/// else the derived one.
pub fn endpoint(config: &Config) -> String {
    let advertised = || fs::read_to_string(config.data_dir.join(ENDPOINT)).ok();
    let known = config
        .names
        .configured_url()
        .map(ToOwned::to_owned)
        .or_else(advertised);
    known.unwrap_or_else(|| config.names.public_url.clone())
}

async fn stopped(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn drain(
    serving: impl Future<Output = Drained>,
    terminate: &mut Signal,
    interrupt: &mut Signal,
) -> Drained {
    tracing::info!("stopping: requests in flight may finish; a second signal ends them");
    tokio::select! {
        drained = serving => drained,
        () = stopped(terminate, interrupt) => Drained { cut: 0 },
    }
}

/// Keeps the certificate fresh: looks at its files now and then, and at once on SIGHUP.
async fn reload(certificates: Option<Arc<Certificates>>, mut hangup: Signal) {
    let mut looks = tokio::time::interval(RELOAD_INTERVAL);
    loop {
        let force = tokio::select! {
            _ = looks.tick() => false,
            _ = hangup.recv() => true,
        };
        let Some(certificates) = &certificates else {
            continue;
        };
        match certificates.reload(force) {
            Ok(false) => {}
            Ok(true) => tracing::info!("a new certificate is in use"),
            Err(error) => {
                tracing::warn!(
                    error = %Chain(&error),
                    "the certificate was not reloaded; the old one stays in use"
                );
            }
        }
    }
}

/// Lets the process open as many files as the system allows: each connection is one, and most
/// systems start with 1024.
fn raise_open_files() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: maximum,
                maximum,
            },
        )
    {
        tracing::warn!(%error, ?current, "the limit of open files stays as it was");
    }
}
