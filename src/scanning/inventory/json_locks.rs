//! Lock files in JSON, read as a stream: a tree of a hostile one takes a hundred times its size.
//! PURE.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::inventory::found::Found;
use crate::package::{Package, PackageKind};

/// Methods of a visitor: of numbers, lists and null it makes the default.
macro_rules! ignores_numbers_and_lists {
    () => {
        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Self::Value::default())
        }
    };
}

/// The same of all but objects.
macro_rules! ignores_others {
    () => {
        fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Self::Value::default())
        }

        ignores_numbers_and_lists!();
    };
}

#[derive(Deserialize)]
struct NodePackage {
    name: String,
    version: String,
}

/// The package of an installed `package.json`.
pub(crate) fn node_package(text: &str, found: &mut Found) {
    if let Ok(NodePackage { name, version }) = serde_json::from_str(text)
        && !name.is_empty()
        && !version.is_empty()
    {
        found.add(Package::new(PackageKind::Npm, &name, &version));
    }
}

/// The packages of `Pipfile.lock` that are installed by default.
pub(crate) fn pipfile(text: &str, found: &mut Found) {
    let mut sections = [Section::new("default", found, pipfile_package)];
    read(text, &mut sections);
    let [default] = sections;
    found.append(default.found);
}

/// The packages of `package-lock.json` and `npm-shrinkwrap.json`, without those that only
/// development needs.
pub(crate) fn npm(text: &str, found: &mut Found) {
    let mut dependencies = Section::new("dependencies", found, npm_package);
    // Version 1 nests packages.
    dependencies.nested = true;
    let packages = Section::new("packages", found, npm_folder);
    let mut sections = [packages, dependencies];
    read(text, &mut sections);
    let [packages, dependencies] = sections;
    // Version 2 has both, for readers of the first one.
    found.append(if packages.seen {
        packages.found
    } else {
        dependencies.found
    });
}

fn pipfile_package(name: &str, entry: &Entry) -> Option<Package> {
    let version = entry.version.as_deref()?.strip_prefix("==")?;
    Some(Package::new(PackageKind::Python, name, version))
}

/// Of versions 2 and 3, by its folder: `node_modules/a/node_modules/@scope/b`.
fn npm_folder(path: &str, entry: &Entry) -> Option<Package> {
    let (_, name) = path.rsplit_once("node_modules/")?;
    npm_package(entry.name.as_deref().unwrap_or(name), entry)
}

fn npm_package(name: &str, entry: &Entry) -> Option<Package> {
    let version = entry.version.as_deref()?;
    if entry.dev || entry.link || !version.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(Package::new(PackageKind::Npm, name, version))
}

/// Reads the sections of a document. A malformed one has no packages.
fn read(text: &str, sections: &mut [Section]) {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Document(&mut *sections).deserialize(&mut deserializer);
    let whole = read.and_then(|()| deserializer.end()).is_ok();
    // Reading ends where there are too many packages.
    if !whole && !sections.iter().any(|section| section.found.is_full()) {
        for section in sections {
            section.found = Found::new(section.found.left());
        }
    }
}

/// An object of the document with an entry for each package.
struct Section {
    key: &'static str,
    package: fn(&str, &Entry) -> Option<Package>,
    /// Its entries may have such objects themselves, under the same key.
    nested: bool,
    seen: bool,
    found: Found,
}

impl Section {
    fn new(key: &'static str, found: &Found, package: fn(&str, &Entry) -> Option<Package>) -> Self {
        Self {
            key,
            package,
            nested: false,
            seen: false,
            found: Found::new(found.left()),
        }
    }
}

/// The fields of an entry that matter.
#[derive(Default)]
struct Entry {
    name: Option<String>,
    version: Option<String>,
    dev: bool,
    link: bool,
}

/// The document: an object of which some fields are sections.
struct Document<'a>(&'a mut [Section]);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a lock file")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            match self.0.iter_mut().find(|section| section.key == key) {
                Some(section) => map.next_value_seed(Entries(section))?,
                None => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(())
    }
}

/// The entries of a section, or of an entry that has some itself.
struct Entries<'a>(&'a mut Section);

impl<'de> DeserializeSeed<'de> for Entries<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Entries<'_> {
    type Value = ();

    ignores_others!();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object of packages")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.seen = true;
        while let Some(name) = map.next_key::<String>()? {
            let entry = map.next_value_seed(EntryOf(self.0))?;
            if let Some(package) = (self.0.package)(&name, &entry) {
                self.0.found.add(package);
            }
            if self.0.found.is_full() {
                return Err(A::Error::custom("too many packages"));
            }
        }
        Ok(())
    }
}

/// One entry of a section.
struct EntryOf<'a>(&'a mut Section);

impl<'de> DeserializeSeed<'de> for EntryOf<'_> {
    type Value = Entry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for EntryOf<'_> {
    type Value = Entry;

    ignores_others!();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a package")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entry, A::Error> {
        let mut entry = Entry::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "name" => entry.name = map.next_value::<Scalar>()?.text(),
                "version" => entry.version = map.next_value::<Scalar>()?.text(),
                "dev" => entry.dev = map.next_value::<Scalar>()?.is_true(),
                "link" => entry.link = map.next_value::<Scalar>()?.is_true(),
                key if self.0.nested && key == self.0.key => {
                    map.next_value_seed(Entries(&mut *self.0))?;
                }
                _ => _ = map.next_value::<IgnoredAny>()?,
            }
        }
        Ok(entry)
    }
}

/// A value of which only texts and flags matter.
#[derive(Default)]
enum Scalar {
    Text(String),
    Flag(bool),
    #[default]
    Other,
}

impl Scalar {
    fn text(self) -> Option<String> {
        match self {
            Self::Text(text) => Some(text),
            Self::Flag(_) | Self::Other => None,
        }
    }

    fn is_true(&self) -> bool {
        matches!(self, Self::Flag(true))
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
        Ok(Scalar::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Scalar, E> {
        Ok(Scalar::Flag(flag))
    }

    ignores_numbers_and_lists!();

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Scalar, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Scalar::Other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::names_by;

    #[test]
    fn pipfiles_name_what_is_installed_by_default() {
        let text = r#"{"default": {"django": {"version": "==2.2"}, "local": {"path": "."}},
                       "develop": {"pytest": {"version": "==5"}}}"#;
        assert_eq!(names_by(pipfile, text), ["django@2.2"]);
    }

    #[test]
    fn npm_locks_leave_development_out() {
        let text = r#"{"lockfileVersion": 3, "packages": {"": {"name": "own", "version": "1.0.0"},
            "node_modules/lodash": {"version": "4.17.4", "license": ["MIT", {"a": 1.5}]},
            "node_modules/a/node_modules/@s/b": {"version": "1.0.1", "dependencies": {"c": "1"}},
            "node_modules/alias": {"name": "real", "version": "2.0.0", "dev": false},
            "node_modules/odd": {"version": 7, "dev": null}, "node_modules/odder": {"version": [1]},
            "node_modules/jest": {"version": "1.0.0", "dev": true},
            "node_modules/w": {"resolved": "packages/w", "link": true}},
            "dependencies": {"lodash": {"version": "9.9.9"}}}"#;
        let expected = ["@s/b@1.0.1", "lodash@4.17.4", "real@2.0.0"];
        assert_eq!(names_by(npm, text), expected);
        let text = r#"{"dependencies": {"a": {"version": "1.0.0", "requires": {"b": "^2"},
            "dependencies": {"b": {"version": "2.0.0"}}}, "c": {"version": "file:c"}}}"#;
        assert_eq!(names_by(npm, text), ["a@1.0.0", "b@2.0.0"]);
    }

    #[test]
    fn values_of_other_kinds_hide_nothing() {
        let packages = r#""packages": {"node_modules/a": {"version": "1.0.0"}"#;
        let dependencies = r#""dependencies": {"a": {"version": "1.0.0"}"#;
        for odd in ["null", "[]", "false", "7", r#""x""#, "1.5", "-1"] {
            for text in [
                format!(r#"{{"packages": {odd}, {dependencies}}}}}"#),
                format!(r#"{{{packages}}}, "dependencies": {odd}}}"#),
                format!(r#"{{{packages}, "node_modules/x": {odd}}}}}"#),
                format!(r#"{{{dependencies}, "x": {{"dependencies": {odd}}}}}}}"#),
                format!(r#"{{{dependencies}, "x": {odd}}}}}"#),
            ] {
                assert_eq!(names_by(npm, &text), ["a@1.0.0"], "{text}");
            }
        }
    }

    #[test]
    fn a_malformed_document_names_nothing() {
        let package = r#"{"packages": {"node_modules/a": {"version": "1.0.0"}}"#;
        assert_eq!(names_by(npm, &format!("{package}}}")), ["a@1.0.0"]);
        for text in [package, &format!("{package}}} x"), "[]", "1", ""] {
            assert!(names_by(npm, text).is_empty(), "{text}");
        }
        let nested = r#"{"dependencies": {"a": {"version": "1.0.0", "#.repeat(1000);
        assert!(names_by(npm, &nested).is_empty());
    }

    #[test]
    fn reading_ends_at_the_limit() {
        let entries =
            (0..50).map(|number| format!(r#""node_modules/p{number}": {{"version": "1"}}"#));
        let entries: Vec<String> = entries.collect();
        // What follows is not read any more.
        let text = format!(r#"{{"packages": {{{}, oops"#, entries.join(","));
        let mut found = Found::new(10);
        npm(&text, &mut found);
        assert_eq!(found.finish().expect("read").len(), 10);
    }

    #[test]
    fn an_installed_package_names_itself() {
        let named = |text| names_by(node_package, text);
        assert_eq!(named(r#"{"name": "x", "version": "1", "a": []}"#), ["x@1"]);
        assert!(named(r#"{"name": "x"}"#).is_empty());
    }
}
