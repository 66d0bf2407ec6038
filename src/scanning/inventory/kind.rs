//! Which files of an image have packages, told by their path.

use crate::inventory::found::Found;
use crate::inventory::java::is_archive;
use crate::inventory::rpm::RpmFormat;
use crate::inventory::{java_builds, json_locks, lock_files, os, pnpm, toml_locks};

/// How a file is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FileKind {
    OsRelease,
    /// RPM's database.
    Rpm(RpmFormat),
    Java,
    GoMod,
    GoSum,
    Program,
    Text(fn(&str, &mut Found)),
}

impl PartialEq for FileKind {
    fn eq(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// Where RPM has its database.
pub(crate) const RPM_FOLDERS: &[&str] = &["var/lib/rpm", "usr/lib/sysimage/rpm", "usr/share/rpm"];
/// The databases of RPM, the newest format first.
pub(crate) const RPM_DATABASES: &[&str] = &["rpmdb.sqlite", "Packages.db", "Packages"];

/// Folders of packages that were fetched, not installed, or whose lock files are those of a
/// dependency.
const NOT_INSTALLED: &[&str] = &[
    "node_modules/",
    "site-packages/",
    "dist-packages/",
    "pkg/mod/",
    ".cargo/",
    // The `pom.xml` by which a Java archive was built.
    "META-INF/maven/",
    "cargo/registry/",
];

impl FileKind {
    /// How the file at a path is read; `None` where it has no packages.
    pub(crate) fn of(path: &str, executable: bool) -> Option<Self> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match path {
            "etc/os-release" | "usr/lib/os-release" => return Some(Self::OsRelease),
            "var/lib/dpkg/status" => return Some(Self::Text(os::dpkg)),
            "lib/apk/db/installed" | "usr/lib/apk/db/installed" => {
                return Some(Self::Text(os::apk));
            }
            _ => {}
        }
        if folder == "var/lib/dpkg/status.d" {
            return (!name.ends_with(".md5sums")).then_some(Self::Text(os::dpkg));
        }
        if RPM_FOLDERS.contains(&folder) {
            return match name {
                "rpmdb.sqlite" => Some(Self::Rpm(RpmFormat::Sqlite)),
                "Packages.db" => Some(Self::Rpm(RpmFormat::Ndb)),
                "Packages" => Some(Self::Rpm(RpmFormat::Berkeley)),
                _ => None,
            };
        }
        let parent = folder.rsplit('/').next().unwrap_or_default();
        match name {
            "METADATA" if parent.ends_with(".dist-info") => {
                return Some(Self::Text(lock_files::python_metadata));
            }
            "PKG-INFO" if parent.ends_with(".egg-info") || parent == "EGG-INFO" => {
                return Some(Self::Text(lock_files::python_metadata));
            }
            "package.json" if is_installed_node_package(folder) => {
                return Some(Self::Text(json_locks::node_package));
            }
            _ if name.ends_with(".egg-info") => {
                return Some(Self::Text(lock_files::python_metadata));
            }
            _ if is_archive(name) => return Some(Self::Java),
            _ => {}
        }
        if let Some(kind) = lock_file(name) {
            let anywhere = format!("{folder}/");
            let installed = !NOT_INSTALLED.iter().any(|one| anywhere.contains(one));
            return installed.then_some(kind);
        }
        executable.then_some(Self::Program)
    }
}

/// How a lock file is read.
fn lock_file(name: &str) -> Option<FileKind> {
    let read: fn(&str, &mut Found) = match name {
        "go.mod" => return Some(FileKind::GoMod),
        "go.sum" => return Some(FileKind::GoSum),
        "requirements.txt" => lock_files::requirements,
        "poetry.lock" | "uv.lock" | "pdm.lock" => toml_locks::python,
        "Pipfile.lock" => json_locks::pipfile,
        "package-lock.json" | "npm-shrinkwrap.json" => json_locks::npm,
        "yarn.lock" => lock_files::yarn,
        "pnpm-lock.yaml" => pnpm::pnpm,
        "Cargo.lock" => toml_locks::cargo,
        "pom.xml" => java_builds::pom,
        "gradle.lockfile" => java_builds::gradle,
        _ => return None,
    };
    Some(FileKind::Text(read))
}

/// Whether a folder is that of a package: `…/node_modules/name` or `…/node_modules/@scope/name`.
/// Packages have other files of the name `package.json` deeper inside.
fn is_installed_node_package(folder: &str) -> bool {
    let mut parts = folder.rsplit('/');
    let (name, parent, above) = (parts.next(), parts.next(), parts.next());
    let scoped = parent.is_some_and(|scope| scope.starts_with('@'));
    name.is_some_and(|name| !name.starts_with('@'))
        && (parent == Some("node_modules") || (scoped && above == Some("node_modules")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_tell_how_a_file_is_read() {
        let text = [
            "var/lib/dpkg/status",
            "var/lib/dpkg/status.d/libc6",
            "lib/apk/db/installed",
            "usr/lib/python3/site-packages/a-1.dist-info/METADATA",
            "app/node_modules/@s/a/package.json",
            "app/node_modules/a/node_modules/b/package.json",
            "app/Cargo.lock",
            "pnpm-lock.yaml",
            "src/pom.xml",
            "src/gradle.lockfile",
        ];
        for path in text {
            assert!(
                matches!(FileKind::of(path, false), Some(FileKind::Text(_))),
                "{path}"
            );
        }
        let nothing = [
            "var/lib/dpkg/status.d/libc6.md5sums",
            "app/node_modules/a/lib/package.json",
            "app/package.json",
            "app/node_modules/a/yarn.lock",
            "root/go/pkg/mod/x@v1/go.mod",
            "etc/passwd",
            "opt/x/META-INF/maven/g/a/pom.xml",
        ];
        for path in nothing {
            assert!(FileKind::of(path, false).is_none(), "{path}");
        }
        assert_eq!(FileKind::of("go.mod", false), Some(FileKind::GoMod));
        assert_eq!(FileKind::of("go.sum", false), Some(FileKind::GoSum));
        assert_eq!(FileKind::of("bin/x", true), Some(FileKind::Program));
        assert_eq!(FileKind::of("opt/a.JAR", false), Some(FileKind::Java));
        let databases = [
            ("var/lib/rpm/rpmdb.sqlite", RpmFormat::Sqlite),
            ("usr/lib/sysimage/rpm/Packages.db", RpmFormat::Ndb),
            ("var/lib/rpm/Packages", RpmFormat::Berkeley),
        ];
        for (path, format) in databases {
            let found = FileKind::of(path, false);
            assert!(
                matches!(found, Some(FileKind::Rpm(found)) if found == format),
                "{path}"
            );
        }
    }
}
