//! What a pull reads from the index, in one snapshot: the repository with its policy, and the
//! manifest or blob in it.

use std::sync::Arc;

use wharfinger_base::Timestamp;
use wharfinger_oci::{Digest, Reference, RepositoryName};

use crate::Registry;
use crate::content::Content;
use crate::error::Error;
use crate::model::{Blob, RegistryId, StoredManifest};
use crate::repository_cache::RepositoryLookup;
use crate::repository_resource::RepositoryResource;
use crate::store;

/// What a request reads from a repository.
#[derive(Clone, Debug)]
pub enum PullTarget {
    Manifest(Reference),
    Blob(Digest),
}

/// What the repository has of the target. Only for callers whom the policies of the resource, which
/// was loaded with it, allow to read it.
#[derive(Clone, Debug, Default)]
pub enum Pulled {
    #[default]
    Nothing,
    Manifest(Arc<StoredManifest>),
    Blob(LinkedBlob),
}

/// A blob that a repository links, and until when it is kept without an image.
#[derive(Clone, Debug)]
pub struct LinkedBlob {
    pub blob: Blob,
    pub(super) lease_until: Timestamp,
}

impl Registry {
    /// Loads what `name` refers to, for a decision about it, and what it has of the target: one
    /// transaction where two would cost each pull a quarter more.
    pub async fn load_for_pull(
        &self,
        registry: &RegistryId,
        name: &RepositoryName,
        target: PullTarget,
    ) -> Result<(Arc<RepositoryResource>, Pulled), Error> {
        let key = RepositoryLookup::of(registry, name);
        let resources = self.repositories.resources.clone();
        let manifests = self.images.manifests.clone();
        let (resource, pulled) = self
            .content
            .db
            .get(move |tx| {
                let Some(resource) = resources.get(tx, &key)? else {
                    return Ok::<_, Error>((None, Pulled::Nothing));
                };
                let repository = resource.repository()?;
                let pulled = match &target {
                    PullTarget::Manifest(reference) => manifests
                        .get(tx, repository.id, reference)?
                        .map_or(Pulled::Nothing, Pulled::Manifest),
                    PullTarget::Blob(digest) => store::blobs::linked(tx, repository.id, digest)?
                        .map_or(Pulled::Nothing, |(blob, lease_until)| {
                            Pulled::Blob(LinkedBlob { blob, lease_until })
                        }),
                };
                Ok((Some(resource), pulled))
            })
            .await?;
        let missing = || Arc::new(RepositoryResource::missing(registry, name));
        Ok((resource.unwrap_or_else(missing), pulled))
    }
}

impl Content {
    /// Extends the blob's lease for the duration of a push. For clients that check whether they
    /// must upload the blob.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`] where it has gone since it was loaded.
    pub async fn keep(&self, linked: &LinkedBlob) -> Result<Blob, Error> {
        self.renew_if_due(linked.blob.clone(), linked.lease_until)
            .await
    }
}
