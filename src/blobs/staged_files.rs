//! The files of unfinished uploads: one request at a time works on each, and each stays open from
//! its first byte to its end.
//!
//! When the kernel fails to write a page to the device it reports that once, to the descriptors
//! that are open then, and takes the page for written. So only a descriptor that was open since the
//! first byte can prove by a successful fsync that all of them are on the device. Bytes that came
//! through another descriptor (the process was started again, or too many uploads were open) are
//! read back from the device and hashed before they become a blob.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use quick_cache::sync::Cache;
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::key;
use crate::staging::{BackendState, Staged};
use crate::verify;

/// Staged files that are kept open between requests. Past this many the one used longest ago is
/// closed, and costs its upload a reading of all its bytes at the end.
const OPEN_UPLOADS: usize = 1024;

/// All staged files of one root. A root is served by one process.
#[derive(Debug)]
pub(crate) struct StagedFiles {
    root: PathBuf,
    /// Names the running kernel: bytes that another one took may be gone.
    boot: String,
    busy: Mutex<HashSet<Uuid>>,
    open: Cache<Uuid, StagedFile>,
}

/// An open staged file.
#[derive(Clone, Debug)]
pub(crate) struct StagedFile {
    pub(crate) file: Arc<File>,
    /// The descriptor was open before the first byte: its fsync reports every failed write.
    pub(crate) since_first_byte: bool,
}

/// Holds an upload for one request, as long as anything may still be written for it.
#[derive(Debug)]
pub(crate) struct StagingLock {
    files: Arc<StagedFiles>,
    id: Uuid,
}

impl StagedFiles {
    pub(crate) fn new(root: PathBuf) -> Self {
        // Where it can't be read: a name of this process alone, so that a restart checks the bytes.
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").map_or_else(
            |_| format!("pid-{}", std::process::id()),
            |id| id.trim().to_owned(),
        );
        Self {
            root,
            boot,
            busy: Mutex::default(),
            open: Cache::new(OPEN_UPLOADS),
        }
    }

    /// What the state of an upload remembers of bytes that this kernel took.
    pub(crate) fn state(&self) -> BackendState {
        BackendState::Disk {
            boot: self.boot.clone(),
        }
    }

    pub(crate) fn lock(self: &Arc<Self>, id: Uuid) -> Result<StagingLock> {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if !busy.insert(id) {
            return Err(Error::Busy);
        }
        Ok(StagingLock {
            files: Arc::clone(self),
            id,
        })
    }
}

impl Drop for StagingLock {
    fn drop(&mut self) {
        let mut busy = self
            .files
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        busy.remove(&self.id);
    }
}

impl StagingLock {
    pub(crate) fn path(&self) -> PathBuf {
        self.files.root.join(key::staged(self.id))
    }

    /// The staged file, cut to what the upload is known to have. Longer than known: a request broke
    /// off after its bytes were written, so they go. Shorter, or linked from elsewhere too (a
    /// rename that a crash cut in half): lost.
    pub(crate) fn open(&self, staged: &Staged) -> Result<StagedFile> {
        let BackendState::Disk { boot } = &staged.state else {
            return Err(Error::Lost);
        };
        let known = self.files.open.get(&self.id);
        let was_open = known.is_some();
        let opened = match known {
            Some(opened) => opened,
            None => self.open_path(staged.size == 0)?,
        };
        let metadata = opened.file.metadata()?;
        if metadata.len() < staged.size
            || metadata.nlink() > 1
            || (was_open && metadata.nlink() == 0)
        {
            return Err(Error::Lost);
        }
        if metadata.len() > staged.size {
            opened.file.set_len(staged.size)?;
        }
        if *boot != self.files.boot && staged.size > 0 {
            let hasher = verify::hash(&opened.file, staged.algorithm())?;
            if hasher.to_state() != staged.hasher.to_state() {
                return Err(Error::Lost);
            }
        }
        if !was_open {
            self.files.open.insert(self.id, opened.clone());
        }
        Ok(opened)
    }

    fn open_path(&self, first: bool) -> Result<StagedFile> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(first)
            .truncate(first)
            .open(self.path());
        match opened {
            Err(error) if error.kind() == ErrorKind::NotFound && !first => Err(Error::Lost),
            opened => Ok(StagedFile {
                file: Arc::new(opened?),
                since_first_byte: first,
            }),
        }
    }

    /// Returns when the bytes of `staged` are on the device.
    ///
    /// # Errors
    /// [`Error::Lost`] where the device has other bytes. After any error the upload must be
    /// discarded: a second attempt would succeed without having written anything.
    pub(crate) fn sync(&self, opened: &StagedFile, staged: &Staged) -> Result<()> {
        opened.file.sync_all()?;
        if opened.since_first_byte {
            return Ok(());
        }
        let hasher = verify::hash_from_device(&self.path(), staged.algorithm())?;
        if hasher.to_state() == staged.hasher.to_state() {
            Ok(())
        } else {
            Err(Error::Lost)
        }
    }

    /// Closes the file, which has another name by now.
    pub(crate) fn close(&self) {
        self.files.open.remove(&self.id);
    }

    /// Closes and removes the file. Nothing there is no error.
    pub(crate) fn discard(&self) -> io::Result<()> {
        self.close();
        remove(&self.path())
    }
}

/// Removes a file. Nothing there is no error.
pub(crate) fn remove(path: &std::path::Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
