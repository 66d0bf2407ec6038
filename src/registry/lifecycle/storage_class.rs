//! `UpdateImageStorageClass`: images go to the archive and come back with their referrers.

use wharfinger_base::Timestamp;
use wharfinger_db::Tx;
use wharfinger_oci::{Digest, Reference};

use crate::error::Error;
use crate::images::{Images, is_complete};
use crate::lifecycle::plan::followers;
use crate::lifecycle::policy::{Action, StorageClass};
use crate::model::{ImageStatus, RepositoryId};
use crate::push_effects::PushEffects;
use crate::store::image_status;
use crate::store::images::{self, LocatedImage};

/// Most referrers that go with an image. One that has more keeps the others where they are.
const MAX_REFERRERS: usize = 1_000;

impl Images {
    /// Moves an image to a storage class, with its referrers. Returns its digest and its status
    /// then; one that is there already stays as it is. An image of which the archive has anything,
    /// or that lacks what a check took out of the index, is [`ImageStatus::Activating`] until that
    /// is back.
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
        let change = Change {
            repository,
            class,
            effects: self.effects.clone(),
            lenient: self.accept_missing_references,
            now,
        };
        let changed = self
            .db
            .write(move |tx| {
                let found = images::locate(tx, repository, &reference)?;
                let image = found.ok_or_else(|| Error::NoSuchImage(reference.clone()))?;
                let is_there = match class {
                    StorageClass::Standard => image.status != ImageStatus::Archived,
                    StorageClass::Archive => image.status == ImageStatus::Archived,
                };
                if is_there {
                    return Ok((image.digest, image.status));
                }
                if class == StorageClass::Archive
                    && let Some(by) = images::index_naming(tx, repository, &image.digest)?
                {
                    return Err(Error::ArchiveOfMember { by });
                }
                for id in referrers(tx, repository, &image.digest)? {
                    if let Some(referrer) = image_status::locate(tx, id)? {
                        change.apply(tx, &referrer)?;
                    }
                }
                let status = change.apply(tx, &image)?;
                Ok((image.digest, status))
            })
            .await;
        self.effects.wake();
        self.effects.archive.wake();
        changed
    }
}

/// What happens to an image and its referrers.
struct Change {
    repository: RepositoryId,
    class: StorageClass,
    effects: PushEffects,
    /// Images may lack what they name.
    lenient: bool,
    now: Timestamp,
}

impl Change {
    /// Changes one image; returns its status then.
    fn apply(&self, tx: &mut Tx<'_>, image: &LocatedImage) -> Result<ImageStatus, Error> {
        let (repository, now) = (self.repository, self.now);
        let (status, has_changed) = match self.class {
            StorageClass::Archive => (
                ImageStatus::Archived,
                image_status::archive(tx, image.id, now)?,
            ),
            StorageClass::Standard
                if image.status == ImageStatus::Active
                    || is_complete(tx, repository, image.id, self.lenient)? =>
            {
                image_status::activate(tx, image, now)?
            }
            StorageClass::Standard => {
                image_status::begin_activation(tx, image.id)?;
                (ImageStatus::Activating, false)
            }
        };
        if has_changed {
            self.effects
                .after_storage_class(tx, repository, image.id, now)?;
        }
        Ok(status)
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
