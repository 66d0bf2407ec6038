//! An upload between its requests: how far it came, its running hash, and what its backend
//! remembers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use wharfinger_oci::{Algorithm, Digest, Hasher};

use crate::key::BlobKey;

/// Version of [`Staged::to_bytes`]; others are not read.
const FORMAT: u8 = 2;

/// Bounds of one append.
#[derive(Clone, Copy, Debug)]
pub struct AppendLimits {
    /// Largest size of the whole upload in bytes.
    pub max_bytes: u64,
    /// How long the sender may be silent between two pieces.
    pub idle_timeout: Duration,
    /// Bytes the body must have, where the sender said so (Content-Length or Content-Range).
    pub expected: Option<u64>,
    /// Nothing will be appended after this body: the unfinished part of an object need not be kept
    /// readable.
    pub last: bool,
}

/// What a finished upload became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBlob {
    /// To be kept in the index beside the digest.
    pub key: BlobKey,
    /// Size in bytes.
    pub size: u64,
}

/// The state of an upload. The caller keeps it (as bytes, in the index) from request to request;
/// whoever holds it, on any replica, can go on where it stands without reading the bytes again.
#[derive(Clone, Debug)]
pub struct Staged {
    pub(crate) id: Uuid,
    pub(crate) size: u64,
    pub(crate) hasher: Hasher,
    pub(crate) state: BackendState,
}

/// What each side of the store has to remember.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BackendState {
    /// The boot of the kernel that took the bytes: they need no second look until another boot may
    /// have lost them.
    Disk {
        boot: String,
    },
    Objects(Parts),
}

/// Parts of an upload in an object store. At most 10,000 ids of about 40 bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parts {
    /// Size of each part but the last; 0 until the first append chose it.
    pub(crate) part_size: u64,
    /// The store's name for the multipart upload, once there is one.
    pub(crate) multipart: Option<String>,
    /// Ids of the full parts, in order.
    pub(crate) ids: Vec<String>,
    /// Bytes after the last full part.
    pub(crate) tail: u64,
    /// The object that holds the tail; with no full part, it is the whole upload. Without it the
    /// upload can only be finished.
    pub(crate) tail_object: Option<String>,
    /// The tail, already stored as the part that follows: counts if nothing more is appended.
    pub(crate) last_id: Option<String>,
    /// The tail object that the newest append replaced; removed by the next one.
    pub(crate) superseded: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u8,
    id: String,
    size: u64,
    hash: String,
    #[serde(rename = "place")]
    state: BackendState,
}

impl Staged {
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.id
    }

    /// Bytes that are kept: the offset the next append starts at.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The digest of the bytes that are there, by the algorithm hashed along the way.
    #[must_use]
    pub fn digest_so_far(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// The algorithm hashed along the way; finishing under the other one reads the bytes once more.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.hasher.algorithm()
    }

    /// Whether the finished upload leaves something in the store beside the blob.
    #[must_use]
    pub const fn has_leftovers(&self) -> bool {
        match &self.state {
            BackendState::Disk { .. } => false,
            BackendState::Objects(parts) => parts.multipart.is_some() || parts.superseded.is_some(),
        }
    }

    /// The state as bytes for a column of the index: 0.5 KB, on S3 plus 40 bytes for each 16 MiB.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = Stored {
            v: FORMAT,
            id: self.id.to_string(),
            size: self.size,
            hash: hex::encode(self.hasher.to_state()),
            state: self.state.clone(),
        };
        serde_json::to_vec(&stored).unwrap_or_default()
    }

    /// Reads [`Staged::to_bytes`] back; `None` for anything else, and for another version's.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(bytes).ok()?;
        let hasher = Hasher::from_state(&hex::decode(stored.hash).ok()?)?;
        let id = stored.id.parse().ok()?;
        (stored.v == FORMAT).then_some(Self {
            id,
            size: stored.size,
            hasher,
            state: stored.state,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_comes_back_from_its_bytes() {
        let mut hasher = Hasher::new(Algorithm::Sha512);
        hasher.update(b"some bytes");
        for state in [
            BackendState::Disk { boot: "b".into() },
            BackendState::Objects(Parts {
                part_size: 5,
                ids: vec!["a".into()],
                ..Parts::default()
            }),
        ] {
            let staged = Staged {
                id: Uuid::from_u128(7),
                size: 10,
                hasher: hasher.clone(),
                state,
            };
            let back = Staged::from_bytes(&staged.to_bytes()).expect("its own bytes");
            assert_eq!(
                (back.id, back.size, &back.state),
                (staged.id, staged.size, &staged.state)
            );
            assert_eq!(back.hasher.finish(), hasher.clone().finish());
        }
        assert!(Staged::from_bytes(b"{}").is_none());
        assert!(Staged::from_bytes(b"").is_none());
    }
}
