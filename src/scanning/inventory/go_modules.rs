//! Lists of the modules that a Go module is built from. PURE.
//!
//! Source: go.dev/ref/mod.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use crate::package::{Package, PackageKind};
use crate::versions::VersionOrder;

/// A module with the modules that it is built from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GoModule {
    /// Its own path; empty where that is not known.
    pub(crate) path: String,
    pub(crate) packages: Vec<Package>,
}

/// The modules that `go.mod` requires, with the replacements that name a version. Since Go 1.17
/// these are all that the module is built from.
pub(crate) fn go_mod(text: &str) -> GoModule {
    let mut path = String::new();
    let mut found: Vec<Package> = Vec::new();
    let mut block = "";
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default().trim();
        let mut words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => continue,
            [")"] => block = "",
            [name, "("] => {
                block = name;
                continue;
            }
            _ => {}
        }
        let directive = if block.is_empty() {
            words.remove(0)
        } else {
            block
        };
        match (directive, words.as_slice()) {
            ("require", [name, version]) => {
                found.push(Package::new(PackageKind::Go, name, version));
            }
            ("module", [name]) => name.trim_matches('"').clone_into(&mut path),
            ("replace", words) => replace_module(&mut found, words),
            _ => {}
        }
    }
    GoModule {
        path,
        packages: found,
    }
}

/// The modules whose content `go.sum` has a checksum of, each in its highest version: the one that
/// is selected for a build. Some of them may be needed by tests only.
pub(crate) fn go_sum(text: &str) -> Vec<Package> {
    let mut highest: BTreeMap<&str, &str> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, version, hash] = words.as_slice() else {
            continue;
        };
        // Of most modules only `go.mod` was read, to select versions.
        if !hash.starts_with("h1:") || version.ends_with("/go.mod") {
            continue;
        }
        let known = highest.entry(name).or_insert(version);
        if VersionOrder::Semantic.compare(version, known) == Some(Ordering::Greater) {
            *known = version;
        }
    }
    let modules = highest.into_iter();
    modules
        .map(|(name, version)| Package::new(PackageKind::Go, name, version))
        .collect()
}

/// Applies `old [version] => new [version]`; a replacement without a version is a local folder.
fn replace_module(found: &mut Vec<Package>, words: &[&str]) {
    let Some(arrow) = words.iter().position(|word| *word == "=>") else {
        return;
    };
    let (old, new) = (&words[..arrow], &words[arrow + 1..]);
    let Some(name) = old.first() else { return };
    let version = old.get(1);
    let replaced = |package: &Package| {
        package.name == *name && version.is_none_or(|version| package.version == *version)
    };
    match new {
        [name, version] => {
            for package in found.iter_mut().filter(|package| replaced(package)) {
                *package = Package::new(PackageKind::Go, name, version);
            }
        }
        _ => found.retain(|package| !replaced(package)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::package_names;

    #[test]
    fn go_modules_follow_their_replacements() {
        let text = "module x.org/x\ngo 1.20\nrequire golang.org/x/net v0.1.0 // indirect\n\
                    require (\n\ta.com/b v1.0.0\n\tc.com/d v1.1.0\n)\n\
                    replace a.com/b => e.com/f v2.0.0\nreplace c.com/d v1.1.0 => ../d\n";
        let found = go_mod(text);
        assert_eq!(found.path, "x.org/x");
        assert_eq!(
            package_names(&found.packages),
            ["e.com/f@v2.0.0", "golang.org/x/net@v0.1.0"]
        );
    }

    #[test]
    fn checksums_of_content_name_the_highest_version() {
        let text = "a.com/b v1.9.0 h1:x=\na.com/b v1.10.0 h1:x=\na.com/b v1.11.0/go.mod h1:x=\n\
                    c.com/d v0.1.0/go.mod h1:x=\nnot a line\n";
        assert_eq!(package_names(&go_sum(text)), ["a.com/b@v1.10.0"]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(
            text in "([a-z./=> ()\n\t]|v1\\.0\\.0|require|replace|h1:|module){0,60}",
        ) {
            let _ = go_mod(&text);
            let _ = go_sum(&text);
        }
    }
}
