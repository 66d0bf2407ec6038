//! Takes blobs out of an index that was made anew whose bytes are not there.

use futures_util::{StreamExt, stream};
use wharfinger_blobs::{BlobKey, BlobStore};
use wharfinger_db::{self as db, Tx};
use wharfinger_oci::Digest;

use crate::journal::rebuild::{Rebuild, Rebuilt};
use crate::journal::rebuild_error::RebuildError;
use crate::model::{ArchivedBlob, Blob};
use crate::store::{archive, fsck};

/// Blobs that are looked for in the store at once: each is a system call or a request.
const LOOKS_AT_ONCE: usize = 8;

/// The rows of blobs in one of the stores.
struct Rows<T> {
    /// Some of them after a digest in stored form, in order.
    after: fn(&mut Tx<'_>, &[u8]) -> db::Result<Vec<T>>,
    digest: fn(&T) -> &Digest,
    /// Where the bytes of one are, and how many there are.
    bytes: fn(&T) -> (&BlobKey, u64),
    forget: fn(&mut Tx<'_>, &T) -> db::Result<()>,
}

const STORED: Rows<Blob> = Rows {
    after: fsck::blobs_after,
    digest: |blob| &blob.digest,
    bytes: |blob| (&blob.key, blob.size),
    forget: fsck::forget_blob,
};

const ARCHIVED: Rows<ArchivedBlob> = Rows {
    after: archive::after,
    digest: |blob| &blob.digest,
    bytes: |blob| (&blob.key, blob.stored_size),
    forget: fsck::forget_archived_blob,
};

impl Rebuild {
    /// Looks for all blobs, also those of the archive, in their stores. A blob is not looked for
    /// where its store fails: a later check of the index does that.
    ///
    /// # Errors
    /// [`RebuildError::NothingThere`].
    pub(super) async fn remove_missing(
        &self,
        done: &mut Rebuilt,
        progress: &mut impl FnMut(Rebuilt),
    ) -> Result<(), RebuildError> {
        self.remove_missing_in(&self.store, STORED, done, progress)
            .await?;
        match &self.archive {
            Some(store) => {
                self.remove_missing_in(store, ARCHIVED, done, progress)
                    .await
            }
            None => Ok(()),
        }
    }

    async fn remove_missing_in<T: Clone + Send + Sync + 'static>(
        &self,
        store: &BlobStore,
        rows: Rows<T>,
        done: &mut Rebuilt,
        progress: &mut impl FnMut(Rebuilt),
    ) -> Result<(), RebuildError> {
        let mut after = Vec::new();
        loop {
            let page = self.db.read(move |tx| (rows.after)(tx, &after)).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = (rows.digest)(last).to_stored();
            let missing = self.missing(store, page, &rows, done).await?;
            let removed = self.db.write(move |tx| {
                let mut missing = missing.iter();
                missing.try_for_each(|blob| (rows.forget)(tx, blob))
            });
            removed.await?;
            progress(*done);
        }
    }

    /// Those of a page of blobs that a store certainly does not have. Where it cannot tell, the
    /// blob stays. One that no repository has any more may have been collected: it is no loss.
    async fn missing<T>(
        &self,
        store: &BlobStore,
        page: Vec<T>,
        rows: &Rows<T>,
        done: &mut Rebuilt,
    ) -> Result<Vec<T>, RebuildError> {
        let digests: Vec<Digest> = page.iter().map(|blob| *(rows.digest)(blob)).collect();
        let looks = page.into_iter().map(|blob| async move {
            let (key, size) = (rows.bytes)(&blob);
            let has = store.has(key, size).await;
            if let Err(error) = &has {
                tracing::warn!(%key, %error, "a blob cannot be looked for in the store");
            }
            (blob, has.ok())
        });
        let looked: Vec<(T, Option<bool>)> = stream::iter(looks)
            .buffer_unordered(LOOKS_AT_ONCE)
            .collect()
            .await;
        if looked.iter().all(|(_, has)| *has == Some(true)) {
            return Ok(Vec::new());
        }
        let linked = self
            .db
            .read(move |tx| fsck::linked_anywhere(tx, &digests))
            .await?;
        let is_linked = |blob: &T| linked.contains((rows.digest)(blob));
        let lost = looked.iter().filter(|(_, has)| *has != Some(true));
        let lost = lost.filter(|(blob, _)| is_linked(blob)).count();
        if is_nothing_there(linked.len(), lost) && !self.accept_loss {
            return Err(RebuildError::NothingThere(lost));
        }
        let missing = looked.into_iter().filter(|(_, has)| *has == Some(false));
        let missing: Vec<T> = missing.map(|(blob, _)| blob).collect();
        done.missing_blobs += missing.iter().filter(|blob| is_linked(blob)).count();
        Ok(missing)
    }
}

/// Whether a store that lacks so many of some blobs may be the wrong one, or only part of one.
pub(crate) fn is_nothing_there(count: usize, lost: usize) -> bool {
    count > 1 && count == lost
}
