//! Lock files in TOML, read package by package: a tree of a hostile one takes hundreds of times
//! its size. PURE.

use crate::inventory::found::Found;
use crate::package::{Package, PackageKind};

/// The longest entry of a package, in bytes: those of `uv.lock` with a hundred wheels have 30,000.
const MAX_ENTRY_BYTES: usize = 256 * 1024;

/// The longest header that is looked at, in bytes.
const MAX_HEADER_BYTES: usize = 1024;

/// Keys of sources in the work tree: `uv.lock` has the project itself as one.
const LOCAL_SOURCES: [&str; 4] = ["virtual", "editable", "directory", "path"];

/// The packages of `Cargo.lock`: those that come from a registry or a repository, since what has
/// no source is the program itself.
pub(crate) fn cargo(text: &str, found: &mut Found) {
    locked(text, found, PackageKind::Cargo, toml::Value::is_str);
}

/// The packages of `poetry.lock`, `uv.lock` and `pdm.lock`.
pub(crate) fn python(text: &str, found: &mut Found) {
    locked(text, found, PackageKind::Python, |source| {
        source
            .as_table()
            .is_none_or(|table| !LOCAL_SOURCES.iter().any(|key| table.contains_key(*key)))
    });
}

/// The entries of `[[package]]` whose source is of the right kind.
fn locked(text: &str, found: &mut Found, kind: PackageKind, source: fn(&toml::Value) -> bool) {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Written by hand, the packages may be one array.
    let whole = entries(text).next().is_none().then_some(text);
    let whole = whole.filter(|text| text.contains("package"));
    for entry in whole.into_iter().chain(entries(text)) {
        if found.is_full() {
            return;
        }
        if entry.len() > MAX_ENTRY_BYTES {
            found.refuse(format!("an entry is larger than {MAX_ENTRY_BYTES} bytes"));
            return;
        }
        let document = toml::from_str::<toml::Table>(entry).ok();
        let packages = document.as_ref().and_then(|document| {
            let packages = document.get("package")?;
            packages.as_array()
        });
        for package in packages.into_iter().flatten() {
            if let Some(package) = package_of(package, kind, source) {
                found.add(package);
            }
        }
    }
}

fn package_of(
    package: &toml::Value,
    kind: PackageKind,
    source: fn(&toml::Value) -> bool,
) -> Option<Package> {
    let field = |name: &str| package.get(name).and_then(toml::Value::as_str);
    let has_source = match package.get("source") {
        Some(value) => source(value),
        None => kind == PackageKind::Python,
    };
    let (name, version) = (field("name")?, field("version")?);
    has_source.then(|| Package::new(kind, name, version))
}

/// The parts of the document that begin with `[[package]]`, each with its own tables
/// (`[package.source]`) and without those that follow and are of no package (`[metadata]`).
fn entries(text: &str) -> impl Iterator<Item = &str> {
    let mut start = None;
    let mut position = 0;
    let mut lines = text.split_inclusive('\n').map(Some).chain([None]);
    std::iter::from_fn(move || {
        loop {
            let line = lines.next()?;
            let at = position;
            position += line.map_or(0, str::len);
            let header = line.and_then(header);
            let is_package = header.as_deref() == Some("[[package]]");
            let is_own = line.is_some()
                && header.is_none_or(|header| {
                    header.starts_with("[package.") || header.starts_with("[[package.")
                });
            if is_own {
                continue;
            }
            let before = start.take();
            start = is_package.then_some(at);
            if let Some(before) = before {
                return text.get(before..at);
            }
        }
    })
}

/// The header that a line may be, without spaces, quotes and a comment. Values inside arrays end
/// with a comma, or stand further right.
fn header(line: &str) -> Option<String> {
    let is_package = || {
        let line = line.trim_start();
        line.starts_with("[[") && line.contains("package")
    };
    if !(line.starts_with('[') || line.starts_with([' ', '\t']) && is_package()) {
        return None;
    }
    let line = line.get(..MAX_HEADER_BYTES).unwrap_or(line);
    let line = line.split('#').next().unwrap_or_default();
    let header: String = line
        .chars()
        .filter(|char| !char.is_whitespace() && !matches!(char, '"' | '\''))
        .collect();
    header.ends_with(']').then_some(header)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::names_by;

    #[test]
    fn cargo_locks_name_what_has_a_source() {
        let text = "version = 4\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\
                    [[package]]\nname = \"time\"\nversion = \"0.1.43\"\n\
                    source = \"registry+https://github.com/rust-lang/crates.io-index\"\n\
                    dependencies = [\n \"libc\",\n]\n\n[metadata]\n\"checksum time\" = \"01\"\n";
        assert_eq!(names_by(cargo, text), ["time@0.1.43"]);
        assert!(names_by(cargo, "not toml [").is_empty());
    }

    #[test]
    fn python_locks_leave_the_project_out() {
        let text = "[[package]]\nname = \"jinja2\"\nversion = \"2.10\"\n\n[package.dependencies]\n\
                    MarkupSafe = \">=0.23\"\n\n[[package.wheels]]\nurl = \"x\"\n\n[[package]]\n\
                    name = \"own\"\nversion = \"1\"\nsource = { virtual = \".\" }\n\n[[package]]\n\
                    name = \"git\"\nversion = \"3\"\n\n[package.source]\ntype = \"git\"\n\
                    url = \"https://example.org\"\n\n[metadata]\npython-versions = \"*\"\n";
        assert_eq!(names_by(python, text), ["git@3", "jinja2@2.10"]);
    }

    #[test]
    fn headers_may_be_written_in_other_ways() {
        let package =
            |header: &str, name: &str| format!("{header}\nname = \"{name}\"\nversion = \"1\"\n");
        for header in [
            "[[ package ]]",
            "  [[package]]",
            "\t[[package]] # x",
            "[[\"package\"]]",
            "[['package']]\r",
        ] {
            let text = format!("{}{}", package(header, "a"), package(header, "b"));
            assert_eq!(names_by(python, &text), ["a@1", "b@1"], "{header}");
            let text = format!("\u{feff}{text}");
            assert_eq!(names_by(python, &text), ["a@1", "b@1"], "{header}");
        }
        let text = "package = [{name = \"a\", version = \"1\"}, {name = \"b\", version = \"1\"}]";
        assert_eq!(names_by(python, text), ["a@1", "b@1"]);
        // A list within a list.
        let text = "[[package]]\nname = \"a\"\nx = [\n[\"y\"],\n]\nversion = \"1\"\n";
        assert_eq!(names_by(python, text), ["a@1"]);
    }

    #[test]
    fn a_damaged_entry_does_not_hide_the_others() {
        let text = "[[package]]\nname = \"a\"\nversion = \"1\"\n[[package]]\nname = [\n\
                    [[package]]\nname = \"b\"\nversion = \"2\"";
        assert_eq!(names_by(python, text), ["a@1", "b@2"]);
    }

    #[test]
    fn an_entry_that_is_too_long_is_told() {
        let text = format!(
            "[[package]]\nname = \"a\"\nversion = \"1\"\nx = [{}0]\n",
            "{a=0},".repeat(50_000)
        );
        let mut found = Found::new(10);
        python(&text, &mut found);
        let why = found.finish().expect_err("it is not read");
        assert_eq!(why, "an entry is larger than 262144 bytes");
        // What is no package is not read.
        let text = text.replace("[[package]]", "[metadata]");
        assert!(names_by(python, &text).is_empty());
    }
}
