//! Restores a backup, in place of a server.

use std::time::Duration;

use anyhow::{Context as _, bail};
pub(crate) use wharfinger_backup::{BackupManifest, RestoreProgress};
use wharfinger_backup::{BackupStore, Restore, RestoredDatabase};
use wharfinger_base::Ids;
use wharfinger_blobs::{BlobStore, RootLock};
use wharfinger_db::{Serving, ServingLock, Upgrade};
use wharfinger_iam::MasterKey;

use crate::backup::{BackupId, OpenBackupStore, Use, key_of};
use crate::config::Config;
use crate::rebuild::LOCK_LOST;
use crate::{data_folder, server};

/// How often the progress is shown.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

/// Restores the newest backup, or the named one. `told` is called about once a second.
///
/// # Errors
/// While a server serves the index, the blobs or the archive; where one of them is not empty; where
/// the master key is not the one that the secrets of the backup are sealed under.
pub(crate) async fn run(
    config: Config,
    from: &str,
    named: Option<&str>,
    mut told: impl FnMut(&RestoreProgress, &BackupManifest),
) -> anyhow::Result<BackupId> {
    data_folder::create(&config.data_dir).context("cannot make the data folder")?;
    let serving = ServingLock::acquire(&config.data_dir, &config.database, Serving::Alone)?;
    let _blobs = RootLock::acquire(&config.blobs)?;
    let _archive = match &config.archive {
        Some(archive) => RootLock::acquire(archive)?,
        None => None,
    };
    let source = OpenBackupStore::open(&config, from, Use::Read).await?;
    let id = source.target.choose(named).await?;
    let manifest = source.target.manifest(&id).await?;
    let key = key(&config, &source.target, &id, &manifest).await?;
    let ids = Ids::default();
    let blobs = BlobStore::open(&config.blobs, config.durability, ids.clone()).await?;
    let archive = server::open_archive(&config, &ids).await?.store;
    let destination = |(database, migrations)| RestoredDatabase {
        database,
        migrations,
    };
    let databases = server::databases(&config.database);
    let restore = Restore {
        source: source.target,
        blobs,
        archive,
        destinations: databases.into_iter().map(destination).collect(),
        ids,
    };
    restore.check(&id, &manifest).await?;
    if let Some(key) = key {
        key.create(&config.key_file, &restore.ids)?;
    }
    let progress = RestoreProgress::default();
    tokio::select! {
        done = restore.run(&id, &manifest, &progress) => done?,
        () = serving.lost() => bail!("{LOCK_LOST}"),
        () = async {
            loop {
                tokio::time::sleep(PROGRESS_PERIOD).await;
                told(&progress, &manifest);
            }
        } => {}
    }
    told(&progress, &manifest);
    // The index of an older version is brought up to date.
    let app = server::open(config, Upgrade::Apply).await?;
    app.registry.claim_blob_store(app.ids.uuid()).await?;
    app.registry.claim_archive(app.ids.uuid()).await?;
    // Until it is whole, an index that is lost again cannot be made anew.
    let written = app.registry.journal(&app.ids).write_all().await;
    written.context("all is restored, but the journal was not written: a server will do that")?;
    Ok(id)
}

/// The master key in the backup, where there is no key file yet. A key file that is there must hold
/// the key of the backup.
async fn key(
    config: &Config,
    source: &BackupStore,
    id: &BackupId,
    manifest: &BackupManifest,
) -> anyhow::Result<Option<MasterKey>> {
    let path = &config.key_file;
    match MasterKey::open(path)? {
        Some(key) if key.id() == manifest.master_key => Ok(None),
        Some(key) => bail!(
            "the master key file {} holds the key {}, and the secrets of the backup are sealed \
             under {}: put that key there",
            path.display(),
            key.id(),
            manifest.master_key
        ),
        None if manifest.has_key => key_of(source, id, manifest).await.map(Some),
        None => bail!(
            "the backup has no master key: put the file of the key {} at {}",
            manifest.master_key,
            path.display()
        ),
    }
}
