//! The replication configuration of a registry, and where the images of a repository are replicated
//! to. PURE.
//!
//! Source: ECR user guide, "Private image replication"; quotas of ECR.

use serde::{Deserialize, Serialize};
use wharfinger_oci::RepositoryName;

use crate::model::RegistryId;

/// Most different destinations of all rules: ECR's quota. It bounds what a push records.
pub(crate) const MAX_DESTINATIONS: usize = 25;

/// A rule of a replication configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicationRule {
    pub destinations: Vec<RegistryId>,
    /// Beginnings of repository names; none match every repository.
    pub prefixes: Vec<String>,
    /// Whether removals of images and tags are replicated as well; `None` where the rule does not
    /// say, which means that they are not.
    pub deletes: Option<bool>,
}

/// The replication configuration of a registry.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReplicationConfiguration {
    pub rules: Vec<ReplicationRule>,
}

/// A destination of the images of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) destination: RegistryId,
    pub(crate) deletes: bool,
}

/// Why a configuration is refused. Messages are those of ECR where they are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplicationRulesError {
    #[error("Replication destination cannot be the same as the source registry")]
    OwnRegistry,
    #[error("The replication configuration has more than {MAX_DESTINATIONS} unique destinations")]
    TooManyDestinations,
}

impl ReplicationRule {
    fn applies_to(&self, repository: &RepositoryName) -> bool {
        let begins = |prefix: &String| repository.as_str().starts_with(prefix.as_str());
        self.prefixes.is_empty() || self.prefixes.iter().any(begins)
    }
}

impl ReplicationConfiguration {
    /// Checks what a configuration of this registry must keep to besides its form.
    ///
    /// # Errors
    /// [`ReplicationRulesError`].
    pub(crate) fn check(&self, registry: &RegistryId) -> Result<(), ReplicationRulesError> {
        let mut distinct: Vec<&RegistryId> = Vec::new();
        for destination in self.rules.iter().flat_map(|rule| &rule.destinations) {
            if destination == registry {
                return Err(ReplicationRulesError::OwnRegistry);
            }
            if !distinct.contains(&destination) {
                distinct.push(destination);
            }
            if distinct.len() > MAX_DESTINATIONS {
                return Err(ReplicationRulesError::TooManyDestinations);
            }
        }
        Ok(())
    }

    /// Where the images of a repository are replicated to: each destination once, in the order of
    /// the rules. Removals are replicated where one of its rules says so.
    pub(crate) fn targets(&self, repository: &RepositoryName) -> Vec<Target> {
        let mut targets: Vec<Target> = Vec::new();
        let rules = self.rules.iter();
        for rule in rules.filter(|rule| rule.applies_to(repository)) {
            let deletes = rule.deletes == Some(true);
            for destination in &rule.destinations {
                let mut known = targets.iter_mut();
                match known.find(|known| known.destination == *destination) {
                    Some(known) => known.deletes |= deletes,
                    None => targets.push(Target {
                        destination: destination.clone(),
                        deletes,
                    }),
                }
            }
        }
        targets
    }

    /// Whether any rule has the destination.
    pub(crate) fn has_destination(&self, destination: &RegistryId) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.destinations.contains(destination))
    }

    /// Whether the images of a repository are replicated to the destination.
    pub(crate) fn replicates(&self, repository: &RepositoryName, destination: &RegistryId) -> bool {
        let mut rules = self.rules.iter();
        rules.any(|rule| rule.applies_to(repository) && rule.destinations.contains(destination))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn registry(number: usize) -> RegistryId {
        RegistryId {
            account: "123456789012".parse().expect("an account"),
            region: format!("region-{number}").parse().expect("a region"),
        }
    }

    fn rule(destinations: &[usize], prefixes: &[&str], deletes: Option<bool>) -> ReplicationRule {
        ReplicationRule {
            destinations: destinations.iter().map(|one| registry(*one)).collect(),
            prefixes: prefixes.iter().map(|one| (*one).to_owned()).collect(),
            deletes,
        }
    }

    fn targets(configuration: &ReplicationConfiguration, name: &str) -> Vec<(String, bool)> {
        let found = configuration.targets(&name.parse().expect("a name"));
        let shown = |one: Target| (one.destination.region.to_string(), one.deletes);
        found.into_iter().map(shown).collect()
    }

    #[test]
    fn a_repository_goes_to_each_destination_of_the_rules_that_match_once() {
        let configuration = ReplicationConfiguration {
            rules: vec![
                rule(&[1, 2], &["prod", "web/"], None),
                rule(&[2, 3], &[], Some(true)),
                rule(&[4], &["test/"], Some(false)),
            ],
        };
        let shown = |number: usize, deletes| (format!("region-{number}"), deletes);
        let all = [shown(1, false), shown(2, true), shown(3, true)];
        assert_eq!(targets(&configuration, "production"), all);
        assert_eq!(targets(&configuration, "web/api"), all);
        assert_eq!(targets(&configuration, "web"), all[1..]);
        let tests = [shown(2, true), shown(3, true), shown(4, false)];
        assert_eq!(targets(&configuration, "test/api"), tests);
        assert!(configuration.has_destination(&registry(4)));
        assert!(!configuration.has_destination(&registry(5)));
    }

    #[test]
    fn a_registry_is_not_its_own_destination_and_has_25_at_most() {
        let of = |rules| ReplicationConfiguration { rules };
        let own = of(vec![rule(&[1, 0], &[], None)]).check(&registry(0));
        assert_eq!(own, Err(ReplicationRulesError::OwnRegistry));
        let full: Vec<usize> = (1..=MAX_DESTINATIONS).collect();
        let full = rule(&full, &[], None);
        assert_eq!(of(vec![full.clone(); 2]).check(&registry(0)), Ok(()));
        let over = of(vec![full, rule(&[99], &[], None)]).check(&registry(0));
        assert_eq!(over, Err(ReplicationRulesError::TooManyDestinations));
    }

    proptest! {
        #[test]
        fn targets_agree_with_the_question_about_one_destination(
            rules in prop::collection::vec(
                (prop::collection::vec(0..4_usize, 0..4), prop::collection::vec("[ab]{2,3}", 0..3)),
                0..4,
            ),
            name in "[ab]{2,4}",
        ) {
            let rules = rules.iter().map(|(destinations, prefixes)| {
                let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
                rule(destinations, &prefixes, None)
            });
            let configuration = ReplicationConfiguration { rules: rules.collect() };
            let name = name.parse().expect("a name");
            let targets = configuration.targets(&name);
            for number in 0..4 {
                let found = targets.iter().filter(|one| one.destination == registry(number));
                let replicates = configuration.replicates(&name, &registry(number));
                prop_assert_eq!(found.count(), usize::from(replicates));
            }
        }
    }
}
