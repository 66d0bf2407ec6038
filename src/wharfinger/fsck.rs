//! Runs a check of the index and the blob store, and keeps how far it is.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use wharfinger_base::{Chain, Secret};
use wharfinger_blobs::RootLock;
use wharfinger_db::{Serving, ServingLock, Upgrade};
pub(crate) use wharfinger_registry::FsckOptions;
use wharfinger_registry::{Finding, Position, RepairSource, ReplicaSource};
use wharfinger_registry_client::{Credentials, RegistryClient, Upstream};

use crate::app::App;
use crate::config::Config;
use crate::rebuild::LOCK_LOST;
use crate::server;

/// The file of the data folder that says how far a check is.
const STATE: &str = "fsck.json";
const NEW_STATE: &str = "fsck.json.new";

/// How far a check is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    options: FsckOptions,
    /// `None` at the end.
    position: Option<Position>,
    /// Rows and objects that were looked at.
    pub(crate) seen: u64,
    pub(crate) found: u64,
}

/// What to check.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) options: FsckOptions,
    /// From the beginning, also where an earlier check was interrupted.
    pub(crate) restart: bool,
    /// A registry that has the same repositories, to fetch blobs from.
    pub(crate) replica: Option<Upstream>,
}

/// Checks everything, or what an earlier run with the same options did not reach. `told` gets each
/// finding and, after each page, how far the check is.
///
/// # Errors
/// With `repair`, while a server serves the index or the blobs.
pub(crate) async fn run(
    config: Config,
    request: Request,
    mut told: impl FnMut(&[Finding], &Progress) -> io::Result<()>,
) -> anyhow::Result<Progress> {
    let locks = if request.options.repair {
        let serving = ServingLock::acquire(&config.data_dir, &config.database, Serving::Alone)?;
        Some((serving, RootLock::acquire(&config.blobs)?))
    } else {
        None
    };
    let folder = config.data_dir.clone();
    let app = server::open(config, Upgrade::Refuse).await?;
    if request.options.repair {
        // An index that lacks what the journal has would have all blobs put aside.
        app.registry.check_journal().await?;
    }
    // What is not in the stores of the index must not be taken out of it.
    app.registry.check_stores().await?;
    let options = request.options;
    let begun = if request.restart { None } else { read(&folder) };
    let mut progress = begun
        .filter(|begun| begun.options == options && begun.position.is_some())
        .unwrap_or_else(|| Progress {
            options,
            position: Some(Position::default()),
            ..Progress::default()
        });
    let fsck = app.registry.fsck(options);
    let mut fsck = fsck.with_sources(sources(&app, request.replica));
    while let Some(position) = &progress.position {
        let page = tokio::select! {
            page = fsck.page(position) => page,
            () = lost(locks.as_ref()) => anyhow::bail!("{LOCK_LOST}"),
        };
        let page = page.map_err(|why| anyhow::anyhow!("the check ended early: {}", Chain(&why)))?;
        progress.seen += page.seen;
        progress.found += page.found.len() as u64;
        progress.position = page.next;
        told(&page.found, &progress)?;
        write(&folder, &progress).context("cannot write how far the check is")?;
    }
    fs::remove_file(folder.join(STATE)).context("cannot remove how far the check was")?;
    Ok(progress)
}

/// The registry that a repair fetches blobs from.
///
/// # Errors
/// For anything else than `http://HOST[:PORT]` or `https://HOST[:PORT]`.
pub(crate) fn replica(
    url: &str,
    username: String,
    password: Option<String>,
) -> anyhow::Result<Upstream> {
    let credentials = password.map(|password| {
        Arc::new(Credentials {
            username,
            password: Secret::new(password),
        })
    });
    Ok(Upstream {
        endpoint: url.parse()?,
        credentials,
        cdn_loop: None,
        own_host: None,
    })
}

/// Where a repair fetches blobs from.
fn sources(app: &App, replica: Option<Upstream>) -> Vec<Box<dyn RepairSource>> {
    let mut sources: Vec<Box<dyn RepairSource>> = Vec::new();
    if let Some(upstream) = replica {
        let endpoints = std::iter::once(&upstream.endpoint);
        let client = RegistryClient::new(endpoints, app.clock.clone());
        sources.push(Box::new(ReplicaSource { client, upstream }));
    }
    sources.push(Box::new(app.pull_through.clone()));
    sources
}

/// Returns when servers are no longer kept off the index.
async fn lost(locks: Option<&(ServingLock, Option<RootLock>)>) {
    match locks {
        Some((serving, _)) => serving.lost().await,
        None => std::future::pending().await,
    }
}

/// How far an earlier check came; `None` where that is not known.
fn read(folder: &Path) -> Option<Progress> {
    let text = fs::read(folder.join(STATE)).ok()?;
    serde_json::from_slice(&text).ok()
}

fn write(folder: &Path, progress: &Progress) -> io::Result<()> {
    let mut file = fs::File::create(folder.join(NEW_STATE))?;
    file.write_all(&serde_json::to_vec(progress)?)?;
    fs::rename(folder.join(NEW_STATE), folder.join(STATE))
}
