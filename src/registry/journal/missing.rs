//! Takes blobs out of an index that was made anew whose bytes are not there.

use futures_util::{StreamExt, stream};
use wharfinger_blobs::{BlobKey, BlobStore};
use wharfinger_db as db;

use crate::fsck::repair::is_nothing_there;
use crate::journal::rebuild::{Rebuild, RebuildError, Rebuilt};
use crate::model::{ArchivedBlob, Blob};
use crate::store::{archive, fsck};

/// Blobs that are looked for in the store at once: each is a system call or a request.
const LOOKS_AT_ONCE: usize = 8;

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
        let mut after = Vec::new();
        loop {
            let page = self
                .db
                .read(move |tx| fsck::blobs_after(tx, &after))
                .await?;
            let Some(last) = page.last() else { break };
            after = last.digest.to_stored();
            let bytes_of = |blob: &Blob| (blob.key.clone(), blob.size);
            let missing = self.missing(&self.store, page, bytes_of).await?;
            done.missing_blobs += missing.len();
            let removed = self.db.write(move |tx| {
                for blob in &missing {
                    fsck::forget_blob(tx, blob)?;
                }
                Ok::<_, db::Error>(())
            });
            removed.await?;
            progress(*done);
        }
        let Some(store) = &self.archive else {
            return Ok(());
        };
        let mut after = Vec::new();
        loop {
            let page = self.db.read(move |tx| archive::after(tx, &after)).await?;
            let Some(last) = page.last() else { break };
            after = last.digest.to_stored();
            let bytes_of = |blob: &ArchivedBlob| (blob.key.clone(), blob.stored_size);
            let missing = self.missing(store, page, bytes_of).await?;
            done.missing_blobs += missing.len();
            let removed = self.db.write(move |tx| {
                for blob in &missing {
                    fsck::forget_archived_blob(tx, blob)?;
                }
                Ok::<_, db::Error>(())
            });
            removed.await?;
            progress(*done);
        }
        Ok(())
    }

    /// Those of a page of blobs that a store certainly does not have. Where it cannot tell, the
    /// blob stays. `bytes_of` gives key and size of the bytes.
    async fn missing<T>(
        &self,
        store: &BlobStore,
        page: Vec<T>,
        bytes_of: impl Fn(&T) -> (BlobKey, u64),
    ) -> Result<Vec<T>, RebuildError> {
        let count = page.len();
        let looks = page.into_iter().map(|blob| {
            let (key, size) = bytes_of(&blob);
            async move {
                match store.has(&key, size).await {
                    Ok(has) => (!has).then_some(blob),
                    Err(error) => {
                        tracing::warn!(%key, %error, "a blob cannot be looked for in the store");
                        None
                    }
                }
            }
        });
        let missing: Vec<T> = stream::iter(looks)
            .buffer_unordered(LOOKS_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        if is_nothing_there(count, missing.len()) && !self.accept_loss {
            return Err(RebuildError::NothingThere(count));
        }
        Ok(missing)
    }
}
