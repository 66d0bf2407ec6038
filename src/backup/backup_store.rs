//! The folder or bucket that holds backups: its marks, its lock, and what it lists.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_blobs::{self as blobs, BlobStore, RecordName};

use crate::error::BackupError;
use crate::manifest::{self, BackupId, BackupManifest};

/// Folders of records.
pub(crate) const BACKUPS: &str = "backups";
pub(crate) const STARTED: &str = "started";
const KEYS: &str = "keys";
const ABOUT: &str = "target/about";
const LOCK: &str = "target/lock";

/// What the mark of a target says.
const ABOUT_TEXT: &str = "Backups of Wharfinger.\n";

/// Largest manifest: ten million parts.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024 * 1024;
const MAX_SMALL_RECORD_BYTES: u64 = 64 * 1024;

/// How long the lock of a bucket counts without a sign of life, and so how long a command waits
/// after another one was killed.
const LOCK_TIME: Duration = Duration::from_mins(1);
/// How often a command renews it.
pub const LOCK_RENEWAL: Duration = Duration::from_secs(15);
/// How often a command that waits looks whether the lock was renewed.
const LOCK_POLL: Duration = Duration::from_secs(3);
/// Who takes the lock looks again after this time: of two who took it at once, the later one has
/// it. A request to the bucket takes less.
const LOCK_SETTLES: Duration = Duration::from_secs(2);

/// A store of backups.
#[derive(Clone, Debug)]
pub struct BackupStore {
    pub(crate) store: BlobStore,
}

impl BackupStore {
    #[must_use]
    pub fn new(store: BlobStore) -> Self {
        Self { store }
    }

    /// Marks an empty store as one of backups.
    ///
    /// # Errors
    /// [`BackupError::NotABackupStore`] where it holds anything else.
    pub async fn mark(&self) -> Result<(), BackupError> {
        if self.is_marked().await? {
            return Ok(());
        }
        let is_used = self.store.identity().await?.is_some()
            || !self.store.objects(None, 1).await?.is_empty()
            || !self.store.records("journal").await?.is_empty();
        if is_used {
            return Err(BackupError::NotABackupStore);
        }
        let text = Bytes::from_static(ABOUT_TEXT.as_bytes());
        Ok(self.store.put_record(&name(ABOUT)?, text).await?)
    }

    async fn is_marked(&self) -> Result<bool, BackupError> {
        match self
            .store
            .record(&name(ABOUT)?, MAX_SMALL_RECORD_BYTES)
            .await
        {
            Ok(_) => Ok(true),
            Err(blobs::Error::NotFound) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The names of all whole backups, the oldest first.
    pub async fn backups(&self) -> Result<Vec<BackupId>, BackupError> {
        self.names(BACKUPS).await
    }

    /// The names of a folder of records.
    pub(crate) async fn names(&self, folder: &str) -> Result<Vec<BackupId>, BackupError> {
        let records = self.store.records(folder).await?;
        let names = records
            .iter()
            .filter_map(|entry| entry.name.parts().1.parse().ok());
        Ok(names.collect())
    }

    /// The newest whole backup, or the named one.
    pub async fn choose(&self, named: Option<&str>) -> Result<BackupId, BackupError> {
        let mut all = self.backups().await?;
        match named {
            None => all.pop().ok_or(BackupError::NoBackup),
            Some(named) => {
                let found = all.into_iter().find(|id| id.as_str() == named);
                found.ok_or_else(|| BackupError::NoSuchBackup(named.to_owned()))
            }
        }
    }

    /// The manifest of a whole backup.
    pub async fn manifest(&self, id: &BackupId) -> Result<BackupManifest, BackupError> {
        let name = record_name(BACKUPS, id.as_str())?;
        let bytes = match self.store.record(&name, MAX_MANIFEST_BYTES).await {
            Err(blobs::Error::NotFound) => {
                return Err(BackupError::NoSuchBackup(id.to_string()));
            }
            bytes => bytes?,
        };
        manifest::from_bytes(&bytes).map_err(|why| BackupError::Manifest {
            id: id.to_string(),
            why,
        })
    }

    /// The master key of a backup that has it.
    pub async fn key(&self, id: &BackupId) -> Result<Vec<u8>, BackupError> {
        let name = record_name(KEYS, id.as_str())?;
        let text = match self.store.record(&name, MAX_SMALL_RECORD_BYTES).await {
            Err(blobs::Error::NotFound) => return Err(BackupError::NoKey(id.to_string())),
            text => text?,
        };
        hex::decode(text.trim_ascii()).map_err(|_| BackupError::Manifest {
            id: id.to_string(),
            why: "its key is damaged".to_owned(),
        })
    }

    pub(crate) async fn put_key(&self, id: &BackupId, key: &[u8]) -> Result<(), BackupError> {
        let name = record_name(KEYS, id.as_str())?;
        let text = format!("{}\n", hex::encode(key));
        Ok(self.store.put_record(&name, Bytes::from(text)).await?)
    }

    /// Removes rows, key and marks of a backup. Its blobs stay. A crash leaves what is removed by
    /// the next backup or prune.
    pub(crate) async fn remove(&self, id: &BackupId) -> Result<(), BackupError> {
        self.put_mark(STARTED, id).await?;
        let rows = rows_folder(id);
        self.store
            .delete_record(&record_name(BACKUPS, id.as_str())?)
            .await?;
        self.store
            .delete_record(&record_name(KEYS, id.as_str())?)
            .await?;
        for entry in self.store.records(&rows).await? {
            self.store.delete_record(&entry.name).await?;
        }
        Ok(self
            .store
            .delete_record(&record_name(STARTED, id.as_str())?)
            .await?)
    }

    pub(crate) async fn put_mark(&self, folder: &str, id: &BackupId) -> Result<(), BackupError> {
        let name = record_name(folder, id.as_str())?;
        Ok(self
            .store
            .put_record(&name, Bytes::from_static(b"\n"))
            .await?)
    }

    /// Removes what interrupted backups and removals left. The caller has locked the store.
    pub(crate) async fn remove_unfinished(&self) -> Result<(), BackupError> {
        // Blobs that were being copied. Nobody else writes to the folder.
        self.store
            .sweep_staging(Clock::System.now(), usize::MAX)
            .await?;
        let whole = self.backups().await?;
        for id in self.names(STARTED).await? {
            if whole.contains(&id) {
                self.store
                    .delete_record(&record_name(STARTED, id.as_str())?)
                    .await?;
            } else {
                self.remove(&id).await?;
            }
        }
        Ok(())
    }

    /// Takes the lock of a bucket that several hosts may write backups to. A folder needs none: it
    /// has a lock of its own ([`wharfinger_blobs::RootLock`]). A lock that nobody renews any more
    /// is waited for, a minute at most.
    ///
    /// # Errors
    /// [`BackupError::Locked`] where another command renews it.
    pub async fn lock(&self, ids: &Ids) -> Result<BackupStoreLock, BackupError> {
        let lock = BackupStoreLock {
            store: self.store.clone(),
            holder: ids.uuid().to_string(),
        };
        if !self.store.has_keys_by_digest() {
            lock.wait().await?;
            lock.put().await?;
            sleep(LOCK_SETTLES).await;
            lock.renew().await?;
        }
        Ok(lock)
    }
}

/// The right to write to a store of backups.
#[derive(Clone, Debug)]
pub struct BackupStoreLock {
    store: BlobStore,
    holder: String,
}

#[derive(Serialize, Deserialize)]
struct StoredLock {
    holder: String,
    until: i64,
}

impl BackupStoreLock {
    /// Extends the lock of a bucket.
    ///
    /// # Errors
    /// [`BackupError::LockLost`].
    pub async fn renew(&self) -> Result<(), BackupError> {
        if self.store.has_keys_by_digest() {
            return Ok(());
        }
        match self.stored().await? {
            Some(stored) if stored.holder == self.holder => self.put().await,
            _ => Err(BackupError::LockLost),
        }
    }

    pub async fn release(&self) -> Result<(), BackupError> {
        if !self.store.has_keys_by_digest()
            && self
                .stored()
                .await?
                .is_some_and(|stored| stored.holder == self.holder)
        {
            self.store.delete_record(&name(LOCK)?).await?;
        }
        Ok(())
    }

    /// Returns once no other command has the lock.
    async fn wait(&self) -> Result<(), BackupError> {
        let mut known: Option<i64> = None;
        // Ends: what is not renewed runs out, and what is renewed is an error.
        while let Some(other) = self.stored().await? {
            let now = Clock::System.now();
            if other.until <= now.as_ms() {
                break;
            }
            if known.is_some_and(|known| known != other.until) {
                let left = Timestamp::from_ms(other.until).since(now);
                return Err(BackupError::Locked(left.as_secs() + 1));
            }
            if known.is_none() {
                tracing::info!("waiting for the lock of another command");
            }
            known = Some(other.until);
            sleep(LOCK_POLL).await;
        }
        Ok(())
    }

    async fn put(&self) -> Result<(), BackupError> {
        let stored = StoredLock {
            holder: self.holder.clone(),
            until: Clock::System.now().plus(LOCK_TIME).as_ms(),
        };
        let content = Bytes::from(serde_json::to_vec(&stored)?);
        Ok(self.store.put_record(&name(LOCK)?, content).await?)
    }

    async fn stored(&self) -> Result<Option<StoredLock>, BackupError> {
        match self
            .store
            .record(&name(LOCK)?, MAX_SMALL_RECORD_BYTES)
            .await
        {
            Ok(content) => Ok(serde_json::from_slice(&content).ok()),
            Err(blobs::Error::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The folder of the rows of a backup.
fn rows_folder(id: &BackupId) -> String {
    format!("rows-{id}")
}

/// The record of a part.
pub(crate) fn part_name(id: &BackupId, number: u64) -> Result<RecordName, BackupError> {
    record_name(&rows_folder(id), &format!("{number:08}"))
}

pub(crate) fn record_name(folder: &str, record: &str) -> Result<RecordName, BackupError> {
    name(&format!("{folder}/{record}"))
}

fn name(text: &str) -> Result<RecordName, BackupError> {
    text.parse()
        .map_err(|_| BackupError::NoSuchBackup(text.to_owned()))
}
