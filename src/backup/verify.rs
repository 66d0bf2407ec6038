//! Checks a backup without restoring it: reads all rows and all blobs and compares their checksums.

use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::{StreamExt, TryStreamExt, stream};
use wharfinger_blobs::BlobKey;

use crate::backup_store::BackupStore;
use crate::create::COPIES_AT_ONCE;
use crate::error::BackupError;
use crate::manifest::{BackupId, BackupManifest};
use crate::rows::{BlobRow, blob_rows, read_part};

/// A check of a backup.
pub struct Verify {
    pub target: BackupStore,
    /// Whether damaged blobs are put aside, so that the next backup copies them anew. The caller
    /// has locked the store then.
    pub repair: bool,
}

/// How far a check is.
#[derive(Debug, Default)]
pub struct VerifyProgress {
    parts: AtomicU64,
    blobs: AtomicU64,
    found: AtomicU64,
}

impl VerifyProgress {
    /// Parts of rows that were read.
    pub fn parts(&self) -> u64 {
        self.parts.load(Ordering::Relaxed)
    }

    /// Blobs that were read.
    pub fn blobs(&self) -> u64 {
        self.blobs.load(Ordering::Relaxed)
    }

    /// Counts a master key that is missing or damaged, which the caller has found.
    pub fn note_key_fault(&self) {
        self.found.fetch_add(1, Ordering::Relaxed);
    }

    /// What was missing or damaged.
    pub fn found(&self) -> u64 {
        self.found.load(Ordering::Relaxed)
    }
}

impl Verify {
    /// Reads everything; `told` gets a line for each part and blob that is missing or damaged.
    ///
    /// # Errors
    /// Where the store of the backup fails.
    pub async fn run(
        &self,
        id: &BackupId,
        manifest: &BackupManifest,
        progress: &VerifyProgress,
        told: &(dyn Fn(String) + Sync),
    ) -> Result<(), BackupError> {
        let found = |line: String| {
            progress.found.fetch_add(1, Ordering::Relaxed);
            told(line);
        };
        let mut named = 0;
        for part in 1..=manifest.parts.len() as u64 {
            progress.parts.fetch_add(1, Ordering::Relaxed);
            let read = read_part(&self.target.store, id, manifest, part).await;
            let rows = read
                .and_then(|batch| blob_rows(&batch).map_err(|why| BackupError::Part { part, why }));
            let rows = match rows {
                Err(BackupError::Part { part, why }) => {
                    found(format!("part {part} of the rows: {why}"));
                    continue;
                }
                rows => rows?,
            };
            named += rows.len() as u64;
            let checks = stream::iter(rows).map(|row| async move {
                let whole = self.is_whole(&row).await?;
                Ok::<_, BackupError>((row, whole))
            });
            let mut checks = checks.buffer_unordered(COPIES_AT_ONCE);
            while let Some((row, whole)) = checks.try_next().await? {
                progress.blobs.fetch_add(1, Ordering::Relaxed);
                if !whole {
                    found(format!("blob {}: missing or damaged", row.digest));
                    if self.repair {
                        let key = BlobKey::of_blob(&row.digest);
                        self.target.store.quarantine(&key).await?;
                    }
                }
            }
        }
        if named != manifest.blobs {
            found(format!(
                "the rows name {named} blobs instead of {}",
                manifest.blobs
            ));
        }
        Ok(())
    }

    async fn is_whole(&self, row: &BlobRow) -> Result<bool, BackupError> {
        let key = BlobKey::of_blob(&row.digest);
        Ok(self
            .target
            .store
            .has_content(&key, row.size, &row.digest)
            .await?)
    }
}
