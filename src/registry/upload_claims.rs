//! Claims: one request at a time works on an upload session.
//!
//! A server that has the index and the blobs to itself locks the session in memory: the lock can't
//! be lost. Where several servers share them, or requests to an object store may still be on their
//! way after the server died, the claim is a row's: it expires by the database's clock, and taking
//! it raises the row's version, by which every change is checked.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;
use wharfinger_base::Clock;
use wharfinger_db::Db;

use crate::error::Error;
use crate::keyed_locks::{KeyLock, KeyedLocks};
use crate::model::RepositoryId;
use crate::store::uploads::{self as store, CLAIM_MS, Claimed, UploadSession};

const CLAIM: Duration = Duration::from_millis(CLAIM_MS.unsigned_abs());
/// A request gives up this long before its claim may expire, so that what it has sent arrives in
/// time.
const MARGIN: Duration = Duration::from_secs(5);
/// How often a claim is renewed: two renewals may fail.
const RENEWAL: Duration = Duration::from_secs(8);

/// How long a request waits for another one on the same session: clients that send parts in
/// parallel are rare and mistaken.
pub(super) const WAIT: Duration = Duration::from_secs(20);
/// Pauses between looks at a session that another request has claimed; they double.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Hands out claims.
#[derive(Clone)]
pub(super) struct UploadClaims {
    db: Db,
    clock: Clock,
    exclusion: Exclusion,
}

#[derive(Clone)]
enum Exclusion {
    InMemory(KeyedLocks<Uuid>),
    InIndex,
}

/// An upload session that no other request works on.
pub(super) struct Claim {
    pub(super) session: UploadSession,
    /// The claim in the index is good until then, unless renewed.
    until: Option<Instant>,
    _lock: Option<KeyLock<Uuid>>,
}

impl UploadClaims {
    /// `shared`: the claims must bind other servers, too.
    pub(super) fn new(db: Db, clock: Clock, shared: bool) -> Self {
        let exclusion = if shared {
            Exclusion::InIndex
        } else {
            Exclusion::InMemory(KeyedLocks::default())
        };
        Self {
            db,
            clock,
            exclusion,
        }
    }

    /// Claims an open session; waits up to [`WAIT`] for another request to end.
    ///
    /// # Errors
    /// [`Error::UploadBusy`], [`Error::NoSuchUpload`].
    pub(super) async fn claim(&self, repository: RepositoryId, id: Uuid) -> Result<Claim, Error> {
        match &self.exclusion {
            Exclusion::InMemory(locks) => {
                let lock = locks.lock_within(id, WAIT).await.ok_or(Error::UploadBusy)?;
                let clock = self.clock.now();
                let found = self
                    .db
                    .get(move |tx| store::find(tx, repository, id, clock))
                    .await?;
                let (session, _) = found.ok_or(Error::NoSuchUpload)?;
                Ok(Claim {
                    session,
                    until: None,
                    _lock: Some(lock),
                })
            }
            Exclusion::InIndex => self.claim_in_index(repository, id).await,
        }
    }

    async fn claim_in_index(&self, repository: RepositoryId, id: Uuid) -> Result<Claim, Error> {
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let requested_at = Instant::now();
            let clock = self.clock.now();
            let claimed = self
                .db
                .write(move |tx| store::claim(tx, repository, id, clock))
                .await?;
            match claimed {
                Claimed::Yes(session) => {
                    return Ok(Claim {
                        session,
                        until: Some(requested_at + CLAIM - MARGIN),
                        _lock: None,
                    });
                }
                Claimed::Missing => return Err(Error::NoSuchUpload),
                Claimed::Busy if started.elapsed() > WAIT => return Err(Error::UploadBusy),
                Claimed::Busy => tokio::time::sleep(pause).await,
            }
            pause = LONGEST_PAUSE.min(2 * pause);
        }
    }

    /// The claim on a session that this request has just inserted as claimed.
    pub(super) async fn of_new(&self, session: UploadSession) -> Claim {
        match &self.exclusion {
            Exclusion::InMemory(locks) => Claim {
                _lock: Some(locks.lock(session.id).await),
                session,
                until: None,
            },
            Exclusion::InIndex => Claim {
                session,
                until: Some(Instant::now() + CLAIM - MARGIN),
                _lock: None,
            },
        }
    }

    /// Runs `work` on a session that the sweep ends, unless a request of this server works on it;
    /// other servers are kept away by the row's version.
    pub(super) async fn unless_locked(&self, id: Uuid, work: impl Future<Output = bool>) -> bool {
        match &self.exclusion {
            Exclusion::InMemory(locks) => match locks.try_lock(id) {
                Some(_lock) => work.await,
                None => false,
            },
            Exclusion::InIndex => work.await,
        }
    }

    /// An open session, once no request works on it or `wait` is over.
    ///
    /// # Errors
    /// [`Error::NoSuchUpload`].
    pub(super) async fn look(
        &self,
        repository: RepositoryId,
        id: Uuid,
        wait: Duration,
    ) -> Result<UploadSession, Error> {
        let started = Instant::now();
        let _lock = match &self.exclusion {
            Exclusion::InMemory(locks) => locks.lock_within(id, wait).await,
            Exclusion::InIndex => None,
        };
        loop {
            let clock = self.clock.now();
            let found = self
                .db
                .get(move |tx| store::find(tx, repository, id, clock))
                .await?;
            let (session, claimed) = found.ok_or(Error::NoSuchUpload)?;
            let waits = claimed && matches!(self.exclusion, Exclusion::InIndex);
            if !waits || started.elapsed() >= wait {
                return Ok(session);
            }
            tokio::time::sleep(FIRST_PAUSE).await;
        }
    }

    /// Runs `work`, renewing the claim as long as it takes.
    ///
    /// # Errors
    /// [`Error::UploadBusy`] once the claim is lost, or can't be shown to stand; `work` is dropped.
    pub(super) async fn hold<T>(
        &self,
        claim: &mut Claim,
        work: impl Future<Output = T>,
    ) -> Result<T, Error> {
        let (id, version) = (claim.session.id, claim.session.version);
        let Some(until) = &mut claim.until else {
            return Ok(work.await);
        };
        tokio::select! {
            biased;
            () = self.renew(id, version, until) => Err(Error::UploadBusy),
            outcome = work => Ok(outcome),
        }
    }

    /// Renews the claim again and again; returns once it is lost or `until` has come.
    async fn renew(&self, id: Uuid, version: i64, until: &mut Instant) {
        loop {
            let next = (Instant::now() + RENEWAL).min(*until);
            tokio::time::sleep_until(next).await;
            let requested_at = Instant::now();
            let clock = self.clock.now();
            let renewal = self
                .db
                .write(move |tx| store::renew(tx, id, version, clock));
            match tokio::time::timeout_at(*until, renewal).await {
                Ok(Ok(true)) => *until = requested_at + CLAIM - MARGIN,
                Ok(Ok(false)) => return,
                Ok(Err(error)) => {
                    tracing::warn!(upload = %id, %error, "the claim on an upload was not renewed");
                }
                Err(_) => {}
            }
            if Instant::now() >= *until {
                return;
            }
        }
    }

    /// Makes sure that the claim stands now.
    ///
    /// # Errors
    /// [`Error::UploadBusy`].
    pub(super) async fn confirm(&self, claim: &Claim) -> Result<(), Error> {
        if claim.until.is_none() {
            return Ok(());
        }
        let (id, version) = (claim.session.id, claim.session.version);
        let held = self
            .db
            .get(move |tx| store::is_held(tx, id, version))
            .await?;
        if held { Ok(()) } else { Err(Error::UploadBusy) }
    }

    /// Writes the session back and gives the claim back.
    ///
    /// # Errors
    /// [`Error::NoSuchUpload`] where the session ended meanwhile.
    pub(super) async fn save(&self, claim: Claim) -> Result<UploadSession, Error> {
        let session = claim.session.clone();
        let clock = self.clock.now();
        let saved = self
            .db
            .write(move |tx| store::save(tx, &session, clock))
            .await?;
        if saved {
            Ok(claim.session)
        } else {
            Err(Error::NoSuchUpload)
        }
    }

    /// Gives back the claim on a session that the request did not change.
    pub(super) async fn release(&self, claim: Claim) -> Result<(), Error> {
        if claim.until.is_some() {
            self.save(claim).await?;
        }
        Ok(())
    }
}
