//! The house rules that no compiler knows: who may import whom, and what may stand where.
//!
//! Each test names a rule; a failure lists every place that breaks it, as `file:line: what`.

#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use source::{Source, files};

/// The floors. A room imports rooms of lower floors only, never one of its own floor.
const FLOORS: &[(u8, &[&str])] = &[
    (1, &["base", "oci"]),
    (2, &["db", "blobs", "aws", "transport", "telemetry"]),
    (3, &["iam", "background"]),
    (4, &["registry"]),
    (6, &["config"]),
    (7, &["app"]),
    (8, &["api"]),
    (9, &["server"]),
    (10, &["cli"]),
    (11, &["main", "lib"]),
];

/// What a room may never import although it stands lower.
const NEVER: &[(&str, &[&str])] = &[
    ("background", &["blobs", "aws"]),
    ("registry", &["transport"]),
];

/// What a face (a folder of `api/`) may import besides itself: words, who may, its wing through
/// `app`, and the frame of `api/`.
const FACE_ROOMS: &[&str] = &[
    "base",
    "oci",
    "aws",
    "iam",
    "app",
    "config",
    "registry",
    "transport",
    "telemetry",
];

/// What the two lowest rooms may take from outside: they know neither the network nor a runtime.
const GROUND_NEVER: &[&str] = &[
    "tokio",
    "axum",
    "hyper",
    "http::",
    "rusqlite",
    "postgres::",
    "object_store",
];

/// Files whose decisions are pure, and therefore marked and tested by laws.
const PURE: &[&str] = &[
    "src/aws/sigv4.rs",
    "src/iam/condition.rs",
    "src/iam/evaluate.rs",
    "src/registry/mutability.rs",
    "src/registry/gc/plan.rs",
    "src/registry/lifecycle/policy.rs",
    "src/registry/lifecycle/evaluate.rs",
];

/// What a PURE file may not name.
const IMPURE: &[&str] = &[
    "async ",
    ".await",
    "tokio",
    "crate::db",
    "crate::blobs",
    "Clock",
    "std::fs",
    "TcpStream",
    "UdpSocket",
    "std::thread",
];

/// Dependencies that are there for their features or build alone, with the reason.
const UNNAMED_DEPENDENCIES: &[(&str, &str)] = &[];

/// The longest file.
const LINES: usize = 500;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    files(&root().join("src"), "rs")
        .iter()
        .map(|path| Source::read(&root(), path))
        .collect()
}

/// All Rust files of the project, tests and benches included.
fn all_rust() -> Vec<Source> {
    ["src", "tests", "benches", "fuzz/fuzz_targets"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), "rs"))
        .map(|path| Source::read(&root(), &path))
        .collect()
}

fn floor(room: &str) -> Option<u8> {
    FLOORS
        .iter()
        .find(|(_, rooms)| rooms.contains(&room))
        .map(|(floor, _)| *floor)
}

fn verdict(rule: &str, broken: &[String]) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn every_room_has_a_floor() {
    let broken: Vec<_> = sources()
        .iter()
        .filter(|file| floor(file.room()).is_none())
        .map(|file| file.path.clone())
        .collect();
    verdict("a new room needs a line in FLOORS", &broken);
}

#[test]
fn imports_point_down() {
    let mut broken = Vec::new();
    for file in sources() {
        let Some(here) = floor(file.room()) else {
            continue;
        };
        for (line, names) in file.imports() {
            let Some(there) = names.first().filter(|name| *name != file.room()) else {
                continue;
            };
            // A name that is no room is the crate's own item (a macro, the version), not an import
            // of a room.
            let Some(level) = floor(there) else { continue };
            let never = NEVER
                .iter()
                .any(|(room, never)| *room == file.room() && never.contains(&there.as_str()));
            if level >= here || never {
                broken.push(format!(
                    "{}:{line}: {} (floor {here}) imports {there} (floor {level})",
                    file.path,
                    file.room()
                ));
            }
        }
    }
    verdict("imports point to lower floors only", &broken);
}

#[test]
fn the_list_of_modules_is_in_floor_order() {
    let lib = Source::read(&root(), &root().join("src/lib.rs"));
    let listed: Vec<_> = lib
        .code
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .collect();
    let floors: Vec<_> = listed.iter().map(|room| floor(room)).collect();
    assert!(
        floors.is_sorted(),
        "src/lib.rs lists modules from the ground up: {listed:?}"
    );
}

#[test]
fn faces_stay_apart() {
    let mut broken = Vec::new();
    for file in sources() {
        let Some(inside) = file.path.strip_prefix("src/api/") else {
            continue;
        };
        let Some((face, _)) = inside.split_once('/') else {
            continue;
        };
        for (line, names) in file.imports() {
            let allowed = match names.first().map(String::as_str) {
                Some("api") => match names.get(1).map(String::as_str) {
                    None => true,
                    Some(part) => part == face || !root().join("src/api").join(part).is_dir(),
                },
                Some(room) => FACE_ROOMS.contains(&room) || floor(room).is_none(),
                None => true,
            };
            if !allowed || names.iter().any(|name| name == "store") {
                broken.push(format!(
                    "{}:{line}: the face {face} imports {}",
                    file.path,
                    names.join("::")
                ));
            }
        }
    }
    verdict(
        "a face imports its own wing and words, no other face, no database, no store",
        &broken,
    );
}

#[test]
fn stores_are_their_wings_own() {
    let mut broken = Vec::new();
    for file in sources() {
        for (line, names) in file.imports() {
            if names.iter().any(|name| name == "store")
                && names[0] != file.room()
                && names[0] != "blobs"
            {
                broken.push(format!("{}:{line}: {}", file.path, names.join("::")));
            }
        }
    }
    verdict("a wing's store is imported by that wing alone", &broken);
}

#[test]
fn the_ground_floor_knows_no_network() {
    let mut broken = Vec::new();
    for file in sources()
        .iter()
        .filter(|file| floor(file.room()) == Some(1))
    {
        for (number, line) in file.code.lines().enumerate() {
            let named = GROUND_NEVER.iter().find(|name| {
                line.contains(*name) && (line.contains("use ") || line.contains("::"))
            });
            broken.extend(named.map(|name| format!("{}:{}: {name}", file.path, number + 1)));
        }
    }
    verdict(
        "base and oci take std, serde and cryptography only",
        &broken,
    );
}

#[test]
fn pure_files_are_pure() {
    let mut broken = Vec::new();
    for file in sources() {
        let marked = file.opening().contains("PURE");
        if PURE.contains(&file.path.as_str()) && !marked {
            broken.push(format!("{}:1: its opening does not say PURE", file.path));
        }
        if !marked {
            continue;
        }
        for (number, line) in file.code.lines().enumerate() {
            let named = IMPURE.iter().find(|word| line.contains(*word));
            broken.extend(named.map(|word| format!("{}:{}: {word}", file.path, number + 1)));
        }
        if !is_tested(&file) {
            broken.push(format!("{}: no tests beside the code", file.path));
        }
    }
    verdict(
        "a PURE file has no async, no clock, no store and its own tests",
        &broken,
    );
}

/// Whether a file has tests: in itself, or in a `laws.rs` or `tests.rs` of its folder or of the
/// folder that bears its name.
fn is_tested(file: &Source) -> bool {
    let path = root().join(&file.path);
    let folders = [
        path.with_extension(""),
        path.parent().expect("a file lies in a folder").to_owned(),
    ];
    let beside = folders
        .iter()
        .any(|folder| folder.join("laws.rs").exists() || folder.join("tests.rs").exists());
    beside || file.text.contains("mod laws") || file.text.contains("mod tests")
}

/// Whether a literal reads as a statement: SQL here is written in capitals, as no prose is.
fn is_sql(literal: &str) -> bool {
    let text = literal.trim_start();
    let starts = [
        "SELECT ",
        "INSERT INTO ",
        "DELETE FROM ",
        "CREATE TABLE ",
        "CREATE INDEX ",
        "WITH ",
        "BEGIN IMMEDIATE",
        "PRAGMA ",
    ];
    starts.iter().any(|start| text.starts_with(start))
        || (text.starts_with("UPDATE ") && text.contains(" SET "))
}

#[test]
fn sql_stands_in_stores() {
    let mut broken = Vec::new();
    for file in sources().iter().filter(|file| !file.is_store()) {
        let found = file.literals.iter().filter(|(_, literal)| is_sql(literal));
        broken.extend(
            found.map(|(line, literal)| format!("{}:{line}: {}", file.path, first_words(literal))),
        );
    }
    verdict("only store files hold SQL", &broken);
}

/// What one of the two engines does not know, or knows differently.
const UNCOMMON: &[&str] = &[
    " LIKE ",
    " ILIKE ",
    "GLOB",
    "REPLACE INTO",
    "INSERT OR",
    "FOR UPDATE",
    "FOR SHARE",
    "NOW()",
    "CURRENT_TIMESTAMP",
    "datetime(",
    "strftime(",
    " TRUE",
    " FALSE",
    "::",
    "ROWID",
    "LAST_INSERT",
    "NULLS FIRST",
    "NULLS LAST",
    "IFNULL(",
    "group_concat",
    "string_agg",
    " ISNULL",
];

#[test]
fn statements_keep_to_the_common_subset() {
    let mut broken = Vec::new();
    for file in sources()
        .iter()
        .filter(|file| file.is_store() && !file.path.starts_with("src/db/"))
    {
        for (line, literal) in file.literals.iter().filter(|(_, literal)| is_sql(literal)) {
            let uncommon = UNCOMMON.iter().find(|word| literal.contains(*word));
            broken.extend(uncommon.map(|word| format!("{}:{line}: {word}", file.path)));
            broken.extend(
                parameters_of(literal)
                    .err()
                    .map(|why| format!("{}:{line}: {why}", file.path)),
            );
        }
    }
    for path in files(&root().join("src"), "sql") {
        let text = std::fs::read_to_string(&path).expect("a migration is readable");
        let statements: String = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("--"))
            .flat_map(|line| [line, "\n"])
            .collect();
        for word in [
            "BOOLEAN",
            "TIMESTAMP",
            "SERIAL",
            "JSON",
            "AUTOINCREMENT",
            "VARCHAR",
            " INTEGER",
            " BLOB",
            " REAL",
            "now()",
        ] {
            if statements.contains(word) {
                broken.push(format!("{}: {word}", path.display()));
            }
        }
    }
    verdict("statements run unchanged on SQLite and PostgreSQL", &broken);
}

/// Parameters are `?1`, `?2`, … without a gap: `$1` is a *name* to SQLite, bound by first
/// appearance, and would swap values.
fn parameters_of(statement: &str) -> Result<(), String> {
    if statement.contains('$') {
        return Err("a `$` parameter".into());
    }
    let mut numbers = Vec::new();
    for after in statement.split('?').skip(1) {
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        numbers.push(
            digits
                .parse::<usize>()
                .map_err(|_| "a `?` without its number".to_owned())?,
        );
    }
    numbers.sort_unstable();
    numbers.dedup();
    let wanted: Vec<_> = (1..=numbers.len()).collect();
    if numbers == wanted {
        Ok(())
    } else {
        Err(format!("parameters {numbers:?} have a gap"))
    }
}

#[test]
fn wire_error_codes_stand_in_error_files() {
    let oci = [
        "BLOB_UNKNOWN",
        "BLOB_UPLOAD_INVALID",
        "BLOB_UPLOAD_UNKNOWN",
        "DIGEST_INVALID",
        "MANIFEST_BLOB_UNKNOWN",
        "MANIFEST_INVALID",
        "MANIFEST_UNKNOWN",
        "NAME_INVALID",
        "NAME_UNKNOWN",
        "SIZE_INVALID",
        "UNAUTHORIZED",
        "DENIED",
        "UNSUPPORTED",
        "TOOMANYREQUESTS",
    ];
    let mut broken = Vec::new();
    for file in sources() {
        // `aws/` is the vocabulary of AWS's words, the codes that every service shares among them.
        if file.path.starts_with("src/aws/")
            || (file.path.starts_with("src/api/") && file.path.ends_with("/error.rs"))
        {
            continue;
        }
        for (line, literal) in &file.literals {
            let exception = literal.len() > "Exception".len()
                && literal.ends_with("Exception")
                && literal.chars().all(char::is_alphanumeric);
            if exception || oci.contains(&literal.as_str()) {
                broken.push(format!("{}:{line}: {literal}", file.path));
            }
        }
    }
    verdict("only api/*/error.rs holds wire error codes", &broken);
}

#[test]
fn object_paths_are_built_in_one_place() {
    let mut broken = Vec::new();
    for file in sources()
        .iter()
        .filter(|file| file.path != "src/blobs/key.rs")
    {
        for (line, literal) in &file.literals {
            let is_path = ["blobs/", "staging/", "sha256/", "sha512/", "objects/"]
                .iter()
                .any(|start| literal.starts_with(start));
            // A route (`/v2/…/blobs/…`) begins with a slash; an object's path does not.
            if is_path && !literal.contains(' ') && !file.path.starts_with("src/api/") {
                broken.push(format!("{}:{line}: {literal}", file.path));
            }
        }
    }
    verdict("only blobs/key.rs holds object paths", &broken);
}

#[test]
fn files_open_with_a_sentence_and_are_short() {
    let mut broken = Vec::new();
    for file in all_rust() {
        let first = file.text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") {
            broken.push(format!("{}:1: opens without a `//!` sentence", file.path));
        }
        let paragraph: String = file
            .opening()
            .lines()
            .take_while(|line| *line != "//!")
            .collect();
        if !paragraph.trim_end().ends_with(['.', ':', '?']) {
            broken.push(format!("{}:1: its opening is no whole sentence", file.path));
        }
        let lines = file.text.lines().count();
        if lines > LINES {
            broken.push(format!("{}: {lines} lines, more than {LINES}", file.path));
        }
    }
    verdict(
        "a file opens with one sentence and is short enough to read",
        &broken,
    );
}

#[test]
fn nothing_is_left_for_later() {
    // Spelled in two halves so that this file passes its own rule.
    let later = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("XX", "X"),
    ];
    let mut broken = Vec::new();
    let texts = [
        "src",
        "tests",
        "benches",
        "conformance",
        "config",
        "fuzz/fuzz_targets",
    ];
    for (folder, ext) in texts
        .iter()
        .flat_map(|folder| ["rs", "py", "sh", "sql", "toml"].map(|ext| (folder, ext)))
    {
        for path in files(&root().join(folder), ext) {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            for (number, line) in text.lines().enumerate() {
                let found = later.iter().find(|word| line.contains(*word));
                broken
                    .extend(found.map(|word| format!("{}:{}: {word}", path.display(), number + 1)));
            }
        }
    }
    verdict(
        "what is not done is an issue, not a remark in the code",
        &broken,
    );
}

#[test]
fn every_dependency_is_used() {
    let manifest =
        std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml is readable");
    let mut section = String::new();
    let mut used: BTreeMap<&str, String> = BTreeMap::new();
    let read = |folders: &[&str]| -> String {
        let paths = folders
            .iter()
            .flat_map(|folder| files(&root().join(folder), "rs"));
        paths
            .map(|path| std::fs::read_to_string(path).unwrap_or_default())
            .collect()
    };
    used.insert("dependencies", read(&["src"]));
    used.insert("dev-dependencies", read(&["src", "tests", "benches"]));
    let mut broken = Vec::new();
    for line in manifest.lines() {
        if let Some(name) = line
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            section = name.to_owned();
        } else if let (Some(code), Some((name, _))) =
            (used.get(section.as_str()), line.split_once(" = "))
        {
            let word = name.replace('-', "_");
            let known = UNNAMED_DEPENDENCIES.iter().any(|(known, _)| *known == name);
            if !name.starts_with('#')
                && !known
                && !code.contains(&format!("{word}::"))
                && !code.contains(&format!("use {word}"))
            {
                broken.push(format!("[{section}] {name}"));
            }
        }
    }
    verdict(
        "a dependency that nothing names is taken out of Cargo.toml",
        &broken,
    );
}

#[test]
fn the_files_beside_the_code_are_there() {
    let wanted = [
        "README.md",
        "ARCHITECTURE.md",
        "Makefile",
        "Dockerfile",
        "Cargo.lock",
        "clippy.toml",
        "deny.toml",
        "rustfmt.toml",
        "rust-toolchain.toml",
        ".ci/run",
        "config/server.toml",
    ];
    let broken: Vec<_> = wanted
        .iter()
        .filter(|path| !root().join(path).exists())
        .map(ToString::to_string)
        .collect();
    verdict("the project's own pages and settings exist", &broken);
}

fn first_words(text: &str) -> String {
    text.split_whitespace()
        .take(6)
        .collect::<Vec<_>>()
        .join(" ")
}

/// The reader itself: what it must not take for code.
#[test]
fn the_reader_divides_code_from_text() {
    let folder = std::env::temp_dir().join(format!("tidy-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let path = folder.join("sample.rs");
    let text = "//! S.\nuse crate::{a, b::{c, d}};\nfn f<'a>(x: &'a str) -> char { let _ = r#\"crate::no \"q\" \"#; '\"' } // crate::no\n\
                const S: &str = \"SELECT \\\" 1\";\n#[cfg(test)]\nmod tests { use crate::never; }\n";
    std::fs::write(&path, text).expect("a writable temporary folder");
    let file = Source::read(Path::new(&folder), &path);
    std::fs::remove_dir_all(&folder).expect("a removable temporary folder");
    let names: Vec<_> = file
        .imports()
        .into_iter()
        .map(|(_, names)| names.join("::"))
        .collect();
    assert_eq!(names, ["a", "b"]);
    let literals: Vec<_> = file
        .literals
        .iter()
        .map(|(line, text)| (*line, text.as_str()))
        .collect();
    assert_eq!(literals, [(3, "crate::no \"q\" "), (4, "SELECT \\\" 1")]);
}
