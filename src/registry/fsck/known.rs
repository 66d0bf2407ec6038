//! What the index knows of the objects of a bucket, whose keys do not name the digests of blobs.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use wharfinger_base::Timestamp;
use wharfinger_blobs::StoredObject;
use wharfinger_db::Db;

use crate::error::Error;
use crate::store::fsck as store;

/// An object that the index does not know is looked at no earlier than this: it may be of an upload
/// that ends just now.
pub(super) const GRACE: Duration = Duration::from_hours(24);

/// The keys that the index names and the upload sessions that were open, as hashes: eight bytes
/// each. One that two of them share hides an object.
pub(crate) struct KnownKeys {
    hashes: HashSet<u64>,
    read_at: Timestamp,
}

impl KnownKeys {
    /// Reads them once for a check. Sessions come first, so that what is published meanwhile is
    /// known by one or the other.
    pub(super) async fn read(db: &Db, now: Timestamp) -> Result<Self, Error> {
        let mut hashes = HashSet::new();
        let mut after = String::new();
        loop {
            let start = after.clone();
            let page = db.read(move |tx| store::uploads_after(tx, &start)).await?;
            hashes.extend(page.iter().map(|upload| hash(upload)));
            match page.into_iter().next_back() {
                Some(last) => after = last,
                None => break,
            }
        }
        let mut after = Vec::new();
        loop {
            let start = after.clone();
            let page = db.read(move |tx| store::blobs_after(tx, &start)).await?;
            let Some(last) = page.last() else {
                return Ok(Self {
                    hashes,
                    read_at: now,
                });
            };
            after = last.digest.to_stored();
            hashes.extend(page.iter().map(|blob| hash(blob.key.as_str())));
        }
    }

    /// Whether the index knew the object, or may have learned of it since: what was written long
    /// before the reading was in the index then or of a session that was open, also where it is
    /// published later.
    pub(super) fn may_have(&self, object: &StoredObject) -> bool {
        let key = object.key.as_str();
        object.modified >= self.read_at.minus(GRACE)
            || self.hashes.contains(&hash(key))
            || self.hashes.contains(&hash(upload_in(key)))
    }
}

/// The upload session in the key of an object of a bucket.
pub(super) fn upload_in(key: &str) -> &str {
    key.split('/').nth(1).unwrap_or_default()
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
