//! Versions of Maven artifacts. PURE.
//!
//! Source: maven.apache.org, "POM Reference", Version Order Specification.

use std::cmp::Ordering;

use crate::versions::compare_numbers;

/// Qualifiers in their order; the empty one is the release, and unknown ones come after `sp`.
const QUALIFIERS: &[&str] = &["alpha", "beta", "milestone", "rc", "snapshot", "", "sp"];
const RELEASE: usize = 5;

/// A token with the separator before it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Token {
    hyphen: bool,
    text: String,
}

impl Token {
    fn is_number(&self) -> bool {
        self.text.starts_with(|c: char| c.is_ascii_digit())
    }

    /// Whether it is as good as absent: a zero, or a release.
    fn is_null(&self) -> bool {
        self.text.chars().all(|c| c == '0') || qualifier(&self.text).0 == RELEASE
    }

    /// What stands where the other version has a token and this one has ended.
    fn padding(other: &Self) -> Self {
        let text = if other.is_number() { "0" } else { "" };
        Self {
            hyphen: other.hyphen,
            text: text.to_owned(),
        }
    }

    /// `.qualifier` < `-qualifier` < `-number` < `.number`.
    fn kind(&self) -> u8 {
        match (self.is_number(), self.hyphen) {
            (false, false) => 0,
            (false, true) => 1,
            (true, true) => 2,
            (true, false) => 3,
        }
    }
}

/// Compares two versions token by token.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (tokens(a), tokens(b));
    for index in 0..a.len().max(b.len()) {
        let (one, other) = match (a.get(index), b.get(index)) {
            (Some(one), Some(other)) => (one.clone(), other.clone()),
            (Some(one), None) => (one.clone(), Token::padding(one)),
            (None, Some(other)) => (Token::padding(other), other.clone()),
            (None, None) => break,
        };
        let order = one.kind().cmp(&other.kind()).then_with(|| {
            if one.is_number() {
                compare_numbers(&one.text, &other.text)
            } else {
                qualifier(&one.text).cmp(&qualifier(&other.text))
            }
        });
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// The rank of a qualifier, and its text where it has none of the known ranks.
fn qualifier(text: &str) -> (usize, &str) {
    let known = match text {
        "ga" | "final" | "release" => "",
        "cr" => "rc",
        text => text,
    };
    match QUALIFIERS.iter().position(|one| *one == known) {
        Some(rank) => (rank, ""),
        None => (QUALIFIERS.len(), text),
    }
}

/// Splits at `.`, `-`, `_`, and between digits and letters, which counts as a hyphen; then removes
/// what is as good as absent at the end and before each hyphen.
fn tokens(version: &str) -> Vec<Token> {
    let version = version.trim().to_lowercase();
    let mut found = Vec::new();
    let mut current = String::new();
    let mut hyphen = false;
    let mut chars = version.chars().peekable();
    let mut push = |text: &mut String, hyphen: bool, before_digit: bool| {
        let text = std::mem::take(text);
        // A separator without a text before it stands for a zero.
        let text = match text.as_str() {
            "" => "0",
            // Abbreviations hold only where a number follows at once: `1-a1`.
            "a" if before_digit => "alpha",
            "b" if before_digit => "beta",
            "m" if before_digit => "milestone",
            text => text,
        };
        found.push(Token {
            hyphen,
            text: text.to_owned(),
        });
    };
    while let Some(c) = chars.next() {
        if matches!(c, '.' | '-' | '_') {
            push(&mut current, hyphen, false);
            hyphen = c != '.';
            continue;
        }
        current.push(c);
        let turns = |next: &char| {
            !matches!(next, '.' | '-' | '_') && next.is_ascii_digit() != c.is_ascii_digit()
        };
        if let Some(next) = chars.peek().filter(|next| turns(next)) {
            push(&mut current, hyphen, next.is_ascii_digit());
            hyphen = true;
        }
    }
    push(&mut current, hyphen, false);
    trim(found)
}

fn trim(tokens: Vec<Token>) -> Vec<Token> {
    let mut kept: Vec<Token> = Vec::new();
    for token in tokens {
        if token.hyphen {
            while kept.last().is_some_and(Token::is_null) {
                kept.pop();
            }
        }
        kept.push(token);
    }
    while kept.last().is_some_and(Token::is_null) {
        kept.pop();
    }
    kept
}
