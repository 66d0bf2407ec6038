//! The signing configuration of a registry, and which profiles sign the images of a repository.
//! PURE.

use serde::{Deserialize, Serialize};
use wharfinger_oci::RepositoryName;

use crate::wildcard;

/// A rule of a signing configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningRule {
    /// The ARN of a signing profile.
    pub profile: String,
    /// Filters of repository names with `*` as the only wildcard; none match every repository.
    pub filters: Vec<String>,
}

/// The signing configuration of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SigningConfiguration {
    pub rules: Vec<SigningRule>,
}

impl SigningConfiguration {
    /// The profiles that sign the images of a repository, each once, in the order of the rules.
    pub(crate) fn profiles_for(&self, repository: &RepositoryName) -> Vec<&str> {
        let mut profiles = Vec::new();
        for rule in &self.rules {
            let matches = |filter: &String| wildcard::matches(filter, repository.as_str());
            let applies = rule.filters.is_empty() || rule.filters.iter().any(matches);
            if applies && !profiles.contains(&rule.profile.as_str()) {
                profiles.push(rule.profile.as_str());
            }
        }
        profiles
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_profile_with_a_rule_that_matches_signs_once() {
        let rule = |profile: &str, filters: &[&str]| SigningRule {
            profile: profile.to_owned(),
            filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
        };
        let configuration = SigningConfiguration {
            rules: vec![
                rule("a", &["prod/*", "*/web"]),
                rule("b", &[]),
                rule("a", &["prod/web"]),
                rule("c", &["prod"]),
            ],
        };
        let profiles = |name: &str| {
            let name = name.parse().expect("a name");
            let found = configuration.profiles_for(&name);
            found.into_iter().map(ToOwned::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(profiles("prod/web"), ["a", "b"]);
        assert_eq!(profiles("prod"), ["b", "c"]);
        assert_eq!(profiles("test/api"), ["b"]);
    }
}
