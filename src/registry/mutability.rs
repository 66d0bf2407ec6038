//! PURE: whether a tag may be moved to another image.
//!
//! Source: ECR user guide, "Preventing image tags from being overwritten": exclusion filters hold
//! `*` as the only wildcard.

use crate::model::{MutabilityMode, TagMutability};
use crate::wildcard::matches;

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

    proptest! {
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
