//! Manifests by the row number of their image, so that a pull copies nothing out of the index.

use std::sync::Arc;

use quick_cache::Weighter;
use quick_cache::sync::Cache;
use wharfinger_db::Tx;

use crate::error::Error;
use crate::model::StoredManifest;
use crate::store::images::{self, LocatedImage};

/// Bytes in the cache: some 25,000 manifests of ordinary size.
const CAPACITY_BYTES: u64 = 32 * 1024 * 1024;
/// Larger manifests are read from the index each time: a few would fill the cache.
const LARGEST_BYTES: usize = 256 * 1024;
/// What an entry takes beside the manifest's bytes.
const ENTRY_BYTES: u64 = 400;
/// Entries that the cache is laid out for.
const EXPECTED_ENTRIES: usize = 16 * 1024;

#[derive(Clone)]
struct Size;

impl Weighter<i64, Arc<StoredManifest>> for Size {
    fn weight(&self, _id: &i64, manifest: &Arc<StoredManifest>) -> u64 {
        ENTRY_BYTES + manifest.bytes.len() as u64
    }
}

/// A cache of image rows. Each look-up first reads from the index which image the tag or digest
/// names now, and its status, which this cache does not keep up to date. Otherwise the row of a
/// committed image does not change, and its number is not used again. Only the time of the last
/// pull changes: entries are removed when it is written. Where a failover lost commits, numbers are
/// used again, so that the digest is compared.
#[derive(Clone)]
pub(super) struct ManifestCache(Arc<Cache<i64, Arc<StoredManifest>, Size>>);

impl ManifestCache {
    pub(super) fn new() -> Self {
        Self(Arc::new(Cache::with_weighter(
            EXPECTED_ENTRIES,
            CAPACITY_BYTES,
            Size,
        )))
    }

    /// The manifest of an image that [`images::locate`] returned in the same transaction. For read
    /// transactions only: the row of a write transaction may be rolled back, and then its number is
    /// used again.
    pub(super) fn get(
        &self,
        tx: &mut Tx<'_>,
        image: &LocatedImage,
    ) -> Result<Arc<StoredManifest>, Error> {
        if let Some(manifest) = self.0.get(&image.id)
            && manifest.image.digest == image.digest
        {
            return Ok(manifest);
        }
        let stored = images::stored_by_id(tx, image.id)?;
        let manifest = Arc::new(stored.ok_or_else(missing_image)?);
        if manifest.bytes.len() <= LARGEST_BYTES {
            self.0.insert(image.id, Arc::clone(&manifest));
        }
        Ok(manifest)
    }

    pub(super) fn remove(&self, id: i64) {
        self.0.remove(&id);
    }
}

fn missing_image() -> Error {
    Error::Index(wharfinger_db::Error::other("a tag names a missing image"))
}
