//! PURE: the two ranges of `/v2/`: `Range` of a blob that is read, and `Content-Range` of a chunk
//! that is written.

use std::ops::Range;

/// What a `Range` header asks of content that is `total` bytes long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// No range, a unit other than bytes, or several ranges: RFC 9110 (section 14.2) lets a server
    /// answer the whole.
    Whole,
    /// These bytes; never empty, never past the end.
    Part(Range<u64>),
    /// Nothing of it exists (416): a first byte past the end, an empty suffix, last before first,
    /// or no range at all.
    Nothing,
}

impl Asked {
    /// Reads a `Range` header. Last positions past the end are clipped, as RFC 9110 says. A
    /// reversed or unreadable range is refused rather than ignored: the conformance suite takes
    /// a 200 for a registry without ranges.
    #[must_use]
    pub fn of(header: &str, total: u64) -> Self {
        let Some(spec) = header.trim().strip_prefix("bytes=") else {
            return Self::Whole;
        };
        if spec.contains(',') {
            return Self::Whole;
        }
        let Some((first, last)) = spec.split_once('-') else {
            return Self::Nothing;
        };
        match (digits(first.trim()), digits(last.trim())) {
            (Digits::None, Digits::Some(suffix)) => part(total.saturating_sub(suffix)..total),
            (Digits::Some(first), Digits::None) => part(first..total),
            (Digits::Some(first), Digits::Some(last)) if first <= last => {
                part(first..last.saturating_add(1).min(total))
            }
            _ => Self::Nothing,
        }
    }
}

fn part(range: Range<u64>) -> Asked {
    if range.is_empty() {
        Asked::Nothing
    } else {
        Asked::Part(range)
    }
}

enum Digits {
    None,
    Some(u64),
    Bad,
}

/// Decimal digits; numbers beyond 64 bits are as good as the largest.
fn digits(text: &str) -> Digits {
    if text.is_empty() {
        Digits::None
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        Digits::Some(text.parse().unwrap_or(u64::MAX))
    } else {
        Digits::Bad
    }
}

/// The bytes that a chunk says it holds, `first-last` inclusive: the Distribution specification's
/// own form, without a unit or a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkRange {
    pub first: u64,
    pub last: u64,
}

impl ChunkRange {
    /// `None` for all but `^[0-9]+-[0-9]+$` with first not after last.
    #[must_use]
    pub fn parse(header: &str) -> Option<Self> {
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

    /// How many bytes the chunk holds.
    #[must_use]
    #[expect(
        clippy::len_without_is_empty,
        reason = "a chunk with a range is never empty"
    )]
    pub const fn len(&self) -> u64 {
        self.last - self.first + 1
    }
}

#[cfg(test)]
mod laws {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ranges_by_example() {
        for (header, asked) in [
            ("bytes=0-0", Asked::Part(0..1)),
            ("bytes=2-", Asked::Part(2..10)),
            ("bytes=-3", Asked::Part(7..10)),
            ("bytes=-30", Asked::Part(0..10)),
            ("bytes=5-99999999999999999999999999", Asked::Part(5..10)),
            ("bytes=0-1,4-5", Asked::Whole),
            ("lines=1-2", Asked::Whole),
            ("bytes=10-", Asked::Nothing),
            ("bytes=99999999999999999999999999-", Asked::Nothing),
            ("bytes=5-0", Asked::Nothing),
            ("bytes=-0", Asked::Nothing),
            ("bytes=-", Asked::Nothing),
            ("bytes=", Asked::Nothing),
            ("bytes=a-b", Asked::Nothing),
            ("bytes=1-2-3", Asked::Nothing),
        ] {
            assert_eq!(Asked::of(header, 10), asked, "{header}");
        }
        assert_eq!(Asked::of("bytes=0-", 0), Asked::Nothing);
        assert_eq!(Asked::of("bytes=-1", 0), Asked::Nothing);
    }

    #[test]
    fn chunks_by_example() {
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
        fn a_part_is_never_empty_nor_past_the_end(header in "(bytes=)?[0-9]{0,3}-?[0-9]{0,21}(,1-2)?", total in 0_u64..500) {
            if let Asked::Part(range) = Asked::of(&header, total) {
                prop_assert!(range.start < range.end && range.end <= total);
            }
        }

        #[test]
        fn what_exists_is_given_exactly(total in 1_u64..1_000, a in 0_u64..1_000, b in 0_u64..2_000) {
            prop_assume!(a < total && a <= b);
            let asked = Asked::of(&format!("bytes={a}-{b}"), total);
            prop_assert_eq!(asked, Asked::Part(a..(b + 1).min(total)));
        }

        #[test]
        fn no_header_makes_it_panic(header in "\\PC{0,60}", total in any::<u64>()) {
            let _ = Asked::of(&header, total);
            let _ = Asked::of(&format!("bytes={header}"), total);
            let _ = ChunkRange::parse(&header);
        }
    }
}
