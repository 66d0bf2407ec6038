//! Which crate may depend on which, and which files of a crate may import each other.

use std::collections::{BTreeMap, BTreeSet};

use crate::modules::Modules;
use crate::source::{files, identifiers};
use crate::workspace::{Crate, all_rust, crates, dependencies, report, root};

/// The layers from below. A crate depends on crates of lower layers only.
const LAYERS: &[&[&str]] = &[
    &["base", "oci", "tls"],
    &[
        "audit",
        "aws",
        "blobs",
        "db",
        "http",
        "oidc",
        "registry-client",
        "telemetry",
        "ecs-protocol",
        "event-sinks",
    ],
    &["backup", "iam", "reconcile"],
    &["scanning"],
    // `api/core` serves every API and knows no domain, therefore it stands beside them.
    &[
        "registry",
        "orchestrator",
        "balancer",
        "monitoring",
        "secrets",
        "scaling",
        "agent",
        "api/core",
    ],
    &[
        "api/distribution",
        "api/ecr",
        "api/iam",
        "api/ecs",
        "api/agent",
        "api/logs",
        "api/secrets",
        "api/console",
    ],
    &["wharfinger"],
];

/// Crates of a lower layer that a crate must not depend on all the same.
const NEVER: &[(&str, &[&str])] = &[
    ("iam", &["blobs", "http"]),
    ("reconcile", &["aws", "blobs", "http"]),
    ("registry", &["http"]),
];

/// Libraries that only the named crates may depend on.
const CONFINED: &[(&str, &[&str])] = &[
    // `scanning` reads the databases of RPM.
    ("rusqlite", &["db", "scanning"]),
    ("postgres", &["db"]),
    ("object_store", &["blobs"]),
    (
        "rustix",
        &[
            "agent",
            "base",
            "blobs",
            "db",
            "http",
            "telemetry",
            "wharfinger",
        ],
    ),
    (
        "hyper",
        &["http", "api/core", "api/distribution", "wharfinger"],
    ),
    ("clap", &["wharfinger"]),
];

/// Libraries that the lowest layer must not depend on: it knows neither the network nor a runtime.
const NOT_IN_LOWEST: &[&str] = &["tokio", "axum", "hyper", "http", "reqwest"];

/// Dependencies whose name does not occur in code, each with the reason.
const UNNAMED: &[(&str, &str)] = &[];

fn layer(folder: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&folder))
}

/// The folder of the workspace's crate that a dependency names, such as `api/ecr` for
/// `wharfinger-api-ecr`.
fn folder_of(dependency: &str, all: &[Crate]) -> Option<String> {
    let name = dependency.strip_prefix("wharfinger-")?;
    let known = all.iter().find(|one| one.folder.replace('/', "-") == name);
    known.map(|one| one.folder.clone())
}

#[test]
fn every_crate_has_a_layer() {
    let missing = crates().iter().filter(|one| layer(&one.folder).is_none());
    let broken: Vec<_> = missing.map(|one| format!("{}:1", one.manifest())).collect();
    report("a new crate needs its layer in LAYERS", &broken);
}

#[test]
fn dependencies_point_down() {
    let all = crates();
    let mut broken = Vec::new();
    for one in all {
        let never = NEVER.iter().find(|(folder, _)| *folder == one.folder);
        for dependency in one.section("dependencies") {
            let Some(other) = folder_of(&dependency.name, all) else {
                continue;
            };
            let forbidden = never.is_some_and(|(_, never)| never.contains(&other.as_str()));
            if layer(&other) >= layer(&one.folder) || forbidden {
                let at = format!("{}:{}", one.manifest(), dependency.line);
                broken.push(format!("{at}: {} depends on {other}", one.folder));
            }
        }
    }
    report("a crate depends on crates of lower layers only", &broken);
}

#[test]
fn libraries_stay_in_their_crates() {
    let mut broken = Vec::new();
    for one in crates() {
        for dependency in one.section("dependencies") {
            let name = dependency.name.as_str();
            let confined = CONFINED.iter().find(|(library, _)| *library == name);
            let outside =
                confined.is_some_and(|(_, folders)| !folders.contains(&one.folder.as_str()));
            if outside || (layer(&one.folder) == Some(0) && NOT_IN_LOWEST.contains(&name)) {
                broken.push(format!("{}:{}: {name}", one.manifest(), dependency.line));
            }
        }
    }
    report("a library is used through the crate that wraps it", &broken);
}

/// Crates with cycles that remain to be untangled.
const TANGLED: &[&str] = &["orchestrator"];

#[test]
fn files_of_a_crate_import_in_one_direction() {
    let mut broken = Vec::new();
    let straight = |one: &&Crate| !TANGLED.contains(&one.folder.as_str());
    for one in crates().iter().filter(straight) {
        for cycle in Modules::of(one).cycles() {
            broken.push(format!("src/{}: {}", one.folder, cycle.join("\n      ")));
        }
    }
    report(
        "two files never import each other, by whatever detour",
        &broken,
    );
}

#[test]
fn every_dependency_is_used() {
    let all = crates();
    let outside = all_rust().filter(|file| !file.path.starts_with("src/"));
    // The integration tests and benches belong to the program's crate.
    let outside: String = outside.map(|file| file.test_code.as_str()).collect();
    let mut broken = Vec::new();
    for one in all {
        let production: String = one.files.iter().map(|file| file.code.as_str()).collect();
        let mut tests: String = one
            .files
            .iter()
            .map(|file| file.test_code.as_str())
            .collect();
        if one.folder == "wharfinger" {
            tests.push_str(&outside);
        }
        let production: BTreeSet<_> = names(&production);
        let tests: BTreeSet<_> = names(&tests);
        for (section, used) in [("dependencies", &production), ("dev-dependencies", &tests)] {
            for dependency in one.section(section) {
                let word = dependency.name.replace('-', "_");
                let known = UNNAMED.iter().any(|(name, _)| *name == dependency.name);
                if !used.contains(word.as_str()) && !known {
                    let at = format!("{}:{}", one.manifest(), dependency.line);
                    broken.push(format!("{at}: {} is not used", dependency.name));
                }
            }
        }
    }
    report(
        "a dependency that the code does not name is removed",
        &broken,
    );
}

fn names(code: &str) -> BTreeSet<&str> {
    identifiers(code)
        .into_iter()
        .map(|(_, word)| word)
        .collect()
}

#[test]
fn every_workspace_dependency_has_a_user() {
    let mut users: BTreeMap<String, usize> = BTreeMap::new();
    for one in crates() {
        for dependency in one.dependencies.values().flatten() {
            *users.entry(dependency.name.clone()).or_default() += 1;
        }
    }
    let tools = files(&root().join("tests"), "toml");
    for manifest in tools.iter().filter(|path| path.ends_with("Cargo.toml")) {
        for dependency in dependencies(manifest).into_values().flatten() {
            *users.entry(dependency.name).or_default() += 1;
        }
    }
    let workspace = dependencies(&root().join("Cargo.toml"));
    let listed = workspace
        .get("workspace.dependencies")
        .map_or(&[][..], Vec::as_slice);
    let broken: Vec<_> = listed
        .iter()
        .filter(|dependency| !users.contains_key(&dependency.name))
        .map(|dependency| format!("Cargo.toml:{}: {}", dependency.line, dependency.name))
        .collect();
    report("no crate uses a dependency of the workspace", &broken);
}
