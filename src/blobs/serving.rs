//! The lock that keeps two servers off one blob directory.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::BlobsConfig;

/// Held by a serving process on the root of its blobs; the kernel releases it with the process,
/// however that ends. Staged uploads and the deletion of blobs rely on it: they are guarded by
/// locks within the process.
#[derive(Debug)]
pub struct RootLock {
    _root: File,
    id: RootId,
}

/// Device and inode of a root.
type RootId = (u64, u64);

/// The roots that this process has locked.
static HELD: Mutex<BTreeSet<RootId>> = Mutex::new(BTreeSet::new());

/// Whether this process has locked the root. One that has not may be a command beside a server.
pub(crate) fn is_held(root: &Path) -> bool {
    fs::metadata(root).is_ok_and(|metadata| held().contains(&id_of(&metadata)))
}

fn id_of(metadata: &fs::Metadata) -> RootId {
    (metadata.dev(), metadata.ino())
}

fn held() -> MutexGuard<'static, BTreeSet<RootId>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for RootLock {
    fn drop(&mut self) {
        held().remove(&self.id);
    }
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("another server is already serving the blob folder {0}")]
    Held(PathBuf),
    #[error("cannot lock the blob folder {path}: {why}")]
    File { path: PathBuf, why: io::Error },
}

impl RootLock {
    /// Locks the directory of the blobs, at once or not at all, and creates it where it is missing.
    /// `None` where blobs are not in a directory: a bucket may be served by many.
    pub fn acquire(config: &BlobsConfig) -> Result<Option<Self>, LockError> {
        let BlobsConfig::Disk { root } = config else {
            return Ok(None);
        };
        let failed = |why| LockError::File {
            path: root.clone(),
            why,
        };
        // The directory itself is locked: it needs no file whose name could meet another's.
        let directory = open(root).map_err(failed)?;
        match directory.try_lock() {
            Ok(()) => {
                let id = id_of(&directory.metadata().map_err(failed)?);
                held().insert(id);
                Ok(Some(Self {
                    _root: directory,
                    id,
                }))
            }
            Err(TryLockError::WouldBlock) => Err(LockError::Held(root.clone())),
            Err(TryLockError::Error(why)) => Err(failed(why)),
        }
    }
}

fn open(root: &Path) -> io::Result<File> {
    create(root)?;
    File::open(root)
}

/// Creates the directory, and those above it that are missing, each durable in its parent: a power
/// cut must not take the root with every blob in it.
fn create(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    create(parent)?;
    match fs::create_dir(path) {
        // Another server creates it at the same time; one of the two gets the lock.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        created => created?,
    }
    let flushed = File::open(parent).and_then(|parent| parent.sync_all());
    if flushed.is_err() {
        // The next attempt must not find it: the kernel takes its name for written.
        fs::remove_dir(path)?;
    }
    flushed
}

#[cfg(test)]
mod tests {
    use wharfinger_base::Durability;

    use super::*;
    use crate::disk::Disk;

    #[test]
    fn one_server_has_the_blobs_whatever_path_it_knows_them_by() {
        let folder = tempfile::tempdir().expect("a directory");
        let root = folder.path().join("blobs");
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&root, &link).expect("linked");
        let config = |root: &Path| BlobsConfig::Disk {
            root: root.to_owned(),
        };
        let held = RootLock::acquire(&config(&root)).expect("free");
        assert!(held.is_some());
        let second = RootLock::acquire(&config(&link));
        assert!(
            matches!(&second, Err(LockError::Held(path)) if *path == link),
            "{second:?}"
        );
        drop(held);
        RootLock::acquire(&config(&link)).expect("free again");
    }

    /// A command beside a server must not take the folder of uploads from it: files that the server
    /// stages would be lost.
    #[test]
    fn only_who_has_the_root_makes_its_empty_folders_anew() {
        let folder = tempfile::tempdir().expect("a directory");
        let root = folder.path().join("blobs");
        let config = BlobsConfig::Disk { root: root.clone() };
        let open = || Disk::open(root.clone(), Durability::Full).expect("opened");
        open();
        // An open directory keeps its number from being given again.
        let uploads = File::open(root.join("uploads")).expect("there");
        let number = |file: &File| file.metadata().expect("open").ino();
        let now = || number(&File::open(root.join("uploads")).expect("there"));
        open();
        assert_eq!(now(), number(&uploads));
        let lock = RootLock::acquire(&config).expect("free");
        open();
        assert_ne!(now(), number(&uploads), "its name may not be on the disk");
        drop(lock);
        let uploads = File::open(root.join("uploads")).expect("there");
        open();
        assert_eq!(now(), number(&uploads));
    }
}
