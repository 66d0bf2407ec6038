//! The findings of an image: its packages compared with advisories. PURE.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::advisories::matching::{Installed, affects};
use crate::advisories::osv::{AdvisoryEntry, package_key};
use crate::distribution::{Distribution, names_sources};
use crate::inventory::Inventory;
use crate::package::{Package, PackageKind, language_ecosystem};
use crate::severity::{CvssScore, FindingSeverity};

/// A package that a vulnerability affects.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AffectedPackage {
    pub package: Package,
    /// The version that repairs it, where one is known.
    pub fixed_version: Option<String>,
}

/// A vulnerability of one source package of an image, with all that was built from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Vulnerability {
    /// The CVE, where the vulnerability has one; else the identifier of an advisory.
    pub name: String,
    /// The source package, or the package itself where it has none.
    pub package_name: String,
    pub package_version: String,
    pub severity: FindingSeverity,
    pub description: String,
    /// Where it is described.
    pub uri: String,
    pub references: Vec<String>,
    /// The scores of the vectors that its advisories name, the newest version of CVSS first.
    pub scores: Vec<CvssScore>,
    /// The other identifiers of the vulnerability, and of the advisories.
    pub related: Vec<String>,
    pub published: Option<String>,
    pub modified: Option<String>,
    /// The ecosystem of the advisory: `Debian:12`.
    pub ecosystem: String,
    pub packages: Vec<AffectedPackage>,
}

/// A package's name in an ecosystem, under which advisories are looked up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PackageKey {
    pub(crate) ecosystem: String,
    pub(crate) name: String,
}

/// The most references of a vulnerability.
const MAX_REFERENCES: usize = 50;

impl Inventory {
    /// The ecosystems of OSV that have advisories about the packages. An image whose distribution
    /// OSV does not know has none for the packages of the distribution.
    pub fn ecosystems(&self) -> BTreeSet<String> {
        let kinds: BTreeSet<PackageKind> = self.packages.iter().map(|one| one.kind).collect();
        kinds
            .into_iter()
            .flat_map(|kind| self.ecosystems_of(kind))
            .collect()
    }

    fn ecosystems_of(&self, kind: PackageKind) -> Vec<String> {
        match language_ecosystem(kind) {
            Some(ecosystem) => vec![ecosystem.to_owned()],
            None => {
                let distribution = self.distribution.as_ref();
                distribution
                    .map(Distribution::ecosystems)
                    .unwrap_or_default()
            }
        }
    }

    /// Whether there are packages of a distribution that no ecosystem of OSV is about.
    pub fn has_unknown_distribution(&self) -> bool {
        let mut packages = self.packages.iter();
        packages.any(|one| self.ecosystems_of(one.kind).is_empty())
    }

    /// The ecosystems that have advisories about the packages of the distribution, where the image
    /// has such packages.
    pub fn distribution_ecosystems(&self) -> Vec<String> {
        let mut packages = self.packages.iter();
        let found = packages.find(|one| one.kind.is_of_distribution());
        found
            .map(|one| self.ecosystems_of(one.kind))
            .unwrap_or_default()
    }

    /// What is to be looked up, with what of the packages is compared.
    pub(crate) fn installed(&self) -> BTreeMap<PackageKey, BTreeSet<Installed>> {
        let mut found: BTreeMap<PackageKey, BTreeSet<Installed>> = BTreeMap::new();
        for (key, installed) in self
            .packages
            .iter()
            .flat_map(|package| self.keys_of(package))
        {
            found.entry(key).or_default().insert(installed);
        }
        found
    }

    /// The keys of a package, each with what of it is compared.
    fn keys_of(&self, package: &Package) -> Vec<(PackageKey, Installed)> {
        // Inventories of earlier versions may have what is not read any more.
        if !package.is_storable() || has_other_builds(package) {
            return Vec::new();
        }
        let version = match package.kind {
            PackageKind::Deb | PackageKind::Apk => package.source_version.as_ref(),
            _ => None,
        };
        let installed = Installed {
            version: version.unwrap_or(&package.version).clone(),
            module: package.module.clone(),
        };
        let mut keys = Vec::new();
        for ecosystem in self.ecosystems_of(package.kind) {
            for name in names_of(package, &ecosystem) {
                let key = PackageKey {
                    name: package_key(&ecosystem, name),
                    ecosystem: ecosystem.clone(),
                };
                keys.push((key, installed.clone()));
            }
        }
        keys
    }
}

/// The names under which an ecosystem may have advisories about a package.
fn names_of<'a>(package: &'a Package, ecosystem: &str) -> Vec<&'a str> {
    let name = package.name.as_str();
    let source = package.source_name.as_deref().unwrap_or(name);
    match package.kind {
        // The advisories of these distributions are about source packages.
        PackageKind::Deb | PackageKind::Apk => vec![source],
        PackageKind::Rpm => {
            let own = (!names_sources(ecosystem)).then_some(name);
            // With another version than its source package, nothing is known of the latter's epoch.
            let same = package.source_version.is_none();
            let source = same.then_some(source).filter(|source| own != Some(*source));
            own.into_iter().chain(source).collect()
        }
        _ => vec![name],
    }
}

/// Whether a package of Ubuntu is a build for FIPS: these have versions of their own, which are
/// compared with nothing.
fn has_other_builds(package: &Package) -> bool {
    package.kind == PackageKind::Deb && package.version.to_ascii_lowercase().contains("fips")
}

/// What is known of one vulnerability while advisories are put together.
struct Group<'a> {
    ids: BTreeSet<&'a str>,
    advisories: Vec<(&'a str, &'a AdvisoryEntry)>,
    packages: BTreeSet<AffectedPackage>,
}

/// Compares an inventory with the advisories that were found for its keys. The most severe come
/// first, and of the same severity in the order of their names. `None` where more than `most`
/// pairs of a package and an advisory match.
pub(crate) fn find(
    inventory: &Inventory,
    advisories: &BTreeMap<PackageKey, Vec<AdvisoryEntry>>,
    most: usize,
) -> Option<Vec<Vulnerability>> {
    let mut matches = 0;
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut group_of: BTreeMap<&str, usize> = BTreeMap::new();
    for package in &inventory.packages {
        for (key, installed) in inventory.keys_of(package) {
            let Some((key, entries)) = advisories.get_key_value(&key) else {
                continue;
            };
            for entry in entries {
                if let Some(hit) = affects(entry, &key.ecosystem, &installed) {
                    matches += 1;
                    if matches > most {
                        return None;
                    }
                    let affected = AffectedPackage {
                        package: package.clone(),
                        fixed_version: hit.fixed,
                    };
                    add(&mut groups, &mut group_of, &key.ecosystem, entry, affected);
                }
            }
        }
    }
    let used = groups
        .into_iter()
        .filter(|group| !group.advisories.is_empty());
    let mut found: Vec<Vulnerability> = used.flat_map(Group::finish).collect();
    found.sort_by(|a, b| {
        let by_package = || a.package_name.cmp(&b.package_name);
        let by_version = || a.package_version.cmp(&b.package_version);
        let severity = b.severity.cmp(&a.severity);
        let by_name = severity.then_with(|| a.name.cmp(&b.name));
        by_name.then_with(by_package).then_with(by_version)
    });
    Some(found)
}

/// Adds an advisory to the group that shares an identifier with it; groups that turn out to be
/// about the same vulnerability become one.
fn add<'a>(
    groups: &mut Vec<Group<'a>>,
    group_of: &mut BTreeMap<&'a str, usize>,
    ecosystem: &'a str,
    entry: &'a AdvisoryEntry,
    affected: AffectedPackage,
) {
    let ids = || {
        std::iter::once(&entry.id)
            .chain(&entry.aliases)
            .map(String::as_str)
    };
    let known: BTreeSet<usize> = ids().filter_map(|id| group_of.get(id).copied()).collect();
    let target = known.first().copied().unwrap_or_else(|| {
        groups.push(Group {
            ids: BTreeSet::new(),
            advisories: Vec::new(),
            packages: BTreeSet::new(),
        });
        groups.len() - 1
    });
    for other in known.into_iter().skip(1) {
        let empty = Group {
            ids: BTreeSet::new(),
            advisories: Vec::new(),
            packages: BTreeSet::new(),
        };
        let merged = std::mem::replace(&mut groups[other], empty);
        for id in &merged.ids {
            group_of.insert(id, target);
        }
        groups[target].ids.extend(merged.ids);
        groups[target].advisories.extend(merged.advisories);
        groups[target].packages.extend(merged.packages);
    }
    let group = &mut groups[target];
    for id in ids() {
        group_of.insert(id, target);
        group.ids.insert(id);
    }
    if !group
        .advisories
        .iter()
        .any(|(_, known)| known.id == entry.id)
    {
        group.advisories.push((ecosystem, entry));
    }
    // One package is listed once, with the repair of the advisory that came first.
    if !group
        .packages
        .iter()
        .any(|one| one.package == affected.package)
    {
        group.packages.insert(affected);
    }
}

impl Group<'_> {
    /// A vulnerability for each source package.
    fn finish(self) -> Vec<Vulnerability> {
        let mut by_source: BTreeMap<(String, String), Vec<AffectedPackage>> = BTreeMap::new();
        for affected in &self.packages {
            let (name, version) = affected.package.reported();
            let source = (name.to_owned(), version.to_owned());
            by_source.entry(source).or_default().push(affected.clone());
        }
        let all = self.describe();
        let one = |((package_name, package_version), packages)| Vulnerability {
            package_name,
            package_version,
            packages,
            ..all.clone()
        };
        by_source.into_iter().map(one).collect()
    }

    /// The vulnerability without its packages.
    fn describe(self) -> Vulnerability {
        let mut advisories = self.advisories;
        advisories.sort_by(|a, b| a.1.id.cmp(&b.1.id));
        let with = |prefix: &str| self.ids.iter().find(|id| id.starts_with(prefix));
        let name = with("CVE-")
            .or_else(|| with("GHSA-"))
            .or_else(|| self.ids.first());
        let name = name.map(|id| (*id).to_owned()).unwrap_or_default();
        let entries = || advisories.iter().map(|(_, entry)| *entry);
        let mut scores: Vec<CvssScore> = Vec::new();
        for vector in entries().flat_map(|entry| &entry.vectors) {
            if let Some(score) = CvssScore::of_vector(vector)
                && !scores.contains(&score)
            {
                scores.push(score);
            }
        }
        scores.sort_by(|a, b| {
            let score = b.score.total_cmp(&a.score);
            b.version
                .cmp(&a.version)
                .then(score)
                .then_with(|| a.vector.cmp(&b.vector))
        });
        // A distribution's own rating takes its builds into account, so it comes before CVSS.
        let words = entries().filter_map(|entry| entry.word.as_deref());
        let rated = words.filter_map(FindingSeverity::of_word).max();
        let by_score = scores.first().map(CvssScore::severity);
        let references = entries().flat_map(|entry| &entry.references);
        let mut urls: Vec<String> = Vec::new();
        for reference in references.clone() {
            if urls.len() < MAX_REFERENCES && !urls.contains(&reference.url) {
                urls.push(reference.url.clone());
            }
        }
        let advisory = references.clone().find(|one| one.kind == "ADVISORY");
        let uri = match advisory.or_else(|| references.clone().next()) {
            Some(reference) => reference.url.clone(),
            None => format!("https://osv.dev/vulnerability/{name}"),
        };
        let description = entries().map(|entry| &entry.description);
        let related = self.ids.iter().filter(|id| **id != name);
        Vulnerability {
            severity: rated.or(by_score).unwrap_or_default(),
            description: description
                .max_by_key(|text| text.len())
                .cloned()
                .unwrap_or_default(),
            uri,
            references: urls,
            scores,
            related: related.map(|id| (*id).to_owned()).collect(),
            published: entries().filter_map(|entry| entry.published.clone()).min(),
            modified: entries().map(|entry| entry.modified.clone()).max(),
            ecosystem: advisories
                .first()
                .map(|(one, _)| (*one).to_owned())
                .unwrap_or_default(),
            package_name: String::new(),
            package_version: String::new(),
            packages: Vec::new(),
            name,
        }
    }
}
