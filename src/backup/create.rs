//! Makes a backup: exports the rows, then copies the blobs that they name and the target lacks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{TryStreamExt, stream};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use wharfinger_base::{Clock, Ids};
use wharfinger_blobs::{BlobBytes, BlobKey, BlobStore, CopyBlobError};
use wharfinger_db::{DatabaseConfig, Exported, RowBatch, Selection, export_rows};

use crate::backup_store::{BACKUPS, BackupStore, BackupStoreLock, STARTED, part_name, record_name};
use crate::error::BackupError;
use crate::manifest::{self, BackupId, BackupManifest, FORMAT, PartEntry};
use crate::part;
use crate::rows::{ArchivedBytes, BlobRow, BlobRows, LEFT_OUT, SORTED, StoredAt};

/// A part of the rows ends with the row that brings it to so many bytes.
const PART_BYTES: usize = 4 * 1024 * 1024;
/// Parts in memory between the index and the target.
const PARTS_WAITING: usize = 2;
/// Blobs that are copied, or looked for, at once.
pub(crate) const COPIES_AT_ONCE: usize = 4;

/// Letters and digits of the end of a name.
const RANDOM: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// Opens archived bytes, as they were before they went to the archive.
pub type OpenArchived = Box<
    dyn Fn(ArchivedBytes) -> BoxFuture<'static, Result<BlobBytes, wharfinger_blobs::Error>>
        + Send
        + Sync,
>;

/// What a backup is made of.
pub struct Create {
    pub target: BackupStore,
    /// The right to write to it.
    pub lock: BackupStoreLock,
    /// Where the server has its blobs.
    pub blobs: BlobStore,
    /// The same of archived blobs.
    pub archive: OpenArchived,
    /// The databases of the server: the index first.
    pub databases: Vec<DatabaseConfig>,
    /// The name of the master key, and the key where it shall be in the backup.
    pub master_key: (String, Option<Vec<u8>>),
    /// The version of the program.
    pub program: String,
    pub ids: Ids,
}

/// How far a backup is.
#[derive(Debug, Default)]
pub struct CreateProgress {
    rows: AtomicU64,
    blobs: AtomicU64,
    copied: AtomicU64,
    copied_bytes: AtomicU64,
}

impl CreateProgress {
    /// Rows that are in the target.
    pub fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    /// Blobs that are in the target, of the backup.
    pub fn blobs(&self) -> u64 {
        self.blobs.load(Ordering::Relaxed)
    }

    /// Those of them that were not there before.
    pub fn copied(&self) -> u64 {
        self.copied.load(Ordering::Relaxed)
    }

    pub fn copied_bytes(&self) -> u64 {
        self.copied_bytes.load(Ordering::Relaxed)
    }
}

/// Rows that were exported.
#[derive(Default)]
struct Rows {
    parts: Vec<PartEntry>,
    count: u64,
    found: Exported,
}

impl Create {
    /// Makes the backup. The caller renews the lock, and keeps the server from removing
    /// blobs, archived ones as well, from before this call until it returns. What an interrupted
    /// backup has copied is used.
    pub async fn run(
        &self,
        progress: &CreateProgress,
    ) -> Result<(BackupId, BackupManifest), BackupError> {
        let target = &self.target;
        target.mark().await?;
        target.remove_unfinished().await?;
        let begun_at = Clock::System.now();
        let random = self.ids.text(RANDOM, 8);
        let id = BackupId::new(begun_at, &random);
        let id = id.map_err(|_| BackupError::NoSuchBackup(random))?;
        target.put_mark(STARTED, &id).await?;
        let mut rows = Rows::default();
        for database in &self.databases {
            self.export(&id, database, &mut rows, progress).await?;
        }
        let (master_key, key) = &self.master_key;
        if let Some(key) = key {
            target.put_key(&id, key).await?;
        }
        let mut manifest = BackupManifest {
            format: FORMAT,
            begun_at: begun_at.as_ms(),
            ended_at: 0,
            program: self.program.clone(),
            engine: engine(&self.databases).to_owned(),
            migration: rows.found.version,
            master_key: master_key.clone(),
            has_key: key.is_some(),
            parts: rows.parts,
            counters: rows.found.counters,
            rows: rows.count,
            blobs: 0,
            blob_bytes: 0,
        };
        (manifest.blobs, manifest.blob_bytes) = self.copy_blobs(&id, &manifest, progress).await?;
        manifest.ended_at = Clock::System.now().as_ms();
        let name = record_name(BACKUPS, id.as_str())?;
        let content = Bytes::from(manifest::to_bytes(&manifest)?);
        // Who was stopped for long may have lost the lock, and with it the rows.
        self.lock.renew().await?;
        target.store.put_record(&name, content).await?;
        if let Err(error) = self.lock.renew().await {
            target.store.delete_record(&name).await?;
            return Err(error);
        }
        let started = record_name(STARTED, id.as_str())?;
        target.store.delete_record(&started).await?;
        Ok((id, manifest))
    }

    /// Exports one database to parts that follow the earlier ones.
    async fn export(
        &self,
        id: &BackupId,
        database: &DatabaseConfig,
        rows: &mut Rows,
        progress: &CreateProgress,
    ) -> Result<(), BackupError> {
        let (sender, mut batches) = mpsc::channel::<RowBatch>(PARTS_WAITING);
        let database = database.clone();
        let export = spawn_blocking(move || {
            let left_out: Vec<&str> = LEFT_OUT.iter().map(|(table, _)| *table).collect();
            let selection = Selection {
                left_out: &left_out,
                sorted: SORTED,
                batch_bytes: PART_BYTES,
            };
            export_rows(&database, selection, &mut |batch| {
                sender.blocking_send(batch).is_ok()
            })
        });
        while let Some(batch) = batches.recv().await {
            let (table, count) = (batch.table.clone(), batch.rows.len() as u64);
            let encoded = spawn_blocking(move || part::encode(&batch)).await?;
            let number = rows.parts.len() as u64 + 1;
            let encoded = encoded.map_err(|why| BackupError::Part { part: number, why })?;
            let name = part_name(id, number)?;
            let content = Bytes::from(encoded.bytes);
            self.target.store.put_record(&name, content).await?;
            rows.parts.push(PartEntry {
                table,
                rows: count,
                sha256: encoded.sha256,
            });
            rows.count += count;
            progress.rows.fetch_add(count, Ordering::Relaxed);
        }
        let found = export.await??;
        rows.found.version = rows.found.version.max(found.version);
        rows.found.counters.extend(found.counters);
        Ok(())
    }

    /// Copies the blobs that the rows name; returns how many there are, and their bytes.
    async fn copy_blobs(
        &self,
        id: &BackupId,
        manifest: &BackupManifest,
        progress: &CreateProgress,
    ) -> Result<(u64, u64), BackupError> {
        let rows = BlobRows::all(&self.target.store, id, manifest);
        let rows = stream::try_unfold(rows, |mut rows| async move {
            Ok::<_, BackupError>(rows.next().await?.map(|row| (row, rows)))
        });
        let total = Arc::new(AtomicU64::new(0));
        let copies = rows
            .map_ok(|row| {
                let total = Arc::clone(&total);
                async move {
                    total.fetch_add(row.size, Ordering::Relaxed);
                    self.copy(&row, progress).await
                }
            })
            .try_buffer_unordered(COPIES_AT_ONCE);
        let count = copies.try_fold(0, |count: u64, ()| async move { Ok(count + 1) });
        let count = count.await?;
        Ok((count, total.load(Ordering::Relaxed)))
    }

    async fn copy(&self, row: &BlobRow, progress: &CreateProgress) -> Result<(), BackupError> {
        let (digest, target) = (row.digest, &self.target.store);
        if !target.has(&BlobKey::of_blob(&digest), row.size).await? {
            let upload = self.ids.uuid();
            let copied = match &row.place {
                StoredAt::Blobs(location) => {
                    let source = self.blobs.open_blob(location, row.size, None).await;
                    let source = source.map_err(|error| unreadable(row, error))?;
                    target.copy_blob(source, &digest, upload).await
                }
                StoredAt::Archive(bytes) => {
                    let source = (self.archive)(bytes.clone()).await;
                    let source = source.map_err(|error| unreadable(row, error))?;
                    target.copy_bytes(source, row.size, &digest, upload).await
                }
            };
            copied.map_err(|why| BackupError::Blob {
                digest,
                why: Box::new(why),
            })?;
            progress.copied.fetch_add(1, Ordering::Relaxed);
            progress.copied_bytes.fetch_add(row.size, Ordering::Relaxed);
        }
        progress.blobs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// The error where a blob cannot be opened.
pub(crate) fn unreadable(row: &BlobRow, error: wharfinger_blobs::Error) -> BackupError {
    let digest = row.digest;
    match error {
        wharfinger_blobs::Error::NotFound | wharfinger_blobs::Error::WrongLength { .. } => {
            BackupError::MissingBlob { digest }
        }
        error => BackupError::Blob {
            digest,
            why: Box::new(CopyBlobError::Store(error)),
        },
    }
}

fn engine(databases: &[DatabaseConfig]) -> &'static str {
    match databases.first() {
        Some(DatabaseConfig::Postgres { .. }) => "postgres",
        _ => "sqlite",
    }
}
