//! Collects in steps: a few short transactions on the index, and the removal of what they
//! condemned.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use wharfinger_base::{Clock, Timestamp};
use wharfinger_db::{Db, Tx};

use crate::collection_hold;
use crate::error::Error;
use crate::gc::progress::Progress;
use crate::gc::unlink::{release_some, settle};
use crate::gc::verdict::{Verdict, verdict};
use crate::store::gc::{self as store, Condemned};
use crate::uploads::Uploads;

/// A transaction goes on until this much time has passed. With its last page and the commit it
/// stays well below the time that a push takes.
const STEP_TIME: Duration = Duration::from_millis(4);
/// Blobs that one transaction condemns or takes over: their rows and keys are held in memory.
const CONDEMNED_AT_ONCE: usize = 256;
/// Removals of bytes at the same time: each is a request to the blob store, or two system calls.
const REMOVED_AT_ONCE: usize = 8;
/// How long a collector has for the removal of what it condemned, before another one takes it over.
const REMOVAL_TIME: Duration = Duration::from_mins(1);

/// Collects what nothing needs. Several may be at work at once, also of several servers.
#[derive(Clone)]
pub struct Collector {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) uploads: Uploads,
    progress: Arc<Progress>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// References, links and blobs that were looked at.
    pub seen: usize,
    /// Links and blobs that were removed.
    pub removed: usize,
    /// There is more to do at once.
    pub more: bool,
}

impl Collector {
    pub(crate) fn new(uploads: Uploads) -> Self {
        Self {
            db: uploads.db.clone(),
            clock: uploads.clock.clone(),
            uploads,
            progress: Arc::default(),
        }
    }

    pub fn progress(&self) -> &Arc<Progress> {
        &self.progress
    }

    /// One step, which costs a few reads where nothing is due.
    pub async fn step(&self) -> Result<Step, Error> {
        let now = self.clock.now();
        let look = self.db.read(move |tx| {
            Ok::<_, Error>((store::anything_due(tx, now)?, collection_hold::is_held(tx)?))
        });
        let (due, held) = look.await?;
        if !due {
            return Ok(Step::default());
        }
        let settled = self.db.write(move |tx| settle_some(tx, now)).await?;
        self.progress.add_links(settled.removed);
        if held {
            return Ok(settled);
        }
        let condemned = self.condemn(now).await?;
        let removed = self.remove(&condemned.blobs).await?;
        Ok(Step {
            seen: settled.seen + condemned.seen,
            removed: settled.removed + removed,
            // Removals that failed come again when their time is over.
            more: settled.more || condemned.more,
        })
    }

    /// Removes every blob that no repository links, whatever leases say.
    pub(crate) async fn remove_unlinked(&self) -> Result<(), Error> {
        let end_of_time = Timestamp::from_ms(i64::MAX);
        loop {
            let condemned = self.condemn(end_of_time).await?;
            self.remove(&condemned.blobs).await?;
            if !condemned.more {
                return Ok(());
            }
        }
    }

    /// Takes blobs out of the index whose lease is over at `now` and that no repository links, and
    /// takes over removals that nobody finished.
    pub(crate) async fn condemn(&self, now: Timestamp) -> Result<CondemnedBlobs, Error> {
        let clock = self.clock.now();
        let condemned = self.db.write(move |tx| condemn_some(tx, now, clock));
        condemned.await
    }

    /// Removes the bytes of condemned blobs, then their rows; returns how many. What can't be
    /// removed now is left to a later step, and so is everything while a backup copies blobs.
    pub(crate) async fn remove(&self, condemned: &[Condemned]) -> Result<usize, Error> {
        // A backup whose hold is not found here begins after these blobs have left the index.
        if condemned.is_empty() || self.db.read(collection_hold::is_held).await? {
            return Ok(0);
        }
        let gone: Vec<Condemned> = stream::iter(condemned.to_vec())
            .map(
                |condemned| async move { self.remove_bytes(&condemned).await.then_some(condemned) },
            )
            .buffer_unordered(REMOVED_AT_ONCE)
            .filter_map(std::future::ready)
            .collect()
            .await;
        if gone.is_empty() {
            return Ok(0);
        }
        let (count, forgotten) = (gone.len(), gone.clone());
        self.db
            .write(move |tx| {
                forgotten.iter().try_for_each(|condemned| {
                    store::forget(tx, &condemned.blob.key, condemned.version).map_err(Error::from)
                })
            })
            .await?;
        for condemned in gone {
            self.progress.add_blob(condemned.blob.size);
        }
        Ok(count)
    }

    /// Removes the bytes, unless a push has put the same content under the same key meanwhile; says
    /// whether it could.
    pub(crate) async fn remove_bytes(&self, condemned: &Condemned) -> bool {
        let (digest, key) = (&condemned.blob.digest, &condemned.blob.key);
        match self.uploads.remove_unless_present(digest, key).await {
            Ok(()) => true,
            Err(error) => {
                self.progress.add_failure();
                tracing::warn!(
                    %digest,
                    %key,
                    %error,
                    "the bytes of a collected blob were not removed; a later pass tries again"
                );
                false
            }
        }
    }
}

/// What one transaction condemned.
#[derive(Clone, Debug, Default)]
pub(crate) struct CondemnedBlobs {
    pub(crate) blobs: Vec<Condemned>,
    pub(crate) seen: usize,
    pub(crate) more: bool,
}

/// Removes what deleted images left, and links that no image needs.
fn settle_some(tx: &mut Tx<'_>, now: Timestamp) -> Result<Step, Error> {
    let started = Instant::now();
    let mut step = Step::default();
    while let Some(image) = store::first_deleted_image(tx)? {
        match release_some(tx, image, now)? {
            0 => store::remove_deleted_image(tx, image)?,
            released => step.seen += released,
        }
        if started.elapsed() >= STEP_TIME {
            step.more = true;
            return Ok(step);
        }
    }
    loop {
        let due = store::due_links(tx, now)?;
        for link in &due {
            step.removed += usize::from(settle(tx, link, now)? == Verdict::Remove);
        }
        step.seen += due.len();
        if due.len() < store::PAGE {
            return Ok(step);
        }
        if started.elapsed() >= STEP_TIME {
            step.more = true;
            return Ok(step);
        }
    }
}

fn condemn_some(
    tx: &mut Tx<'_>,
    now: Timestamp,
    clock: Timestamp,
) -> Result<CondemnedBlobs, Error> {
    let (started, due_at) = (Instant::now(), clock.plus(REMOVAL_TIME));
    let mut found = CondemnedBlobs {
        blobs: store::take_over(tx, clock, due_at)?,
        ..CondemnedBlobs::default()
    };
    found.more = found.blobs.len() == store::PAGE;
    loop {
        let due = store::due_blobs(tx, now)?;
        for checked in &due {
            let digest = &checked.blob.digest;
            match verdict(checked.linked, checked.lease_until, now) {
                Verdict::Keep => store::collect_blob_at(tx, digest, None)?,
                Verdict::Wait(until) => store::collect_blob_at(tx, digest, Some(until))?,
                Verdict::Remove => found
                    .blobs
                    .extend(store::condemn(tx, &checked.blob, due_at)?),
            }
        }
        found.seen += due.len();
        if due.len() < store::PAGE {
            return Ok(found);
        }
        if started.elapsed() >= STEP_TIME || found.blobs.len() >= CONDEMNED_AT_ONCE {
            found.more = true;
            return Ok(found);
        }
    }
}
