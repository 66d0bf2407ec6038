//! Makes, lists, checks and removes backups, beside the running server.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use wharfinger_backup::{
    ArchivedBytes, BackupStore, BackupStoreLock, Create, LOCK_RENEWAL, OpenArchived, Prune, Verify,
};
pub(crate) use wharfinger_backup::{
    BackupError, BackupId, BackupManifest, CreateProgress, Pruned, VerifyProgress,
};
use wharfinger_base::{Durability, Ids};
use wharfinger_blobs::{BlobStore, BlobsConfig, RootLock};
use wharfinger_db::Upgrade;
use wharfinger_iam::MasterKey;
use wharfinger_registry::{CollectionHold, Registry};

use crate::config::Config;
use crate::server;

/// How often the progress is shown.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

/// A store of backups, and for a folder its lock.
pub(crate) struct OpenBackupStore {
    pub(crate) target: BackupStore,
    _lock: Option<RootLock>,
}

/// What a store of backups is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Use {
    /// It is made where there is none.
    Create,
    Change,
    Read,
}

impl OpenBackupStore {
    /// Opens the folder or bucket that `text` names as the setting `blobs` does.
    pub(crate) async fn open(config: &Config, text: &str, purpose: Use) -> anyhow::Result<Self> {
        let place = BlobsConfig::parse(text, config.s3_keys.clone())?;
        if let BlobsConfig::Disk { root } = &place
            && purpose != Use::Create
            && !root.is_dir()
        {
            bail!("there is no folder {}", root.display());
        }
        let lock = RootLock::acquire(&place).context("another command uses the backups")?;
        let store = match purpose {
            Use::Read => BlobStore::open_to_read(&place, Ids::default()).await,
            _ => BlobStore::open(&place, Durability::Full, Ids::default()).await,
        };
        let store = store.with_context(|| format!("cannot open the backups at {text}"))?;
        Ok(Self {
            target: BackupStore::new(store),
            _lock: lock,
        })
    }
}

/// Makes a backup. `told` is called about once a second.
///
/// Garbage collection removes no bytes meanwhile, and nothing is removed from the archive. After
/// Ctrl-C that goes on at once; after a crash of this command some minutes later.
pub(crate) async fn create(
    config: Config,
    to: &str,
    with_key: bool,
    mut told: impl FnMut(&CreateProgress),
) -> anyhow::Result<(BackupId, BackupManifest)> {
    let OpenBackupStore { target, _lock } = OpenBackupStore::open(&config, to, Use::Create).await?;
    let key = master_key(&config.key_file)?;
    let databases = server::databases(&config.database);
    let databases = databases
        .into_iter()
        .map(|(database, _)| database)
        .collect();
    let blobs_config = config.blobs.clone();
    let app = server::open(config, Upgrade::Refuse).await?;
    // Not of an index that is being made anew.
    app.registry.check_journal().await?;
    app.registry.check_stores().await?;
    let blobs = BlobStore::open(&blobs_config, Durability::Full, app.ids.clone()).await?;
    let lock = target.lock(&app.ids).await?;
    let hold = app.registry.collection_hold(&app.ids);
    let create = Create {
        target,
        lock: lock.clone(),
        blobs,
        archive: archived_of(app.registry.clone()),
        databases,
        master_key: (key.id(), with_key.then(|| key.to_bytes())),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        ids: app.ids.clone(),
    };
    let progress = CreateProgress::default();
    let outcome = match hold.take().await {
        Ok(()) => tokio::select! {
            made = create.run(&progress) => made.map_err(anyhow::Error::from),
            why = keep(&lock, Some(&hold), || told(&progress)) => Err(why),
            _ = tokio::signal::ctrl_c() => Err(interrupted()),
        },
        Err(error) => Err(error.into()),
    };
    // Both lapse by themselves.
    if let Err(error) = hold.release().await {
        tracing::warn!(%error, "garbage collection waits for some minutes");
    }
    release(&lock).await;
    outcome
}

/// Reads archived bytes through the registry, which knows how the archive holds them.
fn archived_of(registry: Registry) -> OpenArchived {
    Box::new(move |bytes: ArchivedBytes| {
        let registry = registry.clone();
        Box::pin(async move {
            registry
                .open_archived(&bytes.location, &bytes.encoding, bytes.stored_size)
                .await
        })
    })
}

/// All whole backups, the oldest first, with the error of each whose manifest is damaged.
pub(crate) async fn list(
    config: &Config,
    at: &str,
) -> anyhow::Result<Vec<(BackupId, Result<BackupManifest, BackupError>)>> {
    let open = OpenBackupStore::open(config, at, Use::Read).await?;
    let mut found = Vec::new();
    for id in open.target.backups().await? {
        let manifest = match open.target.manifest(&id).await {
            Err(error) if !matches!(error, BackupError::Manifest { .. }) => {
                return Err(error.into());
            }
            manifest => manifest,
        };
        found.push((id, manifest));
    }
    Ok(found)
}

/// Reads all of a backup, the newest one unless `named`; `found` gets a line for each fault. With
/// `repair`, damaged blobs are put aside.
pub(crate) async fn verify(
    config: &Config,
    at: &str,
    named: Option<&str>,
    repair: bool,
    progress: &VerifyProgress,
    found: &(dyn Fn(String) + Sync),
    mut told: impl FnMut(),
) -> anyhow::Result<BackupId> {
    let purpose = if repair { Use::Change } else { Use::Read };
    let OpenBackupStore { target, _lock } = OpenBackupStore::open(config, at, purpose).await?;
    let lock = match purpose {
        Use::Change => Some(target.lock(&Ids::default()).await?),
        _ => None,
    };
    let verify = Verify { target, repair };
    let outcome = tokio::select! {
        done = verified(&verify, named, progress, found) => done,
        why = kept_or_shown(lock.as_ref(), &mut told) => Err(why),
        _ = tokio::signal::ctrl_c() => Err(interrupted()),
    };
    if let Some(lock) = &lock {
        release(lock).await;
    }
    outcome
}

async fn verified(
    verify: &Verify,
    named: Option<&str>,
    progress: &VerifyProgress,
    found: &(dyn Fn(String) + Sync),
) -> anyhow::Result<BackupId> {
    let id = verify.target.choose(named).await?;
    let manifest = verify.target.manifest(&id).await?;
    if manifest.has_key
        && let Err(why) = key_of(&verify.target, &id, &manifest).await
    {
        progress.note_key_fault();
        found(format!("{why:#}"));
    }
    verify.run(&id, &manifest, progress, found).await?;
    Ok(id)
}

/// Shows the progress, and keeps the lock alive where there is one. Returns why it could not.
async fn kept_or_shown(lock: Option<&BackupStoreLock>, told: &mut impl FnMut()) -> anyhow::Error {
    if let Some(lock) = lock {
        return keep(lock, None, told).await;
    }
    loop {
        tokio::time::sleep(PROGRESS_PERIOD).await;
        told();
    }
}

/// The master key that is in a backup.
///
/// # Errors
/// Where it is missing, or is not the key that the secrets of the backup are sealed under.
pub(crate) async fn key_of(
    target: &BackupStore,
    id: &BackupId,
    manifest: &BackupManifest,
) -> anyhow::Result<MasterKey> {
    let key = MasterKey::from_bytes(&target.key(id).await?);
    let key = key.filter(|key| key.id() == manifest.master_key);
    key.context("the master key in the backup is damaged")
}

/// Removes all but the newest backups, and the blobs that only removed ones named.
pub(crate) async fn prune(
    config: &Config,
    at: &str,
    keep_newest: usize,
    mut told: impl FnMut(Pruned),
) -> anyhow::Result<Pruned> {
    let OpenBackupStore { target, _lock } = OpenBackupStore::open(config, at, Use::Change).await?;
    let lock = target.lock(&Ids::default()).await?;
    let prune = Prune {
        target,
        keep: keep_newest,
    };
    let mut shown = Instant::now();
    let outcome = tokio::select! {
        pruned = prune.run(|so_far| {
            if shown.elapsed() >= PROGRESS_PERIOD {
                shown = Instant::now();
                told(so_far);
            }
        }) => pruned.map_err(anyhow::Error::from),
        why = keep(&lock, None, || {}) => Err(why),
        _ = tokio::signal::ctrl_c() => Err(interrupted()),
    };
    release(&lock).await;
    outcome
}

fn interrupted() -> anyhow::Error {
    anyhow::anyhow!("interrupted; run it again to go on")
}

/// The key that the secrets of the index are sealed under.
fn master_key(path: &Path) -> anyhow::Result<MasterKey> {
    let key = MasterKey::open(path)?;
    key.with_context(|| format!("there is no master key file {}", path.display()))
}

/// Keeps lock and hold alive, and calls `told` each second. Returns why it could not.
async fn keep(
    lock: &BackupStoreLock,
    hold: Option<&CollectionHold>,
    mut told: impl FnMut(),
) -> anyhow::Error {
    let mut renewed = Instant::now();
    loop {
        tokio::time::sleep(PROGRESS_PERIOD).await;
        told();
        if renewed.elapsed() < LOCK_RENEWAL {
            continue;
        }
        renewed = Instant::now();
        if let Err(error) = lock.renew().await {
            return error.into();
        }
        let Some(hold) = hold else { continue };
        match hold.renew().await {
            Ok(true) => {}
            Ok(false) => {
                return anyhow::anyhow!(
                    "this command was stopped for so long that blobs may have been removed \
                     meanwhile; run it again"
                );
            }
            // Some minutes are left for the next attempts.
            Err(error) => tracing::warn!(%error, "the hold on garbage collection was not renewed"),
        }
    }
}

async fn release(lock: &BackupStoreLock) {
    if let Err(error) = lock.release().await {
        tracing::warn!(%error, "the backups stay locked for some minutes");
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_backup::LEFT_OUT;
    use wharfinger_db::DatabaseConfig;

    use super::*;

    /// A table that is renamed would silently come into backups.
    #[test]
    fn tables_that_are_left_out_exist() {
        let all = server::migrations(&DatabaseConfig::sqlite("index"));
        for (table, reason) in LEFT_OUT {
            let made = format!("CREATE TABLE {table} (");
            let is_of_the_engine = *table == "readiness";
            let exists = all.iter().any(|migration| migration.sql.contains(&made));
            assert!(exists || is_of_the_engine, "{table} ({reason})");
        }
    }
}
