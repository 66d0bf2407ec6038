//! What tags and digests name, in memory for one state of the index.

use quick_cache::Equivalent;
use wharfinger_db::Tx;

use crate::error::Error;
use crate::manifest_cache::{self, FoundImage, ManifestCache};
use crate::model::RepositoryId;
use crate::pull_target::{LinkedBlob, PullTarget, Pulled};
use crate::state_cache::StateCache;
use crate::store;

/// Targets in memory, at some 300 bytes each.
const CAPACITY: usize = 8_192;

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
    Image(FoundImage),
    Blob(LinkedBlob),
}

/// A cache of what targets name. The bytes of manifests are in the [`ManifestCache`], whatever the
/// state of the index.
#[derive(Clone)]
pub(super) struct PullCache {
    found: StateCache<Key, Found>,
    manifests: ManifestCache,
}

impl PullCache {
    pub(super) fn new(manifests: ManifestCache) -> Self {
        Self {
            found: StateCache::new(CAPACITY),
            manifests,
        }
    }

    /// What the repository has of the target, in a read transaction.
    pub(super) fn get(
        &self,
        tx: &mut Tx<'_>,
        repository: RepositoryId,
        target: &PullTarget,
    ) -> Result<Pulled, Error> {
        let found = match self.found.get(tx, &BorrowedKey { repository, target }) {
            Some(found) => found,
            None => {
                let Some(found) = find(tx, repository, target)? else {
                    return Ok(Pulled::Nothing);
                };
                let target = target.clone();
                self.found
                    .insert(tx, Key { repository, target }, found.clone());
                found
            }
        };
        Ok(match found {
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
            manifest_cache::find(tx, repository, reference)?.map(Found::Image)
        }
        PullTarget::Blob(digest) => {
            let linked = store::blobs::linked(tx, repository, digest)?;
            linked.map(|(blob, lease_until)| Found::Blob(LinkedBlob { blob, lease_until }))
        }
    })
}
