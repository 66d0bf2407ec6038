//! PURE: lifecycle policies as types that cannot hold an invalid rule.
//!
//! Source: ECR user guide, "Lifecycle policy properties in Amazon ECR".

use wharfinger_oci::Tag;

use crate::wildcard;

/// Most rules of a policy (ECR service quotas).
pub(super) const MAX_RULES: usize = 50;
/// Fewest days after which archived images may expire: ECR's minimum storage duration.
pub(super) const MIN_ARCHIVED_DAYS: u32 = 90;
/// Most `*` in one tag pattern.
pub(super) const MAX_WILDCARDS: usize = 4;

/// Why a text is no lifecycle policy, in ECR's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LifecyclePolicyError(pub(super) String);

/// A lifecycle policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecyclePolicy {
    /// By ascending priority.
    rules: Vec<Rule>,
}

/// A rule: the images that it looks at, and what happens to some of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Unique within the policy. Of the rules that look at an image, the one with the lowest number
    /// decides.
    pub priority: u32,
    pub tags: TagSelection,
    pub criterion: Criterion,
}

/// What a rule requires of an image's tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TagSelection {
    Any,
    Untagged,
    /// For each prefix, a tag that begins with it.
    Prefixes(Vec<String>),
    /// For each pattern, a tag that matches it. `*` is the only wildcard.
    Patterns(Vec<String>),
}

/// Which of the images a rule acts on, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// All but the newest so many images.
    CountMoreThan { images: u32, action: Action },
    /// Images that were pushed more than so many days ago.
    SincePushed { days: u32, action: Action },
    /// Images that nobody has pulled for more than so many days are archived.
    SincePulled { days: u32 },
    /// Images that were archived more than so many days ago expire.
    SinceArchived { days: u32 },
}

/// What is done with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// The image is deleted.
    Expire,
    /// The image goes to the archive.
    Archive,
}

/// Where an image is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StorageClass {
    Standard,
    Archive,
}

impl LifecyclePolicy {
    /// A policy of rules by ascending priority, which were checked together.
    pub(super) fn of_checked(rules: Vec<Rule>) -> Self {
        Self { rules }
    }

    /// The rules, by ascending priority.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule that decides about an image of this class with these tags: the first that looks at
    /// it. All later ones leave the image alone, even if this one keeps it.
    pub(super) fn deciding_rule(&self, class: StorageClass, tags: &[Tag]) -> Option<usize> {
        self.rules
            .iter()
            .position(|rule| rule.looks_at(class, tags))
    }
}

impl Rule {
    /// Whether images of this class with these tags are among those that the rule looks at.
    pub(super) fn looks_at(&self, class: StorageClass, tags: &[Tag]) -> bool {
        self.criterion.storage_class() == class && self.tags.matches(tags)
    }
}

impl TagSelection {
    fn matches(&self, tags: &[Tag]) -> bool {
        let each_has_a_tag = |list: &[String], matches: fn(&str, &str) -> bool| {
            list.iter()
                .all(|wanted| tags.iter().any(|tag| matches(wanted, tag.as_str())))
        };
        match self {
            Self::Any => true,
            Self::Untagged => tags.is_empty(),
            Self::Prefixes(prefixes) => {
                each_has_a_tag(prefixes, |prefix, tag| tag.starts_with(prefix))
            }
            Self::Patterns(patterns) => each_has_a_tag(patterns, wildcard::matches),
        }
    }
}

impl Criterion {
    /// The images that a rule with this criterion looks at.
    pub const fn storage_class(self) -> StorageClass {
        match self {
            Self::SinceArchived { .. } => StorageClass::Archive,
            _ => StorageClass::Standard,
        }
    }

    pub const fn action(self) -> Action {
        match self {
            Self::CountMoreThan { action, .. } | Self::SincePushed { action, .. } => action,
            Self::SincePulled { .. } => Action::Archive,
            Self::SinceArchived { .. } => Action::Expire,
        }
    }
}
