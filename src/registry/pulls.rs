//! What a pull reads from the index, in one snapshot: the repository with its policy, and the
//! manifest or blob in it.

use std::sync::Arc;

use wharfinger_oci::RepositoryName;

use crate::Registry;
use crate::content::Content;
use crate::error::Error;
use crate::model::{Blob, RegistryId};
use crate::pull_target::{LinkedBlob, PullTarget, Pulled};
use crate::repository_cache::RepositoryLookup;
use crate::repository_resource::RepositoryResource;

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
        let pulls = self.pulls.clone();
        let (resource, pulled) = self
            .content
            .db
            .get(move |tx| {
                let resource = resources.get_or_missing(tx, &key)?;
                let pulled = match resource.repository() {
                    Ok(repository) => pulls.get(tx, repository.id, &target)?,
                    Err(_) => Pulled::Nothing,
                };
                Ok::<_, Error>((resource, pulled))
            })
            .await?;
        Ok((resource, pulled))
    }
}

impl Content {
    /// Extends the blob's lease for the duration of a push. For clients that check whether they
    /// must upload the blob.
    ///
    /// # Errors
    /// [`Error::NoSuchBlob`] where it has gone since it was loaded.
    pub async fn keep(&self, linked: &LinkedBlob) -> Result<Blob, Error> {
        let (repository, blob) = (linked.repository, linked.blob.clone());
        self.renew_if_due(repository, blob, linked.lease_until)
            .await
    }
}
