//! The reconciler that moves blobs to the archive and back: one server at a time.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::OnceCell;
use uuid::Uuid;
use wharfinger_base::{Clock, Ids, Timestamp};
use wharfinger_blobs::{self as blobs, AppendError, BlobStore, FinishError};
use wharfinger_db::{self as db, Db, Tx};
use wharfinger_oci::Digest;
use wharfinger_reconcile::{Pass, Reconciler, Wake};

use crate::archive::Archive;
use crate::archive::progress::ArchiveProgress;
use crate::error::Error;
use crate::gc::pause;
use crate::push_effects::PushEffects;
use crate::store::{archive as store, blob_store};
use crate::uploads::Uploads;

/// How long a server moves blobs without a sign of life, before another one may.
const HOLD: Duration = Duration::from_secs(20);
/// How often it gives a sign of life while bytes are on their way.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// How long after a failure a blob is tried again.
pub(super) const RETRY_AFTER: Duration = Duration::from_mins(1);
/// Failures that are remembered. Others are tried again by each pass.
const MOST_FAILURES: usize = 1_024;
/// How often what the archive holds is counted: the count reads a row for each blob.
const COUNTED_EVERY: Duration = Duration::from_mins(5);

/// Moves blobs to the archive and back.
pub struct ArchiveMover {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) ids: Ids,
    pub(super) uploads: Uploads,
    pub(super) archive: Archive,
    pub(super) effects: PushEffects,
    pub(super) progress: Arc<ArchiveProgress>,
    /// Names this server among those of one index.
    pub(super) holder: String,
    /// The image after which the next pass restores.
    pub(super) restored_to: i64,
    /// Blobs that could not be restored, and when they are tried again.
    pub(super) failed: HashMap<Digest, Timestamp>,
    /// How often it gives a sign of life while bytes are on their way.
    pub(super) renew_every: Duration,
    counted_at: Option<Instant>,
    /// The identity of the archive, once it was read.
    identity: OnceCell<Option<Uuid>>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// Images that became active, and blobs that were moved or removed.
    pub(crate) done: usize,
    /// Blobs that went to the archive.
    pub(crate) stored: usize,
    /// There is more to do at once.
    pub(crate) more: bool,
}

/// Why a blob was not moved.
#[derive(Debug, thiserror::Error)]
pub(super) enum MoveError {
    #[error(transparent)]
    Registry(#[from] Error),
    #[error(transparent)]
    Store(#[from] blobs::Error),
    #[error("cannot read the blob: {0}")]
    Read(#[from] io::Error),
    #[error("cannot write to the archive: {0}")]
    Append(#[from] AppendError),
    #[error("cannot write to the archive: {0}")]
    Finish(#[from] FinishError),
    #[error("the archive returned other bytes than it was given")]
    Damaged,
    #[error("another server moves blobs now")]
    Superseded,
}

impl From<db::Error> for MoveError {
    fn from(error: db::Error) -> Self {
        Self::Registry(error.into())
    }
}

impl ArchiveMover {
    pub(crate) fn new(
        (uploads, effects): (Uploads, PushEffects),
        archive: Archive,
        progress: Arc<ArchiveProgress>,
        ids: &Ids,
    ) -> Self {
        Self {
            db: uploads.db.clone(),
            clock: uploads.clock.clone(),
            ids: ids.clone(),
            holder: ids.uuid().to_string(),
            uploads,
            archive,
            effects,
            progress,
            restored_to: 0,
            failed: HashMap::new(),
            renew_every: RENEW_EVERY,
            counted_at: None,
            identity: OnceCell::new(),
        }
    }

    pub(super) fn blobs(&self) -> &BlobStore {
        &self.uploads.blobs
    }

    /// One step, which costs a few reads where there is nothing to do. Restores come first, since
    /// somebody waits for them.
    pub(crate) async fn step(&mut self) -> Result<Step, Error> {
        let now = self.clock.now();
        let may_store = self.uploads.config.gc_load_percent > 0;
        let due = self.db.read(move |tx| anything_due(tx, now, may_store));
        if !due.await? || !self.hold().await? {
            return Ok(Step::default());
        }
        let removed = self.remove_objects().await?;
        let restored = self.restore_some().await?;
        let stored = if may_store {
            self.store_some().await?
        } else {
            Step::default()
        };
        Ok(Step {
            done: removed.done + restored.done + stored.done,
            stored: stored.stored,
            more: removed.more || restored.more || stored.more,
        })
    }

    /// The identity of the archive: one that is empty may be given up for another one while this
    /// server runs, and must not be written to then.
    pub(super) async fn identity(&self) -> Result<Option<Uuid>, Error> {
        let read = || self.archive.store.identity();
        let identity = self.identity.get_or_try_init(read).await;
        identity.copied().map_err(Error::Blobs)
    }

    /// Makes this server the one that moves blobs, or keeps it that; false where another one is, or
    /// where the index has another archive.
    pub(super) async fn hold(&self) -> Result<bool, Error> {
        let identity = self.identity().await?;
        let is_ours = self.db.get(move |tx| blob_store::is_archive(tx, identity));
        if !is_ours.await? {
            tracing::error!(archive = %self.archive.store, "another server has another archive");
            return Ok(false);
        }
        let (holder, now) = (self.holder.clone(), self.clock.now());
        let until = now.plus(HOLD);
        let held = self
            .db
            .write(move |tx| store::hold(tx, &holder, now, until));
        Ok(held.await?)
    }

    /// Does work that may take long, and gives signs of life meanwhile. Ends it where another
    /// server took over.
    pub(super) async fn while_held<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, MoveError> {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Ok(done),
                () = tokio::time::sleep(self.renew_every) => {
                    if !self.hold().await? {
                        return Err(MoveError::Superseded);
                    }
                }
            }
        }
    }

    /// Remembers that a blob could not be restored.
    pub(super) fn note_failure(&mut self, blob: Digest) {
        self.progress.add_failure();
        let now = self.clock.now();
        self.failed.retain(|_, retry_at| *retry_at > now);
        if self.failed.len() < MOST_FAILURES {
            self.failed.insert(blob, now.plus(RETRY_AFTER));
        }
    }

    async fn count(&mut self) -> Result<(), Error> {
        let is_recent = |at: Instant| at.elapsed() < COUNTED_EVERY;
        if !self.counted_at.is_some_and(is_recent) {
            self.counted_at = Some(Instant::now());
            let totals = self.db.read(store::totals).await?;
            self.progress.set_totals(totals);
        }
        Ok(())
    }
}

fn anything_due(tx: &mut Tx<'_>, now: Timestamp, may_store: bool) -> db::Result<bool> {
    Ok(!store::activating_after(tx, 0)?.is_empty()
        || !store::due_removals(tx, now)?.is_empty()
        || !store::writes(tx)?.is_empty()
        || (may_store && (store::any_image_to_note(tx)? || !store::due(tx, now)?.is_empty())))
}

impl Reconciler for ArchiveMover {
    const NAME: &'static str = "archive";
    const EVERY: Duration = Duration::from_secs(5);

    fn wake(&self) -> Wake {
        self.effects.archive.clone()
    }

    async fn pass(&mut self, _now: Timestamp) -> anyhow::Result<Pass> {
        let started = Instant::now();
        let step = self.step().await;
        let step = step.inspect_err(|_| self.progress.add_failure())?;
        if step.more && step.stored > 0 {
            let load = self.uploads.config.gc_load_percent;
            tokio::time::sleep(pause(started.elapsed(), load)).await;
        }
        if step.done > 0 {
            self.counted_at = None;
            self.effects.wake();
        }
        self.count().await?;
        Ok(Pass {
            seen: step.done,
            done: step.done,
            again: step.more,
        })
    }
}
