//! The checks of the archive, a page each.

use futures_util::{StreamExt, TryStreamExt, stream};
use wharfinger_blobs::{BlobKey, BlobStore, StoredObject};
use wharfinger_db::Tx;

use crate::archive::is_whole;
use crate::error::Error;
use crate::fsck::checks::{AT_ONCE, OBJECTS, page, refuse_unreadable};
use crate::fsck::known::{GRACE, upload_in};
use crate::fsck::{CheckedPage, Finding, Fsck, Phase, Position};
use crate::model::ArchivedBlob;
use crate::store::archive as store;

/// A page of a phase that has nothing to look at.
fn nothing(phase: Phase) -> CheckedPage {
    CheckedPage {
        seen: 0,
        found: Vec::new(),
        next: Position::after(phase),
    }
}

impl Fsck {
    pub(super) async fn archived_blobs(&self, after: &[u8]) -> Result<CheckedPage, Error> {
        let Some(archive) = &self.archive else {
            return Ok(nothing(Phase::ArchivedBlobs));
        };
        let after = after.to_vec();
        let all = self.db.read(move |tx| store::after(tx, &after)).await?;
        let found: Vec<Finding> = stream::iter(all.clone())
            .map(|blob| self.check_archived_blob(archive, blob))
            .buffer_unordered(AT_ONCE)
            .try_filter_map(|found| std::future::ready(Ok(found)))
            .try_collect()
            .await?;
        refuse_unreadable(all.len(), &found)?;
        Ok(page(Phase::ArchivedBlobs, &all, found, |blob| {
            Position::at(
                Phase::ArchivedBlobs,
                0,
                blob.digest.to_stored(),
                String::new(),
            )
        }))
    }

    async fn check_archived_blob(
        &self,
        archive: &BlobStore,
        blob: ArchivedBlob,
    ) -> Result<Option<Finding>, Error> {
        let is_sound = if self.options.checksums {
            is_whole(archive, &blob).await
        } else {
            archive.has(&blob.key, blob.stored_size).await
        };
        let finding = match is_sound {
            Ok(true) => return Ok(None),
            Ok(false) => Finding::DamagedArchivedBlob(blob.clone()),
            Err(error) => Finding::UnreadableArchivedBlob {
                blob: blob.clone(),
                why: error.to_string(),
            },
        };
        // It may have come back since its row was read.
        let digest = blob.digest;
        let now = self.db.read(move |tx| store::present(tx, &digest)).await?;
        Ok((now.as_ref() == Some(&blob)).then_some(finding))
    }

    pub(super) async fn archive_objects(&self, after: &str) -> Result<CheckedPage, Error> {
        let Some(archive) = &self.archive else {
            return Ok(nothing(Phase::ArchiveObjects));
        };
        let after: Option<BlobKey> = after.parse().ok();
        let listed = archive.objects(after.as_ref(), OBJECTS).await;
        let all = listed.map_err(Error::Blobs)?;
        let limit = self.clock.now().minus(GRACE);
        let suspected = all.iter().filter(|object| object.modified < limit);
        let unknown = self.unknown(archive, suspected.cloned().collect(), is_known);
        let found = unknown.await?.into_iter().map(|object| {
            let StoredObject { key, size, .. } = object;
            Finding::UnknownArchiveObject { key, size }
        });
        Ok(page(
            Phase::ArchiveObjects,
            &all,
            found.collect(),
            |object| {
                let key = object.key.as_str().to_owned();
                Position::at(Phase::ArchiveObjects, 0, Vec::new(), key)
            },
        ))
    }
}

/// Whether the index knows an object of the archive.
fn is_known(tx: &mut Tx<'_>, key: &BlobKey) -> Result<bool, Error> {
    let text = key.as_str();
    Ok(store::is_named(tx, key)? || store::is_in_motion(tx, text, upload_in(text))?)
}
