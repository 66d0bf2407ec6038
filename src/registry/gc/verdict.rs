//! Decides what becomes of content, from what is known about it. Pure.

use std::time::Duration;

use wharfinger_base::Timestamp;

/// How long content is kept after the last HEAD, mount or upload of it while no image needs it: the
/// time that a push may take from its first layer to its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobLease(pub(crate) Duration);

impl BlobLease {
    /// The end of a lease that begins now.
    pub(crate) fn until(self, now: Timestamp) -> Timestamp {
        now.plus(self.0)
    }

    /// Whether a HEAD must renew the lease: only when less than half of it is left, so that reading
    /// the same blob again and again writes nothing.
    pub(crate) fn is_due(self, lease_until: Timestamp, now: Timestamp) -> bool {
        lease_until.since(now) < self.0 / 2
    }
}

/// What becomes of a link or a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is needed: an image references the link's content, or a repository links the blob.
    Keep,
    /// A push may be about to need it until then.
    Wait(Timestamp),
    /// Nothing needs it.
    Remove,
}

/// `needed` says that an image of the repository references the link's content, or that a
/// repository links the blob.
pub(crate) fn verdict(needed: bool, lease_until: Timestamp, now: Timestamp) -> Verdict {
    if needed {
        Verdict::Keep
    } else if lease_until > now {
        Verdict::Wait(lease_until)
    } else {
        Verdict::Remove
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_needed_or_leased_stays_and_waiting_ends(
            needed: bool, lease_until in 0_i64..1_000, now in 0_i64..1_000,
        ) {
            let (lease_until, now) = (Timestamp::from_ms(lease_until), Timestamp::from_ms(now));
            match verdict(needed, lease_until, now) {
                Verdict::Keep => prop_assert!(needed),
                Verdict::Wait(until) => {
                    prop_assert!(!needed && until > now);
                    prop_assert_eq!(verdict(needed, lease_until, until), Verdict::Remove);
                }
                Verdict::Remove => prop_assert!(!needed && lease_until <= now),
            }
        }

        #[test]
        fn whoever_is_told_that_a_blob_exists_has_half_a_lease(
            lease in 1_u64..100_000, age in 0_u64..200_000,
        ) {
            let lease = BlobLease(Duration::from_millis(lease));
            let begun = Timestamp::from_ms(1_000_000);
            let now = begun.plus(Duration::from_millis(age));
            let kept = if lease.is_due(lease.until(begun), now) {
                lease.until(now)
            } else {
                lease.until(begun)
            };
            prop_assert!(kept.since(now) >= lease.0 / 2);
        }
    }
}
