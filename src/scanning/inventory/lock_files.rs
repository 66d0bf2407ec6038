//! Lock files and other lists of dependencies in text: TOML, JSON, and formats of one tool each.

use serde::Deserialize;
use serde_json::Value;

use crate::package::{Package, PackageKind};

/// The packages of `Cargo.lock`: those that come from a registry or a repository, since what has
/// no source is the program itself.
pub(crate) fn cargo(text: &str) -> Vec<Package> {
    locked(text, PackageKind::Cargo, toml::Value::is_str)
}

/// The packages of `poetry.lock`, `uv.lock` and `pdm.lock`.
pub(crate) fn python_toml(text: &str) -> Vec<Package> {
    // `uv.lock` has the project itself as a source in the work tree.
    let local = ["virtual", "editable", "directory", "path"];
    locked(text, PackageKind::Python, |source| {
        source
            .as_table()
            .is_none_or(|table| !local.iter().any(|key| table.contains_key(*key)))
    })
}

/// The entries of `[[package]]` whose source is of the right kind.
fn locked(text: &str, kind: PackageKind, source: impl Fn(&toml::Value) -> bool) -> Vec<Package> {
    let Ok(document) = toml::from_str::<toml::Table>(text) else {
        return Vec::new();
    };
    let packages = document.get("package").and_then(toml::Value::as_array);
    let mut found = Vec::new();
    for package in packages.into_iter().flatten() {
        let field = |name: &str| package.get(name).and_then(toml::Value::as_str);
        let has_source = match package.get("source") {
            Some(value) => source(value),
            None => kind == PackageKind::Python,
        };
        if let (Some(name), Some(version), true) = (field("name"), field("version"), has_source) {
            found.push(Package::new(kind, name, version));
        }
    }
    found
}

/// The packages of `Pipfile.lock` that are installed by default.
pub(crate) fn pipfile(text: &str) -> Vec<Package> {
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let packages = document.get("default").and_then(Value::as_object);
    let mut found = Vec::new();
    for (name, package) in packages.into_iter().flatten() {
        let version = package.get("version").and_then(Value::as_str);
        if let Some(version) = version.and_then(|version| version.strip_prefix("==")) {
            found.push(Package::new(PackageKind::Python, name, version));
        }
    }
    found
}

/// The lines of `requirements.txt` that name one version: `name[extra]==1.2 ; marker`.
pub(crate) fn requirements(text: &str) -> Vec<Package> {
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.split(['#', ';', '\\']).next().unwrap_or_default();
        let line = line.split(" --").next().unwrap_or_default().trim();
        let Some((name, version)) = line.split_once("==") else {
            continue;
        };
        let name = name.split('[').next().unwrap_or_default().trim();
        let version = version.trim_start_matches('=').trim();
        let named = !name.is_empty() && name.chars().all(is_python_name);
        let exact = version.starts_with(|c: char| c.is_ascii_digit())
            && !version.contains(['*', ',', ' ', '<', '>', '!']);
        if named && exact {
            found.push(Package::new(PackageKind::Python, name, version));
        }
    }
    found
}

fn is_python_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The package of a `METADATA` or `PKG-INFO` file: its header ends with an empty line.
pub(crate) fn python_metadata(text: &str) -> Vec<Package> {
    let header = || text.lines().take_while(|line| !line.trim().is_empty());
    let field = |name: &str| {
        let mut values = header().filter_map(|line| line.strip_prefix(name));
        values
            .next()
            .map(str::trim)
            .filter(|value| !value.is_empty())
    };
    match (field("Name:"), field("Version:")) {
        (Some(name), Some(version)) => vec![Package::new(PackageKind::Python, name, version)],
        _ => Vec::new(),
    }
}

#[derive(Deserialize)]
struct NodePackage {
    name: String,
    version: String,
}

/// The package of an installed `package.json`.
pub(crate) fn node_package(text: &str) -> Vec<Package> {
    match serde_json::from_str::<NodePackage>(text) {
        Ok(NodePackage { name, version }) if !name.is_empty() && !version.is_empty() => {
            vec![Package::new(PackageKind::Npm, &name, &version)]
        }
        _ => Vec::new(),
    }
}

/// The packages of `package-lock.json` and `npm-shrinkwrap.json`, without those that only
/// development needs.
pub(crate) fn npm(text: &str) -> Vec<Package> {
    let Ok(document) = serde_json::from_str::<Value>(text) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if let Some(packages) = document.get("packages").and_then(Value::as_object) {
        // Versions 2 and 3: `node_modules/a/node_modules/@scope/b`.
        for (path, package) in packages {
            let Some((_, name)) = path.rsplit_once("node_modules/") else {
                continue;
            };
            let name = package.get("name").and_then(Value::as_str).unwrap_or(name);
            found.extend(npm_package(name, package));
        }
        return found;
    }
    // Version 1 nests packages. The stack replaces recursion; serde_json bounds the depth.
    let mut next = vec![&document];
    while let Some(parent) = next.pop() {
        let packages = parent.get("dependencies").and_then(Value::as_object);
        for (name, package) in packages.into_iter().flatten() {
            found.extend(npm_package(name, package));
            next.push(package);
        }
    }
    found
}

fn npm_package(name: &str, package: &Value) -> Option<Package> {
    let flag = |name: &str| package.get(name).and_then(Value::as_bool) == Some(true);
    let version = package.get("version").and_then(Value::as_str)?;
    if flag("dev") || flag("link") || !version.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Some(Package::new(PackageKind::Npm, name, version))
}

/// The name of the package that a range stands for: `@s/real` of `npm:@s/real@^1`, a dependency
/// under another name.
fn alias_target(range: &str) -> Option<&str> {
    let target = range.strip_prefix("npm:")?;
    let at = target.get(1..)?.find('@')? + 1;
    let name = target.get(..at)?;
    let is_name = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "@/-_.~".contains(c));
    (is_name && !name.starts_with('~')).then_some(name)
}

/// The packages of `yarn.lock`, of its first version and of the YAML that followed.
pub(crate) fn yarn(text: &str) -> Vec<Package> {
    let mut found = Vec::new();
    let mut name: Option<&str> = None;
    for line in text.lines() {
        if line.starts_with('#') || line.trim().is_empty() {
            continue;
        }
        if !line.starts_with(' ') {
            // `"@babel/core@npm:^7.0.0", "@babel/core@^7.1.0":`
            let first = line.split(',').next().unwrap_or_default();
            let first = first.trim().trim_end_matches(':').trim_matches('"');
            let at = first.get(1..).and_then(|rest| rest.find('@'));
            // Other protocols are of the project itself, or of files.
            let local = ["@workspace:", "@link:", "@portal:", "@file:", "@patch:"];
            name = at
                .filter(|_| !local.iter().any(|protocol| first.contains(protocol)))
                .and_then(|at| Some((first.get(..=at)?, first.get(at + 2..)?)))
                .map(|(name, range)| alias_target(range).unwrap_or(name));
            continue;
        }
        let field = line.trim();
        let version = field
            .strip_prefix("version:")
            .or(field.strip_prefix("version "));
        // Fields of an entry are indented by two; what lies deeper is a list of ranges.
        if let (Some(version), false) = (version, line.starts_with("   "))
            && let Some(name) = name.take()
        {
            let version = version.trim().trim_matches('"');
            found.push(Package::new(PackageKind::Npm, name, version));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::tests::package_names;

    #[test]
    fn cargo_locks_name_what_has_a_source() {
        let text = "version = 4\n[[package]]\nname = \"own\"\nversion = \"0.1.0\"\n\
                    [[package]]\nname = \"time\"\nversion = \"0.1.43\"\n\
                    source = \"registry+https://github.com/rust-lang/crates.io-index\"\n";
        assert_eq!(package_names(&cargo(text)), ["time@0.1.43"]);
        assert!(cargo("not toml [").is_empty());
    }

    #[test]
    fn python_lists_name_exact_versions() {
        let text = "# c\nrequests[security]==2.19.0 ; python_version > '3'\nflask>=1\n\
                    a==1.*\nurllib3==1.24.1 \\\n    --hash=sha256:00\n-r other.txt\nb === 2\n\
                    c==1,!=1.1\n";
        assert_eq!(
            package_names(&requirements(text)),
            ["b@2", "requests@2.19.0", "urllib3@1.24.1"]
        );
        let text = "[[package]]\nname = \"jinja2\"\nversion = \"2.10\"\n[[package]]\n\
                    name = \"own\"\nversion = \"1\"\nsource = { virtual = \".\" }\n";
        assert_eq!(package_names(&python_toml(text)), ["jinja2@2.10"]);
        let text = r#"{"default": {"django": {"version": "==2.2"}, "local": {"path": "."}},
                       "develop": {"pytest": {"version": "==5"}}}"#;
        assert_eq!(package_names(&pipfile(text)), ["django@2.2"]);
        let text = "Metadata-Version: 2.1\nName: PyYAML\nVersion: 5.3\n\nName: no\n";
        assert_eq!(package_names(&python_metadata(text)), ["PyYAML@5.3"]);
    }

    #[test]
    fn npm_locks_leave_development_out() {
        let text = r#"{"lockfileVersion": 3, "packages": {"": {"name": "own", "version": "1.0.0"},
            "node_modules/lodash": {"version": "4.17.4"},
            "node_modules/a/node_modules/@s/b": {"version": "1.0.1"},
            "node_modules/jest": {"version": "1.0.0", "dev": true},
            "node_modules/w": {"resolved": "packages/w", "link": true}}}"#;
        assert_eq!(package_names(&npm(text)), ["@s/b@1.0.1", "lodash@4.17.4"]);
        let text = r#"{"dependencies": {"a": {"version": "1.0.0",
            "dependencies": {"b": {"version": "2.0.0"}}}, "c": {"version": "file:c"}}}"#;
        assert_eq!(package_names(&npm(text)), ["a@1.0.0", "b@2.0.0"]);
        assert_eq!(
            package_names(&node_package(r#"{"name": "x", "version": "1"}"#)),
            ["x@1"]
        );
        assert!(node_package(r#"{"name": "x"}"#).is_empty());
    }

    #[test]
    fn yarn_locks_of_both_versions_are_read() {
        let text = "# yarn lockfile v1\n\n\"@babel/core@^7.0.0\", \"@babel/core@^7.1.0\":\n  \
                    version \"7.2.0\"\n  dependencies:\n    version \"1.0\"\n\nlodash@^4:\n  \
                    version \"4.17.4\"\n";
        assert_eq!(
            package_names(&yarn(text)),
            ["@babel/core@7.2.0", "lodash@4.17.4"]
        );
        let text = "__metadata:\n  version: 6\n\n\"lodash@npm:^4\":\n  version: 4.17.20\n  \
                    resolution: \"lodash@npm:4.17.20\"\n\n\"own@workspace:.\":\n  version: 0.0.0\n";
        assert_eq!(package_names(&yarn(text)), ["lodash@4.17.20"]);
        let text = "\"other@npm:lodash@^4\", x@^4:\n  version \"4.17.4\"\n\n\
                    \"o@npm:@s/real@~1.0\":\n  version: 1.0.1\n";
        assert_eq!(
            package_names(&yarn(text)),
            ["@s/real@1.0.1", "lodash@4.17.4"]
        );
    }

    proptest::proptest! {
        #[test]
        fn readers_never_panic(
            text in "([a-z@\"=\\[\\]{}():, \\n./]|version|name|require|=>){0,60}",
        ) {
            for read in [cargo, python_toml, pipfile, requirements, python_metadata, node_package,
                         npm, yarn] {
                let _ = read(&text);
            }
        }
    }
}
