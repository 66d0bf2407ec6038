//! Blobs as files: staged beside the store, made durable, renamed to their digest.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::Stream;
use quick_cache::sync::Cache;
use tokio::task::spawn_blocking;
use uuid::Uuid;
use wharfinger_base::Timestamp;
use wharfinger_oci::{Algorithm, Digest, Hasher};

use crate::append::Feed;
use crate::config::Durability;
use crate::error::{AppendError, BodyError, Error, FinishError, Result};
use crate::folders::Folders;
use crate::key::{self, BlobKey};
use crate::reader::{BlobReader, clip};
use crate::staging::{AppendLimits, Place, Staged, StoredBlob};
use crate::writer::{self, Writer};

/// Open files kept for the next reader: opening costs a hop to a blocking thread (20 µs), and
/// descriptors are few.
const OPEN_FILES: usize = 256;
/// What is read at once where a file must be hashed again.
const REHASH_BUFFER: usize = 1024 * 1024;

/// The disk side of the store.
#[derive(Debug)]
pub(super) struct Disk {
    root: PathBuf,
    durability: Durability,
    /// Names the running kernel: bytes it took may be gone if it is another one.
    boot: String,
    cores: usize,
    appending: AtomicUsize,
    folders: Folders,
    sessions: Arc<Sessions>,
    open: Cache<BlobKey, Opened>,
}

#[derive(Clone, Debug)]
struct Opened {
    file: Arc<File>,
    size: u64,
}

impl Disk {
    /// Makes the folders that are missing. Blocking.
    pub(super) fn open(root: PathBuf, durability: Durability) -> Result<Self> {
        let folders = Folders::default();
        let durable = durability == Durability::Full;
        for folder in key::DISK_FOLDERS {
            folders.create(&root.join(folder), durable)?;
        }
        // Unreadable: a name of this process alone, so that a restart looks at staged bytes again.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(
            |_| format!("pid-{}", std::process::id()),
            |id| id.trim().to_owned(),
        );
        Ok(Self {
            root,
            durability,
            boot,
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            appending: AtomicUsize::new(0),
            folders,
            sessions: Arc::default(),
            open: Cache::new(OPEN_FILES),
        })
    }

    /// Touches nothing: the file is made by the first append.
    pub(super) fn begin(&self, id: Uuid, algorithm: Algorithm) -> Staged {
        Staged {
            id,
            size: 0,
            hasher: Hasher::new(algorithm),
            place: Place::Disk {
                boot: self.boot.clone(),
            },
        }
    }

    pub(super) async fn append<S, E>(
        self: &Arc<Self>,
        staged: &mut Staged,
        body: S,
        limits: AppendLimits,
    ) -> Result<u64, AppendError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<BodyError>,
    {
        let session = self.sessions.enter(staged.id)?;
        let before = staged.size;
        let mut feed = Feed::new(body, limits, before);
        let (disk, state) = (Arc::clone(self), staged.clone());
        let writer = spawn_blocking(move || disk.resume(state, session)).await??;
        let active = Counted::new(&self.appending);
        let written = if active.count < self.cores {
            writer::hand_off(writer, &mut feed).await
        } else {
            writer::inline(writer, &mut feed).await
        };
        drop(active);
        match written {
            Ok((writer, end)) if end.as_ref().err().is_none_or(AppendError::keeps) => {
                staged.size = writer.offset;
                staged.hasher = writer.hasher;
                staged.place = Place::Disk {
                    boot: self.boot.clone(),
                };
                end.map(|()| staged.size - before)
            }
            Ok((writer, end)) => {
                spawn_blocking(move || writer.file.set_len(before)).await??;
                end.map(|()| 0)
            }
            Err(error) => {
                // Frees what was written, above all where the disk is full. Should another request
                // hold the upload by now, it does that.
                if let Ok(session) = self.sessions.enter(staged.id) {
                    let path = self.path(&key::staged(staged.id));
                    let cut = move || {
                        let _session = session;
                        OpenOptions::new().write(true).open(path)?.set_len(before)
                    };
                    let _ = spawn_blocking(cut).await;
                }
                Err(error.into())
            }
        }
    }

    /// The staged file, cut to what the upload is known to have.
    fn resume(&self, staged: Staged, session: SessionGuard) -> Result<Writer> {
        let file = self.staged_file(&staged)?;
        let written_back = (self.durability == Durability::Full).then_some(staged.size);
        Ok(Writer {
            file,
            offset: staged.size,
            hasher: staged.hasher,
            written_back,
            _session: session,
        })
    }

    /// Opens the staged file. Longer than known: a request broke off after its bytes were written,
    /// so they go. Shorter, or of another boot and no longer what was hashed: lost.
    fn staged_file(&self, staged: &Staged) -> Result<File> {
        let Place::Disk { boot } = &staged.place else {
            return Err(Error::Lost);
        };
        let path = self.path(&key::staged(staged.id));
        if staged.size == 0 {
            return Ok(OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(true)
                .open(path)?);
        }
        let mut file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(Error::Lost),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        if length < staged.size {
            return Err(Error::Lost);
        }
        if length > staged.size {
            file.set_len(staged.size)?;
        }
        if *boot != self.boot
            && rehash(&mut file, staged.hasher.algorithm())?.to_state() != staged.hasher.to_state()
        {
            return Err(Error::Lost);
        }
        Ok(file)
    }

    /// Whether the bytes that `staged` counts are there.
    pub(super) async fn check(self: &Arc<Self>, staged: &Staged) -> Result<()> {
        if staged.size == 0 {
            return Ok(());
        }
        let session = self.sessions.enter(staged.id)?;
        let (disk, staged) = (Arc::clone(self), staged.clone());
        spawn_blocking(move || {
            let _session = session;
            disk.staged_file(&staged).map(drop)
        })
        .await?
    }

    pub(super) async fn finish(
        self: &Arc<Self>,
        staged: Staged,
        digest: Digest,
    ) -> Result<StoredBlob, FinishError> {
        let session = self.sessions.enter(staged.id)?;
        let disk = Arc::clone(self);
        // Once begun it runs to its end, whether or not anybody still waits for the answer.
        spawn_blocking(move || {
            let _session = session;
            disk.commit(staged, &digest)
        })
        .await?
    }

    fn commit(&self, staged: Staged, digest: &Digest) -> Result<StoredBlob, FinishError> {
        let path = self.path(&key::staged(staged.id));
        let mut file = self.staged_file(&staged)?;
        let actual = if digest.algorithm() == staged.algorithm() {
            staged.hasher.finish()
        } else {
            rehash(&mut file, digest.algorithm())?.finish()
        };
        if actual != *digest {
            fs::remove_file(path)?;
            return Err(FinishError::DigestMismatch { actual });
        }
        let key = BlobKey::of_blob(digest);
        self.place(&path, &file, &key, staged.size)?;
        Ok(StoredBlob {
            key,
            size: staged.size,
        })
    }

    /// Brings a whole file under its key. Two who bring the same bytes at once both succeed: the
    /// rename is atomic.
    fn place(&self, path: &Path, file: &File, key: &BlobKey, size: u64) -> Result<()> {
        let target = self.path(key.as_str());
        let folder = target.parent().unwrap_or(&self.root);
        let durable = self.durability == Durability::Full;
        match File::open(&target) {
            Ok(present) if present.metadata()?.len() == size => {
                if durable {
                    present.sync_all()?; // it may have come under relaxed durability
                }
                fs::remove_file(path)?;
            }
            _ => {
                if durable {
                    file.sync_all()?;
                }
                if let Err(error) = fs::rename(path, &target) {
                    if error.kind() != ErrorKind::NotFound {
                        return Err(error.into());
                    }
                    self.folders.create(folder, durable)?;
                    fs::rename(path, &target)?;
                }
                self.open.remove(key); // a file of another size may have been there
            }
        }
        if durable {
            self.folders.flush(folder)?;
        }
        Ok(())
    }

    /// Removes what is staged; nothing there is no error.
    pub(super) async fn abort(&self, id: Uuid) -> Result<()> {
        let session = self.sessions.enter(id)?;
        let path = self.path(&key::staged(id));
        spawn_blocking(move || {
            let _session = session;
            remove(&path)
        })
        .await??;
        Ok(())
    }

    /// Stores bytes that are at hand under a key given beforehand.
    pub(super) async fn put(self: &Arc<Self>, id: Uuid, key: BlobKey, bytes: Bytes) -> Result<()> {
        let session = self.sessions.enter(id)?;
        let disk = Arc::clone(self);
        spawn_blocking(move || {
            let _session = session;
            let path = disk.path(&key::staged(id));
            let mut file = File::create(&path)?;
            let written = io::Write::write_all(&mut file, &bytes).map_err(Error::from);
            let placed = written.and_then(|()| disk.place(&path, &file, &key, bytes.len() as u64));
            if placed.is_err() {
                let _ = fs::remove_file(&path);
            }
            placed
        })
        .await?
    }

    pub(super) async fn open_blob(
        self: &Arc<Self>,
        key: &BlobKey,
        range: Option<Range<u64>>,
    ) -> Result<BlobReader> {
        let opened = if let Some(opened) = self.open.get(key) {
            opened
        } else {
            let (disk, key) = (Arc::clone(self), key.clone());
            spawn_blocking(move || disk.open_file(&key)).await??
        };
        let range = clip(range, opened.size)?;
        Ok(BlobReader::of_file(opened.file, range, opened.size))
    }

    fn open_file(&self, key: &BlobKey) -> Result<Opened> {
        let file = File::open(self.path(key.as_str()))?;
        let size = file.metadata()?.len();
        let opened = Opened {
            file: Arc::new(file),
            size,
        };
        self.open.insert(key.clone(), opened.clone());
        // `delete` unlinks first and forgets second. Whichever way the two cross, the entry does
        // not outlive the file.
        if opened.file.metadata()?.nlink() == 0 {
            self.open.remove(key);
        }
        Ok(opened)
    }

    /// Removes a stored object; readers that have it open go on. Nothing there is no error.
    pub(super) async fn delete(self: &Arc<Self>, key: &BlobKey) -> Result<()> {
        let (disk, key) = (Arc::clone(self), key.clone());
        spawn_blocking(move || {
            remove(&disk.path(key.as_str()))?;
            disk.open.remove(&key);
            Ok(())
        })
        .await?
    }

    /// Removes at most `limit` staged files that nobody has written to since `older_than`; returns
    /// how many.
    pub(super) async fn sweep(
        self: &Arc<Self>,
        older_than: Timestamp,
        limit: usize,
    ) -> Result<usize> {
        let disk = Arc::clone(self);
        spawn_blocking(move || {
            let mut swept = 0;
            for entry in fs::read_dir(disk.path(key::UPLOADS))? {
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
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<Uuid>().ok())
        else {
            return Ok(false);
        };
        let Ok(_session) = self.sessions.enter(id) else {
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
        remove(&entry.path())?;
        Ok(true)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.root.join(key)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Hashes the whole file.
fn rehash(file: &mut File, algorithm: Algorithm) -> Result<Hasher> {
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; REHASH_BUFFER];
    let mut offset = 0;
    loop {
        match std::os::unix::fs::FileExt::read_at(file, &mut buffer, offset) {
            Ok(0) => return Ok(hasher),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                offset += read as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Uploads that a request is working on in this process; a data folder is served by one process.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    busy: Mutex<HashSet<Uuid>>,
}

impl Sessions {
    fn enter(self: &Arc<Self>, id: Uuid) -> Result<SessionGuard> {
        let entered = self
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id);
        if entered {
            Ok(SessionGuard {
                sessions: Arc::clone(self),
                id,
            })
        } else {
            Err(Error::Busy)
        }
    }
}

/// Holds an upload for one request.
#[derive(Debug)]
pub(super) struct SessionGuard {
    sessions: Arc<Sessions>,
    id: Uuid,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        self.sessions
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
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
