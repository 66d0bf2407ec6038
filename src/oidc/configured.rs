//! Key sets out of a file, for servers that cannot reach their providers.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use serde_json::value::RawValue;
use wharfinger_base::{Clock, Timestamp};

use crate::key_set::{KeySet, KeySetError};

/// Largest file, in bytes.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;
/// How long changes of the file may stay unseen.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Why the file of key sets cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetFileError {
    #[error("the file of OIDC key sets {path} cannot be read")]
    File { path: PathBuf, source: io::Error },
    #[error(
        "the file of OIDC key sets {path} is not a JSON object of issuers and their key sets: \
         {what}"
    )]
    Content { path: PathBuf, what: String },
    #[error("the key set of {issuer} in the file of OIDC key sets {path} cannot be used")]
    KeySet {
        path: PathBuf,
        issuer: String,
        source: KeySetError,
    },
}

/// The key sets of a file: a JSON object with the URL of each issuer and its key set. A changed
/// file is read again within some seconds.
pub struct ConfiguredKeySets {
    path: PathBuf,
    clock: Clock,
    current: ArcSwap<Content>,
}

struct Content {
    key_sets: BTreeMap<String, Arc<KeySet>>,
    modified: Option<SystemTime>,
    looked_at: Timestamp,
}

impl ConfiguredKeySets {
    /// Reads the file.
    ///
    /// # Errors
    /// [`KeySetFileError`].
    pub fn open(path: &Path, clock: Clock) -> Result<Self, KeySetFileError> {
        let content = Content {
            modified: modified(path),
            key_sets: read(path)?,
            looked_at: clock.now(),
        };
        Ok(Self {
            path: path.to_owned(),
            clock,
            current: ArcSwap::from_pointee(content),
        })
    }

    /// The key set of the issuer, where the file has one. Reads the file where it changed; one that
    /// cannot be read leaves the old key sets in use.
    pub(super) fn of(&self, issuer: &str) -> Option<Arc<KeySet>> {
        let now = self.clock.now();
        let known = self.current.load();
        if now.since(known.looked_at) < LOOK_INTERVAL && known.looked_at <= now {
            return known.key_sets.get(issuer).cloned();
        }
        let modified = modified(&self.path);
        let key_sets = if modified == known.modified {
            known.key_sets.clone()
        } else {
            read(&self.path).unwrap_or_else(|error| {
                tracing::warn!(
                    error = %wharfinger_base::Chain(&error),
                    "the changed OIDC key sets are not used; the old ones stay in use"
                );
                known.key_sets.clone()
            })
        };
        let found = key_sets.get(issuer).cloned();
        self.current.store(Arc::new(Content {
            key_sets,
            modified,
            looked_at: now,
        }));
        found
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|file| file.modified()).ok()
}

fn read(path: &Path) -> Result<BTreeMap<String, Arc<KeySet>>, KeySetFileError> {
    let trouble = |source| KeySetFileError::File {
        path: path.to_owned(),
        source,
    };
    let mut text = Vec::new();
    let file = File::open(path).map_err(trouble)?;
    let read = file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text);
    read.map_err(trouble)?;
    let wrong = |what: String| KeySetFileError::Content {
        path: path.to_owned(),
        what,
    };
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(wrong(format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    let sets: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
    let parse = |(issuer, text): (String, Box<RawValue>)| {
        let key_set = KeySet::parse(text.get().as_bytes());
        let key_set = key_set.map_err(|source| KeySetFileError::KeySet {
            path: path.to_owned(),
            issuer: issuer.clone(),
            source,
        })?;
        Ok((issuer, Arc::new(key_set)))
    };
    sets.into_iter().map(parse).collect()
}
