//! Stores how a replication ended, in the transaction that ended it or after it.

use wharfinger_base::Timestamp;
use wharfinger_db::Tx;
use wharfinger_oci::Tag;

use crate::error::Error;
use crate::model::RegistryId;
use crate::push_effects::PushEffects;
use crate::replication::attempt::Attempt;
use crate::replication::backfill;
use crate::replication::decide::{Next, Outcome, ReplicationFailure, next};
use crate::replication::model::{Replication, Work};
use crate::replication::progress::ReplicationProgress;
use crate::store::{replication as store, repositories};

/// A copy that was made.
pub(super) struct Finished<'a> {
    pub(super) source: &'a RegistryId,
    /// The registry that has it now.
    pub(super) repository: &'a RegistryId,
    /// The tag that it has got.
    pub(super) tag: Option<&'a Tag>,
}

/// What became of a replication by an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Complete,
    Failed(ReplicationFailure),
    /// It is tried again.
    Waits,
    /// A deletion that was carried out, or an image that is gone.
    Removed,
    /// The claim was lost: somebody else tells.
    Lost,
}

impl Ended {
    /// Counts it for metrics.
    pub(super) fn count(self, progress: &ReplicationProgress) {
        match self {
            Self::Complete | Self::Removed => progress.add_ended(),
            Self::Failed(_) => progress.add_failed(),
            Self::Waits => progress.add_repeated(),
            Self::Lost => {}
        }
    }
}

/// Whether the claim still holds.
pub(super) fn holds(tx: &mut Tx<'_>, of: &Replication) -> Result<bool, Error> {
    Ok(store::holds(tx, of)?)
}

/// Ends a copy that was made.
pub(super) fn complete(
    tx: &mut Tx<'_>,
    of: &Replication,
    done: &Finished<'_>,
    effects: &PushEffects,
    now: Timestamp,
) -> Result<(), Error> {
    finish(tx, of, &Outcome::Done.into(), now)?;
    let what = (&of.name, &of.digest, done.tag);
    effects.after_replication(tx, (done.source, done.repository), what, true, now)
}

/// Stores what follows from an attempt. Nothing is stored where the claim is lost.
pub(super) fn finish(
    tx: &mut Tx<'_>,
    of: &Replication,
    attempt: &Attempt,
    now: Timestamp,
) -> Result<Ended, Error> {
    let mut next = next(attempt.outcome, of.attempts, now);
    if next == Next::Remove && of.work == Work::Copy && !of.backfill.is_empty() {
        next = Next::Fail(ReplicationFailure::ImageNotFound);
    }
    if of.work != Work::Copy && !matches!(next, Next::RetryAt(_)) {
        // Of a deletion nothing is shown.
        if !store::remove(tx, of)? {
            return Ok(Ended::Lost);
        }
        let Next::Fail(why) = next else {
            return Ok(Ended::Removed);
        };
        let (digest, code) = (of.digest, why.as_str());
        tracing::warn!(%digest, repository = %of.name, code, "a deletion was not replicated");
        return Ok(Ended::Failed(why));
    }
    let failure = match next {
        Next::RetryAt(at) => {
            let is_ours = store::delay(tx, of, at)?;
            return Ok(if is_ours { Ended::Waits } else { Ended::Lost });
        }
        Next::Remove => {
            let is_ours = store::remove(tx, of)?;
            return Ok(if is_ours { Ended::Removed } else { Ended::Lost });
        }
        Next::Complete => None,
        Next::Fail(why) => Some(why),
    };
    let members: Vec<&str> = attempt.members.iter().map(|why| why.as_str()).collect();
    let code = failure.map(ReplicationFailure::as_str);
    if !store::finish(tx, of, code, &members)? {
        return Ok(Ended::Lost);
    }
    if !of.backfill.is_empty() {
        if repositories::exists(tx, of.repository)? {
            store::note_result(tx, of, code)?;
        }
        backfill::count(tx, &of.backfill, code, now)?;
    }
    Ok(failure.map_or(Ended::Complete, Ended::Failed))
}

/// Stores what follows from an attempt, and tells of it where that is the end of a copy.
pub(super) fn settle(
    tx: &mut Tx<'_>,
    of: &Replication,
    attempt: &Attempt,
    effects: &PushEffects,
    now: Timestamp,
) -> Result<Ended, Error> {
    let ended = finish(tx, of, attempt, now)?;
    let succeeded = match ended {
        Ended::Complete => true,
        // Nobody expects an image that is gone.
        Ended::Failed(ReplicationFailure::ImageNotFound)
        | Ended::Waits
        | Ended::Removed
        | Ended::Lost => return Ok(ended),
        Ended::Failed(_) if of.work != Work::Copy => return Ok(ended),
        Ended::Failed(_) => false,
    };
    let Some((source, _)) = repositories::name_of(tx, of.repository)? else {
        return Ok(ended);
    };
    let what = (&of.name, &of.digest, of.tag.as_ref());
    effects.after_replication(tx, (&source, &of.destination), what, succeeded, now)?;
    Ok(ended)
}
