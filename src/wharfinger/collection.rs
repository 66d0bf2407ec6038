//! Garbage collection by command.
//!
//! Where the index is a file or the blobs lie in a folder, they are the server's while one runs: it
//! keeps publications and deletions apart, and what it read of the index, in its memory. The
//! command then waits until that server has collected. Without one it takes the server's locks and
//! collects by itself, and over PostgreSQL and S3 it collects beside the servers, as another one of
//! them.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use wharfinger_blobs::{BlobsConfig, LockError, RootLock};
use wharfinger_db::{DatabaseConfig, Serving, ServingError, ServingLock};
use wharfinger_reconcile::Reconciler as _;
pub(crate) use wharfinger_registry::Survey;
use wharfinger_registry::UploadSweep;

use crate::app::App;
use crate::config::Config;

/// How often progress is shown, and how often a waiting command looks.
const PERIOD: Duration = Duration::from_secs(1);
/// A server that removes nothing for so long is not waited for.
const PATIENCE: Duration = Duration::from_mins(3);
/// Share of the time that the command collects where no server runs beside it.
const ALONE_PERCENT: u32 = 100;

/// How a collection ended.
pub(crate) enum Outcome {
    /// The command itself has removed this.
    Collected { links: u64, blobs: u64, bytes: u64 },
    /// The running server has removed what was due.
    ByServer,
}

/// Returns once everything that is due is removed.
pub(crate) async fn run(app: &App) -> anyhow::Result<Outcome> {
    match Locks::acquire(&app.config)? {
        Some(locks) => collect(app, &locks).await,
        None => wait(app).await,
    }
}

/// What a server holds, as far as no server has it.
struct Locks {
    _serving: Option<ServingLock>,
    _blobs: Option<RootLock>,
    /// No server is at work on the index.
    alone: bool,
}

impl Locks {
    /// `None` where a server has what only one process may have.
    fn acquire(config: &Config) -> anyhow::Result<Option<Self>> {
        let serving =
            match ServingLock::acquire(&config.data_dir, &config.database, Serving::Beside) {
                Ok(lock) => Some(lock),
                Err(ServingError::Folder(_) | ServingError::Index(_)) => None,
                Err(error) => return Err(error.into()),
            };
        let is_file = matches!(config.database, DatabaseConfig::Sqlite { .. });
        if is_file && serving.is_none() {
            return Ok(None);
        }
        let blobs = match RootLock::acquire(&config.blobs) {
            Ok(lock) => lock,
            Err(LockError::Held(_)) => return Ok(None),
            Err(error @ LockError::File { .. }) => return Err(error.into()),
        };
        let is_folder = matches!(config.blobs, BlobsConfig::Disk { .. });
        Ok(Some(Self {
            _serving: serving,
            _blobs: blobs,
            alone: is_file || is_folder,
        }))
    }
}

pub(crate) async fn survey(app: &App) -> anyhow::Result<Survey> {
    let mut shown = Instant::now();
    let survey = app.registry.collector.survey(|so_far| {
        if shown.elapsed() >= PERIOD {
            shown = Instant::now();
            tracing::info!(looked_at = so_far.seen, "looking");
        }
    });
    Ok(survey.await?)
}

async fn collect(app: &App, locks: &Locks) -> anyhow::Result<Outcome> {
    let registry = &app.registry;
    // Never the blobs of another index.
    registry.claim_blob_store(app.ids.uuid()).await?;
    registry.check_journal().await?;
    let now = app.clock.now();
    let mut cleanup = registry.repositories.cleanup();
    while cleanup.pass(now).await?.again {}
    let mut uploads = UploadSweep(registry.uploads.clone());
    while uploads.pass(now).await?.again {}
    let load_percent = match app.config.registry.gc_load_percent {
        // It says that servers leave the work to this command.
        0 => ALONE_PERCENT,
        _ if locks.alone => ALONE_PERCENT,
        percent => percent,
    };
    let mut shown = Instant::now();
    let collected = registry.collector.collect(load_percent, |progress| {
        if shown.elapsed() >= PERIOD {
            shown = Instant::now();
            tracing::info!(
                links = progress.links(),
                blobs = progress.blobs(),
                bytes = progress.bytes(),
                "collecting"
            );
        }
    });
    collected.await?;
    let progress = registry.collector.progress();
    if progress.failures() > 0 {
        bail!("{} removals failed; run it again", progress.failures());
    }
    Ok(Outcome::Collected {
        links: progress.links(),
        blobs: progress.blobs(),
        bytes: progress.bytes(),
    })
}

/// Waits until the server has collected what is due.
async fn wait(app: &App) -> anyhow::Result<Outcome> {
    if app.config.registry.gc_load_percent == 0 {
        bail!("a server runs on this data, and its gc_load_percent is 0: stop it first");
    }
    let (mut last, mut changed) = (Survey::default(), Instant::now());
    loop {
        let survey = survey(app).await?;
        if survey.is_clean() {
            return Ok(Outcome::ByServer);
        }
        if survey != last {
            (last, changed) = (survey, Instant::now());
            tracing::info!(
                links = survey.links,
                blobs = survey.blobs + survey.condemned_blobs,
                bytes = survey.bytes + survey.condemned_bytes,
                "waiting for the running server, which still has to remove"
            );
        }
        if changed.elapsed() >= PATIENCE {
            return Err(anyhow::anyhow!("nothing changed for {PATIENCE:?}"))
                .context("the running server does not collect");
        }
        tokio::time::sleep(PERIOD).await;
    }
}
