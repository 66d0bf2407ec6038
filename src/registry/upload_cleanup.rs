//! Ends uploads: cancelled, failed and idle ones, and what is left of published ones.
//!
//! First a transaction ends the session, which only the holder of its claim can do; from then on no
//! request can publish its bytes. Then they are removed, then the row goes. Whatever is interrupted
//! is done again by the sweep.

use futures_util::{StreamExt, stream};
use wharfinger_blobs::{BlobKey, Staged};
use wharfinger_oci::{Algorithm, Digest};

use crate::error::Error;
use crate::store::blobs;
use crate::store::uploads::{self as store, UploadSession};
use crate::upload_claims::Claim;
use crate::uploads::{Uploads, store_error};

/// Sessions ended by one step of the sweep. Steps follow each other until nothing is left.
const SWEEP_STEP: i64 = 200;
/// Sessions ended at once: each takes a few requests to the blob store.
const SWEPT_AT_ONCE: usize = 8;
/// Staged files that no session knows, removed by one step.
const ORPHANS_PER_STEP: usize = 1_000;

/// What one step of the sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Swept {
    /// Sessions ended.
    pub(super) ended: usize,
    /// Staged files removed that no session knew.
    pub(super) orphans: usize,
    /// There is more to do.
    pub(super) more: bool,
}

impl Uploads {
    /// Ends a claimed session and drops its bytes.
    ///
    /// # Errors
    /// [`Error::NoSuchUpload`] where it ended meanwhile.
    pub(super) async fn end(&self, claim: Claim) -> Result<(), Error> {
        let (id, version) = (claim.session.id, claim.session.version);
        let clock = self.clock.now();
        let ended = self
            .db
            .write(move |tx| store::end(tx, id, version, clock))
            .await?;
        if !ended {
            return Err(Error::NoSuchUpload);
        }
        self.clean_up(&claim.session).await;
        Ok(())
    }

    /// Removes the bytes of an ended session and its row; says whether it could.
    pub(super) async fn clean_up(&self, session: &UploadSession) -> bool {
        let removed = self.remove_bytes(session).await;
        if let Err(error) = &removed {
            tracing::warn!(
                upload = %session.id,
                %error,
                "the bytes of an ended upload were not removed; the sweep tries again"
            );
        }
        removed.is_ok()
    }

    async fn remove_bytes(&self, session: &UploadSession) -> Result<(), Error> {
        let published = match &session.digest {
            Some(digest) => self.present_key(digest).await?,
            None => None,
        };
        // A state that can't be read is another version's: what it left is found by its id.
        let staged = Staged::from_bytes(&session.staged)
            .unwrap_or_else(|| self.blobs.begin(session.id, Algorithm::Sha256));
        let aborted = self.blobs.abort(&staged, published.as_ref()).await;
        aborted.map_err(store_error)?;
        if let Some(digest) = &session.digest
            && let Some(key) = self.blobs.key_of(digest)
        {
            self.remove_unless_present(digest, &key).await?;
        }
        let id = session.id;
        self.db
            .write(move |tx| store::delete_ended(tx, id))
            .await
            .map_err(Error::from)
    }

    /// Removes bytes that the index does not name. An upload that is about to name them is waited
    /// for.
    pub(super) async fn remove_unless_present(
        &self,
        digest: &Digest,
        key: &BlobKey,
    ) -> Result<(), Error> {
        let _held = self.publishing.hold(*digest).await;
        if self.present_key(digest).await?.as_ref() != Some(key) {
            self.blobs.delete(key).await.map_err(Error::Blobs)?;
        }
        Ok(())
    }

    async fn present_key(&self, digest: &Digest) -> Result<Option<BlobKey>, Error> {
        let digest = *digest;
        let blob = self.db.get(move |tx| blobs::present(tx, &digest)).await?;
        Ok(blob.map(|blob| blob.key))
    }

    /// Ends sessions that have been idle for longer than the configured time, and removes the bytes
    /// of ended ones: a bounded step.
    pub(super) async fn sweep(&self) -> Result<Swept, Error> {
        let clock = self.clock.now();
        let expiry = self.config.upload_expiry;
        let expiry_ms = i64::try_from(expiry.as_millis()).unwrap_or(i64::MAX);
        let due = self
            .db
            .read(move |tx| store::due(tx, expiry_ms, clock, SWEEP_STEP))
            .await?;
        let full = due.len() as u64 == SWEEP_STEP.unsigned_abs();
        let ended = stream::iter(due)
            .map(|session| self.claims.unless_locked(session.id, self.end_due(session)))
            .buffer_unordered(SWEPT_AT_ONCE)
            .filter(|ended| std::future::ready(*ended))
            .count()
            .await;
        // Twice the time: a session that is just being written to is always younger.
        let orphans = self
            .blobs
            .sweep_staging(clock.minus(2 * expiry), ORPHANS_PER_STEP)
            .await
            .map_err(store_error)?;
        Ok(Swept {
            ended,
            orphans,
            // Sessions that could not be ended are claimed for a while, and not due meanwhile.
            more: (full && ended > 0) || orphans == ORPHANS_PER_STEP,
        })
    }

    async fn end_due(&self, session: UploadSession) -> bool {
        let (id, version) = (session.id, session.version);
        let clock = self.clock.now();
        let ended = self
            .db
            .write(move |tx| store::end(tx, id, version, clock))
            .await;
        match ended {
            Ok(true) => self.clean_up(&session).await,
            // Another server, or a request, was faster.
            Ok(false) => false,
            Err(error) => {
                tracing::warn!(
                    upload = %id,
                    %error,
                    "an idle upload was not ended; the sweep tries again"
                );
                false
            }
        }
    }
}
