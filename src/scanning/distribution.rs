//! The distribution that an image is, and the ecosystems of OSV that are about it. PURE.
//!
//! Source: ossf.github.io/osv-schema, "Defined ecosystems", and what osv.dev exports of them.

use serde::{Deserialize, Serialize};

/// What an image says of itself in `os-release`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// `debian`, `alpine`, …
    pub id: String,
    /// `12`, `3.19.1`; empty for rolling ones.
    pub version: String,
    pub pretty_name: String,
}

/// Repositories of Red Hat Enterprise Linux whose packages are found in images. Those of extended
/// support have versions of their own, with which nothing is compared.
const RED_HAT_REPOSITORIES: [&str; 5] = [
    "baseos",
    "appstream",
    "crb",
    "supplementary",
    "highavailability",
];

/// The modules of SUSE Linux Enterprise Server 15: its advisories name the module that has the
/// package.
const SUSE_MODULES: [&str; 10] = [
    "Basesystem",
    "Server Applications",
    "Development Tools",
    "Containers",
    "Python 3",
    "Web and Scripting",
    "Legacy",
    "Desktop Applications",
    "Public Cloud",
    "Package Hub",
];

impl Distribution {
    /// `debian-12`.
    pub(crate) fn short_name(&self) -> String {
        if self.version.is_empty() {
            self.id.clone()
        } else {
            format!("{}-{}", self.id, self.version)
        }
    }

    /// The ecosystems of OSV whose advisories are about this distribution; none where OSV has no
    /// advisories for it (Amazon Linux, Fedora, Oracle Linux), or where `os-release` does not tell
    /// the release.
    pub fn ecosystems(&self) -> Vec<String> {
        let version = self.version.as_str();
        let major = version.split('.').next().unwrap_or_default();
        let two = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        let of_release = |name: &str, release: &str| match release {
            "" => Vec::new(),
            release => vec![format!("{name}:{release}")],
        };
        match self.id.as_str() {
            "debian" => of_release("Debian", major),
            "ubuntu" => ubuntu(version),
            "alpine" if version.contains("_alpha") => vec!["Alpine:edge".to_owned()],
            "alpine" if !version.is_empty() => vec![format!("Alpine:v{two}")],
            "rhel" => red_hat(major, &two),
            "rocky" => of_release("Rocky Linux", major),
            "almalinux" => of_release("AlmaLinux", major),
            "sles" if !version.is_empty() => suse_server(version),
            "sle-micro" | "sle-micro-rancher" => of_suse("Linux Enterprise Micro", &two),
            "sl-micro" => of_suse("Linux Micro", &two),
            "opensuse-leap" if !version.is_empty() => vec![
                format!("openSUSE:Leap {two}"),
                format!("openSUSE:Leap {two} NonFree"),
            ],
            "opensuse-tumbleweed" => vec!["openSUSE:Tumbleweed".to_owned()],
            "openeuler" => of_release("openEuler", &open_euler(&self.pretty_name)),
            "azurelinux" | "mariner" => of_release("Azure Linux", major),
            "photon" => of_release("Photon OS", &two),
            "mageia" => of_release("Mageia", major),
            "wolfi" => vec!["Wolfi".to_owned()],
            "chainguard" => vec!["Chainguard".to_owned()],
            "minimos" => vec!["MinimOS".to_owned()],
            _ => Vec::new(),
        }
    }
}

/// Whether the advisories of an ecosystem of RPM are about source packages only.
pub(crate) fn names_sources(ecosystem: &str) -> bool {
    let family = ecosystem.split(':').next().unwrap_or_default();
    matches!(
        family,
        "Rocky Linux" | "SUSE" | "openSUSE" | "openEuler" | "Mageia"
    )
}

/// `Ubuntu:23.10`; a release with long-term support has a suffix, and repairs that only Ubuntu Pro
/// has. Those for FIPS are versions of other builds.
fn ubuntu(version: &str) -> Vec<String> {
    let Some((year, month)) = version.split_once('.') else {
        return Vec::new();
    };
    let even = year.parse::<u32>().is_ok_and(|year| year % 2 == 0);
    if even && month == "04" {
        vec![
            format!("Ubuntu:{version}:LTS"),
            format!("Ubuntu:Pro:{version}:LTS"),
        ]
    } else {
        vec![format!("Ubuntu:{version}")]
    }
}

/// An ecosystem for each repository; of version 10 on one for each minor release.
fn red_hat(major: &str, two: &str) -> Vec<String> {
    let name = |suffix: &str| format!("Red Hat:enterprise_linux:{suffix}");
    match major.parse::<u32>() {
        Ok(7) => vec![name("7::server")],
        Ok(8 | 9) => RED_HAT_REPOSITORIES
            .iter()
            .map(|repository| name(&format!("{major}::{repository}")))
            .collect(),
        Ok(10..) => vec![name(two)],
        _ => Vec::new(),
    }
}

fn of_suse(product: &str, version: &str) -> Vec<String> {
    match version {
        "" => Vec::new(),
        version => vec![format!("SUSE:{product} {version}")],
    }
}

/// The products of SUSE Linux Enterprise Server. `15.5` is service pack 5 of version 15; since 16
/// the number is the name.
fn suse_server(version: &str) -> Vec<String> {
    let (major, pack) = version.split_once('.').unwrap_or((version, "0"));
    let packed = matches!(major, "12" | "15");
    let release = match (packed, pack) {
        (true, "0") => major.to_owned(),
        (true, pack) => format!("{major} SP{pack}"),
        (false, _) => version.to_owned(),
    };
    let mut found = of_suse("Linux Enterprise Server", &release);
    if packed {
        // The same packages, when general support has ended.
        found.extend(of_suse(
            "Linux Enterprise Server",
            &format!("{release}-LTSS"),
        ));
    }
    if major == "15" {
        found.extend(SUSE_MODULES.iter().flat_map(|module| {
            of_suse(&format!("Linux Enterprise Module for {module}"), &release)
        }));
    }
    found
}

/// `24.03-LTS-SP1` of `openEuler 24.03 (LTS-SP1)`; empty for what has no long-term support, about
/// which there are no advisories.
fn open_euler(pretty_name: &str) -> String {
    let release = || {
        let (name, kind) = pretty_name.strip_prefix("openEuler ")?.split_once(" (")?;
        let kind = kind.strip_suffix(')')?;
        kind.starts_with("LTS").then(|| format!("{name}-{kind}"))
    };
    release().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str, version: &str) -> Vec<String> {
        named(id, version, "")
    }

    fn named(id: &str, version: &str, pretty_name: &str) -> Vec<String> {
        let found = Distribution {
            id: id.into(),
            version: version.into(),
            pretty_name: pretty_name.into(),
        };
        found.ecosystems()
    }

    #[test]
    fn distributions_have_the_ecosystems_of_osv() {
        let expected: &[(&str, &str, &[&str])] = &[
            ("debian", "12", &["Debian:12"]),
            ("alpine", "3.19.1", &["Alpine:v3.19"]),
            ("alpine", "3.22.0_alpha20250108", &["Alpine:edge"]),
            (
                "ubuntu",
                "22.04",
                &["Ubuntu:22.04:LTS", "Ubuntu:Pro:22.04:LTS"],
            ),
            ("ubuntu", "23.04", &["Ubuntu:23.04"]),
            ("ubuntu", "24.10", &["Ubuntu:24.10"]),
            ("rocky", "9.3", &["Rocky Linux:9"]),
            ("almalinux", "8.10", &["AlmaLinux:8"]),
            ("rhel", "7.9", &["Red Hat:enterprise_linux:7::server"]),
            ("rhel", "10.1", &["Red Hat:enterprise_linux:10.1"]),
            ("opensuse-tumbleweed", "20240801", &["openSUSE:Tumbleweed"]),
            (
                "opensuse-leap",
                "15.5",
                &["openSUSE:Leap 15.5", "openSUSE:Leap 15.5 NonFree"],
            ),
            ("sle-micro", "5.5", &["SUSE:Linux Enterprise Micro 5.5"]),
            ("sles", "16.0", &["SUSE:Linux Enterprise Server 16.0"]),
            ("azurelinux", "3.0", &["Azure Linux:3"]),
            ("photon", "5.0", &["Photon OS:5.0"]),
            ("mageia", "9", &["Mageia:9"]),
            ("wolfi", "20230201", &["Wolfi"]),
            ("chainguard", "20230214", &["Chainguard"]),
        ];
        for (id, version, ecosystems) in expected {
            assert_eq!(of(id, version), *ecosystems, "{id} {version}");
        }
        let red_hat = of("rhel", "9.4");
        assert_eq!(red_hat[0], "Red Hat:enterprise_linux:9::baseos");
        assert_eq!(red_hat[1], "Red Hat:enterprise_linux:9::appstream");
        let suse = of("sles", "15.5");
        assert_eq!(suse[0], "SUSE:Linux Enterprise Server 15 SP5");
        assert_eq!(suse[1], "SUSE:Linux Enterprise Server 15 SP5-LTSS");
        assert_eq!(
            suse[2],
            "SUSE:Linux Enterprise Module for Basesystem 15 SP5"
        );
        assert_eq!(of("sles", "12.5").len(), 2);
        assert_eq!(
            named("openeuler", "24.03", "openEuler 24.03 (LTS-SP1)"),
            ["openEuler:24.03-LTS-SP1"]
        );
    }

    #[test]
    fn what_is_not_known_has_none() {
        for (id, version) in [
            ("debian", ""),
            ("ubuntu", ""),
            ("alpine", ""),
            ("rhel", ""),
            ("rhel", "6.10"),
            ("sles", ""),
            ("opensuse-leap", ""),
            ("amzn", "2023"),
            ("amzn", "2"),
            ("centos", "7"),
            ("fedora", "40"),
            ("ol", "9.3"),
        ] {
            assert!(of(id, version).is_empty(), "{id} {version}");
        }
        assert!(named("openeuler", "23.09", "openEuler 23.09").is_empty());
    }

    #[test]
    fn every_ecosystem_has_an_order_of_versions() {
        use crate::versions::VersionOrder;
        for (id, version) in [
            ("debian", "12"),
            ("ubuntu", "22.04"),
            ("alpine", "3.19"),
            ("rhel", "9.4"),
            ("rocky", "9"),
            ("almalinux", "9"),
            ("sles", "15.5"),
            ("opensuse-leap", "15.5"),
            ("azurelinux", "3"),
            ("photon", "5.0"),
            ("mageia", "9"),
            ("wolfi", ""),
            ("chainguard", ""),
            ("minimos", ""),
        ] {
            for ecosystem in of(id, version) {
                assert!(
                    VersionOrder::of_ecosystem(&ecosystem).is_some(),
                    "{ecosystem}"
                );
            }
        }
    }
}
