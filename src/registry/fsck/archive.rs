//! The checks of the archive, a page each.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use wharfinger_blobs::{BlobKey, BlobStore, StoredObject};

use crate::archive::is_whole;
use crate::error::Error;
use crate::fsck::checks::{AT_ONCE, GRACE, OBJECTS, hash, page};
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
        let found = stream::iter(all.clone())
            .map(|blob| self.check_archived_blob(archive, blob))
            .buffer_unordered(AT_ONCE)
            .try_filter_map(|found| std::future::ready(Ok(found)))
            .try_collect()
            .await?;
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
        if is_sound.map_err(Error::Blobs)? {
            return Ok(None);
        }
        // It may have come back since its row was read.
        let digest = blob.digest;
        let now = self.db.read(move |tx| store::present(tx, &digest)).await?;
        Ok((now.as_ref() == Some(&blob)).then_some(Finding::DamagedArchivedBlob(blob)))
    }

    pub(super) async fn archive_objects(&mut self, after: &str) -> Result<CheckedPage, Error> {
        let Some(archive) = self.archive.clone() else {
            return Ok(nothing(Phase::ArchiveObjects));
        };
        let after: Option<BlobKey> = after.parse().ok();
        let listed = archive.objects(after.as_ref(), OBJECTS).await;
        let all = listed.map_err(Error::Blobs)?;
        let limit = self.clock.now().minus(GRACE);
        let known = self.known_archive_keys().await?;
        let mut found = Vec::new();
        for object in &all {
            let is_suspected =
                !known.contains(&hash(object.key.as_str())) && object.modified < limit;
            if is_suspected && self.is_unknown_in_archive(object).await? {
                found.push(Finding::UnknownArchiveObject {
                    key: object.key.clone(),
                    size: object.size,
                });
            }
        }
        Ok(page(Phase::ArchiveObjects, &all, found, |object| {
            let key = object.key.as_str().to_owned();
            Position::at(Phase::ArchiveObjects, 0, Vec::new(), key)
        }))
    }

    /// The keys of the archive that the index names, as hashes. One that two keys share hides an
    /// object.
    async fn known_archive_keys(&self) -> Result<HashSet<u64>, Error> {
        let (mut known, mut after) = (HashSet::new(), Vec::new());
        loop {
            let start = after.clone();
            let page = self.db.read(move |tx| store::after(tx, &start)).await?;
            let Some(last) = page.last() else {
                return Ok(known);
            };
            after = last.digest.to_stored();
            known.extend(page.iter().map(|blob| hash(blob.key.as_str())));
        }
    }

    /// Whether nothing knows of the object now.
    async fn is_unknown_in_archive(&self, object: &StoredObject) -> Result<bool, Error> {
        let key = object.key.clone();
        let known = self.db.read(move |tx| {
            let text = key.as_str();
            let upload = text.split('/').nth(1).unwrap_or_default();
            Ok::<_, Error>(store::is_in_motion(tx, text, upload)? || store::is_named(tx, &key)?)
        });
        Ok(!known.await?)
    }
}
