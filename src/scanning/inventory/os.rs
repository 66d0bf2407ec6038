//! The databases of dpkg and apk, and `os-release`.

use crate::distribution::Distribution;
use crate::inventory::found::Found;
use crate::package::{Package, PackageKind};

/// The installed packages of a dpkg status file, or of a file in `status.d`.
pub(crate) fn dpkg(text: &str, found: &mut Found) {
    for stanza in stanzas(text) {
        if found.is_full() {
            return;
        }
        let field = |name: &str| {
            let lines = stanza.lines();
            let mut values = lines.filter_map(|line| field_of(line, name));
            values.next().filter(|value| !value.is_empty())
        };
        let (Some(name), Some(version)) = (field("Package"), field("Version")) else {
            continue;
        };
        // Files of `status.d` (distroless) have no state: what they name is installed.
        let installed = field("Status")
            .is_none_or(|status| status.split_whitespace().nth(2) == Some("installed"));
        if !installed {
            continue;
        }
        let mut package = Package::new(PackageKind::Deb, name, version);
        package.architecture = field("Architecture").map(str::to_owned);
        if let Some(source) = field("Source") {
            // `Source: name` or `Source: name (version)`.
            let (name, version) = match source.split_once('(') {
                Some((name, version)) => (name.trim(), Some(version.trim_end_matches(')').trim())),
                None => (source, None),
            };
            package.source_name = Some(name.to_owned());
            package.source_version = version.map(str::to_owned);
        }
        found.add(package);
    }
}

/// The packages of apk's `installed` database.
pub(crate) fn apk(text: &str, found: &mut Found) {
    for stanza in stanzas(text) {
        if found.is_full() {
            return;
        }
        let field = |key: char| {
            let lines = stanza.lines();
            let mut values = lines.filter_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
            values
                .next()
                .map(str::trim)
                .filter(|value| !value.is_empty())
        };
        if let (Some(name), Some(version)) = (field('P'), field('V')) {
            let mut package = Package::new(PackageKind::Apk, name, version);
            package.architecture = field('A').map(str::to_owned);
            package.source_name = field('o')
                .filter(|origin| *origin != name)
                .map(str::to_owned);
            found.add(package);
        }
    }
}

/// Groups of lines between empty ones.
fn stanzas(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (mut start, mut end) = (None, 0);
        for line in rest.split_inclusive('\n') {
            let is_empty = line.trim().is_empty();
            if is_empty && start.is_some() {
                break;
            }
            if !is_empty {
                start.get_or_insert(end);
            }
            end += line.len();
        }
        let (stanza, after) = rest.split_at(end);
        rest = after;
        stanza.get(start?..)
    })
}

/// The value of `Name: value`; names do not depend on case.
fn field_of<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = line.split_once(':')?;
    key.eq_ignore_ascii_case(name).then(|| value.trim())
}

/// The distribution of an `os-release` file; `None` where it has no `ID`, or
/// a NUL.
pub(crate) fn os_release(text: &str) -> Option<Distribution> {
    let field = |name: &str| {
        let lines = text.lines().map(str::trim);
        let mut values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values
            .next()
            .map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    let found = Distribution {
        id: field("ID").filter(|id| !id.is_empty())?.to_lowercase(),
        version: field("VERSION_ID").unwrap_or_default(),
        pretty_name: field("PRETTY_NAME").unwrap_or_default(),
    };
    let texts = [&found.id, &found.version, &found.pretty_name];
    (!texts.iter().any(|text| text.contains('\0'))).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::found_by;

    #[test]
    fn dpkg_lists_installed_packages_with_their_sources() {
        let text = "Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\n\
                    Source: openssl (3.0.11-1)\nVersion: 3.0.11-1+b1\nDescription: SSL\n more: x\n\
                    \n\nPackage: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                    Package: base\nVersion: 2:3\nSource: base-src\n\nVersion: 9\n";
        let found = found_by(dpkg, text);
        let read: Vec<_> = found
            .iter()
            .map(|one| {
                let source = one.source_name.as_deref();
                (
                    one.name.as_str(),
                    one.version.as_str(),
                    source,
                    one.source_version.as_deref(),
                )
            })
            .collect();
        assert_eq!(
            read,
            [
                ("libssl3", "3.0.11-1+b1", Some("openssl"), Some("3.0.11-1")),
                ("base", "2:3", Some("base-src"), None)
            ]
        );
        assert_eq!(found[0].architecture.as_deref(), Some("amd64"));
    }

    #[test]
    fn apk_lists_packages_with_their_origins() {
        let text = "C:Q1x=\nP:musl\nV:1.2.4-r2\nA:x86_64\no:musl\n\nP:libcrypto3\nV:3.1.4-r5\n\
                    o:openssl\nF:lib\nR:libcrypto.so.3\n\nP:broken\n";
        let found = found_by(apk, text);
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].name.as_str(), found[0].source_name.as_deref()),
            ("musl", None)
        );
        assert_eq!(found[1].source_name.as_deref(), Some("openssl"));
        assert_eq!(found[1].version, "3.1.4-r5");
    }

    #[test]
    fn os_release_names_the_distribution() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID='12'\n";
        let found = os_release(text).expect("a distribution");
        assert_eq!(
            (found.id.as_str(), found.version.as_str()),
            ("debian", "12")
        );
        assert_eq!(found.pretty_name, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(os_release("NAME=x\nIDENT=y"), None);
        assert_eq!(os_release("ID=debian\nVERSION_ID=1\x002"), None);
    }
}
