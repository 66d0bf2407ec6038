//! Brings the blobs of images back that are restored, and makes the images active then.

use futures_util::StreamExt;
use wharfinger_blobs::BodyError;

use crate::archive::encoding;
use crate::archive::mover::{ArchiveMover, MoveError, Step};
use crate::error::Error;
use crate::images::is_complete;
use crate::model::{ArchivedBlob, RepositoryId};
use crate::store::{archive as store, image_status};
use crate::uploads::Part;

impl ArchiveMover {
    /// Restores some of the images that are `activating`, in the order of their row numbers. One
    /// that fails does not hold up those after it.
    pub(super) async fn restore_some(&mut self) -> Result<Step, Error> {
        let after = self.restored_to;
        let images = self
            .db
            .read(move |tx| store::activating_after(tx, after))
            .await?;
        let mut step = Step {
            done: 0,
            stored: 0,
            more: images.len() == store::PAGE,
        };
        self.restored_to = images.last().map_or(0, |(image, _)| *image);
        if !step.more {
            self.restored_to = 0;
        }
        for (image, repository) in images {
            match self.restore_image(image, repository).await {
                Ok(is_active) => step.done += usize::from(is_active),
                Err(MoveError::Superseded) => return Ok(step),
                Err(error) => tracing::error!(image, %error, "an image was not restored"),
            }
        }
        Ok(step)
    }

    /// Brings all blobs of an image back; true once it is active.
    async fn restore_image(
        &mut self,
        image: i64,
        repository: RepositoryId,
    ) -> Result<bool, MoveError> {
        let mut before = None;
        loop {
            let blobs = self.db.read(move |tx| store::of_image(tx, image)).await?;
            let Some(first) = blobs.first().map(|blob| blob.digest) else {
                return Ok(self.activate(image, repository).await?);
            };
            if before == Some(first) {
                // It was stored, and is archived all the same.
                return Err(MoveError::Damaged);
            }
            before = Some(first);
            for blob in blobs {
                let now = self.clock.now();
                if self.failed.get(&blob.digest).is_some_and(|at| *at > now) {
                    return Ok(false);
                }
                match self.restore_blob(repository, &blob).await {
                    Ok(()) => self.progress.add_restored(),
                    Err(MoveError::Superseded) => return Err(MoveError::Superseded),
                    Err(error) => {
                        self.note_failure(blob.digest);
                        tracing::error!(
                            digest = %blob.digest,
                            %error,
                            "a blob did not come back from the archive; a later pass tries again"
                        );
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Takes the blob in as an upload of its repository. That verifies the digest, and puts its row
    /// in the place of the archived one.
    async fn restore_blob(
        &self,
        repository: RepositoryId,
        blob: &ArchivedBlob,
    ) -> Result<(), MoveError> {
        let opened = self
            .archive
            .store
            .open_blob(&blob.key, blob.stored_size, None);
        let pieces = encoding::decode(encoding::pieces(opened.await?), blob.encoding)?;
        let part = Part {
            body: pieces.map(|piece| piece.map_err(BodyError::from)),
            offset: None,
            length: Some(blob.size),
        };
        let import = Box::pin(self.uploads.monolithic(repository, &blob.digest, part));
        self.while_held(import).await??;
        Ok(())
    }

    async fn activate(&self, image: i64, repository: RepositoryId) -> Result<bool, Error> {
        let (effects, now) = (self.effects.clone(), self.clock.now());
        let lenient = self.uploads.config.accept_missing_references;
        let activated = self.db.write(move |tx| {
            // Part of it was archived again meanwhile, or lost: a push brings that again.
            if store::has_any_of(tx, image)? || !is_complete(tx, repository, image, lenient)? {
                return Ok(false);
            }
            // Deleted or archived again meanwhile.
            if !image_status::end_activation(tx, image, now)? {
                return Ok(false);
            }
            effects.after_storage_class(tx, repository, image, now)?;
            Ok(true)
        });
        activated.await
    }
}
