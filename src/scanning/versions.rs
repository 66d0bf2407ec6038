//! The order of versions in each ecosystem. PURE: texts in, an order out.

mod apk;
mod debian;
mod maven;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::str::FromStr as _;

use rpm_version::Evr;

/// Versions that are longer than this, in bytes, are compared with nothing: none is in practice,
/// and the work of a comparison stays bounded.
const MAX_VERSION_BYTES: usize = 512;

/// How an ecosystem orders its versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum VersionOrder {
    Debian,
    Apk,
    Rpm,
    Python,
    /// Semantic versions: npm, Go, crates.io, and ranges of type SEMVER.
    Semantic,
    Maven,
}

impl VersionOrder {
    /// The order of an ecosystem of OSV, whose name may have a suffix (`Debian:12`); `None` where
    /// it is not known.
    pub(crate) fn of_ecosystem(ecosystem: &str) -> Option<Self> {
        Some(match ecosystem.split(':').next().unwrap_or_default() {
            "Debian" | "Ubuntu" => Self::Debian,
            "Alpine" | "Wolfi" | "Chainguard" | "MinimOS" => Self::Apk,
            "Rocky Linux" | "AlmaLinux" | "Red Hat" | "openSUSE" | "SUSE" | "openEuler"
            | "Mageia" | "Photon OS" | "Azure Linux" => Self::Rpm,
            "PyPI" => Self::Python,
            "npm" | "Go" | "crates.io" => Self::Semantic,
            "Maven" => Self::Maven,
            _ => return None,
        })
    }

    /// Compares two versions; `None` where one of them is none of the ecosystem.
    pub(crate) fn compare(self, a: &str, b: &str) -> Option<Ordering> {
        if a.len() > MAX_VERSION_BYTES || b.len() > MAX_VERSION_BYTES {
            return None;
        }
        match self {
            Self::Debian => debian::compare(a, b),
            Self::Apk => apk::compare(a, b),
            Self::Rpm => Some(Evr::parse(a.trim()).cmp(&Evr::parse(b.trim()))),
            Self::Python => {
                let version = |text| pep440_rs::Version::from_str(text).ok();
                Some(version(a)?.cmp(&version(b)?))
            }
            Self::Semantic => Some(semantic(a)?.cmp_precedence(&semantic(b)?)),
            Self::Maven => Some(maven::compare(a, b)),
        }
    }
}

/// A semantic version, with Go's `v` or `go` before it. Go's own releases may lack parts: `1.21`,
/// `1.21rc2`.
fn semantic(text: &str) -> Option<semver::Version> {
    let text = text.trim();
    let text = text
        .strip_prefix('v')
        .or(text.strip_prefix("go"))
        .unwrap_or(text);
    if let Ok(version) = semver::Version::parse(text) {
        return Some(version);
    }
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (numbers, rest) = text.split_at(end);
    let mut parts: Vec<&str> = numbers.split('.').collect();
    if parts.len() > 3 {
        return None;
    }
    parts.resize(3, "0");
    let rest = match rest.chars().next() {
        None | Some('-' | '+') => rest.to_owned(),
        // `1.21rc2` comes before `1.21`: its letters are a pre-release.
        Some(_) => {
            let digits = rest
                .find(|c: char| c.is_ascii_digit())
                .unwrap_or(rest.len());
            let (word, number) = rest.split_at(digits);
            format!("-{word}.{number}").trim_end_matches('.').to_owned()
        }
    };
    semver::Version::parse(&format!("{}{rest}", parts.join("."))).ok()
}

/// Compares two runs of ASCII digits as numbers of any length.
fn compare_numbers(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

/// Splits a text after its leading digits.
fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(
        text.find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len()),
    )
}
