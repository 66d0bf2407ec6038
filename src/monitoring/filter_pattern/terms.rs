//! Terms: words and phrases that a message has, or has not. PURE.

use regex::Regex;

use crate::filter_pattern::PatternError;
use crate::filter_pattern::value;

/// The terms of a pattern. Where some are required, the optional ones do not matter.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    required: Vec<Term>,
    optional: Vec<Term>,
    excluded: Vec<Term>,
}

#[derive(Clone, Debug)]
enum Term {
    Text(String),
    Regex(Regex),
}

impl Terms {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut terms = Self::default();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (list, after) = match rest.chars().next() {
                Some('-') => (&mut terms.excluded, &rest[1..]),
                Some('?') => (&mut terms.optional, &rest[1..]),
                _ => (&mut terms.required, rest),
            };
            let (term, length) = term(after)?;
            list.push(term);
            rest = after.get(length..).unwrap_or_default().trim_start();
        }
        Ok(terms)
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        let is_found = |term: &Term| match term {
            Term::Text(text) => message.contains(text.as_str()),
            Term::Regex(regex) => regex.is_match(message),
        };
        let found = if self.required.is_empty() && !self.optional.is_empty() {
            self.optional.iter().any(is_found)
        } else {
            self.required.iter().all(is_found)
        };
        found && !self.excluded.iter().any(is_found)
    }
}

/// The term at the beginning of `rest`, and its length.
fn term(rest: &str) -> Result<(Term, usize), PatternError> {
    if let Some(inside) = rest.strip_prefix('"') {
        let end = inside.find('"');
        let end = end.ok_or_else(|| PatternError("A quotation mark is not closed".to_owned()))?;
        return Ok((Term::Text(inside[..end].to_owned()), end + 2));
    }
    if let Some(inside) = rest.strip_prefix('%')
        && let Some(end) = inside.find('%')
    {
        return Ok((Term::Regex(value::regex(&inside[..end])?), end + 2));
    }
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    let word = &rest[..end];
    let is_plain = |c: char| c.is_alphanumeric() || c == '_' || c == '*' || c == '.';
    match word.chars().find(|c| !is_plain(*c)) {
        _ if word.is_empty() => Err(PatternError("A term is missing after its sign".to_owned())),
        Some(special) => Err(PatternError(format!(
            "The term {word} has the character {special} and must be in quotation marks"
        ))),
        None => Ok((Term::Text(word.to_owned()), end)),
    }
}
