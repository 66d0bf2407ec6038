//! Runs a check of the index and the blob store, and keeps how far it is.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use wharfinger_base::Chain;
use wharfinger_blobs::RootLock;
use wharfinger_db::{ServingLock, Upgrade};
use wharfinger_registry::{Finding, FsckOptions, Position};

use crate::config::Config;
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    pub(crate) checksums: bool,
    pub(crate) repair: bool,
    /// From the beginning, also where an earlier check was interrupted.
    pub(crate) restart: bool,
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
    let _locks = if request.repair {
        let serving = ServingLock::acquire(&config.data_dir, &config.database)?;
        Some((serving, RootLock::acquire(&config.blobs)?))
    } else {
        None
    };
    let folder = config.data_dir.clone();
    let app = server::open(config, Upgrade::Refuse).await?;
    // What is not in the stores of the index must not be taken out of it.
    app.registry.check_stores().await?;
    let options = FsckOptions {
        checksums: request.checksums,
        repair: request.repair,
    };
    let begun = if request.restart { None } else { read(&folder) };
    let mut progress = begun
        .filter(|begun| begun.options == options && begun.position.is_some())
        .unwrap_or_else(|| Progress {
            options,
            position: Some(Position::default()),
            ..Progress::default()
        });
    let mut fsck = app.registry.fsck(options);
    while let Some(position) = &progress.position {
        let page = fsck.page(position).await;
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
