//! The packages of `pnpm-lock.yaml`, of the versions 5 to 9 of its format. PURE.
//!
//! Source: github.com/pnpm/spec, `lockfile/`. Keys of packages are `/name/1.0.0_peers` in version
//! 5, `/name@1.0.0(peers)` in version 6, and `name@1.0.0` in version 9, which has the peers in
//! `snapshots`.

use std::collections::{BTreeMap, BTreeSet};

use crate::inventory::found::Found;
use crate::inventory::yaml::Yaml;
use crate::package::{Package, PackageKind};

/// The packages that are installed in production: what only development needs is left out, as is
/// what comes from other sources than the registry.
pub(crate) fn pnpm(text: &str, found: &mut Found) {
    let Some(document) = Yaml::read(text) else {
        return;
    };
    let version = document.get("lockfileVersion").and_then(Yaml::text);
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    let Some(major) = major else {
        return;
    };
    let keys: Vec<&str> = if major >= 9 {
        snapshots(&document)
    } else {
        packages(&document)
    };
    let named = keys
        .into_iter()
        .filter_map(|key| name_and_version(key, major));
    let named: BTreeSet<(&str, &str)> = named.collect();
    for (name, version) in named {
        found.add(Package::new(PackageKind::Npm, name, version));
    }
}

/// The keys of `packages` without those that only development needs.
fn packages(document: &Yaml) -> Vec<&str> {
    let packages = document.get("packages").into_iter();
    let entries = packages.flat_map(Yaml::entries);
    let installed = entries.filter(|(_, package)| {
        let dev = package.get("dev").and_then(Yaml::text);
        // A package of the registry has its name in the key.
        dev != Some("true") && package.get("name").is_none()
    });
    installed.map(|(key, _)| key).collect()
}

/// The keys of `snapshots` that the importers reach by dependencies which are not for development.
fn snapshots(document: &Yaml) -> Vec<&str> {
    const INSTALLED: [&str; 2] = ["dependencies", "optionalDependencies"];
    let Some(all) = document.get("snapshots") else {
        return Vec::new();
    };
    let by_key: BTreeMap<&str, &Yaml> = all.entries().collect();
    let mut next: Vec<&str> = Vec::new();
    let importers = document.get("importers").into_iter();
    for (_, importer) in importers.flat_map(Yaml::entries) {
        let lists = INSTALLED.iter().filter_map(|list| importer.get(list));
        for (name, dependency) in lists.flat_map(Yaml::entries) {
            let version = dependency.get("version").and_then(Yaml::text);
            next.extend(version.and_then(|version| key_of(&by_key, name, version)));
        }
    }
    let mut reached: BTreeSet<&str> = BTreeSet::new();
    while let Some(key) = next.pop() {
        if !reached.insert(key) {
            continue;
        }
        let lists = INSTALLED
            .iter()
            .filter_map(|list| by_key.get(key)?.get(list));
        for (name, version) in lists.flat_map(Yaml::entries) {
            let version = version.text();
            next.extend(version.and_then(|version| key_of(&by_key, name, version)));
        }
    }
    reached.into_iter().collect()
}

/// The key of a dependency. One under another name has the key itself for its version.
fn key_of<'a>(by_key: &BTreeMap<&'a str, &'a Yaml>, name: &str, version: &str) -> Option<&'a str> {
    let own = format!("{name}@{version}");
    let known = by_key
        .get_key_value(own.as_str())
        .or_else(|| by_key.get_key_value(version));
    known.map(|(key, _)| *key)
}

/// The name and version in a key; `None` where it is of another source: a folder, an archive, a
/// repository, another registry.
fn name_and_version(key: &str, major: u32) -> Option<(&str, &str)> {
    let key = if major >= 9 {
        key
    } else {
        key.strip_prefix('/')?
    };
    let key = key.split('(').next().unwrap_or_default();
    let separator = if major >= 6 { '@' } else { '/' };
    let (name, version) = if major >= 6 {
        // The first character may be that of a scope; versions have no `@`.
        let at = key.get(1..)?.find(separator)? + 1;
        (key.get(..at)?, key.get(at + 1..)?)
    } else {
        let (name, version) = key.rsplit_once(separator)?;
        (name, version.split('_').next().unwrap_or_default())
    };
    let plain = version.starts_with(|c: char| c.is_ascii_digit())
        && !version.contains(['/', ':', '@'])
        && !name.is_empty();
    plain.then_some((name, version))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::names_by;

    #[test]
    fn version_5_has_peers_after_an_underscore() {
        let text = "lockfileVersion: 5.4\ndependencies:\n  lodash: 4.17.4\npackages:\n\n  \
                    /lodash/4.17.4:\n    resolution: {integrity: sha512-x}\n    dev: false\n\n  \
                    /@s/b/1.0.1_react@17.0.2+c@1.0.0:\n    resolution: {integrity: sha512-x}\n  \
                    /jest/27.0.0:\n    dev: true\n  github.com/a/b/0123:\n    name: b\n    \
                    version: 1.0.0\n  /other/1.0.0/x:\n    dev: false\n";
        assert_eq!(names_by(pnpm, text), ["@s/b@1.0.1", "lodash@4.17.4"]);
    }

    #[test]
    fn version_6_has_peers_in_parentheses() {
        let text = "lockfileVersion: '6.0'\npackages:\n\n  /lodash@4.17.4:\n    dev: false\n  \
                    /@s/b@1.0.1(react@17.0.2)(c@1.0.0):\n    resolution: {integrity: x}\n  \
                    /jest@27.0.0:\n    dev: true\n  file:local(a@1.0.0):\n    name: local\n  \
                    /c@2.0.0-rc.1:\n    dev: false\n";
        assert_eq!(
            names_by(pnpm, text),
            ["@s/b@1.0.1", "c@2.0.0-rc.1", "lodash@4.17.4"]
        );
    }

    /// As pnpm 9 writes it.
    const VERSION_9: &str = "\
lockfileVersion: '9.0'
settings:
  autoInstallPeers: true
importers:

  .:
    dependencies:
      '@s/b':
        specifier: ^1.0.0
        version: 1.0.1(react@17.0.2)
      alias:
        specifier: npm:real@^2
        version: real@2.0.0
      own:
        specifier: workspace:*
        version: link:packages/own
    devDependencies:
      jest:
        specifier: ^27
        version: 27.0.0
  packages/own:
    optionalDependencies:
      fs:
        specifier: '1'
        version: 1.0.0
packages:

  '@s/b@1.0.1':
    resolution: {integrity: x}
  jest@27.0.0:
    resolution: {integrity: x}
snapshots:

  '@s/b@1.0.1(react@17.0.2)':
    dependencies:
      lodash: 4.17.4
      react: 17.0.2
      git: https://codeload.github.com/a/git/tar.gz/01

  lodash@4.17.4: {}

  real@2.0.0: {}

  react@17.0.2:
    dependencies:
      '@s/b': 1.0.1(react@17.0.2)

  jest@27.0.0:
    dependencies:
      only-dev: 1.0.0

  only-dev@1.0.0: {}

  fs@1.0.0: {}

  git@https://codeload.github.com/a/git/tar.gz/01: {}
";

    #[test]
    fn version_9_tells_development_by_its_graph() {
        let expected = [
            "@s/b@1.0.1",
            "fs@1.0.0",
            "lodash@4.17.4",
            "react@17.0.2",
            "real@2.0.0",
        ];
        assert_eq!(names_by(pnpm, VERSION_9), expected);
    }

    #[test]
    fn what_is_no_lock_file_has_no_packages() {
        for text in [
            "",
            "a: 1",
            "lockfileVersion: x",
            "lockfileVersion: '9.0'\n",
            "- a",
        ] {
            assert!(names_by(pnpm, text).is_empty(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_key_is_read_without_a_panic(key in ".{0,30}", major in 1..12_u32) {
            if let Some((name, version)) = name_and_version(&key, major) {
                proptest::prop_assert!(key.contains(name) && key.contains(version));
            }
        }

        #[test]
        fn any_text_is_read_without_a_panic(
            version in 4..11_u32,
            text in "(packages|snapshots|importers|dependencies|version|a@1|/a/1|: |\n|\n  |\n    |\
                     ['\\[{}]){0,40}",
        ) {
            let text = format!("lockfileVersion: {version}\n{text}");
            let _ = names_by(pnpm, &text);
        }
    }
}
