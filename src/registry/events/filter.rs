//! PURE: which events a sink takes.

use std::borrow::Cow;

use wharfinger_oci::RepositoryName;

use crate::events::action::RegistryEvent;

/// A sink as the outbox knows it: its name, and the events that it takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkFilter {
    /// Names the sink's rows in the outbox.
    pub name: String,
    /// The detail types that it takes; empty: all.
    pub detail_types: Vec<String>,
    /// It takes events of repositories whose names begin with one of these; empty: of all.
    pub repository_prefixes: Vec<String>,
}

impl SinkFilter {
    /// The event as the sink takes it: without repositories that it does not take; `None` where it
    /// takes nothing of it.
    pub(super) fn part_of<'a>(&self, event: &'a RegistryEvent) -> Option<Cow<'a, RegistryEvent>> {
        let kind = event.detail_type();
        if !self.takes(kind, &event.repositories()) {
            return None;
        }
        let RegistryEvent::ScanResourceChange {
            scan_type,
            repositories,
        } = event
        else {
            return Some(Cow::Borrowed(event));
        };
        let mut repositories = repositories.clone();
        repositories.retain(|change| self.takes(kind, &[&change.repository]));
        Some(Cow::Owned(RegistryEvent::ScanResourceChange {
            scan_type: *scan_type,
            repositories,
        }))
    }

    /// Whether the sink takes an event of this type about one of the repositories.
    fn takes(&self, detail_type: &str, repositories: &[&RepositoryName]) -> bool {
        let of_type = self.detail_types.is_empty()
            || self.detail_types.iter().any(|taken| taken == detail_type);
        let begins = |name: &&RepositoryName| {
            let mut prefixes = self.repository_prefixes.iter();
            prefixes.any(|prefix| name.as_str().starts_with(prefix))
        };
        of_type && (self.repository_prefixes.is_empty() || repositories.iter().any(begins))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_filters_must_match() {
        let sink = |types: &[&str], prefixes: &[&str]| SinkFilter {
            name: String::new(),
            detail_types: types.iter().map(ToString::to_string).collect(),
            repository_prefixes: prefixes.iter().map(ToString::to_string).collect(),
        };
        let (web, api): (RepositoryName, RepositoryName) = (
            "team/web".parse().expect("a name"),
            "api".parse().expect("a name"),
        );
        let kind = "ECR Image Action";
        for (types, prefixes, expected) in [
            (&[][..], &[][..], true),
            (&[kind], &[], true),
            (&["ECR Image Scan"], &[], false),
            (&["ECR Image Scan", kind], &["team/"], true),
            (&[kind], &["eam/"], false),
            (&["ECR Image Scan"], &["team/"], false),
            (&[], &["a", "b"], true),
            (&[], &["b"], false),
        ] {
            let takes = sink(types, prefixes).takes(kind, &[&web, &api]);
            assert_eq!(takes, expected, "{types:?} {prefixes:?}");
        }
        assert!(!sink(&[], &["a"]).takes(kind, &[]));
    }
}
