//! Uploads: sessions that take a blob's bytes in one part or many, on any replica, and survive a
//! restart.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use uuid::Uuid;
use wharfinger_base::{Clock, Ids};
use wharfinger_blobs::{
    self as blobs, AppendError, AppendLimits, BlobStore, BodyError, FinishError, Staged, StoredBlob,
};
use wharfinger_db::Db;
use wharfinger_oci::{Algorithm, Digest};

use crate::content::BLOB_LEASE;
use crate::error::{Error, Mismatch};
use crate::model::{Blob, RepositoryId, Upload};
use crate::reset::Publishing;
use crate::store::uploads::{self as store, Session};
use crate::upload_locks::{UploadLock, UploadLocks};
use crate::{Config, store as tables};

/// Smallest part of a layer that is not its last (ECR, `LayerPartTooSmallException`).
const SMALLEST_PART_BYTES: u64 = 5 * 1024 * 1024;

/// How long a replica may write to an upload before it must say again that it still does.
const CLAIM: Duration = Duration::from_secs(30);

/// How long the question how much has arrived waits for a part that is arriving.
const STATUS_WAIT: Duration = Duration::from_secs(1);

/// Sessions ended by one pass of the sweep.
const SWEPT_PER_PASS: i64 = 1_000;

/// Staged files that no session knows, removed by one pass.
const ORPHANS_PER_PASS: usize = 1_000;

/// The bytes of a part, as they come.
pub trait PartBody: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 'static {}

impl<B: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 'static> PartBody for B {}

/// A part on its way in.
pub struct Part<B> {
    pub body: B,
    /// Where the sender says the part begins; `None` appends at the end.
    pub offset: Option<u64>,
    /// Bytes the sender says the part has.
    pub length: Option<u64>,
}

/// Verbs on uploads.
#[derive(Clone)]
pub struct Uploads {
    db: Db,
    clock: Clock,
    ids: Ids,
    blobs: BlobStore,
    config: Arc<Config>,
    locks: UploadLocks,
    publishing: Publishing,
}

impl Uploads {
    pub(super) fn new(
        db: Db,
        clock: Clock,
        ids: Ids,
        blobs: BlobStore,
        config: Arc<Config>,
        publishing: Publishing,
    ) -> Self {
        Self {
            db,
            clock,
            ids,
            blobs,
            config,
            locks: UploadLocks::default(),
            publishing,
        }
    }

    /// Begins a session whose bytes are hashed with `algorithm` as they come.
    pub async fn start(
        &self,
        repository: RepositoryId,
        algorithm: Algorithm,
    ) -> Result<Upload, Error> {
        let staged = self.blobs.begin(self.ids.uuid(), algorithm);
        let session = Session {
            id: staged.id(),
            repository,
            size: staged.size(),
            staged: staged.to_bytes(),
            last_part_size: 0,
            short_parts: 0,
            version: 0,
        };
        let (upload, now) = (view(&session), self.clock.now());
        self.db
            .write(move |tx| store::insert(tx, &session, now))
            .await?;
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
        let _lock = self.locks.lock_within(id, STATUS_WAIT).await;
        let session = self.session(repository, id).await?;
        match self.blobs.check(&staged(&session)?).await {
            Ok(()) => Ok(view(&session)),
            Err(blobs::Error::Lost) => {
                self.drop_session(session).await?;
                Err(Error::NoSuchUpload)
            }
            Err(error) => Err(store_error(error)),
        }
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
            let lock = this.locks.lock(id).await?;
            let mut session = this.session(repository, id).await?;
            let outcome = this.take_part(&mut session, part, false, &lock).await;
            this.save_unless_untouched(&session, outcome).await?;
            Ok(view(&session))
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
            let lock = this.locks.lock(id).await?;
            let mut session = this.session(repository, id).await?;
            let outcome = this.take_part(&mut session, part, true, &lock).await;
            if outcome.is_err() {
                this.save_unless_untouched(&session, outcome).await?;
            }
            this.seal(session, digest).await
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
            let _lock = this.locks.lock(id).await?;
            let session = this.session(repository, id).await?;
            if session.size == 0 {
                return Err(Error::EmptyUpload);
            }
            if session.short_parts > 0 {
                return Err(Error::PartTooSmall {
                    minimum_bytes: SMALLEST_PART_BYTES,
                });
            }
            let actual = staged(&session)?.digest_so_far();
            // A digest of the other algorithm cannot be told from the running hash: the store reads
            // the bytes again for it.
            let same = digests.iter().find(|digest| **digest == actual);
            let other = digests
                .iter()
                .find(|digest| digest.algorithm() != actual.algorithm());
            let chosen = same.or(other).copied();
            let expected = digests.first().copied().unwrap_or(actual);
            this.seal(session, chosen.ok_or_else(|| mismatch(expected, actual))?)
                .await
        })
        .await
    }

    /// Takes a whole blob in one request, without a session.
    ///
    /// # Errors
    /// As [`Uploads::finish`].
    pub async fn monolithic<B: PartBody>(
        &self,
        repository: RepositoryId,
        digest: &Digest,
        part: Part<B>,
    ) -> Result<Blob, Error> {
        let (this, digest) = (self.clone(), *digest);
        in_own_task(async move {
            let mut staged = this.blobs.begin(this.ids.uuid(), digest.algorithm());
            let limits = this.limits(part.length, true);
            if let Err(error) = this.blobs.append(&mut staged, part.body, limits).await {
                this.discard(&staged).await;
                return Err(append_error(error));
            }
            let _publishing = this.publishing.shared().await;
            let stored = this
                .blobs
                .finish(staged, &digest)
                .await
                .map_err(|error| finish_error(error, digest))?;
            this.link(repository, digest, stored, None).await
        })
        .await
    }

    /// Ends the session and drops its bytes.
    ///
    /// # Errors
    /// [`Error::NoSuchUpload`].
    pub async fn cancel(&self, repository: RepositoryId, id: Uuid) -> Result<(), Error> {
        let _lock = self.locks.lock(id).await?;
        let session = self.session(repository, id).await?;
        self.drop_session(session).await
    }

    /// Ends sessions that have been idle for longer than the configured time, and drops staged
    /// bytes that no session knows (a crash leaves such). Answers how many of each.
    pub async fn sweep(&self) -> Result<(usize, usize), Error> {
        let now = self.clock.now();
        let before = now.minus(self.config.upload_expiry);
        let idle = self
            .db
            .read(move |tx| store::idle(tx, before, now, SWEPT_PER_PASS))
            .await?;
        let mut ended = 0;
        for session in idle {
            let Some(_lock) = self.locks.try_lock(session.id) else {
                continue;
            };
            self.drop_session(session).await?;
            ended += 1;
        }
        // Twice the time: a session that is just being written to is always younger.
        let orphans = self
            .blobs
            .sweep_staging(now.minus(2 * self.config.upload_expiry), ORPHANS_PER_PASS)
            .await
            .map_err(store_error)?;
        Ok((ended, orphans))
    }

    async fn session(&self, repository: RepositoryId, id: Uuid) -> Result<Session, Error> {
        let found = self
            .db
            .get(move |tx| store::find(tx, repository, id))
            .await?;
        found.ok_or(Error::NoSuchUpload)
    }

    fn limits(&self, expected: Option<u64>, last: bool) -> AppendLimits {
        AppendLimits {
            max_bytes: self.config.max_blob_bytes,
            idle_timeout: self.config.body_idle_timeout,
            expected,
            last,
        }
    }

    /// Brings the bytes in; `session` tells afterwards what is kept, whatever the outcome.
    async fn take_part<B: PartBody>(
        &self,
        session: &mut Session,
        part: Part<B>,
        last: bool,
        lock: &UploadLock,
    ) -> Result<(), Error> {
        if let Some(given) = part.offset.filter(|offset| *offset != session.size) {
            return Err(Error::OutOfOrder {
                given,
                expected: session.size,
            });
        }
        self.claim(session, false).await?;
        let mut staged = staged(session)?;
        let limits = self.limits(part.length, last);
        let outcome = {
            let append = self.blobs.append(&mut staged, part.body, limits);
            self.while_claimed(session, append, lock).await
        };
        if let Err(AppendError::Store(error)) = &outcome
            && self.has_ended(&staged, error).await
        {
            self.drop_session(session.clone()).await?;
        }
        let arrived = staged.size().saturating_sub(session.size);
        if arrived > 0 {
            session.short_parts += u64::from(
                session.last_part_size > 0 && session.last_part_size < SMALLEST_PART_BYTES,
            );
            session.last_part_size = arrived;
        }
        session.size = staged.size();
        session.staged = staged.to_bytes();
        outcome.map(drop).map_err(append_error)
    }

    /// With several replicas, takes the session for this one. A single server's lock is enough for
    /// itself.
    async fn claim(&self, session: &Session, renew: bool) -> Result<(), Error> {
        if !self.config.several_replicas {
            return Ok(());
        }
        let (id, version, now) = (session.id, session.version, self.clock.now());
        let taken = self
            .db
            .write(move |tx| store::claim(tx, id, version, now.plus(CLAIM), now, renew))
            .await?;
        if taken {
            Ok(())
        } else {
            Err(Error::UploadBusy)
        }
    }

    /// Runs `append`, renewing the claim as long as it takes.
    async fn while_claimed<T>(
        &self,
        session: &Session,
        append: impl Future<Output = Result<T, AppendError>>,
        _lock: &UploadLock,
    ) -> Result<T, AppendError> {
        let mut append = std::pin::pin!(append);
        loop {
            tokio::select! {
                outcome = &mut append => return outcome,
                () = tokio::time::sleep(CLAIM / 3) => {
                    if let Err(error) = self.claim(session, true).await {
                        tracing::warn!(upload = %session.id, %error, "the claim on an upload was not renewed");
                    }
                }
            }
        }
    }

    /// Writes the session back and answers `outcome`; a part that was refused before its first byte
    /// changed nothing.
    async fn save_unless_untouched(
        &self,
        session: &Session,
        outcome: Result<(), Error>,
    ) -> Result<(), Error> {
        if matches!(
            outcome,
            Err(Error::OutOfOrder { .. } | Error::UploadBusy | Error::NoSuchUpload)
        ) {
            return outcome;
        }
        let (row, now) = (session.clone(), self.clock.now());
        let saved = self.db.write(move |tx| store::save(tx, &row, now)).await?;
        if saved {
            outcome
        } else {
            outcome.and(Err(Error::NoSuchUpload))
        }
    }

    async fn seal(&self, session: Session, digest: Digest) -> Result<Blob, Error> {
        let _publishing = self.publishing.shared().await;
        let staged = staged(&session)?;
        match self.blobs.finish(staged.clone(), &digest).await {
            Ok(stored) => {
                self.link(session.repository, digest, stored, Some(session))
                    .await
            }
            Err(error) => {
                let ended = match &error {
                    FinishError::DigestMismatch { .. } => true,
                    FinishError::Store(error) => self.has_ended(&staged, error).await,
                };
                if ended {
                    self.drop_session(session).await?;
                }
                Err(finish_error(error, digest))
            }
        }
    }

    /// Whether a failure of the store has ended the upload: a disk that failed to write or sync
    /// staged bytes drops them all, so that nobody tries again with what is left.
    async fn has_ended(&self, staged: &Staged, error: &blobs::Error) -> bool {
        match error {
            blobs::Error::Lost => true,
            blobs::Error::Busy => false,
            _ => matches!(self.blobs.check(staged).await, Err(blobs::Error::Lost)),
        }
    }

    /// The bytes are safe in the store: now the index may say so, in one transaction with the end
    /// of the session.
    async fn link(
        &self,
        repository: RepositoryId,
        digest: Digest,
        stored: StoredBlob,
        session: Option<Session>,
    ) -> Result<Blob, Error> {
        let now = self.clock.now();
        let mine = Blob {
            digest,
            size: stored.size,
            key: stored.key,
        };
        let blob = mine.clone();
        let linked = self
            .db
            .write(move |tx| {
                if !tables::repositories::exists(tx, repository)? {
                    return Err(Error::NoSuchUpload);
                }
                let key = tables::blobs::put(tx, &blob, now.plus(BLOB_LEASE), now)?;
                tables::blobs::link(tx, repository, &digest, now)?;
                if let Some(session) = &session {
                    store::delete(tx, session.id, session.version)?;
                }
                Ok(Blob {
                    key,
                    ..blob.clone()
                })
            })
            .await?;
        if linked.key != mine.key
            && let Err(error) = self.blobs.delete(&mine.key).await
        {
            tracing::warn!(%digest, %error, "a second copy of a blob was not removed");
        }
        Ok(linked)
    }

    async fn drop_session(&self, session: Session) -> Result<(), Error> {
        let (id, version) = (session.id, session.version);
        // The row goes first: a session without bytes would be a lie, bytes without a session are
        // swept.
        let gone = self
            .db
            .write(move |tx| store::delete(tx, id, version))
            .await?;
        if gone && let Ok(staged) = staged(&session) {
            self.discard(&staged).await;
        }
        Ok(())
    }

    async fn discard(&self, staged: &Staged) {
        if let Err(error) = self.blobs.abort(staged).await {
            tracing::warn!(upload = %staged.id(), %error, "staged bytes were not removed; the sweep will");
        }
    }
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

fn view(session: &Session) -> Upload {
    Upload {
        id: session.id,
        repository: session.repository,
        size: session.size,
    }
}

fn staged(session: &Session) -> Result<Staged, Error> {
    Staged::from_bytes(&session.staged).ok_or(Error::NoSuchUpload)
}

fn store_error(error: blobs::Error) -> Error {
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

fn finish_error(error: FinishError, expected: Digest) -> Error {
    match error {
        FinishError::DigestMismatch { actual } => mismatch(expected, actual),
        FinishError::Store(error) => store_error(error),
    }
}

fn mismatch(expected: Digest, actual: Digest) -> Error {
    Error::DigestMismatch(Box::new(Mismatch { expected, actual }))
}
