//! PURE: the two kinds of ranges in `/v2/`: `Range` of a blob that is read, and `Content-Range` of
//! a chunk that is written.

use std::ops::Range;

/// The part of some content that a `Range` header requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ByteRange {
    /// A unit other than bytes, or several ranges: RFC 9110 (section 14.2) lets a server send the
    /// whole content.
    Whole,
    /// These bytes: never empty, never past the end.
    Part(Range<u64>),
    /// 416: a first byte past the end, an empty suffix, last before first, or not a range.
    Unsatisfiable,
}

impl ByteRange {
    /// Parses a `Range` header for content of `total` bytes. Last positions past the end are
    /// clipped, as RFC 9110 says. A reversed or malformed range is refused rather than ignored: the
    /// conformance tests take a 200 for a registry without ranges.
    #[must_use]
    pub(crate) fn parse(header: &str, total: u64) -> Self {
        let Some(spec) = header.trim().strip_prefix("bytes=") else {
            return Self::Whole;
        };
        if spec.contains(',') {
            return Self::Whole;
        }
        let Some((first, last)) = spec.split_once('-') else {
            return Self::Unsatisfiable;
        };
        match (digits(first.trim()), digits(last.trim())) {
            (Digits::None, Digits::Some(suffix)) => part(total.saturating_sub(suffix)..total),
            (Digits::Some(first), Digits::None) => part(first..total),
            (Digits::Some(first), Digits::Some(last)) if first <= last => {
                part(first..last.saturating_add(1).min(total))
            }
            _ => Self::Unsatisfiable,
        }
    }
}

fn part(range: Range<u64>) -> ByteRange {
    if range.is_empty() {
        ByteRange::Unsatisfiable
    } else {
        ByteRange::Part(range)
    }
}

enum Digits {
    None,
    Some(u64),
    Bad,
}

/// Parses decimal digits. Numbers beyond 64 bits become the largest one.
fn digits(text: &str) -> Digits {
    if text.is_empty() {
        Digits::None
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Digits::Some(text.parse().unwrap_or(u64::MAX))
    } else {
        Digits::Bad
    }
}

/// The position of a chunk in its upload, `first-last` inclusive: the form of the Distribution
/// specification, without a unit or a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChunkRange {
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl ChunkRange {
    /// Parses `^[0-9]+-[0-9]+$` with first not after last; `None` for anything else.
    #[must_use]
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let (first, last) = header.split_once('-')?;
        let number = |text: &str| {
            text.bytes()
                .all(|byte| byte.is_ascii_digit())
                .then(|| text.parse::<u64>().ok())
                .flatten()
        };
        let (first, last) = (number(first)?, number(last)?);
        (first <= last && last < u64::MAX).then_some(Self { first, last })
    }

    /// The length of the chunk in bytes.
    #[must_use]
    pub(crate) const fn len(&self) -> u64 {
        self.last - self.first + 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_are_clipped_ignored_or_refused() {
        for (header, expected) in [
            ("bytes=0-0", ByteRange::Part(0..1)),
            ("bytes=2-", ByteRange::Part(2..10)),
            ("bytes=-3", ByteRange::Part(7..10)),
            ("bytes=-30", ByteRange::Part(0..10)),
            ("bytes=5-99999999999999999999999999", ByteRange::Part(5..10)),
            ("bytes=0-1,4-5", ByteRange::Whole),
            ("lines=1-2", ByteRange::Whole),
            ("bytes=10-", ByteRange::Unsatisfiable),
            (
                "bytes=99999999999999999999999999-",
                ByteRange::Unsatisfiable,
            ),
            ("bytes=5-0", ByteRange::Unsatisfiable),
            ("bytes=-0", ByteRange::Unsatisfiable),
            ("bytes=-", ByteRange::Unsatisfiable),
            ("bytes=", ByteRange::Unsatisfiable),
            ("bytes=a-b", ByteRange::Unsatisfiable),
            ("bytes=1-2-3", ByteRange::Unsatisfiable),
        ] {
            assert_eq!(ByteRange::parse(header, 10), expected, "{header}");
        }
        assert_eq!(ByteRange::parse("bytes=0-", 0), ByteRange::Unsatisfiable);
        assert_eq!(ByteRange::parse("bytes=-1", 0), ByteRange::Unsatisfiable);
    }

    #[test]
    fn chunk_ranges_have_one_form() {
        assert_eq!(ChunkRange::parse("0-9").map(|chunk| chunk.len()), Some(10));
        for bad in [
            "",
            "-",
            "0-",
            "-9",
            "9-0",
            "bytes 0-9/10",
            "bytes=0-9",
            "0-9/10",
            " 0-9",
            "0-99999999999999999999",
            "0-18446744073709551615",
            "+0-9",
        ] {
            assert_eq!(ChunkRange::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_part_is_never_empty_nor_past_the_end(
            header in "(bytes=)?[0-9]{0,3}-?[0-9]{0,21}(,1-2)?",
            total in 0_u64..500,
        ) {
            if let ByteRange::Part(range) = ByteRange::parse(&header, total) {
                prop_assert!(range.start < range.end && range.end <= total);
            }
        }

        #[test]
        fn existing_bytes_are_selected_exactly(
            total in 1_u64..1_000,
            a in 0_u64..1_000,
            b in 0_u64..2_000,
        ) {
            prop_assume!(a < total && a <= b);
            let range = ByteRange::parse(&format!("bytes={a}-{b}"), total);
            prop_assert_eq!(range, ByteRange::Part(a..(b + 1).min(total)));
        }

        #[test]
        fn no_header_makes_it_panic(header in "\\PC{0,60}", total in any::<u64>()) {
            let _ = ByteRange::parse(&header, total);
            let _ = ByteRange::parse(&format!("bytes={header}"), total);
            let _ = ChunkRange::parse(&header);
        }
    }
}
