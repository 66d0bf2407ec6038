//! The journal that a blob store has, and what of it a rebuild takes in.

use crate::journal::JournalError;
use crate::journal::merge::Stored;
use crate::journal::rebuild::Rebuild;
use crate::journal::rebuild_error::RebuildError;
use crate::journal::record::Record;
use crate::journal::segment::SegmentError;
use crate::journal::sequence::missing_before;
use crate::journal::writer::{needed_after, read_segment, segments};
use crate::store::journal as journal_rows;

/// What the store has of the journal.
pub(super) struct Journal {
    /// Those that are needed, in order.
    pub(super) segments: Vec<Stored>,
    /// The newest one that the store has, or a later number.
    pub(super) last: u64,
    /// See [`segment::NEEDED_AFTER`](crate::journal::segment::NEEDED_AFTER).
    needed_after: u64,
}

impl Rebuild {
    /// What the store has.
    ///
    /// # Errors
    /// [`RebuildError::NoJournal`], [`RebuildError::MissingSegment`] where all segments are gone,
    /// and [`RebuildError::DamagedNeededAfter`].
    pub(super) async fn journal(&self) -> Result<Journal, RebuildError> {
        let mut segments = segments(&self.store).await?;
        let Some(last) = segments.last().map(|segment| segment.number) else {
            return Err(RebuildError::NoJournal);
        };
        let needed_after = match needed_after(&self.store).await {
            Err(JournalError::Segment { .. }) if self.accept_loss => 0,
            Err(JournalError::Segment { .. }) => return Err(RebuildError::DamagedNeededAfter),
            read => read?,
        };
        if last > needed_after {
            segments.retain(|segment| segment.number > needed_after);
        } else if !self.accept_loss {
            return Err(RebuildError::MissingSegment(needed_after + 1));
        }
        Ok(Journal {
            segments,
            // What is written from now on counts once this is not needed.
            last: last.max(needed_after.saturating_add(1)),
            needed_after,
        })
    }

    /// Checks that nobody else has written to the journal since this rebuild did.
    ///
    /// # Errors
    /// [`RebuildError::Overtaken`].
    pub(super) async fn check_own(&self, journal: &Journal) -> Result<(), RebuildError> {
        let begun = self.db.read(journal_rows::refresh_number).await?;
        let begun = begun.unwrap_or_default();
        let later = journal.segments.iter();
        for segment in later.filter(|segment| segment.number > begun) {
            let read = read_segment(&self.store, segment.number).await?;
            if read.rebuilt_from != Some(begun) {
                return Err(RebuildError::Overtaken);
            }
        }
        Ok(())
    }

    /// The records of one of the segments: none where it is of a rebuild that did not end, and
    /// whose index is lost. Where the segments that the rebuild read are gone, it had ended, or
    /// they are lost: what there is counts where that is accepted.
    pub(super) async fn records(
        &self,
        journal: &Journal,
        number: u64,
    ) -> Result<Vec<Record>, RebuildError> {
        let read = match read_segment(&self.store, number).await {
            Err(JournalError::Segment { why, .. }) if matches!(why, SegmentError::Damaged(_)) => {
                if self.accept_loss {
                    return Ok(Vec::new());
                }
                return Err(RebuildError::DamagedSegment(number, why));
            }
            read => read?,
        };
        let is_unfinished = |from: &u64| {
            let mut others = journal.segments.iter();
            let is_alone = !others.any(|segment| segment.number <= *from);
            *from > journal.needed_after && !(is_alone && self.accept_loss)
        };
        let unfinished = read.rebuilt_from.filter(is_unfinished);
        if read.caught_up_from.is_some_and(|from| is_unfinished(&from)) {
            if self.accept_loss {
                return Ok(Vec::new());
            }
            return Err(RebuildError::OtherIndex(number));
        }
        let (previous, records) = match unfinished {
            Some(rebuilt) => (rebuilt, Vec::new()),
            None => (read.previous.unwrap_or_default(), read.records),
        };
        let (all, needed_after) = (&journal.segments, journal.needed_after);
        let missing = missing_before(&self.store, all, previous, needed_after).await?;
        match missing {
            Some(number) if !self.accept_loss => Err(RebuildError::MissingSegment(number)),
            _ => Ok(records),
        }
    }
}
