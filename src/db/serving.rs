//! The lock that keeps two servers off one data folder.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Held by a serving process on its data folder; the kernel drops it with the process, however that
/// ends.
#[derive(Debug)]
pub struct ServingLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    #[error("another server is already serving the data folder {0}")]
    Held(PathBuf),
    #[error("cannot lock {path}: {why}")]
    File { path: PathBuf, why: std::io::Error },
}

impl ServingLock {
    /// Takes `DIR/serving.lock`, at once or not at all. The folder must exist.
    pub fn acquire(directory: &Path) -> Result<Self, ServingError> {
        let path = directory.join("serving.lock");
        let opened = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path);
        let file = opened.map_err(|why| ServingError::File {
            path: path.clone(),
            why,
        })?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(ServingError::Held(directory.to_owned())),
            Err(TryLockError::Error(why)) => Err(ServingError::File { path, why }),
        }
    }
}
