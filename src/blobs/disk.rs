//! Blobs as files: staged beside the store, made durable, renamed to their digest.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use futures_util::Stream;
use tokio::task::spawn_blocking;
use uuid::Uuid;
use wharfinger_base::{Durability, Timestamp};
use wharfinger_oci::{Algorithm, Digest, Hasher};

use crate::append::Feed;
use crate::error::{AppendError, BodyError, Error, FinishError, Result};
use crate::folders::{self, Folders};
use crate::key::{self, BlobKey};
use crate::open_files::OpenFiles;
use crate::reader::{BlobReader, clip};
use crate::serving;
use crate::staged_files::{StagedFile, StagedFiles, StagingLock, remove};
use crate::staging::{AppendLimits, Staged, StoredBlob};
use crate::verify;
use crate::writer::{self, Writer};

/// The blob store in a directory.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) root: PathBuf,
    pub(crate) durability: Durability,
    cores: usize,
    appending: AtomicUsize,
    pub(crate) folders: Folders,
    staged: Arc<StagedFiles>,
    pub(crate) open: OpenFiles,
}

impl Disk {
    /// Creates the directories that are missing. Blocking.
    pub(crate) fn open(root: PathBuf, durability: Durability) -> Result<Self> {
        let folders = Folders::default();
        // Without the lock this may be a command beside a server, which uses the directories: an
        // empty one must not be created again then.
        let may_recreate = serving::is_held(&root);
        for folder in key::DISK_FOLDERS {
            let path = root.join(folder);
            let durable = durability == Durability::Full;
            if may_recreate {
                folders.get_or_create(&path, durable)?;
            } else {
                folders::create_missing(&path, durable)?;
            }
        }
        Ok(Self::at(root, durability, folders))
    }

    /// Opens a folder that is there, and writes nothing.
    pub(crate) fn open_to_read(root: PathBuf) -> Result<Self> {
        if !root.is_dir() {
            return Err(Error::NotFound);
        }
        Ok(Self::at(root, Durability::Full, Folders::default()))
    }

    fn at(root: PathBuf, durability: Durability, folders: Folders) -> Self {
        Self {
            durability,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            appending: AtomicUsize::new(0),
            folders,
            staged: Arc::new(StagedFiles::new(root.clone())),
            open: OpenFiles::new(),
            root,
        }
    }

    /// Touches nothing: the file is created by the first append.
    pub(crate) fn begin(&self, id: Uuid, algorithm: Algorithm) -> Staged {
        Staged {
            id,
            size: 0,
            hasher: Hasher::new(algorithm),
            state: self.staged.state(),
        }
    }

    pub(crate) async fn append<S, E>(
        self: &Arc<Self>,
        staged: &mut Staged,
        body: S,
        limits: AppendLimits,
    ) -> Result<u64, AppendError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<BodyError>,
    {
        let lock = self.staged.lock(staged.id)?;
        let before = staged.size;
        let mut feed = Feed::new(body, limits, before);
        let (disk, state) = (Arc::clone(self), staged.clone());
        let writer = spawn_blocking(move || disk.resume(state, lock)).await??;
        let active = Counted::new(&self.appending);
        let written = if active.count < self.cores {
            writer::hand_off(writer, &mut feed).await
        } else {
            writer::inline(writer, &mut feed).await
        };
        drop(active);
        let (writer, end) = written?;
        if end.as_ref().err().is_none_or(AppendError::keeps) {
            staged.size = writer.offset;
            staged.hasher = writer.hasher;
            staged.state = self.staged.state();
            end.map(|()| staged.size - before)
        } else {
            spawn_blocking(move || writer.cut(before)).await??;
            end.map(|()| 0)
        }
    }

    fn resume(&self, staged: Staged, lock: StagingLock) -> Result<Writer> {
        let opened = lock.open(&staged)?;
        let written_back = (self.durability == Durability::Full).then_some(staged.size);
        Ok(Writer {
            file: opened.file,
            offset: staged.size,
            hasher: staged.hasher,
            written_back,
            lock,
        })
    }

    /// Bytes of a staged file that were written already.
    pub(crate) async fn read_staged(&self, id: Uuid, offset: u64, limit: usize) -> Result<Bytes> {
        let path = self.root.join(key::staged(id));
        let read = spawn_blocking(move || {
            let file = match File::open(path) {
                Ok(file) => file,
                // It has become a blob, or has been given up.
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Bytes::new()),
                Err(error) => return Err(error),
            };
            let mut buffer = vec![0; limit];
            let length = file.read_at(&mut buffer, offset)?;
            buffer.truncate(length);
            Ok(Bytes::from(buffer))
        });
        Ok(read.await??)
    }

    /// Whether the bytes that `staged` counts are there.
    pub(crate) async fn check(self: &Arc<Self>, staged: &Staged) -> Result<()> {
        if staged.size == 0 {
            return Ok(());
        }
        let lock = self.staged.lock(staged.id)?;
        let staged = staged.clone();
        spawn_blocking(move || lock.open(&staged).map(drop)).await?
    }

    pub(crate) async fn finish(
        self: &Arc<Self>,
        staged: Staged,
        digest: Digest,
    ) -> Result<StoredBlob, FinishError> {
        let lock = self.staged.lock(staged.id)?;
        let disk = Arc::clone(self);
        // Once begun it runs to its end, whether or not anybody still waits for it.
        spawn_blocking(move || {
            let finished = disk.commit(&staged, &digest, &lock);
            if finished.is_err() {
                // After a failed fsync the kernel takes the lost pages for written: nobody may try
                // again with this file. Should its removal fail too, the file is closed at least,
                // and whoever opens it again must read its bytes back from the device.
                let _ = lock.discard();
            }
            finished
        })
        .await?
    }

    fn commit(
        &self,
        staged: &Staged,
        digest: &Digest,
        lock: &StagingLock,
    ) -> Result<StoredBlob, FinishError> {
        let opened = lock.open(staged)?;
        let actual = if digest.algorithm() == staged.algorithm() {
            staged.digest_so_far()
        } else {
            verify::hash(&opened.file, digest.algorithm())?.finish()
        };
        if actual != *digest {
            return Err(FinishError::DigestMismatch { actual });
        }
        let key = BlobKey::of_blob(digest);
        self.publish(&opened, staged, &key, lock)?;
        Ok(StoredBlob {
            key,
            size: staged.size,
        })
    }

    /// Brings a whole file under its key, over a file that is there already: that one may have
    /// been damaged, these bytes were just verified. Two who bring the same bytes at once both
    /// succeed, since the rename is atomic.
    fn publish(
        &self,
        opened: &StagedFile,
        staged: &Staged,
        key: &BlobKey,
        lock: &StagingLock,
    ) -> Result<()> {
        let durable = self.durability == Durability::Full;
        if durable {
            lock.sync(opened, staged)?;
        }
        let target = self.path(key);
        let folder = target.parent().unwrap_or(&self.root);
        let folder = self.folders.get_or_create(folder, durable)?;
        let ticket = folder.ticket();
        fs::rename(lock.path(), &target)?;
        lock.close();
        self.open.forget(key);
        if durable {
            folder.flush(ticket)?;
        }
        Ok(())
    }

    /// Removes what is staged; nothing there is no error.
    pub(crate) async fn abort(&self, id: Uuid) -> Result<()> {
        let lock = self.staged.lock(id)?;
        Ok(spawn_blocking(move || lock.discard()).await??)
    }

    pub(crate) async fn open_blob(
        self: &Arc<Self>,
        key: &BlobKey,
        range: Option<Range<u64>>,
    ) -> Result<BlobReader> {
        let file: Arc<File> = if let Some(file) = self.open.get(key) {
            file
        } else {
            let (disk, key) = (Arc::clone(self), key.clone());
            spawn_blocking(move || disk.open.open(&key, &disk.path(&key))).await??
        };
        // Of an open file this does not wait for the disk (0.2 µs).
        let size = file.metadata()?.len();
        let range = clip(range, size)?;
        Ok(BlobReader::of_file(file, range, size))
    }

    /// Removes a stored object; readers that have it open go on. Nothing there is no error.
    pub(crate) async fn delete(self: &Arc<Self>, key: &BlobKey) -> Result<()> {
        let (disk, key) = (Arc::clone(self), key.clone());
        spawn_blocking(move || {
            remove(&disk.path(&key))?;
            disk.open.forget(&key);
            Ok(())
        })
        .await?
    }

    /// Removes at most `limit` staged files that nobody has written to since `older_than`; returns
    /// how many.
    pub(crate) async fn sweep(
        self: &Arc<Self>,
        older_than: Timestamp,
        limit: usize,
    ) -> Result<usize> {
        let disk = Arc::clone(self);
        spawn_blocking(move || {
            let mut swept = 0;
            for entry in fs::read_dir(disk.root.join(key::UPLOADS))? {
                if swept == limit {
                    break;
                }
                swept += usize::from(disk.sweep_one(&entry?, older_than)?);
            }
            Ok(swept)
        })
        .await?
    }

    fn sweep_one(&self, entry: &fs::DirEntry, older_than: Timestamp) -> Result<bool> {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.parse::<Uuid>().ok()) else {
            return Ok(false);
        };
        let Ok(lock) = self.staged.lock(id) else {
            return Ok(false);
        };
        let modified = match entry.metadata() {
            Ok(metadata) => metadata.mtime().saturating_mul(1000),
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if modified >= older_than.as_ms() {
            return Ok(false);
        }
        lock.discard()?;
        Ok(true)
    }

    fn path(&self, key: &BlobKey) -> PathBuf {
        self.root.join(key.as_str())
    }
}

/// One of the appends that run, and how many they are with it.
struct Counted<'a> {
    counter: &'a AtomicUsize,
    count: usize,
}

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicUsize) -> Self {
        Self {
            counter,
            count: counter.fetch_add(1, Ordering::Relaxed) + 1,
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.counter.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
