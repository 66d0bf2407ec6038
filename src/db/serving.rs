//! The locks that keep two servers from serving the same data.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::pool::DatabaseConfig;

/// Held by a serving process; the kernel releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct ServingLock {
    _files: Vec<File>,
}

#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    #[error("another server is already serving the data folder {0}")]
    Folder(PathBuf),
    #[error("another server is already serving the index {0}")]
    Index(PathBuf),
    #[error("cannot lock {path}: {why}")]
    File { path: PathBuf, why: std::io::Error },
}

impl ServingLock {
    /// Locks the data folder and, where the index is an SQLite file, that file; at once or not at
    /// all. The folders must exist.
    ///
    /// The lock files are `DIR/serving.lock` and `INDEX-serving` beside the index. The latter is
    /// found through symbolic links, so that two paths to one index share a lock. The index file
    /// itself is not locked: closing a second descriptor of it would release SQLite's own locks.
    pub fn acquire(directory: &Path, database: &DatabaseConfig) -> Result<Self, ServingError> {
        let folder_lock = lock(&directory.join("serving.lock"))?
            .ok_or_else(|| ServingError::Folder(directory.to_owned()))?;
        let mut files = vec![folder_lock];
        if let DatabaseConfig::Sqlite { path, .. } = database {
            let index = resolved(path).map_err(|why| ServingError::File {
                path: path.clone(),
                why,
            })?;
            let mut beside = OsString::from(&index);
            beside.push("-serving");
            files.push(lock(Path::new(&beside))?.ok_or(ServingError::Index(index))?);
        }
        Ok(Self { _files: files })
    }
}

/// The path without symbolic links; the file itself may be missing.
fn resolved(path: &Path) -> std::io::Result<PathBuf> {
    match path.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| *folder != Path::new(""));
            let folder = folder.unwrap_or(Path::new(".")).canonicalize()?;
            Ok(folder.join(path.file_name().unwrap_or_default()))
        }
        other => other,
    }
}

/// Locks the file, which is made if missing; `None` where another process has the lock.
fn lock(path: &Path) -> Result<Option<File>, ServingError> {
    let failed = |why| ServingError::File {
        path: path.to_owned(),
        why,
    };
    let opened = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path);
    let file = opened.map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(why)) => Err(failed(why)),
    }
}
