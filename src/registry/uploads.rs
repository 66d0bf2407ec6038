//! Uploads: sessions that take a blob's bytes in one part or many, on any replica, and survive a
//! restart.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use uuid::Uuid;
use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_blobs::{
    self as blobs, AppendError, AppendLimits, BlobStore, BodyError, FinishError, Staged,
};
use wharfinger_db::Db;
use wharfinger_oci::{Algorithm, Digest};

use crate::Config;
use crate::error::{Error, Mismatch};
use crate::model::{Blob, RepositoryId, Upload};
use crate::open_uploads::OpenUploads;
use crate::publishing::Publishing;
use crate::store::uploads::{self as store, UploadSession};
use crate::upload_claims::{Claim, UploadClaims};

/// Smallest part of a layer that is not its last (ECR, `LayerPartTooSmallException`).
const SMALLEST_PART_BYTES: u64 = 5 * 1024 * 1024;

/// How long a request for an upload's status waits for a part that is arriving.
const STATUS_WAIT: Duration = Duration::from_secs(1);

/// The bytes of a part, as they come.
pub trait PartBody: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 'static {}

impl<B: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 'static> PartBody for B {}

/// A part of an upload as the sender describes it.
pub struct Part<B> {
    pub body: B,
    /// Offset in the upload at which the part begins; `None` appends at the end.
    pub offset: Option<u64>,
    /// Size of the part in bytes.
    pub length: Option<u64>,
}

/// Operations on uploads.
#[derive(Clone)]
pub struct Uploads {
    pub(super) db: Db,
    pub(super) clock: Clock,
    ids: Ids,
    pub(super) blobs: BlobStore,
    pub(super) config: Arc<Config>,
    pub(super) claims: UploadClaims,
    pub(super) publishing: Publishing,
    open: OpenUploads,
}

impl Uploads {
    /// Size of the largest blob that is taken, in bytes.
    pub(crate) fn max_blob_bytes(&self) -> u64 {
        self.config.max_blob_bytes
    }

    pub(super) fn new(
        db: Db,
        clock: Clock,
        ids: Ids,
        blobs: BlobStore,
        config: Arc<Config>,
        publishing: Publishing,
    ) -> Self {
        let shared = config.several_replicas || !blobs.has_keys_by_digest();
        Self {
            claims: UploadClaims::new(db.clone(), clock.clone(), shared),
            db,
            clock,
            ids,
            blobs,
            config,
            publishing,
            open: OpenUploads::default(),
        }
    }

    /// Begins a session of `owner` whose bytes are hashed with `algorithm` as they come.
    ///
    /// # Errors
    /// [`Error::TooManyUploads`]. Requests at the same moment may exceed the limit by their number,
    /// and other servers by what they start in a second.
    pub async fn start(
        &self,
        repository: RepositoryId,
        algorithm: Algorithm,
        owner: &str,
    ) -> Result<Upload, Error> {
        let limits = (
            self.config.max_open_uploads_per_caller,
            self.config.max_open_uploads,
        );
        let now = self.clock.now();
        self.open.admit(&self.db, owner, limits, now).await?;
        let session = self.new_session(repository, algorithm, None);
        let upload = view(&session);
        self.insert(session, owner.to_owned(), false).await?;
        Ok(upload)
    }

    /// How much of the upload has arrived, as far as the bytes are really there: a machine that
    /// failed may have lost them.
    ///
    /// # Errors
    /// [`Error::NoSuchUpload`], also for the session of another repository.
    pub async fn status(&self, repository: RepositoryId, id: Uuid) -> Result<Upload, Error> {
        // A part that just broke off is still being written down; one that goes on for longer is
        // not waited for.
        let session = self.claims.look(repository, id, STATUS_WAIT).await?;
        match self.blobs.check(&staged(&session)?).await {
            Ok(()) => Ok(view(&session)),
            Err(blobs::Error::Lost) => {
                self.end_if_lost(repository, id).await?;
                Err(Error::NoSuchUpload)
            }
            Err(error) => Err(store_error(error)),
        }
    }

    async fn end_if_lost(&self, repository: RepositoryId, id: Uuid) -> Result<(), Error> {
        let this = self.clone();
        in_own_task(async move {
            let claim = this.claims.claim(repository, id).await?;
            match this.blobs.check(&staged(&claim.session)?).await {
                Err(blobs::Error::Lost) => this.end(claim).await,
                _ => this.claims.release(claim).await,
            }
        })
        .await
    }

    /// Adds a part at the end. The part is taken in a task of its own: a client that goes away in
    /// the middle leaves a session that tells truly how much it has.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] (the session and its bytes stay), [`Error::PartLength`],
    /// [`Error::TooLarge`], [`Error::BodyEnded`], [`Error::NoSpace`], [`Error::UploadBusy`],
    /// [`Error::NoSuchUpload`].
    pub async fn append<B: PartBody>(
        &self,
        repository: RepositoryId,
        id: Uuid,
        part: Part<B>,
    ) -> Result<Upload, Error> {
        let this = self.clone();
        in_own_task(async move {
            let claim = this.claims.claim(repository, id).await?;
            let claim = this.take_part(claim, part, false).await?;
            Ok(view(&this.claims.save(claim).await?))
        })
        .await
    }

    /// Adds the last part (which may be empty), checks the whole against `digest` and makes it a
    /// blob of the repository, durable when this returns. A wrong digest ends the session and
    /// leaves nothing.
    ///
    /// # Errors
    /// As [`Uploads::append`], and [`Error::DigestMismatch`].
    pub async fn finish<B: PartBody>(
        &self,
        repository: RepositoryId,
        id: Uuid,
        digest: &Digest,
        part: Part<B>,
    ) -> Result<Blob, Error> {
        let (this, digest) = (self.clone(), *digest);
        in_own_task(async move {
            let claim = this.claims.claim(repository, id).await?;
            let claim = this.take_part(claim, part, true).await?;
            this.publish(claim, digest).await
        })
        .await
    }

    /// Ends an upload of ECR layer parts: one of `digests` must be the content's.
    ///
    /// # Errors
    /// [`Error::EmptyUpload`], [`Error::PartTooSmall`], [`Error::DigestMismatch`] (the session
    /// stays), [`Error::NoSuchUpload`].
    pub async fn complete_parts(
        &self,
        repository: RepositoryId,
        id: Uuid,
        digests: Vec<Digest>,
    ) -> Result<Blob, Error> {
        let this = self.clone();
        in_own_task(async move {
            let claim = this.claims.claim(repository, id).await?;
            match digest_of_parts(&claim.session, &digests) {
                Ok(digest) => this.publish(claim, digest).await,
                Err(error) => {
                    this.claims.release(claim).await?;
                    Err(error)
                }
            }
        })
        .await
    }

    /// Takes a whole blob in one request. Its session is not seen by clients.
    ///
    /// # Errors
    /// As [`Uploads::finish`].
    pub async fn monolithic<B: PartBody>(
        &self,
        repository: RepositoryId,
        digest: &Digest,
        part: Part<B>,
    ) -> Result<Blob, Error> {
        self.import(repository, digest, part, |_| {}, None::<fn()>)
            .await
    }

    /// The same for a blob that does not come from a client. `begun` gets the id of the session,
    /// under which bytes are staged; `verified` is called once all of them have arrived and have
    /// the digest, which is before they are durable.
    pub(super) async fn import<B: PartBody>(
        &self,
        repository: RepositoryId,
        digest: &Digest,
        part: Part<B>,
        begun: impl FnOnce(Uuid) + Send + 'static,
        verified: Option<impl FnOnce() + Send + 'static>,
    ) -> Result<Blob, Error> {
        let (this, digest) = (self.clone(), *digest);
        in_own_task(async move {
            let session = this.new_session(repository, digest.algorithm(), Some(digest));
            begun(session.id);
            let claim = this.claims.of_new(session.clone()).await;
            this.insert(session.clone(), String::new(), true).await?;
            let id = session.id;
            let outcome = match this.take_part(claim, part, true).await {
                Ok(claim) => {
                    let is_whole = |staged: Staged| staged.digest_so_far() == digest;
                    if let Some(verified) = verified
                        && staged(&claim.session).is_ok_and(is_whole)
                    {
                        verified();
                    }
                    this.publish(claim, digest).await
                }
                Err(error) => Err(error),
            };
            if outcome.is_err() {
                this.end_unseen(repository, id).await;
            }
            outcome
        })
        .await
    }

    /// Ends the session of a request that failed, which no client knows.
    async fn end_unseen(&self, repository: RepositoryId, id: Uuid) {
        let ended = match self.claims.claim(repository, id).await {
            Ok(claim) => self.end(claim).await,
            Err(error) => Err(error),
        };
        match ended {
            Ok(()) | Err(Error::NoSuchUpload) => {}
            Err(error) => {
                tracing::warn!(upload = %id, %error, "a failed upload was not ended; it expires");
            }
        }
    }

    /// Ends the session and drops its bytes.
    ///
    /// # Errors
    /// [`Error::NoSuchUpload`], [`Error::UploadBusy`].
    pub async fn cancel(&self, repository: RepositoryId, id: Uuid) -> Result<(), Error> {
        let this = self.clone();
        in_own_task(async move {
            let claim = this.claims.claim(repository, id).await?;
            this.end(claim).await
        })
        .await
    }

    fn new_session(
        &self,
        repository: RepositoryId,
        algorithm: Algorithm,
        digest: Option<Digest>,
    ) -> UploadSession {
        let staged = self.blobs.begin(self.ids.uuid(), algorithm);
        UploadSession {
            id: staged.id(),
            repository,
            size: staged.size(),
            staged: staged.to_bytes(),
            last_part_size: 0,
            short_parts: 0,
            version: 0,
            unclean: false,
            digest,
            claimed_until: Timestamp::default(),
        }
    }

    async fn insert(
        &self,
        session: UploadSession,
        owner: String,
        claimed: bool,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        self.db
            .write(move |tx| store::insert(tx, &session, &owner, claimed, now))
            .await
            .map_err(Error::from)
    }

    /// Brings the bytes in. After an error the session says what is kept, and is given back.
    async fn take_part<B: PartBody>(
        &self,
        mut claim: Claim,
        part: Part<B>,
        last: bool,
    ) -> Result<Claim, Error> {
        let expected = claim.session.size;
        if let Some(given) = part.offset.filter(|offset| *offset != expected) {
            self.claims.release(claim).await?;
            return Err(Error::OutOfOrder { given, expected });
        }
        let mut staged = staged(&claim.session)?;
        let limits = AppendLimits {
            max_bytes: self.config.max_blob_bytes,
            idle_timeout: self.config.body_idle_timeout,
            expected: part.length,
            last,
        };
        let append = self.blobs.append(&mut staged, part.body, limits);
        let outcome = self.claims.hold(&mut claim, append).await?;
        let session = &mut claim.session;
        let arrived = staged.size().saturating_sub(session.size);
        if arrived > 0 {
            session.short_parts += u64::from(
                session.last_part_size > 0 && session.last_part_size < SMALLEST_PART_BYTES,
            );
            session.last_part_size = arrived;
        }
        session.size = staged.size();
        session.staged = staged.to_bytes();
        let Err(error) = outcome else {
            if last && arrived > 0 {
                // What follows makes an object: only the holder of the claim may.
                self.claims.confirm(&claim).await?;
            }
            return Ok(claim);
        };
        session.unclean = true;
        if self.ends_upload(&error) {
            self.end(claim).await?;
        } else {
            self.claims.save(claim).await?;
        }
        Err(append_error(error))
    }

    /// Whether the upload can't go on after this error: its bytes are lost, or a write to the disk
    /// failed, after which the kernel may have dropped any page of the file.
    fn ends_upload(&self, error: &AppendError) -> bool {
        match error {
            AppendError::Store(blobs::Error::Lost) => true,
            AppendError::Store(blobs::Error::Busy) => false,
            AppendError::Store(_) => self.blobs.has_keys_by_digest(),
            _ => false,
        }
    }
}

/// The digest of `digests` that the parts have.
fn digest_of_parts(session: &UploadSession, digests: &[Digest]) -> Result<Digest, Error> {
    if session.size == 0 {
        return Err(Error::EmptyUpload);
    }
    if session.short_parts > 0 {
        return Err(Error::PartTooSmall {
            minimum_bytes: SMALLEST_PART_BYTES,
        });
    }
    let actual = staged(session)?.digest_so_far();
    // A digest of the other algorithm can't be told from the running hash: the store reads the
    // bytes again for it.
    let same = digests.iter().find(|digest| **digest == actual);
    let other = digests
        .iter()
        .find(|digest| digest.algorithm() != actual.algorithm());
    let expected = digests.first().copied().unwrap_or(actual);
    let chosen = same.or(other).copied();
    chosen.ok_or_else(|| mismatch(expected, actual))
}

/// Runs `work` to its end even where the caller, a request, is dropped before.
async fn in_own_task<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    match tokio::spawn(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Error::Blobs(error.into())),
    }
}

fn view(session: &UploadSession) -> Upload {
    Upload {
        id: session.id,
        repository: session.repository,
        size: session.size,
    }
}

pub(super) fn staged(session: &UploadSession) -> Result<Staged, Error> {
    Staged::from_bytes(&session.staged).ok_or(Error::NoSuchUpload)
}

pub(super) fn store_error(error: blobs::Error) -> Error {
    match error {
        blobs::Error::NoSpace => Error::NoSpace,
        blobs::Error::Busy => Error::UploadBusy,
        blobs::Error::Lost => Error::NoSuchUpload,
        other => Error::Blobs(other),
    }
}

fn append_error(error: AppendError) -> Error {
    match error {
        AppendError::Body(error) => Error::BodyEnded(error.to_string()),
        AppendError::Idle(silent) => Error::BodyEnded(format!("nothing came for {silent:?}")),
        AppendError::TooLarge { limit } => Error::TooLarge { limit_bytes: limit },
        AppendError::Length { expected, actual } => Error::PartLength {
            declared: expected,
            actual,
        },
        AppendError::Store(error) => store_error(error),
    }
}

pub(super) fn finish_error(error: FinishError, expected: Digest) -> Error {
    match error {
        FinishError::DigestMismatch { actual } => mismatch(expected, actual),
        FinishError::Store(error) => store_error(error),
    }
}

fn mismatch(expected: Digest, actual: Digest) -> Error {
    Error::DigestMismatch(Box::new(Mismatch { expected, actual }))
}

#[cfg(test)]
pub(crate) mod tests;
