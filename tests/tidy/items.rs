//! Public items without a user in the program, and type names with two meanings.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Source, identifiers, item_end};
use crate::workspace::{Crate, crates, report, sources};

/// One definition in code.
struct Item<'a> {
    kind: &'a str,
    name: &'a str,
    public: bool,
    file: &'a Source,
    /// The byte of `file.code` that the name starts at.
    at: usize,
}

impl Item<'_> {
    fn location(&self) -> String {
        format!(
            "{}:{}: {} {}",
            self.file.path,
            self.file.line(self.at),
            self.kind,
            self.name
        )
    }
}

/// Public items whose only users cannot be seen in code, each with the reason.
const USED_UNSEEN: &[(&str, &str)] = &[
    ("manual", "tests and simulations set the time"),
    ("advance", "tests and simulations set the time"),
    ("seeded", "simulations repeat their identifiers"),
    ("parse_path_and_query", "the fuzzer calls it"),
    ("parse_ranges", "the fuzzer calls it"),
    ("advisory_affects", "the fuzzer calls it"),
];

/// Names that several crates give to a type of their own by Rust's convention.
const SHARED_NAMES: &[&str] = &["Error", "Config", "Result", "Item", "Output", "State"];

const KINDS: &[&str] = &["fn", "struct", "enum", "const", "static", "trait", "type"];

/// The items that a file defines in the program.
fn items(file: &Source) -> Vec<Item<'_>> {
    let words = identifiers(&file.code);
    let mut found = Vec::new();
    for (index, (at, kind)) in words.iter().enumerate() {
        let Some((start, name)) = words.get(index + 1) else {
            continue;
        };
        // `const fn name` is a function; `*const T` and `fn(A)` are no definitions.
        let adjacent = file.code[at + kind.len()..*start].trim().is_empty();
        if !KINDS.contains(kind) || KINDS.contains(name) || !adjacent {
            continue;
        }
        let line = file.code[..*at].rfind('\n').map_or(0, |end| end + 1);
        let before = file.code[line..*at].trim_start();
        if before.ends_with('*') || before.ends_with('&') {
            continue;
        }
        found.push(Item {
            kind,
            name,
            public: before.starts_with("pub "),
            file,
            at: *start,
        });
    }
    found
}

/// Whether an occurrence of a name is neither a definition nor a re-export nor the head of an
/// `impl`.
fn is_use(file: &Source, at: usize, item: &Item<'_>) -> bool {
    let line_start = file.code[..at].rfind('\n').map_or(0, |end| end + 1);
    let before = file.code[line_start..at].trim_start();
    let statement = file.code[..at]
        .rfind([';', '{', '}'])
        .map_or(0, |end| end + 1);
    let statement = file.code[statement..at].trim_start();
    let re_export = in_public_use(file, at);
    let definition = KINDS
        .iter()
        .any(|kind| before.trim_end().ends_with(kind) && before.ends_with(' '));
    if re_export || definition {
        return false;
    }
    if item.kind == "fn" {
        let after = file.code[at + item.name.len()..].trim_start();
        let field = file.code[..at].ends_with('.') && !after.starts_with(['(', ':']);
        let initial = after.starts_with(':') && !after.starts_with("::");
        let local = before.ends_with("let ") || before.ends_with("let mut ");
        return !field && !initial && !local;
    }
    !statement.starts_with("impl") || statement.contains('=')
}

/// Whether a position lies inside `pub use …;`.
fn in_public_use(file: &Source, at: usize) -> bool {
    let start = file.code[..at].rfind(';').map_or(0, |end| end + 1);
    let text = file.code[start..at].trim_start();
    let text = text
        .rfind("pub use ")
        .or_else(|| text.rfind("pub(crate) use "));
    text.is_some()
}

/// The innermost public function of a file around a position.
fn enclosing<'a>(functions: &[(&'a str, usize, usize)], at: usize) -> Option<&'a str> {
    let around = functions
        .iter()
        .filter(|(_, from, to)| (*from..*to).contains(&at));
    around
        .max_by_key(|(_, from, _)| *from)
        .map(|(name, _, _)| *name)
}

/// The public functions of a file with the range of their text.
fn bodies(file: &Source) -> Vec<(&str, usize, usize)> {
    let functions = items(file)
        .into_iter()
        .filter(|item| item.public && item.kind == "fn");
    functions
        .map(|item| (item.name, item.at, item_end(&file.code, item.at)))
        .collect()
}

/// The folders of the crates that can name an item of `one`: itself and what depends on it.
fn dependents(one: &Crate) -> BTreeSet<&'static str> {
    let mut found = BTreeSet::new();
    let mut next = vec![one.folder.as_str()];
    while let Some(folder) = next.pop() {
        let name = format!("wharfinger-{}", folder.replace('/', "-"));
        for other in crates() {
            let depends = other
                .section("dependencies")
                .iter()
                .any(|line| line.name == name);
            if (depends || other.folder == folder) && found.insert(other.folder.as_str()) {
                next.push(other.folder.as_str());
            }
        }
    }
    found
}

/// One occurrence of a name: its file, its position, and the public function around it.
struct Occurrence {
    folder: &'static str,
    file: &'static Source,
    at: usize,
    inside: Option<&'static str>,
}

#[test]
fn public_items_have_a_user_in_the_program() {
    let mut occurrences: BTreeMap<&str, Vec<Occurrence>> = BTreeMap::new();
    for one in crates() {
        for file in &one.files {
            let functions = bodies(file);
            for (at, word) in file.identifiers() {
                let inside = enclosing(&functions, at);
                let folder = one.folder.as_str();
                let found = Occurrence {
                    folder,
                    file,
                    at,
                    inside,
                };
                occurrences.entry(word).or_default().push(found);
            }
        }
    }
    // A function that only dead functions call is dead, too: repeat until nothing is added.
    let mut dead: BTreeMap<String, &str> = BTreeMap::new();
    loop {
        let before = dead.len();
        for one in crates() {
            let reach = dependents(one);
            for item in one.files.iter().flat_map(items).filter(|item| item.public) {
                let known = USED_UNSEEN.iter().any(|(name, _)| *name == item.name);
                let used = occurrences[item.name].iter().any(|found| {
                    let by_dead = found.inside.is_some_and(|name| {
                        name == item.name || dead.values().any(|dead| *dead == name)
                    });
                    reach.contains(found.folder) && !by_dead && is_use(found.file, found.at, &item)
                });
                if !known && !used {
                    dead.insert(item.location(), item.name);
                }
            }
        }
        if dead.len() == before {
            break;
        }
    }
    let broken: Vec<_> = dead.into_keys().collect();
    report(
        "a public item without a user outside of tests is removed",
        &broken,
    );
}

/// Where types have the names of shapes of a public contract: Amazon's agent protocol, and the
/// service model of ECS. Both know a task, a container and a volume.
const NAMED_BY_CONTRACT: &[&str] = &["src/ecs-protocol/", "src/orchestrator/model/"];

#[test]
fn a_type_name_has_one_meaning() {
    let mut definitions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let is_ours = |path: &str| {
        !NAMED_BY_CONTRACT
            .iter()
            .any(|folder| path.starts_with(folder))
    };
    for file in sources().filter(|file| is_ours(&file.path)) {
        for item in items(file) {
            let is_type = ["struct", "enum", "trait"].contains(&item.kind);
            if is_type && item.public && !SHARED_NAMES.contains(&item.name) {
                definitions
                    .entry(item.name.to_owned())
                    .or_default()
                    .push(item.location());
            }
        }
    }
    let twice = definitions
        .into_values()
        .filter(|locations| locations.len() > 1);
    let broken: Vec<_> = twice.map(|locations| locations.join("\n    ")).collect();
    report(
        "two public types of the workspace never share a name",
        &broken,
    );
}
