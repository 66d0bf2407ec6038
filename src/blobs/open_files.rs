//! Blobs that are open for reading, kept for the next reader.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::key::BlobKey;

/// Open files kept for the next reader: opening costs a hop to a blocking thread (20 µs), and
/// descriptors are few.
const OPEN_FILES: usize = 256;

/// The cache of open blobs.
#[derive(Debug)]
pub(crate) struct OpenFiles {
    cache: Cache<BlobKey, Arc<File>>,
}

impl OpenFiles {
    pub(crate) fn new() -> Self {
        Self {
            cache: Cache::new(OPEN_FILES),
        }
    }

    pub(crate) fn get(&self, key: &BlobKey) -> Option<Arc<File>> {
        self.cache.get(key)
    }

    /// Opens the blob and keeps it open.
    pub(crate) fn open(&self, key: &BlobKey, path: &Path) -> io::Result<Arc<File>> {
        let file = Arc::new(File::open(path)?);
        self.cache.insert(key.clone(), Arc::clone(&file));
        // Whoever removes or replaces the file does that first and calls `forget` second. Whichever
        // way the two cross, a file that no longer has this path does not stay in the cache.
        let current = fs::metadata(path).is_ok_and(|current| {
            file.metadata()
                .is_ok_and(|opened| opened.ino() == current.ino())
        });
        if !current {
            self.forget(key);
        }
        Ok(file)
    }

    /// The file under the key was removed or replaced.
    pub(crate) fn forget(&self, key: &BlobKey) {
        self.cache.remove(key);
    }
}
