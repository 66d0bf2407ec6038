//! The scanning configuration of a registry, and what it means for a repository. PURE.
//!
//! Source: ECR user guide, "Using filters": a filter with `*` must match the whole name of the
//! repository, one without matches every name that contains it.

use serde::{Deserialize, Serialize};
use wharfinger_oci::RepositoryName;

use crate::wildcard;

/// ECR's `scanType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ScanType {
    #[default]
    Basic,
    Enhanced,
}

/// How often the images of a repository are scanned, from seldom to often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ScanFrequency {
    /// Only on request.
    Manual,
    ScanOnPush,
    ContinuousScan,
}

/// A rule of a scanning configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanningRule {
    pub frequency: ScanFrequency,
    /// Filters of repository names with `*` as the only wildcard.
    pub filters: Vec<String>,
}

/// The scanning configuration of a registry. The default is that of a registry for which none was
/// set.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ScanningConfiguration {
    pub scan_type: ScanType,
    pub rules: Vec<ScanningRule>,
}

/// What a scanning configuration means for a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedScanning {
    pub frequency: ScanFrequency,
    /// The filters of the rules with this frequency that match the repository.
    pub filters: Vec<String>,
}

/// Returns how often the images of a repository are scanned. Of several rules that match, the one
/// with the most frequent scans counts. With basic scanning, a repository's own `scan_on_push`
/// counts as well.
pub fn scan_frequency(
    configuration: &ScanningConfiguration,
    repository: &RepositoryName,
    scan_on_push: bool,
) -> AppliedScanning {
    let frequency = frequency_of(configuration, repository, scan_on_push);
    let rules = configuration.rules.iter();
    let filters = rules
        .filter(|rule| rule.frequency == frequency)
        .flat_map(|rule| &rule.filters);
    AppliedScanning {
        frequency,
        filters: filters
            .filter(|filter| filter_matches(filter, repository.as_str()))
            .cloned()
            .collect(),
    }
}

/// The frequency alone, without looking at more filters than it takes.
pub(crate) fn frequency_of(
    configuration: &ScanningConfiguration,
    repository: &RepositoryName,
    scan_on_push: bool,
) -> ScanFrequency {
    let own = match configuration.scan_type {
        ScanType::Basic if scan_on_push => ScanFrequency::ScanOnPush,
        ScanType::Basic | ScanType::Enhanced => ScanFrequency::Manual,
    };
    configuration.rules.iter().fold(own, |found, rule| {
        let matches = |filter: &String| filter_matches(filter, repository.as_str());
        if rule.frequency > found && rule.filters.iter().any(matches) {
            rule.frequency
        } else {
            found
        }
    })
}

fn filter_matches(filter: &str, name: &str) -> bool {
    if filter.contains('*') {
        wildcard::matches(filter, name)
    } else {
        name.contains(filter)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn configuration(
        scan_type: ScanType,
        rules: &[(ScanFrequency, &[&str])],
    ) -> ScanningConfiguration {
        let rule = |(frequency, filters): &(ScanFrequency, &[&str])| ScanningRule {
            frequency: *frequency,
            filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
        };
        ScanningConfiguration {
            scan_type,
            rules: rules.iter().map(rule).collect(),
        }
    }

    fn applied(
        configuration: &ScanningConfiguration,
        name: &str,
        on_push: bool,
    ) -> AppliedScanning {
        scan_frequency(configuration, &name.parse().expect("a name"), on_push)
    }

    #[test]
    fn without_rules_the_setting_of_the_repository_counts_for_basic_scanning_only() {
        let basic = configuration(ScanType::Basic, &[]);
        let enhanced = configuration(ScanType::Enhanced, &[]);
        for (configuration, on_push, expected) in [
            (&basic, true, ScanFrequency::ScanOnPush),
            (&basic, false, ScanFrequency::Manual),
            (&enhanced, true, ScanFrequency::Manual),
        ] {
            assert_eq!(applied(configuration, "web", on_push).frequency, expected);
        }
    }

    #[test]
    fn the_most_frequent_rule_that_matches_counts_and_names_its_filters() {
        let rules: [(ScanFrequency, &[&str]); 2] = [
            (ScanFrequency::ScanOnPush, &["*"]),
            (ScanFrequency::ContinuousScan, &["prod/*", "web"]),
        ];
        let both = configuration(ScanType::Enhanced, &rules);
        let continuous = applied(&both, "prod/web", false);
        assert_eq!(continuous.frequency, ScanFrequency::ContinuousScan);
        assert_eq!(continuous.filters, ["prod/*", "web"]);
        let on_push = applied(&both, "test/api", false);
        assert_eq!(on_push.frequency, ScanFrequency::ScanOnPush);
        assert_eq!(on_push.filters, ["*"]);
    }

    proptest! {
        #[test]
        fn a_filter_without_wildcard_is_the_same_as_one_between_two(
            filter in "[ab/]{1,3}",
            name in "[ab]{2,4}(/[ab]{1,3})?",
        ) {
            let around = format!("*{filter}*");
            prop_assert_eq!(filter_matches(&filter, &name), filter_matches(&around, &name));
        }

        #[test]
        fn more_rules_never_make_scans_less_frequent(name in "[ab]{2,4}", on_push: bool) {
            let one: [(ScanFrequency, &[&str]); 1] = [(ScanFrequency::ScanOnPush, &["a"])];
            let two: [(ScanFrequency, &[&str]); 2] =
                [one[0], (ScanFrequency::ContinuousScan, &["b*"])];
            let few = applied(&configuration(ScanType::Enhanced, &one), &name, on_push);
            let many = applied(&configuration(ScanType::Enhanced, &two), &name, on_push);
            prop_assert!(few.frequency <= many.frequency);
        }
    }
}
