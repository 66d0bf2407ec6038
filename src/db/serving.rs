//! The locks that keep two servers from serving the same data, and servers off what a command
//! changes alone.

use std::ffi::OsString;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use crate::pool::DatabaseConfig;
use crate::postgres::presence::{Presence, PresenceError};

/// What a process does with an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// It serves it, or works beside servers as one of them. Over PostgreSQL, several may.
    Beside,
    /// It changes the index as a whole, so that no server may run on it, on any host.
    Alone,
}

/// Held by a serving process. The kernel, or the database server, releases it when the process
/// ends, however it ends.
#[derive(Debug)]
pub struct ServingLock {
    _files: Vec<File>,
    presence: Option<Presence>,
}

#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    #[error("another server is already serving the data folder {0}")]
    Folder(PathBuf),
    #[error("another server is already serving the index {0}")]
    Index(PathBuf),
    #[error("another server is already serving the index in the PostgreSQL database")]
    Database,
    #[error(
        "a command works on the index in the PostgreSQL database alone (restore, rebuild-index or \
         fsck --repair): start the server when it has ended"
    )]
    Alone,
    #[error("cannot lock the index in the PostgreSQL database: {0}")]
    Connection(String),
    #[error("cannot lock {path}: {why}")]
    File { path: PathBuf, why: std::io::Error },
}

impl ServingLock {
    /// Locks the data folder and, where the index is an SQLite file, that file; at once or not at
    /// all. The folders must exist. In a PostgreSQL database it takes an advisory lock over a
    /// connection of its own, shared by servers, and waits a moment where a process that was killed
    /// seems to hold it. To have the index alone takes some seconds there: a server that lost its
    /// connection stops within that time.
    ///
    /// The lock files are `DIR/serving.lock` and `INDEX-serving` beside the index. The latter is
    /// found through symbolic links, so that two paths to one index share a lock. The index file
    /// itself is not locked: closing a second descriptor of it would release SQLite's own locks.
    pub fn acquire(
        directory: &Path,
        database: &DatabaseConfig,
        serving: Serving,
    ) -> Result<Self, ServingError> {
        let folder_lock = lock(&directory.join("serving.lock"))?
            .ok_or_else(|| ServingError::Folder(directory.to_owned()))?;
        let mut files = vec![folder_lock];
        let mut presence = None;
        if let DatabaseConfig::Postgres { url, .. } = database {
            let taken = Presence::take(url, serving == Serving::Alone);
            presence = Some(taken.map_err(|error| match error {
                PresenceError::Held if serving == Serving::Alone => ServingError::Database,
                PresenceError::Held => ServingError::Alone,
                PresenceError::Connection(why) => ServingError::Connection(why),
            })?);
        }
        if let DatabaseConfig::Sqlite { path, .. } = database {
            let index = resolved(path).map_err(|why| ServingError::File {
                path: path.clone(),
                why,
            })?;
            let mut beside = OsString::from(&index);
            beside.push("-serving");
            files.push(lock(Path::new(&beside))?.ok_or(ServingError::Index(index))?);
        }
        Ok(Self {
            _files: files,
            presence,
        })
    }

    /// Returns when the lock is lost: the connection to PostgreSQL broke, and by the time there was
    /// another one, a command had the index alone. A file's lock is never lost.
    pub async fn lost(&self) {
        match &self.presence {
            Some(presence) => presence.lost().await,
            None => std::future::pending().await,
        }
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
