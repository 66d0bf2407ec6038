//! Restores a backup into an empty index and blob store.
//!
//! The index is marked first, then the blobs are copied, then the rows. Nothing serves the index
//! until all of it is there. A restore that was interrupted goes on where it stopped.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{TryStreamExt, stream};
use tokio::task::{JoinError, spawn_blocking};
use wharfinger_base::Ids;
use wharfinger_blobs::{BlobKey, BlobStore};
use wharfinger_db::{
    CopyError, DatabaseConfig, Migration, RowImport, newest_migration, unfinished_restore,
};

use crate::backup_store::BackupStore;
use crate::create::{COPIES_AT_ONCE, unreadable};
use crate::error::BackupError;
use crate::manifest::{BackupId, BackupManifest};
use crate::rows::{BlobRow, BlobRows, read_part, relocate};

/// A database of the server, and the tables that it has.
#[derive(Clone, Debug)]
pub struct RestoredDatabase {
    pub database: DatabaseConfig,
    pub migrations: Vec<Migration>,
}

/// A restore. No server runs on the index, the blob store or the archive meanwhile.
pub struct Restore {
    pub source: BackupStore,
    pub blobs: BlobStore,
    /// Nothing is put there, but nothing must be there: objects that the index does not name would
    /// be removed, though another server may need them.
    pub archive: BlobStore,
    /// The index first.
    pub destinations: Vec<RestoredDatabase>,
    pub ids: Ids,
}

/// How far a restore is.
#[derive(Debug, Default)]
pub struct RestoreProgress {
    blobs: AtomicU64,
    bytes: AtomicU64,
    rows: AtomicU64,
}

impl RestoreProgress {
    /// Blobs that are in the store.
    pub fn blobs(&self) -> u64 {
        self.blobs.load(Ordering::Relaxed)
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Rows that are in the index.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }
}

impl Restore {
    /// Refuses what cannot be restored here, and changes nothing.
    ///
    /// # Errors
    /// [`BackupError::Newer`], [`BackupError::StoreNotEmpty`], [`BackupError::ArchiveNotEmpty`].
    pub async fn check(&self, id: &BackupId, manifest: &BackupManifest) -> Result<(), BackupError> {
        let mut known = 0;
        for one in &self.destinations {
            known = known.max(newest_migration(&one.migrations)?);
        }
        if manifest.migration > known {
            return Err(BackupError::Newer {
                version: manifest.migration,
                known,
            });
        }
        self.check_store(id).await?;
        self.check_archive().await
    }

    /// Restores the backup.
    ///
    /// # Errors
    /// Those of [`Restore::check`], and [`CopyError::NotEmpty`]: nothing is changed then.
    pub async fn run(
        &self,
        id: &BackupId,
        manifest: &BackupManifest,
        progress: &RestoreProgress,
    ) -> Result<(), BackupError> {
        self.check(id, manifest).await?;
        let mut imports = self.begin(id, manifest).await?;
        self.copy_blobs(id, manifest, progress).await?;
        for part in 1..=manifest.parts.len() as u64 {
            let mut batch = read_part(&self.source.store, id, manifest, part).await?;
            relocate(&mut batch).map_err(|why| BackupError::Part { part, why })?;
            let first = manifest.is_first(part);
            let rows = batch.rows.len() as u64;
            imports = spawn_blocking(move || {
                let import = imports
                    .iter_mut()
                    .find(|import| import.has_table(&batch.table));
                let Some(import) = import else {
                    return Err(BackupError::UnknownTable(batch.table));
                };
                import.import(part, &batch, first)?;
                Ok(imports)
            })
            .await??;
            progress.rows.fetch_add(rows, Ordering::Relaxed);
        }
        let counters = manifest.counters.clone();
        spawn_blocking(move || {
            // The index last: while it is not served, the others are not either.
            imports
                .into_iter()
                .rev()
                .try_for_each(|import| import.finish(&counters))
        })
        .await??;
        Ok(())
    }

    /// Marks the databases, or finds how far an earlier run came. The index is marked last and
    /// finished last: while it is marked, another database without a mark was finished.
    async fn begin(
        &self,
        id: &BackupId,
        manifest: &BackupManifest,
    ) -> Result<Vec<RowImport>, BackupError> {
        let (destinations, id) = (self.destinations.clone(), id.clone());
        let migration = manifest.migration;
        let begun = spawn_blocking(move || {
            let index = destinations.first().map(|index| &index.database);
            let unfinished = index.map_or(Ok(None), unfinished_restore)?;
            let is_continued = unfinished.as_deref() == Some(id.as_str());
            let mut imports: Vec<RowImport> = Vec::new();
            for one in destinations.iter().rev() {
                let import =
                    RowImport::begin(&one.database, &one.migrations, migration, id.as_str());
                imports.push(match import {
                    Err(CopyError::NotEmpty { .. }) if is_continued => {
                        RowImport::finished(&one.migrations, migration)?
                    }
                    import => import?,
                });
            }
            imports.reverse();
            Ok(imports)
        });
        let begun: Result<Result<_, CopyError>, JoinError> = begun.await;
        Ok(begun??)
    }

    /// Refuses a blob store that holds anything but what an interrupted run of this restore has
    /// copied.
    async fn check_store(&self, id: &BackupId) -> Result<(), BackupError> {
        let store = &self.blobs;
        let is_of_an_index =
            store.identity().await?.is_some() || !store.records("journal").await?.is_empty();
        if is_of_an_index {
            return Err(BackupError::StoreNotEmpty);
        }
        if store.objects(None, 1).await?.is_empty() {
            return Ok(());
        }
        let index = self.destinations.first().map(|one| one.database.clone());
        let begun = spawn_blocking(move || index.as_ref().map_or(Ok(None), unfinished_restore));
        if begun.await??.as_deref() == Some(id.as_str()) {
            Ok(())
        } else {
            Err(BackupError::StoreNotEmpty)
        }
    }

    /// Refuses an archive that belongs to an index or holds anything.
    async fn check_archive(&self) -> Result<(), BackupError> {
        let is_used = self.archive.identity().await?.is_some()
            || !self.archive.objects(None, 1).await?.is_empty();
        if is_used {
            return Err(BackupError::ArchiveNotEmpty);
        }
        Ok(())
    }

    async fn copy_blobs(
        &self,
        id: &BackupId,
        manifest: &BackupManifest,
        progress: &RestoreProgress,
    ) -> Result<(), BackupError> {
        let rows = BlobRows::all(&self.source.store, id, manifest);
        let rows = stream::try_unfold(rows, |mut rows| async move {
            Ok::<_, BackupError>(rows.next().await?.map(|row| (row, rows)))
        });
        let copies = rows.map_ok(|row| async move { self.copy(&row, progress).await });
        let copies = copies.try_buffer_unordered(COPIES_AT_ONCE);
        copies.try_for_each(|()| async { Ok(()) }).await
    }

    async fn copy(&self, row: &BlobRow, progress: &RestoreProgress) -> Result<(), BackupError> {
        let (digest, key) = (row.digest, BlobKey::of_blob(&row.digest));
        let is_there = self.blobs.has(&key, row.size).await;
        if !is_there.map_err(|error| unreadable(row, error))? {
            let source = self.source.store.open_blob(&key, row.size, None).await;
            let source = source.map_err(|error| unreadable(row, error))?;
            let copied = self.blobs.copy_blob(source, &digest, self.ids.uuid()).await;
            copied.map_err(|why| BackupError::Blob {
                digest,
                why: Box::new(why),
            })?;
        }
        progress.blobs.fetch_add(1, Ordering::Relaxed);
        progress.bytes.fetch_add(row.size, Ordering::Relaxed);
        Ok(())
    }
}
