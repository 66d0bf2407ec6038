//! Tests of findings over inventories and advisories that the tests write.

use super::*;
use crate::advisories::osv::read_document;

fn advisories(documents: &[&str]) -> BTreeMap<PackageKey, Vec<AdvisoryEntry>> {
    let mut found: BTreeMap<PackageKey, Vec<AdvisoryEntry>> = BTreeMap::new();
    for text in documents {
        for keyed in read_document(text.as_bytes()).expect("a document") {
            let key = PackageKey {
                ecosystem: keyed.ecosystem,
                name: keyed.package,
            };
            found.entry(key).or_default().push(keyed.entry);
        }
    }
    found
}

fn deb(name: &str, version: &str, source: Option<(&str, &str)>) -> Package {
    let mut package = Package::new(PackageKind::Deb, name, version);
    package.source_name = source.map(|(name, _)| name.to_owned());
    package.source_version = source.map(|(_, version)| version.to_owned());
    package
}

fn bookworm(packages: Vec<Package>) -> Inventory {
    Inventory {
        distribution: Some(Distribution {
            id: "debian".into(),
            version: "12".into(),
            pretty_name: String::new(),
        }),
        packages,
        unread: Vec::new(),
    }
}

const OPENSSL: &str = r#"{"id": "DSA-5764-1", "modified": "2024-09-03T00:00:00Z",
    "upstream": ["CVE-2024-6119"], "details": "A denial of service.",
    "affected": [{"package": {"ecosystem": "Debian:12", "name": "openssl"},
        "ranges": [{"type": "ECOSYSTEM",
                    "events": [{"introduced": "0"}, {"fixed": "3.0.14-1~deb12u2"}]}]}]}"#;

fn found(
    inventory: &Inventory,
    advisories: &BTreeMap<PackageKey, Vec<AdvisoryEntry>>,
) -> Vec<Vulnerability> {
    find(inventory, advisories, 1000).expect("few matches")
}

#[test]
fn source_packages_decide_for_debian() {
    let inventory = bookworm(vec![
        deb(
            "libssl3",
            "3.0.11-1~deb12u2+b1",
            Some(("openssl", "3.0.11-1~deb12u2")),
        ),
        deb("openssl", "3.0.14-1~deb12u2", None),
    ]);
    let found = found(&inventory, &advisories(&[OPENSSL]));
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), found[0].ecosystem.as_str()),
        ("CVE-2024-6119", "Debian:12")
    );
    assert_eq!(found[0].related, ["DSA-5764-1"]);
    assert_eq!(found[0].packages.len(), 1, "the other one is repaired");
    let package = (
        found[0].package_name.as_str(),
        found[0].package_version.as_str(),
    );
    assert_eq!(package, ("openssl", "3.0.11-1~deb12u2"));
    assert_eq!(found[0].packages[0].package.name, "libssl3");
    assert_eq!(
        found[0].packages[0].fixed_version.as_deref(),
        Some("3.0.14-1~deb12u2")
    );
    assert_eq!(found[0].severity, FindingSeverity::Undefined);
}

#[test]
fn other_releases_and_unknown_distributions_have_no_findings() {
    let mut inventory = bookworm(vec![deb("openssl", "1", None)]);
    assert_eq!(
        inventory.ecosystems().into_iter().collect::<Vec<_>>(),
        ["Debian:12"]
    );
    for (id, version) in [("debian", "11"), ("ubuntu", "22.04"), ("amzn", "2")] {
        inventory.distribution = Some(Distribution {
            id: id.into(),
            version: version.into(),
            pretty_name: String::new(),
        });
        assert!(
            found(&inventory, &advisories(&[OPENSSL])).is_empty(),
            "{id} {version}"
        );
    }
}

fn rpm(name: &str, version: &str, source: Option<(&str, Option<&str>)>) -> Package {
    let mut package = Package::new(PackageKind::Rpm, name, version);
    package.source_name = source.map(|(name, _)| name.to_owned());
    package.source_version = source.and_then(|(_, version)| version.map(str::to_owned));
    package
}

fn found_by_rpm(id: &str, version: &str, ecosystem: &str, package: Package) -> usize {
    let document = format!(
        r#"{{"id": "X-1", "summary": "Important: perl:5.30 update", "affected": [{{
        "package": {{"ecosystem": "{ecosystem}", "name": "perl"}}, "ranges": [{{
        "type": "ECOSYSTEM", "events": [{{"introduced": "0"}}, {{"fixed": "4:5.26.3-2"}}]
        }}]}}]}}"#
    );
    let mut inventory = bookworm(vec![package]);
    inventory.distribution = Some(Distribution {
        id: id.into(),
        version: version.into(),
        pretty_name: String::new(),
    });
    found(&inventory, &advisories(&[&document])).len()
}

#[test]
fn packages_of_rpm_are_compared_by_the_names_that_an_ecosystem_has() {
    let rocky = |package| found_by_rpm("rocky", "8.9", "Rocky Linux:8", package);
    let red_hat =
        |package| found_by_rpm("rhel", "8.9", "Red Hat:enterprise_linux:8::baseos", package);
    let same = || rpm("perl-libs", "4:5.26.3-1", Some(("perl", None)));
    assert_eq!((rocky(same()), red_hat(same())), (1, 1));
    // The epoch decides.
    let newer = || rpm("perl-libs", "5:1.0-1", Some(("perl", None)));
    assert_eq!((rocky(newer()), red_hat(newer())), (0, 0));
    // A package with another version than its source package.
    let other = || rpm("perl-Carp", "1.42-1", Some(("perl", Some("5.26.3-1"))));
    assert_eq!((rocky(other()), red_hat(other())), (0, 0));
    // A package whose name is that of another source package.
    let named = || rpm("perl", "1.0-1", Some(("perl-compatibility", None)));
    assert_eq!((rocky(named()), red_hat(named())), (0, 1));
}

#[test]
fn builds_for_fips_are_compared_with_nothing() {
    let mut inventory = bookworm(vec![deb("openssl", "3.0.11-1+Fips1", None)]);
    assert!(found(&inventory, &advisories(&[OPENSSL])).is_empty());
    inventory.packages = vec![deb("openssl", "3.0.11-1", None)];
    assert_eq!(found(&inventory, &advisories(&[OPENSSL])).len(), 1);
}

#[test]
fn aliases_are_one_vulnerability() {
    let npm = |id: &str, aliases: &str, extra: &str| {
        format!(
            r#"{{"id": "{id}", "aliases": [{aliases}], "summary": "s", {extra}
            "affected": [{{"package": {{"ecosystem": "npm", "name": "lodash"}},
            "ranges": [{{"type": "SEMVER", "events": [{{"introduced": "0"}},
            {{"fixed": "4.17.5"}}]}}]}}]}}"#
        )
    };
    let documents = [
        npm(
            "GHSA-a",
            "\"CVE-2018-1\"",
            r#""database_specific": {"severity": "HIGH"},"#,
        ),
        npm("SNYK-1", "\"X-1\"", ""),
        npm(
            "X-2",
            "\"CVE-2018-1\", \"X-1\"",
            r#""references": [{"type": "WEB", "url": "u"}],"#,
        ),
        npm(
            "Y-1",
            "",
            r#""severity": [{"type": "CVSS_V3",
            "score": "CVSS:3.1/AV:L/AC:H/PR:L/UI:N/S:U/C:N/I:N/A:L"}],"#,
        ),
    ];
    let documents: Vec<&str> = documents.iter().map(String::as_str).collect();
    let mut package = Package::new(PackageKind::Npm, "lodash", "4.17.4");
    package.path = "app/package-lock.json".into();
    let mut again = package.clone();
    again.path = "other/package-lock.json".into();
    let inventory = bookworm(vec![package, again]);
    let found = found(&inventory, &advisories(&documents));
    let names: Vec<_> = found
        .iter()
        .map(|one| (one.name.as_str(), one.severity))
        .collect();
    let expected = [
        ("CVE-2018-1", FindingSeverity::High),
        ("Y-1", FindingSeverity::Low),
    ];
    assert_eq!(names, expected);
    assert_eq!(found[0].related, ["GHSA-a", "SNYK-1", "X-1", "X-2"]);
    assert_eq!((found[0].uri.as_str(), found[0].packages.len()), ("u", 2));
    assert_eq!(found[1].uri, "https://osv.dev/vulnerability/Y-1");
    assert_eq!(found[1].scores[0].version, "3.1");
}

#[test]
fn more_matches_than_may_be_found_are_none() {
    let in_place = |place: &str| Package {
        path: place.to_owned(),
        ..deb("openssl", "3.0.11-1", None)
    };
    let inventory = bookworm(["a", "b", "c"].map(in_place).to_vec());
    let advisories = advisories(&[OPENSSL]);
    assert!(find(&inventory, &advisories, 3).is_some_and(|found| !found.is_empty()));
    assert!(find(&inventory, &advisories, 2).is_none());
}
