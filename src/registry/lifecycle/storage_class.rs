//! `UpdateImageStorageClass`: images go to the archive and come back with their referrers.

use wharfinger_db::Tx;
use wharfinger_oci::{Digest, Reference};

use crate::error::Error;
use crate::images::Images;
use crate::lifecycle::plan::followers;
use crate::lifecycle::policy::{Action, StorageClass};
use crate::model::{ImageStatus, RepositoryId};
use crate::store::images;

/// Most referrers that go with an image. One that has more keeps the others where they are.
const MAX_REFERRERS: usize = 1_000;

impl Images {
    /// Moves an image to a storage class, with its referrers. Returns its digest and its status
    /// then; one that is there already stays as it is.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`]; [`Error::ArchiveOfMember`] for a member of an index.
    pub async fn set_storage_class(
        &self,
        repository: RepositoryId,
        reference: &Reference,
        class: StorageClass,
    ) -> Result<(Digest, ImageStatus), Error> {
        let (reference, now) = (reference.clone(), self.clock.now());
        let effects = self.effects.clone();
        let changed = self
            .db
            .write(move |tx| {
                let found = images::locate(tx, repository, &reference)?;
                let image = found.ok_or_else(|| Error::NoSuchImage(reference.clone()))?;
                let status = match class {
                    StorageClass::Standard => ImageStatus::Active,
                    StorageClass::Archive => ImageStatus::Archived,
                };
                if status == image.status {
                    return Ok((image.digest, status));
                }
                if class == StorageClass::Archive
                    && let Some(by) = images::index_naming(tx, repository, &image.digest)?
                {
                    return Err(Error::ArchiveOfMember { by });
                }
                let change = match class {
                    StorageClass::Standard => images::activate,
                    StorageClass::Archive => images::archive,
                };
                let referrers = referrers(tx, repository, &image.digest)?;
                for id in referrers.into_iter().chain([image.id]) {
                    if change(tx, id, now)? {
                        effects.after_storage_class(tx, repository, id, now)?;
                    }
                }
                Ok((image.digest, status))
            })
            .await;
        self.effects.wake();
        changed
    }
}

fn referrers(
    tx: &mut Tx<'_>,
    repository: RepositoryId,
    subject: &Digest,
) -> Result<Vec<i64>, Error> {
    // All of them, whatever their status; each change looks at that itself.
    let all = followers(tx, repository, subject, Action::Expire, MAX_REFERRERS)?;
    Ok(all.unwrap_or_default())
}
