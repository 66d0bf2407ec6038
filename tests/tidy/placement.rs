//! What may stand in which files: SQL, object paths, wire error codes, impure code.

use std::path::Path;

use crate::source::{Literal, Source, files, relative};
use crate::workspace::{report, root, sources};

/// Files whose decisions are pure. Their opening says PURE and tests stand beside them.
const PURE: &[&str] = &[
    "src/aws/sigv4.rs",
    "src/iam/condition.rs",
    "src/iam/evaluate.rs",
    "src/registry/mutability.rs",
];

/// What a pure file must not name.
const IMPURE: &[&str] = &[
    "async ",
    ".await",
    "tokio",
    "wharfinger_db",
    "wharfinger_blobs",
    "Clock",
    "std::fs",
    "TcpStream",
    "UdpSocket",
    "std::thread",
];

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
        if !is_tested(file) {
            broken.push(format!("{}:1: no tests beside the code", file.path));
        }
    }
    report(
        "a pure file has no async, no clock, no store and its own tests",
        &broken,
    );
}

#[test]
fn the_list_of_pure_files_is_current() {
    let root = root();
    let gone = PURE.iter().filter(|path| !root.join(path).exists());
    let broken: Vec<_> = gone
        .map(|path| format!("tests/tidy/placement.rs: {path}"))
        .collect();
    report("PURE names files that exist", &broken);
}

/// Whether a file has tests: in itself, or in `tests.rs` of the folder that bears its name.
fn is_tested(file: &Source) -> bool {
    let path = root().join(&file.path);
    let beside = |folder: &Path| folder.join("tests.rs").exists();
    file.text.contains("mod tests")
        || beside(&path.with_extension(""))
        || path.parent().is_some_and(beside)
}

/// Whether a literal is an SQL statement. The project writes SQL keywords in capitals.
fn is_sql(literal: &Literal) -> bool {
    let text = literal.text.trim_start();
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
    for file in sources().filter(|file| !file.is_store()) {
        for literal in file.literals.iter().filter(|literal| is_sql(literal)) {
            let start: String = literal.text.chars().take(40).collect();
            broken.push(format!("{}:{}: {start}", file.path, literal.line));
        }
    }
    report("only `store` files hold SQL", &broken);
}

/// What a server reads of the registry is cached until that server itself commits
/// (`registry::state_cache`), so that a policy which a command set beside it would not be in force.
#[test]
fn commands_leave_the_registry_to_the_server() {
    let commands = sources().filter(|file| file.path.starts_with("src/wharfinger/cli/"));
    let commands: Vec<_> = commands.collect();
    assert!(commands.len() > 5, "the folder of the commands");
    let mut broken = Vec::new();
    for file in commands {
        let mut names = file.identifiers().into_iter();
        let found = names.find(|(_, name)| matches!(*name, "registry" | "wharfinger_registry"));
        broken.extend(found.map(|(at, _)| format!("{}:{}", file.path, file.line(at))));
    }
    report("commands do not use the registry", &broken);
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

/// Column types and functions that a migration must not use.
const UNCOMMON_IN_MIGRATIONS: &[&str] = &[
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
];

#[test]
fn statements_keep_to_the_common_subset() {
    let mut broken = Vec::new();
    let domain = |file: &&Source| file.is_store() && !file.path.starts_with("src/db/");
    for file in sources().filter(domain) {
        for literal in file.literals.iter().filter(|literal| is_sql(literal)) {
            let at = format!("{}:{}", file.path, literal.line);
            let uncommon = UNCOMMON.iter().find(|word| literal.text.contains(*word));
            broken.extend(uncommon.map(|word| format!("{at}: {word}")));
            broken.extend(
                parameters_of(&literal.text)
                    .err()
                    .map(|why| format!("{at}: {why}")),
            );
        }
    }
    for path in files(&root().join("src"), "sql") {
        let text = std::fs::read_to_string(&path).expect("a migration is readable");
        let lines = text.lines().enumerate();
        for (number, line) in lines.filter(|(_, line)| !line.trim_start().starts_with("--")) {
            let found = UNCOMMON_IN_MIGRATIONS
                .iter()
                .find(|word| line.contains(*word));
            let at = format!("{}:{}", relative(&root(), &path), number + 1);
            broken.extend(found.map(|word| format!("{at}: {word}")));
        }
    }
    report("statements run unchanged on SQLite and PostgreSQL", &broken);
}

/// Checks that parameters are `?1`, `?2`, … without a gap. `$1` is a name to SQLite, bound by
/// first appearance, and would swap values.
fn parameters_of(statement: &str) -> Result<(), String> {
    if statement.contains('$') {
        return Err("a `$` parameter".into());
    }
    let mut numbers = Vec::new();
    for after in statement.split('?').skip(1) {
        let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
        let number = digits.parse::<usize>();
        numbers.push(number.map_err(|_| "a `?` without its number".to_owned())?);
    }
    numbers.sort_unstable();
    numbers.dedup();
    let expected: Vec<_> = (1..=numbers.len()).collect();
    if numbers == expected {
        Ok(())
    } else {
        Err(format!("parameters {numbers:?} have a gap"))
    }
}

/// The error codes of the OCI Distribution specification.
const OCI_CODES: &[&str] = &[
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

#[test]
fn wire_error_codes_stand_in_error_files() {
    let mut broken = Vec::new();
    for file in sources() {
        // `src/aws` holds the vocabulary of AWS, the codes that every service shares among it.
        // `src/ecs-protocol` has the one code that is a message to an agent.
        // A client of registries has to know what their codes mean.
        let allowed = file.path.starts_with("src/aws/")
            || file.path == "src/registry-client/error.rs"
            || file.path.starts_with("src/ecs-protocol/")
            || (file.path.contains("/api/") && file.path.ends_with("/error.rs"));
        for literal in file.literals.iter().filter(|_| !allowed) {
            let text = literal.text.as_str();
            let exception = text.len() > "Exception".len()
                && text.ends_with("Exception")
                && text.chars().all(char::is_alphanumeric);
            if exception || OCI_CODES.contains(&text) {
                broken.push(format!("{}:{}: {text}", file.path, literal.line));
            }
        }
    }
    report("only `error.rs` of an API holds wire error codes", &broken);
}

/// How the paths of stored objects begin.
const OBJECT_PATHS: &[&str] = &["blobs/", "staging/", "sha256/", "sha512/", "objects/"];

#[test]
fn object_paths_are_built_in_one_file() {
    let mut broken = Vec::new();
    for file in sources() {
        // Routes under `/v2/` have segments of the same names.
        if file.path == "src/blobs/key.rs" || file.path.contains("/api/") {
            continue;
        }
        for literal in &file.literals {
            let text = literal.text.as_str();
            let is_path = OBJECT_PATHS.iter().any(|start| text.starts_with(start));
            if is_path && !text.contains(' ') {
                broken.push(format!("{}:{}: {text}", file.path, literal.line));
            }
        }
    }
    report("only `blobs/key.rs` holds object paths", &broken);
}
