//! Rules of the pull-through cache: which repositories they are for. PURE.

use std::fmt;

use wharfinger_aws::Arn;
use wharfinger_base::Timestamp;
use wharfinger_oci::RepositoryName;

use crate::creation_templates::model::ROOT;
use crate::model::RegistryId;
use crate::pull_through::upstream_kind::UpstreamKind;

/// The first parts of repository names, without a slash at the end, or all names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Prefix(String);

impl Prefix {
    /// A prefix whose form was checked. A slash at its end is implied.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.strip_suffix('/').unwrap_or(text).to_owned())
    }

    /// The prefix of all names.
    #[must_use]
    pub fn root() -> Self {
        Self(ROOT.to_owned())
    }

    /// The prefix in the upstream of a rule that was made without one, which is that of all names.
    #[must_use]
    pub fn not_given() -> Self {
        Self(String::new())
    }

    /// The prefix, where the rule was made with one.
    #[must_use]
    pub fn given(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.clone())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_root(&self) -> bool {
        self.0.is_empty() || self.0 == ROOT
    }

    /// What follows the prefix in a name that has it.
    fn rest<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.is_root() {
            return Some(name);
        }
        let rest = name.strip_prefix(&self.0)?.strip_prefix('/')?;
        (!rest.is_empty()).then_some(rest)
    }

    /// The name with the prefix before it.
    fn before(&self, rest: &str) -> String {
        if self.is_root() {
            rest.to_owned()
        } else {
            format!("{}/{rest}", self.0)
        }
    }

    /// The longest prefix is the most specific one; that of all names comes last.
    fn specificity(&self) -> usize {
        if self.is_root() { 0 } else { self.0.len() }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A rule: repositories with the prefix are filled from the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullThroughRule {
    pub registry: RegistryId,
    pub prefix: Prefix,
    /// The host of the upstream registry.
    pub upstream_url: String,
    pub upstream_kind: UpstreamKind,
    /// What stands before the rest of a name in the upstream registry.
    pub upstream_prefix: Prefix,
    /// The secret with the upstream's credentials.
    pub credential: Option<Arn>,
    /// The role that the cache assumes, where the upstream is a registry of this server.
    pub custom_role: Option<Arn>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl PullThroughRule {
    /// The name that a repository has in the upstream registry; `None` where the rule is not for
    /// it.
    #[must_use]
    pub fn upstream_name(&self, repository: &RepositoryName) -> Option<String> {
        let rest = self.prefix.rest(repository.as_str())?;
        Some(self.upstream_prefix.before(rest))
    }
}

/// Most rules of a registry (ECR's quota).
pub(crate) const MAX_RULES: i64 = 50;

/// The rule for a repository: of those with a matching prefix the one with the longest.
pub(crate) fn matching<'a>(
    rules: &'a [PullThroughRule],
    repository: &RepositoryName,
) -> Option<&'a PullThroughRule> {
    let name = repository.as_str();
    let fitting = rules.iter().filter(|rule| rule.prefix.rest(name).is_some());
    fitting.max_by_key(|rule| rule.prefix.specificity())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::pull_through) fn rule(prefix: &str, upstream_prefix: &str) -> PullThroughRule {
        PullThroughRule {
            registry: RegistryId {
                account: wharfinger_aws::AccountId::DEV,
                region: "us-east-1".parse().expect("a region"),
            },
            prefix: Prefix::new(prefix),
            upstream_url: "quay.io".to_owned(),
            upstream_kind: UpstreamKind::Quay,
            upstream_prefix: Prefix::new(upstream_prefix),
            credential: None,
            custom_role: None,
            created_at: Timestamp::from_ms(0),
            updated_at: Timestamp::from_ms(0),
        }
    }

    #[test]
    fn names_are_translated_by_the_longest_prefix() {
        let rules = [
            rule("quay", "ROOT"),
            rule("quay/team/", "other/place"),
            rule("ROOT", "mirror"),
        ];
        for (name, prefix, upstream) in [
            ("quay/a", "quay", "a"),
            ("quay/a/b", "quay", "a/b"),
            ("quay/team", "quay", "team"),
            ("quay/team/x", "quay/team", "other/place/x"),
            ("quay/teams/x", "quay", "teams/x"),
            ("quay", "ROOT", "mirror/quay"),
            ("quays/a", "ROOT", "mirror/quays/a"),
        ] {
            let name: RepositoryName = name.parse().expect("a name");
            let found = matching(&rules, &name).expect("a rule");
            assert_eq!(found.prefix.as_str(), prefix, "{name}");
            assert_eq!(found.upstream_name(&name).as_deref(), Some(upstream));
        }
        let name: RepositoryName = "other/a".parse().expect("a name");
        assert_eq!(matching(&rules[..2], &name), None);
        assert_eq!(rules[0].upstream_name(&name), None);
    }

    #[test]
    fn without_a_prefix_the_upstream_is_taken_as_a_whole() {
        let mut one = rule("quay", "ROOT");
        assert_eq!(one.upstream_prefix.given().as_deref(), Some("ROOT"));
        one.upstream_prefix = Prefix::not_given();
        assert_eq!(one.upstream_prefix.given(), None);
        let name: RepositoryName = "quay/a".parse().expect("a name");
        assert_eq!(one.upstream_name(&name).as_deref(), Some("a"));
    }

    proptest! {
        /// The oracle removes parts of the name from the right until a rule has what is left.
        #[test]
        fn the_longest_prefix_of_whole_parts_counts(
            prefixes in prop::collection::btree_set("(aa|bb)(/(aa|bb)){0,2}|ROOT", 0..5),
            name in "(aa|bb)(/(aa|bb)){0,3}",
        ) {
            let rules: Vec<_> = prefixes.iter().map(|prefix| rule(prefix, "ROOT")).collect();
            let parts: Vec<_> = name.split('/').collect();
            let expected = (1..parts.len())
                .rev()
                .map(|count| parts[..count].join("/"))
                .chain(["ROOT".to_owned()])
                .find(|candidate| prefixes.contains(candidate));
            let name: RepositoryName = name.parse().expect("a name");
            let found = matching(&rules, &name).map(|rule| rule.prefix.as_str().to_owned());
            prop_assert_eq!(found, expected);
        }
    }
}
