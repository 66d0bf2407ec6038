//! What an image is made of: packages with their place, and the distribution that it is.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::distribution::Distribution;

/// What a package URL leaves as it is.
const IN_PURL: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Which tool installs a package; it decides about the order of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PackageKind {
    Deb,
    Apk,
    Rpm,
    Python,
    Npm,
    Go,
    Cargo,
    Maven,
}

impl PackageKind {
    /// The name of its package manager in findings, as Amazon Inspector has it.
    pub fn manager(self) -> &'static str {
        match self {
            Self::Deb => "DPKG",
            Self::Apk => "APK",
            Self::Rpm => "RPM",
            Self::Python => "PYTHON",
            Self::Npm => "NODE",
            Self::Go => "GO",
            Self::Cargo => "CARGO",
            Self::Maven => "JAR",
        }
    }

    /// Whether the distribution's advisories are about it.
    pub(crate) fn is_of_distribution(self) -> bool {
        matches!(self, Self::Deb | Self::Apk | Self::Rpm)
    }

    fn purl_type(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
            Self::Python => "pypi",
            Self::Npm => "npm",
            Self::Go => "golang",
            Self::Cargo => "cargo",
            Self::Maven => "maven",
        }
    }
}

/// A package of an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    pub kind: PackageKind,
    /// As its ecosystem writes it: `group:artifact` of Maven, the module's path of Go.
    pub name: String,
    /// With the epoch, where the ecosystem has epochs.
    pub version: String,
    /// The source package that it was built from, where that has another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_name: Option<String>,
    /// Its version, where that is another one. Of RPM without the epoch, which is not known then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_version: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// The module and stream of RPM that it belongs to: `nodejs:18`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The file that names it, without a leading slash.
    pub path: String,
    /// The number of the layer that brought the file, from 0.
    pub layer: u32,
}

impl Package {
    /// A package without source and architecture; layer and path are set by the inventory.
    pub(crate) fn new(kind: PackageKind, name: &str, version: &str) -> Self {
        Self {
            kind,
            name: name.to_owned(),
            version: version.to_owned(),
            source_name: None,
            source_version: None,
            architecture: None,
            module: None,
            path: String::new(),
            layer: 0,
        }
    }

    /// Whether its texts can be stored: none has a NUL, which no package manager writes and
    /// PostgreSQL refuses.
    pub(crate) fn is_storable(&self) -> bool {
        !self.texts().any(|text| text.contains('\0'))
    }

    /// The length of its texts, in bytes.
    pub(crate) fn text_bytes(&self) -> usize {
        self.texts().map(String::len).sum()
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        let optional = [
            &self.source_name,
            &self.source_version,
            &self.architecture,
            &self.module,
        ];
        let texts = [&self.name, &self.version, &self.path].into_iter();
        texts.chain(optional.into_iter().flatten())
    }

    /// The name and version under which a finding is reported: those of the source package.
    pub(crate) fn reported(&self) -> (&str, &str) {
        let name = self.source_name.as_deref().unwrap_or(&self.name);
        let version = self.source_version.as_deref().unwrap_or(&self.version);
        (name, version)
    }

    /// The package URL: `pkg:deb/debian/libc6@2.36-9?arch=amd64&distro=debian-12`.
    pub fn purl(&self, distribution: Option<&Distribution>) -> String {
        let encode = |text: &str| utf8_percent_encode(text, IN_PURL).to_string();
        let of_distribution = distribution.filter(|_| self.kind.is_of_distribution());
        let (namespace, name) = match self.kind {
            PackageKind::Maven => split_at_last(&self.name, ':'),
            PackageKind::Go | PackageKind::Npm => split_at_last(&self.name, '/'),
            PackageKind::Python => (None, self.name.as_str()),
            _ => (
                of_distribution.map(|one| one.id.as_str()),
                self.name.as_str(),
            ),
        };
        let name = match self.kind {
            PackageKind::Python => normal_python_name(name),
            _ => name.to_owned(),
        };
        let mut purl = format!("pkg:{}/", self.kind.purl_type());
        for part in namespace
            .unwrap_or_default()
            .split('/')
            .filter(|part| !part.is_empty())
        {
            purl.push_str(&encode(part));
            purl.push('/');
        }
        purl.push_str(&encode(&name));
        let (epoch, version) = match (self.kind, self.version.split_once(':')) {
            (PackageKind::Rpm, Some((epoch, version))) => (Some(epoch), version),
            _ => (None, self.version.as_str()),
        };
        if !version.is_empty() {
            purl.push('@');
            purl.push_str(&encode(version));
        }
        let architecture = self
            .architecture
            .as_deref()
            .map(|value| ("arch", value.to_owned()));
        let distro = of_distribution.map(|one| ("distro", one.short_name()));
        let epoch = epoch.map(|value| ("epoch", value.to_owned()));
        let qualifiers = [architecture, distro, epoch];
        for (index, (key, value)) in qualifiers.into_iter().flatten().enumerate() {
            purl.push(if index == 0 { '?' } else { '&' });
            purl.push_str(key);
            purl.push('=');
            purl.push_str(&encode(&value));
        }
        purl
    }
}

fn split_at_last(name: &str, separator: char) -> (Option<&str>, &str) {
    match name.rsplit_once(separator) {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, name),
    }
}

/// The normal form of a name of `PyPI`: lower case, and runs of `-`, `_` and `.` as one `-`.
pub(crate) fn normal_python_name(name: &str) -> String {
    let mut normal = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '-' | '_' | '.') {
            if !normal.ends_with('-') {
                normal.push('-');
            }
        } else {
            normal.extend(c.to_lowercase());
        }
    }
    normal
}

/// The ecosystem of OSV for packages that belong to no distribution.
pub(crate) fn language_ecosystem(kind: PackageKind) -> Option<&'static str> {
    match kind {
        PackageKind::Python => Some("PyPI"),
        PackageKind::Npm => Some("npm"),
        PackageKind::Go => Some("Go"),
        PackageKind::Cargo => Some("crates.io"),
        PackageKind::Maven => Some("Maven"),
        PackageKind::Deb | PackageKind::Apk | PackageKind::Rpm => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian() -> Distribution {
        Distribution {
            id: "debian".into(),
            version: "12".into(),
            pretty_name: String::new(),
        }
    }

    #[test]
    fn package_urls_have_the_form_of_their_type() {
        let mut deb = Package::new(PackageKind::Deb, "libstdc++6", "1:12.2.0-14");
        deb.architecture = Some("amd64".into());
        assert_eq!(
            deb.purl(Some(&debian())),
            "pkg:deb/debian/libstdc%2B%2B6@1%3A12.2.0-14?arch=amd64&distro=debian-12"
        );
        let npm = Package::new(PackageKind::Npm, "@babel/core", "7.0.0");
        assert_eq!(npm.purl(Some(&debian())), "pkg:npm/%40babel/core@7.0.0");
        let go = Package::new(PackageKind::Go, "golang.org/x/net", "v0.1.0");
        assert_eq!(go.purl(None), "pkg:golang/golang.org/x/net@v0.1.0");
        let jar = Package::new(PackageKind::Maven, "org.apache:log4j", "2.0");
        assert_eq!(jar.purl(None), "pkg:maven/org.apache/log4j@2.0");
        let python = Package::new(PackageKind::Python, "Zope.Interface", "5");
        assert_eq!(python.purl(None), "pkg:pypi/zope-interface@5");
        let rpm = Package::new(PackageKind::Rpm, "bash", "1:5.1-2");
        assert_eq!(rpm.purl(None), "pkg:rpm/bash@5.1-2?epoch=1");
    }
}
