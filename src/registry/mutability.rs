//! PURE: whether a tag may be moved to another image.
//!
//! Source: ECR user guide, "Preventing image tags from being overwritten": exclusion filters hold
//! `*` as the only wildcard.

use crate::model::{MutabilityMode, TagMutability};

/// Whether `tag`, once set, may be set to another image. Deleting a tag is not moving it.
pub(super) fn may_move(mutability: &TagMutability, tag: &str) -> bool {
    let excluded = || {
        mutability
            .exclusions
            .iter()
            .any(|pattern| matches(pattern, tag))
    };
    match mutability.mode {
        MutabilityMode::Mutable => true,
        MutabilityMode::Immutable => false,
        MutabilityMode::MutableWithExclusion => !excluded(),
        MutabilityMode::ImmutableWithExclusion => excluded(),
    }
}

/// Whether the pattern matches the whole text; `*` matches any run of characters. The time is at
/// most proportional to the product of the lengths.
fn matches(pattern: &str, text: &str) -> bool {
    let mut pieces = pattern.split('*');
    let Some(mut rest) = pieces.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut pieces = pieces.peekable();
    if pieces.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(piece) = pieces.next() {
        if pieces.peek().is_none() {
            return rest.ends_with(piece);
        }
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn with(mode: MutabilityMode, pattern: &str) -> TagMutability {
        TagMutability {
            mode,
            exclusions: vec![pattern.to_owned()],
        }
    }

    #[test]
    fn exclusions_turn_the_rule_around() {
        assert!(may_move(
            &with(MutabilityMode::ImmutableWithExclusion, "dev-*"),
            "dev-1"
        ));
        assert!(!may_move(
            &with(MutabilityMode::ImmutableWithExclusion, "dev-*"),
            "v1"
        ));
        assert!(!may_move(
            &with(MutabilityMode::MutableWithExclusion, "v*.0"),
            "v1.0"
        ));
        assert!(may_move(
            &with(MutabilityMode::MutableWithExclusion, "v1.0"),
            "v1x0"
        ));
    }

    fn oracle(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|cut| oracle(rest, &text[cut..])),
            Some((byte, rest)) => text.first() == Some(byte) && oracle(rest, &text[1..]),
        }
    }

    proptest! {
        #[test]
        fn wildcards_agree_with_the_oracle(pattern in "[ab*]{0,6}", text in "[ab]{0,8}") {
            prop_assert_eq!(matches(&pattern, &text), oracle(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn the_two_modes_with_exclusions_are_opposites(
            pattern in "[ab*]{0,6}",
            text in "[ab]{0,8}",
        ) {
            prop_assert_ne!(
                may_move(&with(MutabilityMode::MutableWithExclusion, &pattern), &text),
                may_move(&with(MutabilityMode::ImmutableWithExclusion, &pattern), &text)
            );
        }
    }
}
