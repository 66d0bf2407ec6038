//! What tags and digests name, in memory for one state of the index.

use std::sync::Arc;

use quick_cache::Equivalent;
use wharfinger_db::Tx;

use crate::error::Error;
use crate::manifest_cache::ManifestCache;
use crate::model::{ImageStatus, RepositoryId};
use crate::pull_target::{LinkedBlob, PullTarget, Pulled};
use crate::recent_keys::RecentKeys;
use crate::state_cache::StateCache;
use crate::store;
use crate::store::images::{self, LocatedImage};

/// Targets in memory, at some 300 bytes each.
const CAPACITY: usize = 8_192;
/// Targets of which it is known that they were requested a short time ago: several times as many,
/// since of those that come again, some take the slots of others.
const RECENT_KEYS: u32 = 32 * 1_024;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    repository: RepositoryId,
    target: PullTarget,
}

/// A [`Key`] whose target is borrowed. Both have the same hash.
#[derive(Hash)]
struct BorrowedKey<'a> {
    repository: RepositoryId,
    target: &'a PullTarget,
}

impl Equivalent<Key> for BorrowedKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.repository == key.repository && *self.target == key.target
    }
}

#[derive(Clone, Debug)]
enum Found {
    Image(LocatedImage),
    Blob(LinkedBlob),
}

/// A cache of what targets name. The bytes of manifests are in the [`ManifestCache`], whatever the
/// state of the index.
///
/// Neither keeps what is requested for the first time. Among very many targets most are requested
/// once, and then to keep one costs about as much as a quarter of the read and takes the place of
/// another one.
#[derive(Clone)]
pub(super) struct PullCache {
    found: StateCache<Key, Found>,
    manifests: ManifestCache,
    recent: Arc<RecentKeys>,
}

impl PullCache {
    pub(super) fn new(manifests: ManifestCache) -> Self {
        Self {
            found: StateCache::new(CAPACITY),
            manifests,
            recent: Arc::new(RecentKeys::new(RECENT_KEYS)),
        }
    }

    /// What the repository has of the target, in a read transaction.
    pub(super) fn get(
        &self,
        tx: &mut Tx<'_>,
        repository: RepositoryId,
        target: &PullTarget,
    ) -> Result<Pulled, Error> {
        let key = BorrowedKey { repository, target };
        let found = match self.found.get(tx, &key) {
            Some(found) => found,
            None => {
                let is_repeated = self.recent.note(&key);
                if !is_repeated
                    && let PullTarget::Manifest(reference) = target
                    && let Some(manifest) = images::stored(tx, repository, reference)?
                {
                    return Ok(match manifest.image.status {
                        ImageStatus::Active => Pulled::Manifest(Arc::new(manifest)),
                        ImageStatus::Archived | ImageStatus::Activating => Pulled::Nothing,
                    });
                }
                let Some(found) = find(tx, repository, target)? else {
                    return Ok(Pulled::Nothing);
                };
                if is_repeated {
                    let target = target.clone();
                    self.found
                        .insert(tx, Key { repository, target }, found.clone());
                }
                found
            }
        };
        Ok(match found {
            Found::Image(image) if image.status != ImageStatus::Active => Pulled::Nothing,
            Found::Image(image) => Pulled::Manifest(self.manifests.get(tx, &image)?),
            Found::Blob(blob) => Pulled::Blob(blob),
        })
    }
}

fn find(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    target: &PullTarget,
) -> Result<Option<Found>, Error> {
    Ok(match target {
        PullTarget::Manifest(reference) => {
            images::locate(tx, repository, reference)?.map(Found::Image)
        }
        PullTarget::Blob(digest) => {
            let linked = store::blobs::linked(tx, repository, digest)?;
            linked.map(|(blob, lease_until)| {
                Found::Blob(LinkedBlob {
                    blob,
                    repository,
                    lease_until,
                })
            })
        }
    })
}
