//! Reads a Rust file with code, string literals, comments and tests apart.

use std::fs;
use std::path::{Path, PathBuf};

/// One Rust file of the project.
pub(crate) struct Source {
    /// Its path from the project's root, with `/` between names.
    pub(crate) path: String,
    pub(crate) text: String,
    /// The code that is compiled into the program: comments and the insides of literals are
    /// blanked, test modules too. Lines keep their numbers.
    pub(crate) code: String,
    /// The string literals of `code`.
    pub(crate) literals: Vec<Literal>,
    /// The code of the file's tests, blanked in the same way.
    pub(crate) test_code: String,
}

/// A string literal, without its quotation marks.
pub(crate) struct Literal {
    pub(crate) line: usize,
    pub(crate) text: String,
}

impl Source {
    /// Reads and divides one file.
    pub(crate) fn read(root: &Path, path: &Path) -> Self {
        let text =
            fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::of(relative(root, path), text)
    }

    /// Divides the text of a file.
    pub(crate) fn of(path: String, text: String) -> Self {
        let (all, found) = divide(&text);
        let tests = if is_test_file(&path) {
            vec![(0, all.len())]
        } else {
            test_ranges(&all)
        };
        let inside = |at: usize| tests.iter().any(|(from, to)| (*from..*to).contains(&at));
        let code = keep(&all, |at| !inside(at));
        let test_code = keep(&all, inside);
        let literals = found
            .into_iter()
            .filter(|(at, _)| !inside(*at))
            .map(|(at, text)| Literal {
                line: line_of(&all, at),
                text,
            })
            .collect();
        Self {
            path,
            text,
            code,
            literals,
            test_code,
        }
    }

    /// Whether the file holds tests alone.
    pub(crate) fn is_test(&self) -> bool {
        is_test_file(&self.path)
    }

    /// Whether the file may hold SQL: a `store` of a domain crate, or the database crate.
    pub(crate) fn is_store(&self) -> bool {
        self.path.starts_with("src/db/")
            || self.path.contains("/store/")
            || self.path.ends_with("/store.rs")
    }

    /// The lines of `//!` that open the file.
    pub(crate) fn opening(&self) -> String {
        let lines = self.text.lines();
        let opening: Vec<_> = lines.take_while(|line| line.starts_with("//!")).collect();
        opening.join("\n")
    }

    /// The line on which the byte `at` of `code` lies.
    pub(crate) fn line(&self, at: usize) -> usize {
        line_of(&self.code, at)
    }

    /// The identifiers of `code`, each with the byte it starts at.
    pub(crate) fn identifiers(&self) -> Vec<(usize, &str)> {
        identifiers(&self.code)
    }
}

/// The identifiers of a text, each with the byte it starts at.
pub(crate) fn identifiers(text: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices().chain([(text.len(), ' ')]) {
        let word = c.is_alphanumeric() || c == '_';
        match start {
            None if word => start = Some(at),
            Some(from) if !word => {
                found.push((from, &text[from..at]));
                start = None;
            }
            _ => {}
        }
    }
    found.retain(|(_, word)| !word.starts_with(|c: char| c.is_ascii_digit()));
    found
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

/// A path from the project's root, with `/` between names.
pub(crate) fn relative(root: &Path, path: &Path) -> String {
    let path = path.strip_prefix(root).expect("a file under the root");
    path.to_string_lossy().replace('\\', "/")
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Whether a file of `src/` holds tests alone.
fn is_test_file(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    path.starts_with("tests/")
        || path.starts_with("benches/")
        || path.contains("/tests/")
        || path.contains("/testing/")
        || ["tests.rs", "testing.rs"].contains(&name)
        || name.ends_with("_tests.rs")
}

/// Blanks every byte that `wanted` refuses; line breaks stay.
fn keep(code: &str, wanted: impl Fn(usize) -> bool) -> String {
    let chars = code.char_indices();
    chars
        .map(|(at, c)| if c == '\n' || wanted(at) { c } else { ' ' })
        .collect()
}

/// The ranges of items that are compiled into tests only.
fn test_ranges(code: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = code[from..].find("#[cfg(").map(|at| at + from) {
        let close = code[at..].find(']').map_or(code.len(), |end| at + end + 1);
        from = close;
        if code[at..close].contains("test") && !code[at..close].contains("not(") {
            from = item_end(code, close);
            found.push((at, from));
        }
    }
    found
}

/// Where the item that starts at `from` ends: after its `;` or `,`, or after its braces.
pub(crate) fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code[from..].char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => {
                if depth == 0 {
                    return from + at;
                }
                depth -= 1;
                if depth == 0 && c == '}' {
                    return from + at + 1;
                }
            }
            ';' | ',' if depth == 0 => return from + at + 1,
            _ => {}
        }
    }
    code.len()
}

/// Blanks comments and the insides of literals; returns the string literals with their positions.
fn divide(text: &str) -> (String, Vec<(usize, String)>) {
    let mut code = String::with_capacity(text.len());
    let mut literals = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some((open, close)) = string_opening(rest, code.chars().next_back()) {
            let inside = &rest[open..];
            let end = string_end(inside, &close);
            literals.push((at, inside[..end].to_owned()));
            open + (end + close.len()).min(inside.len())
        } else if let Some(length) = character_length(rest) {
            length
        } else {
            let c = rest.chars().next().expect("not at the end");
            code.push(c);
            at += c.len_utf8();
            continue;
        };
        // One blank per byte, so that positions in the code are positions in the text.
        let blank = rest[..length].bytes();
        code.extend(blank.map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
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
    // A raw string without `#` that ends in a backslash would be misread; the project has none.
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

mod tests {
    use super::Source;

    #[test]
    fn code_literals_and_tests_are_told_apart() {
        let text = "//! S.\nuse crate::a;\n\
            fn f<'a>(x: &'a str) -> char { let _ = r#\"crate::no \"q\" \"#; '\"' } // crate::no\n\
            const S: &str = \"SELECT \\\" 1\";\n#[cfg(test)]\nconst T: &str = \"t\";\n\
            fn last() {}\n#[cfg(test)]\nmod tests { use crate::never; }\nfn after() {}\n";
        let file = Source::of("src/sample.rs".to_owned(), text.to_owned());
        let literals: Vec<_> = file
            .literals
            .iter()
            .map(|literal| (literal.line, literal.text.as_str()))
            .collect();
        assert_eq!(literals, [(3, "crate::no \"q\" "), (4, "SELECT \\\" 1")]);
        assert!(file.code.contains("fn last") && file.code.contains("fn after"));
        assert!(!file.code.contains("never") && !file.code.contains("crate::no"));
        assert!(file.test_code.contains("crate::never"));
        assert_eq!(file.code.matches('\n').count(), text.matches('\n').count());
    }
}
