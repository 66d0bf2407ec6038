//! PURE: decides whether the bytes of a blob belong to the archive.

use std::time::Duration;

use wharfinger_base::Timestamp;

/// Blobs below this size stay where they are. A move costs rows, files and requests that are worth
/// more than the space: configs of images are smaller.
pub(crate) const SMALLEST_BYTES: u64 = 16 * 1024;

/// A blob that more images are made of stays where it is. For each image its bytes count for
/// little, and to look at all its images would hold up other writes.
pub(crate) const MOST_IMAGES: u64 = 4_096;

/// How long bytes stay at their old place after a move. The journal names the new one by then, so
/// that an index which is made anew from a journal that lags finds them.
pub(crate) const REMOVAL_DELAY: Duration = Duration::from_secs(15);

/// Which images, of all repositories, are made of a blob. Counted up to one more than
/// [`MOST_IMAGES`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlobUse {
    pub(crate) images: u64,
    /// Those of them that are not archived.
    pub(crate) active_images: u64,
}

/// Where the bytes of a blob belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placement {
    /// Where they are.
    Standard,
    /// To be decided then: a push was told that the blob exists, and may be about to need it.
    Wait(Timestamp),
    Archive,
}

/// Decides about a blob of `size` bytes whose lease ends at `lease_until`.
pub(crate) fn placement(
    size: u64,
    used: BlobUse,
    lease_until: Timestamp,
    now: Timestamp,
) -> Placement {
    // What no image is made of is for the garbage collector.
    let only_archived = used.images > 0 && used.active_images == 0;
    if !only_archived || used.images > MOST_IMAGES || size < SMALLEST_BYTES {
        Placement::Standard
    } else if lease_until > now {
        Placement::Wait(lease_until)
    } else {
        Placement::Archive
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The oracle looks at the images one by one.
        #[test]
        fn only_what_archived_images_alone_need_goes_to_the_archive(
            archived in prop::collection::vec(any::<bool>(), 0..6),
            size in (SMALLEST_BYTES - 2)..(SMALLEST_BYTES + 2),
            lease_until in 0_i64..10, now in 0_i64..10,
        ) {
            let used = BlobUse {
                images: archived.len() as u64,
                active_images: archived.iter().filter(|archived| !**archived).count() as u64,
            };
            let (lease, now) = (Timestamp::from_ms(lease_until), Timestamp::from_ms(now));
            let placed = placement(size, used, lease, now);
            let some_archived = archived.iter().any(|archived| *archived);
            let all_archived = archived.iter().all(|archived| *archived);
            if some_archived && all_archived && size >= SMALLEST_BYTES {
                let is_leased = lease > now;
                let expected = is_leased.then_some(Placement::Wait(lease));
                prop_assert_eq!(placed, expected.unwrap_or(Placement::Archive));
                // Waiting ends.
                prop_assert_eq!(placement(size, used, lease, lease), Placement::Archive);
            } else {
                prop_assert_eq!(placed, Placement::Standard);
            }
        }
    }

    #[test]
    fn what_very_many_images_share_stays() {
        let now = Timestamp::from_ms(1);
        let placed = |images| {
            let used = BlobUse {
                images,
                active_images: 0,
            };
            placement(SMALLEST_BYTES, used, now, now)
        };
        assert_eq!(placed(MOST_IMAGES), Placement::Archive);
        assert_eq!(placed(MOST_IMAGES + 1), Placement::Standard);
    }
}
