//! Lock files and other lists of dependencies in text formats of one tool each. PURE.

use crate::inventory::found::Found;
use crate::package::{Package, PackageKind};

/// The lines of `requirements.txt` that name one version: `name[extra]==1.2 ; marker`.
pub(crate) fn requirements(text: &str, found: &mut Found) {
    for line in text.lines() {
        if found.is_full() {
            return;
        }
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
            found.add(Package::new(PackageKind::Python, name, version));
        }
    }
}

fn is_python_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// The package of a `METADATA` or `PKG-INFO` file: its header ends with an empty line.
pub(crate) fn python_metadata(text: &str, found: &mut Found) {
    let header = || text.lines().take_while(|line| !line.trim().is_empty());
    let field = |name: &str| {
        let mut values = header().filter_map(|line| line.strip_prefix(name));
        values
            .next()
            .map(str::trim)
            .filter(|value| !value.is_empty())
    };
    if let (Some(name), Some(version)) = (field("Name:"), field("Version:")) {
        found.add(Package::new(PackageKind::Python, name, version));
    }
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
pub(crate) fn yarn(text: &str, found: &mut Found) {
    let mut name: Option<&str> = None;
    for line in text.lines() {
        if found.is_full() {
            return;
        }
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
            found.add(Package::new(PackageKind::Npm, name, version));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::json_locks::{node_package, npm, pipfile};
    use crate::inventory::tests::names_by;
    use crate::inventory::toml_locks;

    #[test]
    fn python_lists_name_exact_versions() {
        let text = "# c\nrequests[security]==2.19.0 ; python_version > '3'\nflask>=1\n\
                    a==1.*\nurllib3==1.24.1 \\\n    --hash=sha256:00\n-r other.txt\nb === 2\n\
                    c==1,!=1.1\n";
        assert_eq!(
            names_by(requirements, text),
            ["b@2", "requests@2.19.0", "urllib3@1.24.1"]
        );
        let text = "Metadata-Version: 2.1\nName: PyYAML\nVersion: 5.3\n\nName: no\n";
        assert_eq!(names_by(python_metadata, text), ["PyYAML@5.3"]);
    }

    #[test]
    fn reading_ends_at_the_limit() {
        for (read, entry) in [
            (requirements as fn(&str, &mut Found), "a==1\n"),
            (yarn, "a@1:\n  version 1\n"),
        ] {
            let mut found = Found::new(7);
            read(&entry.repeat(100), &mut found);
            assert_eq!(found.finish().expect("read").len(), 7, "{entry}");
        }
    }

    #[test]
    fn yarn_locks_of_both_versions_are_read() {
        let text = "# yarn lockfile v1\n\n\"@babel/core@^7.0.0\", \"@babel/core@^7.1.0\":\n  \
                    version \"7.2.0\"\n  dependencies:\n    version \"1.0\"\n\nlodash@^4:\n  \
                    version \"4.17.4\"\n";
        assert_eq!(names_by(yarn, text), ["@babel/core@7.2.0", "lodash@4.17.4"]);
        let text = "__metadata:\n  version: 6\n\n\"lodash@npm:^4\":\n  version: 4.17.20\n  \
                    resolution: \"lodash@npm:4.17.20\"\n\n\"own@workspace:.\":\n  version: 0.0.0\n";
        assert_eq!(names_by(yarn, text), ["lodash@4.17.20"]);
        let text = "\"other@npm:lodash@^4\", x@^4:\n  version \"4.17.4\"\n\n\
                    \"o@npm:@s/real@~1.0\":\n  version: 1.0.1\n";
        assert_eq!(names_by(yarn, text), ["@s/real@1.0.1", "lodash@4.17.4"]);
    }

    proptest::proptest! {
        #[test]
        fn readers_never_panic(
            text in "([a-z@\"=\\[\\]{}():, \\n./]|version|name|require|=>){0,60}",
        ) {
            let readers = [toml_locks::cargo, toml_locks::python, pipfile, requirements,
                           python_metadata, node_package, npm, yarn];
            for read in readers {
                let _ = names_by(read, &text);
            }
        }
    }
}
