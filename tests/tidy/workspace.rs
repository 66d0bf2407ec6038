//! The crates of the workspace: where they lie, what they depend on, and their files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::source::{Source, files, relative};

/// One crate under `src/`.
pub(crate) struct Crate {
    /// Its folder under `src/`, such as `registry` or `api/ecr`.
    pub(crate) folder: String,
    /// The lines of its `Cargo.toml` that name a dependency, by section.
    pub(crate) dependencies: BTreeMap<String, Vec<Dependency>>,
    /// Its Rust files, without those of a crate in a folder below.
    pub(crate) files: Vec<Source>,
}

/// One line of a `Cargo.toml` that names a dependency.
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) line: usize,
}

impl Crate {
    /// The crate's `Cargo.toml`, as a path from the root.
    pub(crate) fn manifest(&self) -> String {
        format!("src/{}/Cargo.toml", self.folder)
    }

    /// Its dependencies of one section.
    pub(crate) fn section(&self, name: &str) -> &[Dependency] {
        self.dependencies.get(name).map_or(&[], Vec::as_slice)
    }
}

/// The project's root.
pub(crate) fn root() -> PathBuf {
    // The test belongs to a crate two folders below the root.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = root
        .ancestors()
        .find(|path| path.join("Cargo.lock").exists());
    root.expect("Cargo.lock lies at the root").to_owned()
}

/// Every crate, in the order of their folders; read once.
pub(crate) fn crates() -> &'static [Crate] {
    static CRATES: OnceLock<Vec<Crate>> = OnceLock::new();
    CRATES.get_or_init(read_crates)
}

fn read_crates() -> Vec<Crate> {
    let root = root();
    let manifests = files(&root.join("src"), "toml");
    let folders: Vec<PathBuf> = manifests
        .iter()
        .filter(|path| path.ends_with("Cargo.toml"))
        .map(|path| path.parent().expect("a file lies in a folder").to_owned())
        .collect();
    let own = |folder: &Path, file: &Path| {
        let nearest = folders.iter().filter(|other| file.starts_with(other));
        nearest
            .max_by_key(|other| other.components().count())
            .map(PathBuf::as_path)
            == Some(folder)
    };
    folders
        .iter()
        .map(|folder| Crate {
            folder: relative(&root.join("src"), folder),
            dependencies: dependencies(&folder.join("Cargo.toml")),
            files: files(folder, "rs")
                .iter()
                .filter(|file| own(folder, file))
                .map(|file| Source::read(&root, file))
                .collect(),
        })
        .collect()
}

/// Every Rust file of every crate.
pub(crate) fn sources() -> impl Iterator<Item = &'static Source> {
    crates().iter().flat_map(|one| &one.files)
}

/// Every Rust file of the project, tests, benches and fuzz targets included.
pub(crate) fn all_rust() -> impl Iterator<Item = &'static Source> {
    static OTHERS: OnceLock<Vec<Source>> = OnceLock::new();
    let others = OTHERS.get_or_init(|| {
        ["tests", "benches", "fuzz/fuzz_targets"]
            .iter()
            .flat_map(|folder| files(&root().join(folder), "rs"))
            .map(|path| Source::read(&root(), &path))
            .collect()
    });
    sources().chain(others)
}

/// The dependencies that a `Cargo.toml` names, by section.
pub(crate) fn dependencies(manifest: &Path) -> BTreeMap<String, Vec<Dependency>> {
    let text = fs::read_to_string(manifest)
        .unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
    let mut section = String::new();
    let mut found: BTreeMap<String, Vec<Dependency>> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            name.clone_into(&mut section);
        } else if let Some((name, _)) = line.split_once(['.', ' ', '='])
            && section.ends_with("dependencies")
            && !name.is_empty()
            && !name.starts_with('#')
        {
            found.entry(section.clone()).or_default().push(Dependency {
                name: name.to_owned(),
                line: number + 1,
            });
        }
    }
    found
}

/// Fails with every location that breaks a rule, each as `path:line: what`.
pub(crate) fn report(rule: &str, broken: &[String]) {
    assert!(
        broken.is_empty(),
        "{rule} ({} times):\n  {}",
        broken.len(),
        broken.join("\n  ")
    );
}
