//! Reads a Rust file as the house rules see it: code, string literals and comments apart.

use std::fs;
use std::path::{Path, PathBuf};

/// One file of the project.
pub(crate) struct Source {
    /// Its path from the project's folder, with `/` between names.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments and the insides of literals blanked, and without the file's own
    /// tests; lines keep their numbers.
    pub(crate) code: String,
    /// The string literals of that code, each with the line it starts on.
    pub(crate) literals: Vec<(usize, String)>,
}

impl Source {
    /// Reads and divides one file.
    pub(crate) fn read(root: &Path, path: &Path) -> Self {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let path = path
            .strip_prefix(root)
            .expect("a file under the root")
            .to_string_lossy()
            .replace('\\', "/");
        let (code, literals) = divide(if is_test(&path) {
            ""
        } else {
            without_tests(&text)
        });
        Self {
            path,
            text,
            code,
            literals,
        }
    }

    /// The room of the house: the first name under `src/`.
    pub(crate) fn room(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
    }

    /// Whether SQL may stand here: a wing's `store`, or the database's own room.
    pub(crate) fn is_store(&self) -> bool {
        self.path.starts_with("src/db/")
            || self.path.contains("/store/")
            || self.path.ends_with("/store.rs")
    }

    /// The lines of `//!` that open the file.
    pub(crate) fn opening(&self) -> String {
        self.text
            .lines()
            .take_while(|line| line.starts_with("//!"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// Every `crate::a::b` of the code as its names, also those in braces: `use crate::{a, b::c}`.
    pub(crate) fn imports(&self) -> Vec<(usize, Vec<String>)> {
        let mut found = Vec::new();
        let mut from = 0;
        while let Some(at) = self.code[from..].find("crate::").map(|at| at + from) {
            from = at + "crate::".len();
            let before = self.code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
                continue;
            }
            let line = self.code[..at].matches('\n').count() + 1;
            let rest = &self.code[from..];
            if let Some(inside) = rest.strip_prefix('{') {
                found.extend(members(inside).into_iter().map(|names| (line, names)));
            } else {
                found.push((line, names(rest)));
            }
        }
        found
    }
}

/// All files under `folder` that end in `.ext`, in order.
pub(crate) fn files(folder: &Path, ext: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else {
        return found;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ext));
        } else if path.extension().is_some_and(|found| found == ext) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The names of one path: `a::b::c` up to the first thing that is no name.
fn names(text: &str) -> Vec<String> {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    text[..end]
        .split("::")
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The members of a brace that was just opened, each with the names before its own brace.
fn members(inside: &str) -> Vec<Vec<String>> {
    let mut depth = 0_usize;
    let mut found = vec![String::new()];
    for c in inside.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => found.push(String::new()),
            c if depth == 0 => found.last_mut().expect("never empty").push(c),
            _ => {}
        }
    }
    found
        .iter()
        .map(|member| names(member.trim()))
        .filter(|names| !names.is_empty())
        .collect()
}

/// Whether a file of `src/` holds tests alone.
fn is_test(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    path.starts_with("src/")
        && (["tests.rs", "laws.rs", "suite.rs", "testing.rs"].contains(&name)
            || name.ends_with("_tests.rs"))
}

/// The text up to the file's own test modules, which stand last by the house's order.
fn without_tests(text: &str) -> &str {
    let end = text
        .match_indices("#[cfg(test)]\nmod ")
        .next()
        .map_or(text.len(), |(at, _)| at);
    &text[..end]
}

/// Blanks comments and literals, and collects the string literals.
fn divide(text: &str) -> (String, Vec<(usize, String)>) {
    let bytes = text.as_bytes();
    let mut code = String::with_capacity(text.len());
    let mut literals = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some((open, close)) = string_opening(rest, code.chars().next_back()) {
            let inside = &rest[open..];
            let end = string_end(inside, &close);
            literals.push((code.matches('\n').count() + 1, inside[..end].to_owned()));
            open + (end + close.len()).min(inside.len())
        } else if let Some(length) = character_length(rest) {
            length
        } else {
            let c = rest.chars().next().expect("not at the end");
            code.push(c);
            at += c.len_utf8();
            continue;
        };
        code.extend(
            rest[..length]
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' }),
        );
        at += length;
    }
    (code, literals)
}

/// Where a string's inside begins and what closes it, if a string starts here.
fn string_opening(rest: &str, before: Option<char>) -> Option<(usize, String)> {
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return rest.starts_with('"').then(|| (1, "\"".to_owned()));
    }
    let prefix = rest
        .find(|c: char| !matches!(c, 'b' | 'c' | 'r'))
        .filter(|at| *at <= 2)?;
    let hashes = rest[prefix..]
        .bytes()
        .take_while(|byte| *byte == b'#')
        .count();
    let raw = rest[..prefix].contains('r');
    if !rest[prefix + hashes..].starts_with('"') || (hashes > 0 && !raw) {
        return None;
    }
    let close = if raw {
        format!("\"{}", "#".repeat(hashes))
    } else {
        "\"".to_owned()
    };
    // (A raw string without hashes that ends in a backslash would be misread; the house has none.)
    Some((prefix + hashes + 1, close))
}

/// The length of a string's inside.
fn string_end(inside: &str, close: &str) -> usize {
    if close.len() > 1 {
        return inside.find(close).unwrap_or(inside.len());
    }
    let mut escaped = false;
    for (at, c) in inside.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at,
            _ => {}
        }
    }
    inside.len()
}

/// The length of a character literal that starts here; `None` for a lifetime.
fn character_length(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    if inside.starts_with('\\') {
        return inside[2..].find('\'').map(|end| end + 4);
    }
    let c = inside.chars().next()?;
    inside[c.len_utf8()..]
        .starts_with('\'')
        .then_some(c.len_utf8() + 2)
}
