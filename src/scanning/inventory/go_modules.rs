//! Lists of the modules that a Go module is built from. PURE.
//!
//! Source: go.dev/ref/mod.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::Instant;

use crate::inventory::unpack::{LimitReached, ScanLimits};
use crate::package::{Package, PackageKind};
use crate::versions::VersionOrder;

/// One more word than the longest line has: `replace old version => new version`.
const MAX_WORDS: usize = 7;
/// The longest line of `go.mod` that is used, in bytes: a replacement may be used many times.
const MAX_LINE_BYTES: usize = 1024;

/// A module with the modules that it is built from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GoModule {
    /// Its own path; empty where that is not known.
    pub(crate) path: String,
    pub(crate) packages: Vec<Package>,
}

/// The modules that `go.mod` requires, with the replacements that name a version. Since Go 1.17
/// these are all that the module is built from.
///
/// # Errors
/// [`LimitReached`], also where it has more replacements than an image may have packages.
pub(crate) fn go_mod(text: &str, limits: &ScanLimits) -> Result<GoModule, LimitReached> {
    let mut path = "";
    let mut required: Vec<Version<'_>> = Vec::new();
    let mut replacements = Replacements::new();
    let mut block = "";
    for line in text.lines() {
        check_time(limits)?;
        let line = line.split("//").next().unwrap_or_default();
        if line.len() > MAX_LINE_BYTES {
            continue;
        }
        let words = first_words(line);
        let (directive, words) = match words.as_slice() {
            [] => continue,
            [")"] => {
                block = "";
                continue;
            }
            [name, "("] => {
                block = name;
                continue;
            }
            [name, words @ ..] if block.is_empty() => (*name, words),
            words => (block, words),
        };
        match (directive, words) {
            ("require", [name, version]) => required.push((name, version)),
            ("module", [name]) => path = name.trim_matches('"'),
            ("replace", words) => replacements.extend(replacement(words)),
            _ => {}
        }
        if required.len().max(replacements.len()) > limits.packages {
            return Err(LimitReached::Packages);
        }
    }
    let selected = required.into_iter().filter_map(|(name, version)| {
        let of_version = replacements.get(&(name, Some(version)));
        match of_version.or_else(|| replacements.get(&(name, None))) {
            Some(replaced) => *replaced,
            None => Some((name, version)),
        }
    });
    Ok(GoModule {
        path: path.to_owned(),
        packages: selected
            .map(|(name, version)| Package::new(PackageKind::Go, name, version))
            .collect(),
    })
}

/// The modules whose content `go.sum` has a checksum of, each in its highest version: the one that
/// is selected for a build. Some of them may be needed by tests only.
///
/// # Errors
/// [`LimitReached`].
pub(crate) fn go_sum(text: &str, limits: &ScanLimits) -> Result<Vec<Package>, LimitReached> {
    let mut highest: BTreeMap<&str, &str> = BTreeMap::new();
    for line in text.lines() {
        check_time(limits)?;
        let words = first_words(line);
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
        if highest.len() > limits.packages {
            return Err(LimitReached::Packages);
        }
    }
    let modules = highest.into_iter();
    Ok(modules
        .map(|(name, version)| Package::new(PackageKind::Go, name, version))
        .collect())
}

/// The name of a module and its version.
type Version<'a> = (&'a str, &'a str);
/// The name of a module and the version that is replaced; all are where it is `None`.
type Replaced<'a> = (&'a str, Option<&'a str>);
/// What is used in place of modules; `None` for a local folder.
type Replacements<'a> = BTreeMap<Replaced<'a>, Option<Version<'a>>>;

/// The entry of `old [version] => new [version]`; a replacement without a version is a folder.
fn replacement<'a>(words: &[&'a str]) -> Option<(Replaced<'a>, Option<Version<'a>>)> {
    let arrow = words.iter().position(|word| *word == "=>")?;
    let (old, new) = (&words[..arrow], &words[arrow + 1..]);
    let new = match new {
        [name, version] => Some((*name, *version)),
        _ => None,
    };
    Some(((old.first()?, old.get(1).copied()), new))
}

/// The words of a line, of which no more are kept than tell that it is none of these lists.
fn first_words(line: &str) -> Vec<&str> {
    line.split_whitespace().take(MAX_WORDS).collect()
}

/// Fails after the deadline.
fn check_time(limits: &ScanLimits) -> Result<(), LimitReached> {
    if Instant::now() >= limits.deadline {
        return Err(LimitReached::Time);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::time::Duration;

    use super::*;
    use crate::inventory::tests::{limits, package_names};

    fn read(text: &str) -> GoModule {
        go_mod(text, &limits()).expect("within the limits")
    }

    #[test]
    fn go_modules_follow_their_replacements() {
        let text = "module x.org/x\ngo 1.20\nrequire golang.org/x/net v0.1.0 // indirect\n\
                    require (\n\ta.com/b v1.0.0\n\tc.com/d v1.1.0\n)\n\
                    replace a.com/b => e.com/f v2.0.0\nreplace c.com/d v1.1.0 => ../d\n";
        let found = read(text);
        assert_eq!(found.path, "x.org/x");
        assert_eq!(
            package_names(&found.packages),
            ["e.com/f@v2.0.0", "golang.org/x/net@v0.1.0"]
        );
    }

    #[test]
    fn a_replacement_of_one_version_goes_before_that_of_all() {
        let text = "replace a.com/b => all.com/b v1.0.0\n\
                    replace a.com/b v1.0.0 => one.com/b v1.0.0\n\
                    require (\n\ta.com/b v1.0.0\n\ta.com/b v2.0.0\n\tall.com/b v0.1.0\n)\n\
                    replace all.com/b v1.0.0 => not.followed/b v1.0.0\n";
        assert_eq!(
            package_names(&read(text).packages),
            ["all.com/b@v0.1.0", "all.com/b@v1.0.0", "one.com/b@v1.0.0"]
        );
    }

    #[test]
    fn many_replacements_of_many_requirements_are_read_in_bounded_time() {
        let (mut required, mut replaced) = (String::new(), String::new());
        for index in 0..40_000 {
            writeln!(required, "a.com/{index} v1.0.0").expect("memory");
            writeln!(replaced, "b.com/{index} => c.com/d v1.0.0").expect("memory");
        }
        let text = format!("require (\n{required})\nreplace (\n{replaced})\n");
        let mut many = limits();
        many.packages = 100_000;
        let begun = Instant::now();
        let found = go_mod(&text, &many).expect("within the limits");
        assert_eq!(found.packages.len(), 40_000);
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
    }

    #[test]
    fn a_long_name_does_not_replace_many_modules() {
        let long = "b".repeat(MAX_LINE_BYTES);
        let text = format!("require a v1.0.0\nreplace a => {long} v1.0.0\n");
        assert_eq!(package_names(&read(&text).packages), ["a@v1.0.0"]);
    }

    #[test]
    fn limits_end_the_reading_of_a_file() {
        let requirements = "require a.com/b v1.0.0\n".repeat(3);
        let replacements =
            "replace a => b v1\nreplace a v1 => b v1\nreplace c => b v1\n".to_owned();
        let sums = "a.com/a v1.0.0 h1:x=\nb.com/b v1.0.0 h1:x=\nc.com/c v1.0.0 h1:x=\n";
        let mut few = limits();
        few.packages = 2;
        for text in [&requirements, &replacements] {
            assert_eq!(go_mod(text, &few), Err(LimitReached::Packages), "{text}");
        }
        assert_eq!(go_sum(sums, &few), Err(LimitReached::Packages));
        few.packages = 3;
        for text in [&requirements, &replacements] {
            assert!(go_mod(text, &few).is_ok(), "{text}");
        }
        assert_eq!(go_sum(sums, &few).map(|found| found.len()), Ok(3));
        few.deadline = Instant::now();
        assert_eq!(go_mod(&requirements, &few), Err(LimitReached::Time));
        assert_eq!(go_sum(sums, &few), Err(LimitReached::Time));
    }

    #[test]
    fn checksums_of_content_name_the_highest_version() {
        let text = "a.com/b v1.9.0 h1:x=\na.com/b v1.10.0 h1:x=\na.com/b v1.11.0/go.mod h1:x=\n\
                    c.com/d v0.1.0/go.mod h1:x=\nnot a line\n";
        assert_eq!(
            package_names(&go_sum(text, &limits()).expect("within the limits")),
            ["a.com/b@v1.10.0"]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(
            text in "([a-z./=> ()\n\t]|v1\\.0\\.0|require|replace|h1:|module){0,60}",
        ) {
            let _ = go_mod(&text, &limits());
            let _ = go_sum(&text, &limits());
        }
    }
}
