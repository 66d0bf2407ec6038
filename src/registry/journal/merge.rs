//! PURE: which segments are merged into one, and what remains of their records.

use std::collections::HashMap;

use crate::journal::record::{Record, Subject};

/// Segments below this size are merged; larger ones stay until everything is written anew.
const SMALL_BYTES: u64 = 256 * 1024;

/// So many small segments in a row are merged. A busy server writes one every few seconds.
const MERGED_AT_ONCE: usize = 32;

/// Everything is written anew once the journal is this many times as large as it was after the
/// last time, so that at most this share of it is out of date.
const REFRESH_FACTOR: u64 = 3;

/// A journal below this size is not written anew.
const REFRESH_ABOVE_BYTES: u64 = 64 * 1024 * 1024;

/// A segment in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) number: u64,
    /// Bytes.
    pub(crate) size: u64,
}

/// The first run of small segments that is long enough to be merged; `segments` are in order. The
/// result of a merge has the number of the last of them.
pub(crate) fn to_merge(segments: &[Stored]) -> &[Stored] {
    let runs = segments.chunk_by(|one, next| is_small(one) && is_small(next));
    let mut long = runs.filter(|run| run.len() >= MERGED_AT_ONCE);
    long.next().map_or(&[], |run| &run[..MERGED_AT_ONCE])
}

fn is_small(segment: &Stored) -> bool {
    segment.size < SMALL_BYTES
}

/// Whether so much of the journal may be out of date that everything is to be written anew.
pub(crate) fn is_refresh_due(segments: &[Stored], refreshed_bytes: u64) -> bool {
    let bytes: u64 = segments.iter().map(|segment| segment.size).sum();
    bytes > REFRESH_ABOVE_BYTES.max(refreshed_bytes.saturating_mul(REFRESH_FACTOR))
}

/// The last record of each row, those of repositories first, so that nothing comes before its
/// repository. A record that says that a row is gone stays: an earlier segment may tell of the row.
pub(crate) fn merged(records: Vec<Record>) -> Vec<Record> {
    let last: HashMap<Subject, usize> = records
        .iter()
        .enumerate()
        .map(|(at, record)| (record.subject.clone(), at))
        .collect();
    let numbered = records.into_iter().enumerate();
    let kept = numbered.filter(|(at, record)| last.get(&record.subject) == Some(at));
    let (mut repositories, others): (Vec<_>, Vec<_>) = kept
        .map(|(_, record)| record)
        .partition(|record| matches!(record.subject, Subject::Repository(_)));
    repositories.extend(others);
    repositories
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::record::{State, TagState};

    fn segments(sizes: &[u64]) -> Vec<Stored> {
        (1..)
            .zip(sizes)
            .map(|(number, size)| Stored {
                number,
                size: *size,
            })
            .collect()
    }

    #[test]
    fn small_segments_in_a_row_are_merged() {
        let few = segments(&[10; 31]);
        assert!(to_merge(&few).is_empty());
        let many = segments(&[10; 40]);
        assert_eq!(to_merge(&many), &many[..32]);
        let mut sizes = vec![10; 20];
        sizes.push(1 << 20);
        sizes.extend([10; 33]);
        let parted = segments(&sizes);
        assert_eq!(to_merge(&parted), &parted[21..53]);
    }

    #[test]
    fn everything_is_written_anew_when_most_may_be_out_of_date() {
        let mib = |sizes: &[u64]| segments(&sizes.iter().map(|one| one << 20).collect::<Vec<_>>());
        assert!(!is_refresh_due(&mib(&[30, 34]), 0));
        assert!(is_refresh_due(&mib(&[30, 35]), 0));
        assert!(!is_refresh_due(&mib(&[300]), 100 << 20));
        assert!(is_refresh_due(&mib(&[301]), 100 << 20));
    }

    fn record() -> impl Strategy<Value = Record> {
        let row = (0..3_i64, "[a-d]", proptest::option::of(0..100_i64));
        row.prop_map(|(id, name, at)| Record {
            subject: match name.as_str() {
                "d" => Subject::Repository(id),
                _ => Subject::Tag(id, name),
            },
            state: at.map(|tagged_at| {
                State::Tag(TagState {
                    image: wharfinger_oci::Digest::of(wharfinger_oci::Algorithm::Sha256, b"x"),
                    tagged_at,
                })
            }),
        })
    }

    fn replayed(records: &[Record]) -> HashMap<Subject, Option<State>> {
        records
            .iter()
            .map(|record| (record.subject.clone(), record.state.clone()))
            .collect()
    }

    proptest! {
        #[test]
        fn a_merge_changes_nothing_of_what_the_records_say(
            records in prop::collection::vec(record(), 0..40),
            split in 0..40_usize,
        ) {
            let split = split.min(records.len());
            let mut parts = merged(records[..split].to_vec());
            parts.extend(merged(records[split..].to_vec()));
            let all = merged(parts);
            prop_assert_eq!(replayed(&all), replayed(&records));
            prop_assert_eq!(all.len(), replayed(&records).len(), "each row once");
            let is_other = |record: &Record| !matches!(record.subject, Subject::Repository(_));
            prop_assert!(all.is_sorted_by_key(is_other), "repositories come first");
        }
    }
}
