//! Repairs what a check found, as far as it can be repaired.
//!
//! A blob that is missing or damaged is fetched from another registry where one has it. Else it is
//! taken out of the index: clients are told that it does not exist, so that a push brings it again,
//! and the images that need it are found by the next check.

use wharfinger_blobs::{BlobKey, BlobStore};

use crate::error::Error;
use crate::fsck::{CheckedPage, Finding, Fsck, FsckError, Phase};
use crate::journal::is_nothing_there;
use crate::model::{ArchivedBlob, Blob};
use crate::store::fsck as store;
use crate::store::{blobs, journal, tags};

impl Fsck {
    /// Repairs what a page of a check found.
    ///
    /// # Errors
    /// [`FsckError::NothingThere`] where none of the blobs of a page is there. Nothing is fetched
    /// then: at the next run some would be there, and the others be taken out.
    pub(super) async fn repair_all(&self, page: &CheckedPage) -> Result<(), FsckError> {
        let count = usize::try_from(page.seen).unwrap_or(usize::MAX);
        let lost = page.found.iter().filter(|one| is_lost(one)).count();
        if is_nothing_there(count, lost) && !self.options.accept_loss {
            return Err(FsckError::NothingThere(count));
        }
        for finding in &page.found {
            self.repair(finding).await?;
        }
        let is_segment = |one: &Finding| {
            matches!(
                one,
                Finding::DamagedSegment { .. } | Finding::MissingSegment { .. }
            )
        };
        if page.found.iter().any(is_segment) {
            self.write_journal_anew().await?;
        }
        Ok(())
    }

    pub(crate) async fn repair(&self, finding: &Finding) -> Result<(), Error> {
        match finding {
            Finding::MissingBlob(blob) => {
                if self.fetch_again(blob).await? {
                    return Ok(());
                }
                self.forget(blob).await
            }
            Finding::DamagedBlob(blob) => {
                if self.fetch_again(blob).await? {
                    return self.put_replaced_aside(blob).await;
                }
                self.forget(blob).await?;
                self.put_aside(&blob.key).await
            }
            Finding::UnreadableBlob { blob, .. } => {
                if self.fetch_again(blob).await? {
                    return Ok(());
                }
                // A bucket that fails for a while would lose sound blobs; a sector of a disk stays
                // unreadable.
                if self.store.has_keys_by_digest() {
                    self.forget(blob).await?;
                    self.put_aside(&blob.key).await?;
                }
                Ok(())
            }
            Finding::UnknownObject { key, .. } => self.put_aside(key).await,
            Finding::DamagedArchivedBlob(blob) => self.forget_archived(blob).await,
            Finding::UnreadableArchivedBlob { blob, .. } => {
                // As for ordinary blobs, a bucket may only fail for a while.
                let archive = self.archive.as_ref();
                if archive.is_some_and(BlobStore::has_keys_by_digest) {
                    self.forget_archived(blob).await?;
                }
                Ok(())
            }
            Finding::UnknownArchiveObject { key, .. } => match &self.archive {
                Some(archive) => archive.quarantine(key).await.map_err(Error::Blobs),
                None => Ok(()),
            },
            Finding::DanglingLink {
                repository, digest, ..
            } => {
                let (repository, digest) = (*repository, *digest);
                self.db
                    .write(move |tx| blobs::unlink(tx, repository, &digest).map(drop))
                    .await?;
                Ok(())
            }
            Finding::DanglingTag {
                repository, tag, ..
            } => {
                let (repository, tag) = (*repository, tag.clone());
                self.db
                    .write(move |tx| tags::delete(tx, repository, &tag).map(drop))
                    .await?;
                Ok(())
            }
            // Only a push brings these images again; `repair_all` writes the journal anew.
            Finding::DamagedManifest { .. }
            | Finding::IncompleteImage { .. }
            | Finding::DamagedSegment { .. }
            | Finding::MissingSegment { .. } => Ok(()),
        }
    }

    /// Lets the next server write the journal anew and remove the segments of today. Not where a
    /// manifest is damaged: the journal may be the only place that has it whole.
    async fn write_journal_anew(&self) -> Result<(), Error> {
        let is_damaged = |one: &Finding| matches!(one, Finding::DamagedManifest { .. });
        let mut after = Some(0);
        while let Some(from) = after {
            let page = self.images(from).await?;
            if page.found.iter().any(is_damaged) {
                tracing::warn!("the journal is not written anew: a manifest is damaged");
                return Ok(());
            }
            let next = page.next.filter(|next| next.phase == Phase::Images);
            after = next.map(|next| next.number);
        }
        let begun = self.db.write(journal::refresh_from_start).await;
        begun.map_err(Error::from)
    }

    /// Puts damaged bytes aside that the index no longer names: those under another key than the
    /// fetched ones.
    async fn put_replaced_aside(&self, blob: &Blob) -> Result<(), Error> {
        if blob.key == BlobKey::of_blob(&blob.digest) {
            return Ok(());
        }
        self.put_aside(&blob.key).await
    }

    async fn put_aside(&self, key: &BlobKey) -> Result<(), Error> {
        self.store.quarantine(key).await.map_err(Error::Blobs)
    }

    async fn forget_archived(&self, blob: &ArchivedBlob) -> Result<(), Error> {
        let known = blob.clone();
        let forgotten = self.db.write(move |tx| {
            store::forget_archived_blob(tx, &known)?;
            Ok::<_, Error>(())
        });
        forgotten.await?;
        match &self.archive {
            Some(archive) => archive.quarantine(&blob.key).await.map_err(Error::Blobs),
            None => Ok(()),
        }
    }

    async fn forget(&self, blob: &Blob) -> Result<(), Error> {
        let blob = blob.clone();
        self.db
            .write(move |tx| Ok::<_, Error>(store::forget_blob(tx, &blob)?))
            .await
    }
}

/// Findings of bytes that are not there, or may not be.
fn is_lost(finding: &Finding) -> bool {
    matches!(
        finding,
        Finding::MissingBlob(_)
            | Finding::UnreadableBlob { .. }
            | Finding::DamagedArchivedBlob(_)
            | Finding::UnreadableArchivedBlob { .. }
    )
}
