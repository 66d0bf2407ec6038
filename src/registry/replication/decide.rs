//! What follows from an attempt to replicate: it is complete, it has failed, or it is tried again
//! later. PURE.

use std::time::Duration;

use wharfinger_base::Timestamp;

/// The pause after the first attempt; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause that is chosen here.
const MAX_PAUSE: Duration = Duration::from_hours(1);
/// Longest pause that a destination may request.
const MAX_REQUESTED_PAUSE: Duration = Duration::from_hours(6);
/// Attempts while a destination cannot be reached: with the pauses between them, about a day.
const ATTEMPTS_WHILE_UNAVAILABLE: u32 = 32;
/// Attempts where something is missing that may follow: about two hours.
const ATTEMPTS_WHILE_INCOMPLETE: u32 = 12;

/// Why a replication has failed: ECR's `failureCode`. AWS does not publish its codes; these are
/// formed like those of other operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReplicationFailure {
    /// The policy of the destination's registry, or a remote registry, does not allow it.
    AccessDenied,
    /// The image was deleted before it was replicated.
    ImageNotFound,
    /// The image is in the archive.
    ImageArchived,
    /// The tag names another image at the destination, where tags are immutable. The image is
    /// there, without the tag.
    ImageTagAlreadyExists,
    /// Layers are not there (any more, or yet).
    LayersNotFound,
    /// Members of an index are not there.
    ReferencedImagesNotFound,
    /// An index at the destination has the image as a member, so that it is not deleted.
    ImageReferencedByManifestList,
    /// The image would have more tags than it may have.
    LimitExceeded,
    /// The destination did not respond for a day.
    DestinationUnavailable,
    /// The destination does not accept the content.
    DestinationRefused,
    /// This server failed.
    InternalError,
}

impl ReplicationFailure {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessDenied => "AccessDenied",
            Self::ImageNotFound => "ImageNotFound",
            Self::ImageArchived => "ImageArchived",
            Self::ImageTagAlreadyExists => "ImageTagAlreadyExists",
            Self::LayersNotFound => "LayersNotFound",
            Self::ReferencedImagesNotFound => "ReferencedImagesNotFound",
            Self::ImageReferencedByManifestList => "ImageReferencedByManifestList",
            Self::LimitExceeded => "LimitExceeded",
            Self::DestinationUnavailable => "DestinationUnavailable",
            Self::DestinationRefused => "DestinationRefused",
            Self::InternalError => "InternalError",
        }
    }

    /// Attempts after which it counts.
    const fn attempts(self) -> u32 {
        match self {
            Self::DestinationUnavailable | Self::InternalError => ATTEMPTS_WHILE_UNAVAILABLE,
            _ => ATTEMPTS_WHILE_INCOMPLETE,
        }
    }
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Done,
    /// There is nothing to do any more.
    Gone,
    /// Another attempt would end the same way.
    Failed(ReplicationFailure),
    /// Another attempt may succeed; not before the pause that the destination requests.
    Again(ReplicationFailure, Option<Duration>),
}

/// What follows from an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Complete,
    Remove,
    Fail(ReplicationFailure),
    RetryAt(Timestamp),
}

/// What follows from attempt number `attempts`, which ended now.
pub(super) fn next(outcome: Outcome, attempts: u32, now: Timestamp) -> Next {
    match outcome {
        Outcome::Done => Next::Complete,
        Outcome::Gone => Next::Remove,
        Outcome::Failed(why) => Next::Fail(why),
        Outcome::Again(why, _) if attempts >= why.attempts() => Next::Fail(why),
        Outcome::Again(_, requested) => {
            let requested = requested.unwrap_or_default().min(MAX_REQUESTED_PAUSE);
            Next::RetryAt(now.plus(pause(attempts).max(requested)))
        }
    }
}

fn pause(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    (FIRST_PAUSE * 2_u32.pow(doublings)).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_ms(1_000_000);

    fn waits(outcome: Outcome) -> Vec<Duration> {
        let mut waits = Vec::new();
        for attempt in 1..1_000 {
            match next(outcome, attempt, NOW) {
                Next::RetryAt(at) => waits.push(at.since(NOW)),
                Next::Fail(_) => return waits,
                other => panic!("{other:?}"),
            }
        }
        panic!("it is never given up");
    }

    #[test]
    fn what_has_ended_is_not_tried_again() {
        let why = ReplicationFailure::AccessDenied;
        assert_eq!(next(Outcome::Done, 1, NOW), Next::Complete);
        assert_eq!(next(Outcome::Gone, 1, NOW), Next::Remove);
        assert_eq!(next(Outcome::Failed(why), 1, NOW), Next::Fail(why));
    }

    #[test]
    fn pauses_double_up_to_an_hour_and_a_destination_has_a_day_to_come_back() {
        let waits = waits(Outcome::Again(
            ReplicationFailure::DestinationUnavailable,
            None,
        ));
        let first: Vec<u64> = waits.iter().take(3).map(Duration::as_secs).collect();
        assert_eq!(first, [5, 10, 20]);
        assert_eq!(waits.iter().max(), Some(&Duration::from_hours(1)));
        let all: Duration = waits.iter().sum();
        assert!(all > Duration::from_hours(20) && all < Duration::from_hours(30));
    }

    #[test]
    fn a_destination_that_requests_a_pause_gets_it_within_bounds() {
        let again = |seconds| {
            let pause = Some(Duration::from_secs(seconds));
            waits(Outcome::Again(
                ReplicationFailure::DestinationUnavailable,
                pause,
            ))
        };
        assert_eq!(again(90)[0].as_secs(), 90);
        assert_eq!(again(1)[0].as_secs(), 5);
        assert_eq!(again(10_000_000)[0], MAX_REQUESTED_PAUSE);
    }

    #[test]
    fn content_that_does_not_come_fails_after_hours() {
        let waits = waits(Outcome::Again(ReplicationFailure::LayersNotFound, None));
        let all: Duration = waits.iter().sum();
        assert!(all > Duration::from_hours(1) && all < Duration::from_hours(4));
    }
}
