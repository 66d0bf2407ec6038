//! Makes a claimed upload a blob of its repository.

use std::time::Duration;

use uuid::Uuid;
use wharfinger_base::Timestamp;
use wharfinger_blobs::{self as blobs, BlobKey, FinishError, StoredBlob};
use wharfinger_db::Tx;
use wharfinger_oci::Digest;

use crate::error::Error;
use crate::gc::BlobLease;
use crate::keyed_locks::KeyLock;
use crate::model::Blob;
use crate::store as tables;
use crate::store::uploads::{self as store, UploadSession};
use crate::upload_claims::Claim;
use crate::uploads::{Uploads, finish_error, staged};

/// How often the blob that the index has for a digest may change while it is being checked.
const CHECKS: usize = 5;

/// How often, and how long after each other, the outcome of a transaction that was given up is
/// looked for: some hours, for which a failed database may be away.
const SETTLE_ATTEMPTS: usize = 1_000;
const SETTLE_PAUSE: Duration = Duration::from_secs(10);

/// What the index is to learn at the end of an upload.
#[derive(Clone)]
struct Publication {
    session: UploadSession,
    blob: Blob,
    /// The upload leaves something in the store beside the blob.
    leftovers: bool,
    /// The key of an earlier copy of the content that was found whole, or found damaged.
    whole: Option<BlobKey>,
    damaged: Option<BlobKey>,
    lease: BlobLease,
}

/// A blob that the index has learnt of, and whether bytes of the session remain to be removed.
struct Linked {
    blob: Blob,
    ended: bool,
}

/// The outcome of a transaction that publishes.
enum Published {
    Linked(Linked),
    /// Nothing was written: this earlier copy must be checked first.
    Check(Blob),
}

impl Uploads {
    /// Makes the claimed upload a blob of its repository, durable when this returns. A wrong digest
    /// ends the session and leaves nothing.
    pub(super) async fn publish(&self, mut claim: Claim, digest: Digest) -> Result<Blob, Error> {
        // From here to the row, nothing may remove the file of this digest.
        let held = self.claims.hold(&mut claim, self.publishing.hold(digest));
        let outcome = match held.await {
            Ok(held) => {
                let outcome = self.finish_and_link(&mut claim, digest).await;
                if matches!(outcome, Err(Error::Index(_))) {
                    self.release_when_settled(held, claim.session.id);
                }
                outcome
            }
            Err(error) => Err(error),
        };
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                if matches!(error, Error::NoSuchUpload) {
                    // The repository is gone; the session may be, too.
                    let _ = self.end(claim).await;
                }
                return Err(error);
            }
        };
        match outcome {
            Ok(linked) => {
                self.remove_leftovers(&claim.session, digest, &linked).await;
                Ok(linked.blob)
            }
            Err(error) => Err(self.not_finished(claim, error, digest).await),
        }
    }

    /// Holds the digest until no transaction about the session can be committed any more: one that
    /// was given up may yet name the file, and whoever removes it would not see that.
    fn release_when_settled(&self, held: KeyLock<Digest>, session: Uuid) {
        let db = self.db.clone();
        tokio::spawn(async move {
            let _held = held;
            for attempt in 0..SETTLE_ATTEMPTS {
                // It is ordered with the one in doubt, which changes the same row.
                let settled = db.write(move |tx| store::touch(tx, session)).await;
                let Err(error) = settled else { return };
                // Once: all uploads of a time without the index attempt it again and again.
                if attempt == 0 {
                    tracing::warn!(upload = %session, %error, "the end of an upload is in doubt");
                }
                tokio::time::sleep(SETTLE_PAUSE).await;
            }
        });
    }

    async fn finish_and_link(
        &self,
        claim: &mut Claim,
        digest: Digest,
    ) -> Result<Result<Linked, FinishError>, Error> {
        let by_digest = self.blobs.has_keys_by_digest();
        if by_digest {
            self.record_digest(claim, digest).await?;
        }
        let staged = staged(&claim.session)?;
        let unclean = claim.session.unclean;
        let leftovers = staged.has_leftovers() || (unclean && !by_digest);
        let finish = self.blobs.finish(staged, &digest, unclean);
        match self.claims.hold(claim, finish).await? {
            Ok(stored) => Ok(Ok(self.link(claim, digest, stored, leftovers).await?)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// So that a crash between the file's new name and its row is found: by the session.
    async fn record_digest(&self, claim: &mut Claim, digest: Digest) -> Result<(), Error> {
        if claim.session.digest == Some(digest) {
            return Ok(());
        }
        let (id, version) = (claim.session.id, claim.session.version);
        let recorded = self
            .db
            .write(move |tx| store::record_digest(tx, id, version, &digest))
            .await?;
        claim.session.digest = Some(digest);
        if recorded {
            Ok(())
        } else {
            Err(Error::NoSuchUpload)
        }
    }

    async fn not_finished(&self, mut claim: Claim, error: FinishError, digest: Digest) -> Error {
        let keeps = match &error {
            FinishError::DigestMismatch { .. } | FinishError::Store(blobs::Error::Lost) => false,
            // After a failed write or flush the kernel may have dropped pages: only new bytes help.
            FinishError::Store(_) => !self.blobs.has_keys_by_digest(),
        };
        claim.session.unclean = true;
        let settled = if keeps {
            self.claims.save(claim).await.map(drop)
        } else {
            self.end(claim).await
        };
        if let Err(error) = settled {
            tracing::warn!(
                %error,
                "an upload that could not be finished was not recorded; it expires"
            );
        }
        finish_error(error, digest)
    }

    /// The bytes are safe in the store: now the index may say so, in one transaction with the end
    /// of the session.
    async fn link(
        &self,
        claim: &mut Claim,
        digest: Digest,
        stored: StoredBlob,
        leftovers: bool,
    ) -> Result<Linked, Error> {
        let mut publication = Publication {
            session: claim.session.clone(),
            blob: Blob {
                digest,
                size: stored.size,
                key: stored.key,
            },
            leftovers,
            whole: None,
            damaged: None,
            lease: BlobLease(self.config.blob_lease),
        };
        for _ in 0..CHECKS {
            let attempt = publication.clone();
            let clock = self.clock.now();
            let published = self.db.write(move |tx| attempt.write(tx, clock)).await?;
            let old = match published {
                Published::Linked(linked) => return Ok(linked),
                Published::Check(old) => old,
            };
            let stored = self.blobs.has(&old.key, old.size);
            let stored = self.claims.hold(claim, stored).await?;
            if stored.map_err(Error::Blobs)? {
                publication.whole = Some(old.key);
            } else {
                tracing::error!(
                    %digest,
                    key = %old.key,
                    "a stored blob is missing or damaged; a new upload replaces it"
                );
                publication.damaged = Some(old.key);
            }
        }
        Err(Error::UploadBusy)
    }

    async fn remove_leftovers(&self, session: &UploadSession, digest: Digest, linked: &Linked) {
        if linked.ended {
            let session = UploadSession {
                digest: Some(digest),
                ..session.clone()
            };
            self.clean_up(&session).await;
        }
    }
}

impl Publication {
    fn write(&self, tx: &mut Tx<'_>, clock: Timestamp) -> Result<Published, Error> {
        let (id, version) = (self.session.id, self.session.version);
        let repository = self.session.repository;
        if !store::is_held(tx, id, version)? || !tables::repositories::exists(tx, repository)? {
            return Err(Error::NoSuchUpload);
        }
        let mine = &self.blob;
        let lease = self.lease.until(clock);
        let blob = match tables::blobs::present(tx, &mine.digest)? {
            Some(old) if old.key == mine.key => None,
            Some(old) if Some(&old.key) == self.damaged.as_ref() => {
                tables::gc::delete_later(tx, &old, clock)?;
                // Other repositories may have it, and where its bytes are changes for them, too.
                tables::journal_entries::note_links(tx, &mine.digest)?;
                None
            }
            Some(old) if Some(&old.key) == self.whole.as_ref() => Some(old),
            Some(old) => return Ok(Published::Check(old)),
            None => None,
        };
        let ended = self.leftovers || blob.is_some();
        let blob = match blob {
            Some(old) => {
                tables::blobs::renew(tx, &mine.digest, lease)?;
                old
            }
            None => {
                tables::blobs::put(tx, mine, lease, clock)?;
                mine.clone()
            }
        };
        tables::blobs::link(tx, repository, &mine.digest, lease, clock)?;
        if ended {
            store::end_published(tx, id, version, &mine.digest, clock)?;
        } else {
            store::delete(tx, id, version)?;
        }
        Ok(Published::Linked(Linked { blob, ended }))
    }
}

#[cfg(test)]
mod tests;
