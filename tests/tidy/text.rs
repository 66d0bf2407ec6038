//! How files read: openings, lengths, words, links, and what must exist at the root.

use std::fs;
use std::path::PathBuf;

use crate::source::{files, identifiers, relative};
use crate::workspace::{all_rust, report, root};

/// The longest file, in lines: what one can read at a sitting.
const MAX_LINES: usize = 500;
/// The same for a file that holds tests alone: one reads a test of it, not all of it.
const MAX_TEST_LINES: usize = 900;
/// The longest line of Rust, in characters: rustfmt's width, which it does not apply to comments
/// and literals.
const MAX_COLUMNS: usize = 100;

#[test]
fn files_open_with_a_sentence_and_are_short() {
    let mut broken = Vec::new();
    for file in all_rust() {
        let first = file.text.lines().next().unwrap_or_default();
        if !first.starts_with("//! ") {
            broken.push(format!("{}:1: opens without a `//!` sentence", file.path));
        }
        let opening = file.opening();
        let paragraph: String = opening.lines().take_while(|line| *line != "//!").collect();
        if !paragraph.trim_end().ends_with(['.', ':', '?']) {
            broken.push(format!("{}:1: its opening is no whole sentence", file.path));
        }
        let lines = file.text.lines().count();
        let most = if file.is_test() {
            MAX_TEST_LINES
        } else {
            MAX_LINES
        };
        if lines > most {
            broken.push(format!("{}:{lines}: more than {most} lines", file.path));
        }
    }
    report(
        "a file opens with one sentence and is short enough to read",
        &broken,
    );
}

#[test]
fn lines_fit_the_width() {
    let mut broken = Vec::new();
    for file in all_rust() {
        for (number, line) in file.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > MAX_COLUMNS {
                broken.push(format!("{}:{}: {columns} columns", file.path, number + 1));
            }
        }
    }
    report("a line of Rust has at most 100 columns", &broken);
}

#[test]
fn tests_are_called_tests() {
    let mut broken = Vec::new();
    for file in all_rust().filter(|file| file.path.starts_with("src/")) {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if ["laws.rs", "suite.rs", "zoo.rs"].contains(&name) || name.ends_with("_suite.rs") {
            broken.push(format!("{}:1: tests stand in `tests.rs`", file.path));
        }
        let lines: Vec<_> = file.text.lines().collect();
        for (number, pair) in lines.windows(2).enumerate() {
            let module = pair[1].strip_prefix("mod ").unwrap_or("tests");
            let module = module.trim_end_matches([';', '{', ' ']);
            if pair[0].starts_with("#[cfg(test)]") && !module.ends_with("tests") {
                broken.push(format!("{}:{}: mod {module}", file.path, number + 2));
            }
        }
        for (at, word) in file.identifiers() {
            let path = file.code[at..].starts_with("super::");
            if word == "super" && path && !file.is_test() {
                let line = file.line(at);
                broken.push(format!("{}:{line}: `super` outside of tests", file.path));
            }
        }
    }
    report(
        "tests stand in `mod tests`, the only one that may say `super`",
        &broken,
    );
}

/// The files that people read or that are built: path from the root and text.
fn texts() -> Vec<(String, String)> {
    let folders = [
        "src",
        "tests",
        "benches",
        "conformance",
        "config",
        "docs",
        "fuzz/fuzz_targets",
        ".ci",
    ];
    let kinds = ["rs", "py", "sh", "sql", "toml", "md"];
    let inside = folders.iter().flat_map(|folder| {
        kinds
            .iter()
            .flat_map(move |kind| files(&root().join(folder), kind))
    });
    let top = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "Cargo.toml",
        "Makefile",
        "Dockerfile",
        "clippy.toml",
        "deny.toml",
        ".ci/run",
        "fuzz/run.sh",
        "fuzz/Cargo.toml",
    ];
    let top = top
        .iter()
        .map(|path| root().join(path))
        .filter(|path| path.exists());
    let paths: Vec<PathBuf> = inside.chain(top).collect();
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
    paths
        .iter()
        .map(|path| (relative(&root(), path), read(path)))
        .collect()
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
    for (path, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            let found = later.iter().find(|word| line.contains(*word));
            broken.extend(found.map(|word| format!("{path}:{}: {word}", number + 1)));
        }
    }
    report(
        "what is not done is an issue, not a remark in the code",
        &broken,
    );
}

/// Words that stood for something else once. Each has a standard term instead.
const BANNED: &[(&str, &str)] = &[
    (
        "answer answers answered answering unanswered",
        "response, return, reply",
    ),
    ("arrival arrivals", "request context"),
    ("asked asks ask asking", "requested, called"),
    ("behind", "after, through, below"),
    ("door doors", "HTTP service"),
    ("face faces", "API"),
    ("floor floors", "layer"),
    ("gate gates", "authorizer"),
    ("ground grounds", "reason"),
    ("house houses", "project"),
    ("judge judges judged judging", "check, decide"),
    ("laws", "tests"),
    ("nouns", "types"),
    ("outlive outlives outlived outliving", "lives longer than"),
    ("room rooms", "crate, module, space"),
    ("suite suites", "tests"),
    ("verbs", "methods"),
    ("visit visits visited", "request context"),
    ("walk walks walked walking", "scan, traverse, walkthrough"),
    ("wing wings", "domain"),
    ("zoo", "tests"),
];

/// Where a banned word has its literal meaning: (word, text on the line or beginning of the path).
const LITERAL: &[(&str, &str)] = &[
    ("behind", "behind a proxy"),
    ("behind", "left behind"),
    ("floor", ".floor("),
    ("floor", "floor_char_boundary"),
    ("floor", "maximumPercent"),
    ("suite", "conformance suite"),
    ("suite", "official suite"),
    ("suite", "cipher"),
    ("visit", "fn visit_"),
    ("visit", "Visitor"),
];

/// Files that the rule does not apply to: those that spell the banned words out, and a migration
/// whose text must not change, because existing databases hold its checksum.
const NOT_PROSE: &[&str] = &["tests/tidy/", "src/registry/migrations/V0002__registry.sql"];

#[test]
fn words_are_the_fields_standard_terms() {
    let mut broken = Vec::new();
    for (path, text) in texts() {
        if NOT_PROSE.iter().any(|start| path.starts_with(start)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for (word, instead) in banned_in(&path, line) {
                broken.push(format!("{path}:{}: {word} ({instead})", number + 1));
            }
        }
    }
    report("a word that has a standard term is replaced by it", &broken);
}

/// The banned words of a line, each with what to write instead.
fn banned_in(path: &str, line: &str) -> Vec<(String, &'static str)> {
    let mut found = Vec::new();
    for (_, identifier) in identifiers(line) {
        for word in words_of(identifier) {
            let rule = BANNED
                .iter()
                .find(|(list, _)| list.split(' ').any(|one| one == word));
            let Some((list, instead)) = rule else {
                continue;
            };
            let literal = LITERAL.iter().any(|(literal, context)| {
                list.split(' ').any(|one| one == *literal)
                    && (line.contains(context) || path.starts_with(context))
            });
            if !literal {
                found.push((word, *instead));
            }
        }
    }
    found
}

/// The words of an identifier in lower case: `fn walkPages_at` has `walk`, `pages` and `at`.
fn words_of(identifier: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for c in identifier.chars() {
        if c == '_' || (c.is_uppercase() && lower_before) {
            words.push(String::new());
        }
        if c != '_' {
            words
                .last_mut()
                .expect("never empty")
                .extend(c.to_lowercase());
        }
        lower_before = c.is_lowercase() || c.is_ascii_digit();
    }
    words
}

#[test]
fn links_in_documents_lead_to_files() {
    let mut broken = Vec::new();
    for (path, text) in texts() {
        let document = root().join(&path);
        if document
            .extension()
            .is_none_or(|extension| extension != "md")
        {
            continue;
        }
        let folder = document.parent().expect("a file lies in a folder");
        for (number, line) in text.lines().enumerate() {
            for after in line.split("](").skip(1) {
                let target = after.split([')', '#']).next().unwrap_or_default();
                let outside = target.is_empty() || target.contains("://");
                if !outside && !folder.join(target).exists() {
                    broken.push(format!("{path}:{}: {target}", number + 1));
                }
            }
        }
    }
    report("a link in a document leads to a file that exists", &broken);
}

#[test]
fn the_files_at_the_root_are_there() {
    let wanted = [
        "README.md",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "LICENSE",
        "Makefile",
        "Dockerfile",
        "Cargo.lock",
        "clippy.toml",
        "deny.toml",
        "rustfmt.toml",
        "rust-toolchain.toml",
        ".ci/run",
        "config/server.toml",
        "docs/measurements.md",
        "docs/operation.md",
    ];
    let missing = wanted.iter().filter(|path| !root().join(path).exists());
    let broken: Vec<_> = missing.map(ToString::to_string).collect();
    report("the project's own pages and settings exist", &broken);
}

mod tests {
    use super::{banned_in, words_of};

    #[test]
    fn identifiers_are_taken_apart() {
        assert_eq!(
            words_of("HttpDoor_visit2Walk"),
            ["http", "door", "visit2", "walk"]
        );
        let words = |line| {
            banned_in("src/a.rs", line)
                .into_iter()
                .map(|(word, _)| word)
        };
        assert_eq!(
            words("struct FrontDoor; // outdoors").collect::<Vec<_>>(),
            ["door"]
        );
        assert_eq!(words("the conformance suite").count(), 0);
    }
}
