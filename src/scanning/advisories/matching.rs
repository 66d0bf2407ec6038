//! Whether an advisory is about a version. PURE.
//!
//! Source: ossf.github.io/osv-schema, "Evaluation".

use std::cmp::Ordering;

use crate::advisories::osv::{AdvisoryEntry, OsvRange, RangeEvent};
use crate::versions::VersionOrder;

/// What of an installed package is compared.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Installed {
    pub(crate) version: String,
    /// The module and stream of RPM.
    pub(crate) module: Option<String>,
}

impl Installed {
    /// A version that belongs to no module.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn of(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            module: None,
        }
    }
}

/// A version is affected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The version that repairs it, where the advisory names one.
    pub(crate) fixed: Option<String>,
}

/// Whether what is installed of the entry's package, which belongs to `ecosystem`, is affected.
pub(crate) fn affects(
    entry: &AdvisoryEntry,
    ecosystem: &str,
    installed: &Installed,
) -> Option<Hit> {
    let order = VersionOrder::of_ecosystem(ecosystem)?;
    let version = installed.version.as_str();
    let mut listed = false;
    for affected in &entry.affected {
        for range in &affected.ranges {
            if order == VersionOrder::Rpm && !is_of_stream(range, &entry.modules, installed) {
                continue;
            }
            if let Some(hit) = in_range(range, order, version) {
                return Some(hit);
            }
        }
        let mut versions = affected.versions.iter();
        listed |= versions
            .any(|one| one == version || order.compare(one, version) == Some(Ordering::Equal));
    }
    if !listed {
        return None;
    }
    // A listed version may lie outside of the ranges; the next repair after it counts.
    let ranges = entry.affected.iter().flat_map(|affected| &affected.ranges);
    let fixes = ranges.filter_map(|range| next_fix(range, order, version));
    let first = fixes.min_by(|a, b| order.compare(a, b).unwrap_or(Ordering::Equal));
    Some(Hit {
        fixed: first.map(ToOwned::to_owned),
    })
}

/// Whether a range of RPM is about the stream that is installed. Streams of a module have versions
/// of their own, and so has a package outside of modules: a repair in one says nothing of another.
/// The modules that an advisory is about are named in its summary.
fn is_of_stream(range: &OsvRange, modules: &[String], installed: &Installed) -> bool {
    let is_modular = |version: &str| version.contains(".module");
    let mut versions = range.events.iter().map(version_of);
    let of_module = versions.any(is_modular);
    match &installed.module {
        Some(module) => of_module && modules.contains(module),
        None => !of_module && !is_modular(&installed.version),
    }
}

fn in_range(range: &OsvRange, ecosystem: VersionOrder, version: &str) -> Option<Hit> {
    let order = match range.kind.as_str() {
        "SEMVER" => VersionOrder::Semantic,
        "ECOSYSTEM" => ecosystem,
        _ => return None,
    };
    let mut affected = false;
    let mut limits = 0_usize;
    let mut below_limit = false;
    for event in sorted(range, order)? {
        match event {
            RangeEvent::Introduced(from) => {
                let reached = from == "0" || order.compare(version, from)?.is_ge();
                affected |= reached;
            }
            RangeEvent::Fixed(fixed) => {
                if order.compare(version, fixed)?.is_ge() {
                    affected = false;
                }
            }
            RangeEvent::LastAffected(last) => {
                if order.compare(version, last)?.is_gt() {
                    affected = false;
                }
            }
            RangeEvent::Limit(limit) => {
                limits += 1;
                below_limit |= limit == "*" || order.compare(version, limit)?.is_lt();
            }
        }
    }
    (affected && (limits == 0 || below_limit)).then(|| Hit {
        fixed: next_fix(range, order, version).map(ToOwned::to_owned),
    })
}

/// The events in the order of their versions; `None` where one has none of the ecosystem, so that
/// nothing is known of the range.
fn sorted(range: &OsvRange, order: VersionOrder) -> Option<Vec<&RangeEvent>> {
    // "0" is the beginning in every ecosystem, "*" the end.
    let bound = |event: &RangeEvent| match version_of(event) {
        "0" if matches!(event, RangeEvent::Introduced(_)) => 0,
        "*" => 2,
        _ => 1,
    };
    let mut events: Vec<&RangeEvent> = Vec::with_capacity(range.events.len());
    let reference = range
        .events
        .iter()
        .find(|event| bound(event) == 1)
        .map(version_of);
    for event in &range.events {
        if bound(event) == 1 {
            order.compare(version_of(event), reference?)?;
        }
        events.push(event);
    }
    events.sort_by(|a, b| {
        bound(a).cmp(&bound(b)).then_with(|| {
            if bound(a) == 1 {
                order
                    .compare(version_of(a), version_of(b))
                    .unwrap_or(Ordering::Equal)
            } else {
                Ordering::Equal
            }
        })
    });
    Some(events)
}

fn version_of(event: &RangeEvent) -> &str {
    match event {
        RangeEvent::Introduced(version)
        | RangeEvent::Fixed(version)
        | RangeEvent::LastAffected(version)
        | RangeEvent::Limit(version) => version,
    }
}

/// The first repair after a version.
fn next_fix<'a>(range: &'a OsvRange, order: VersionOrder, version: &str) -> Option<&'a str> {
    let fixes = range.events.iter().filter_map(|event| match event {
        RangeEvent::Fixed(fixed) => Some(fixed.as_str()),
        _ => None,
    });
    let later = fixes.filter(|fixed| order.compare(fixed, version) == Some(Ordering::Greater));
    later.min_by(|a, b| order.compare(a, b).unwrap_or(Ordering::Equal))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::advisories::osv::Affected;

    fn entry(kind: &str, events: &[RangeEvent], versions: &[&str]) -> AdvisoryEntry {
        AdvisoryEntry {
            id: "A".into(),
            modified: String::new(),
            published: None,
            aliases: Vec::new(),
            description: String::new(),
            modules: Vec::new(),
            vectors: Vec::new(),
            word: None,
            references: Vec::new(),
            affected: vec![Affected {
                ranges: vec![OsvRange {
                    kind: kind.into(),
                    events: events.to_vec(),
                }],
                versions: versions.iter().map(|one| (*one).to_owned()).collect(),
            }],
        }
    }

    fn introduced(version: &str) -> RangeEvent {
        RangeEvent::Introduced(version.into())
    }

    fn fixed(version: &str) -> RangeEvent {
        RangeEvent::Fixed(version.into())
    }

    /// Whether the version is affected, and what repairs it.
    fn check(entry: &AdvisoryEntry, ecosystem: &str, version: &str) -> (bool, Option<String>) {
        let hit = affects(entry, ecosystem, &Installed::of(version));
        (hit.is_some(), hit.and_then(|hit| hit.fixed))
    }

    #[test]
    fn ranges_begin_and_end_where_their_events_say() {
        let events = [
            introduced("2.0.0"),
            fixed("2.3.0"),
            introduced("0"),
            fixed("1.5.0"),
        ];
        let two = entry("SEMVER", &events, &[]);
        let of = |version: &str| check(&two, "npm", version);
        assert_eq!(of("1.4.9"), (true, Some("1.5.0".into())));
        assert_eq!(of("1.5.0"), (false, None));
        assert_eq!(of("2.0.0-rc.1"), (false, None));
        assert_eq!(of("2.2.9"), (true, Some("2.3.0".into())));
        assert_eq!(of("2.3.0"), (false, None));
        let last = [introduced("1.0"), RangeEvent::LastAffected("1.2".into())];
        let last = entry("ECOSYSTEM", &last, &[]);
        assert_eq!(check(&last, "PyPI", "1.2"), (true, None));
        assert_eq!(check(&last, "PyPI", "1.2.1"), (false, None));
        let limit = [introduced("0"), RangeEvent::Limit("1.0".into())];
        let limit = entry("ECOSYSTEM", &limit, &[]);
        assert_eq!(check(&limit, "PyPI", "0.9"), (true, None));
        assert_eq!(check(&limit, "PyPI", "1.0"), (false, None));
    }

    #[test]
    fn lists_name_versions_beside_ranges() {
        let listed = entry("ECOSYSTEM", &[introduced("0"), fixed("1.0-1")], &["2.0-1"]);
        assert_eq!(check(&listed, "Debian:12", "2.0-1"), (true, None));
        assert_eq!(
            check(&listed, "Debian:12", "0:0.9-1"),
            (true, Some("1.0-1".into()))
        );
        assert_eq!(check(&listed, "Debian:12", "1.5-1"), (false, None));
    }

    #[test]
    fn streams_of_a_module_are_compared_by_themselves() {
        let fixed_at = |version: &str| {
            let mut entry = entry("ECOSYSTEM", &[introduced("0"), fixed(version)], &[]);
            entry.modules = vec!["nodejs:18".to_owned()];
            entry
        };
        let modular = fixed_at("1:18.14.2-2.module+el8.7.0+18445+9493b6ea");
        let plain = fixed_at("1:18.14.2-2.el9");
        let affected = |entry: &AdvisoryEntry, version: &str, module: Option<&str>| {
            let installed = Installed {
                version: version.to_owned(),
                module: module.map(str::to_owned),
            };
            affects(entry, "AlmaLinux:8", &installed).is_some()
        };
        let old = "1:18.12.1-1.module_el8.7.0+1+a";
        assert!(affected(&modular, old, Some("nodejs:18")));
        assert!(!affected(
            &modular,
            "1:18.15.0-1.module_el8.7.0+1+a",
            Some("nodejs:18")
        ));
        assert!(!affected(
            &modular,
            "1:16.1.0-1.module_el8.7.0+1+a",
            Some("nodejs:16")
        ));
        assert!(!affected(&modular, old, None), "its stream is not known");
        assert!(!affected(&modular, "1:16.1.0-1.el8", None));
        assert!(!affected(&plain, old, Some("nodejs:18")));
        assert!(affected(&plain, "1:16.1.0-1.el9", None));
    }

    #[test]
    fn what_cannot_be_compared_is_not_affected() {
        let odd = entry("SEMVER", &[introduced("0"), fixed("no version")], &[]);
        assert_eq!(check(&odd, "npm", "1.0.0"), (false, None));
        let range = entry("SEMVER", &[introduced("0"), fixed("2.0.0")], &[]);
        assert_eq!(check(&range, "npm", "not a version"), (false, None));
        assert_eq!(check(&range, "Unknown", "1.0.0"), (false, None));
        assert_eq!(
            check(&entry("GIT", &[introduced("0")], &[]), "npm", "1.0.0"),
            (false, None)
        );
        let empty = entry("SEMVER", &[], &[]);
        assert_eq!(check(&empty, "npm", "1.0.0"), (false, None));
    }

    proptest! {
        /// A simple oracle over whole numbers: the last event at or below the version decides.
        #[test]
        fn ranges_agree_with_a_count(
            bounds in prop::collection::btree_set(1..60_u32, 1..8), version in 0..61_u32,
        ) {
            let bounds: Vec<_> = bounds.into_iter().collect();
            let events: Vec<_> = bounds.iter().enumerate().map(|(index, bound)| {
                let text = format!("{bound}.0.0");
                if index % 2 == 0 { introduced(&text) } else { fixed(&text) }
            }).rev().collect();
            let passed = bounds.iter().filter(|bound| **bound <= version).count();
            let (affected, repaired) =
                check(&entry("SEMVER", &events, &[]), "npm", &format!("{version}.0.0"));
            prop_assert_eq!(affected, passed % 2 == 1);
            let next = bounds.get(passed).map(|bound| format!("{bound}.0.0"));
            prop_assert_eq!(repaired, next.filter(|_| affected));
        }
    }
}
