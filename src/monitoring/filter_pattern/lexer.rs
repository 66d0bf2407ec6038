//! The tokens of JSON selectors and of fields. PURE.

use crate::filter_pattern::PatternError;
use crate::filter_pattern::value::{self, Comparison, Operand};

/// A token.
#[derive(Clone, Debug)]
pub(super) enum Token {
    Open,
    Close,
    And,
    Or,
    Not,
    Compare(Comparison),
    /// A word without quotes: a selector, a keyword, a number or a text.
    Word(String),
    Quoted(String),
    Regex(Operand),
}

/// Splits a pattern into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, PatternError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '"' => quoted(rest)?,
            '%' => expression(rest)?,
            _ => match operator(rest) {
                Some(found) => found,
                None => word(rest),
            },
        };
        tokens.push(token);
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(tokens)
}

fn operator(rest: &str) -> Option<(Token, usize)> {
    const OPERATORS: &[(&str, Token)] = &[
        ("&&", Token::And),
        ("||", Token::Or),
        ("!=", Token::Compare(Comparison::NotEqual)),
        ("<=", Token::Compare(Comparison::LessOrEqual)),
        (">=", Token::Compare(Comparison::GreaterOrEqual)),
        ("=", Token::Compare(Comparison::Equal)),
        ("<", Token::Compare(Comparison::Less)),
        (">", Token::Compare(Comparison::Greater)),
        ("!", Token::Not),
    ];
    let found = OPERATORS.iter().find(|(text, _)| rest.starts_with(text));
    found.map(|(text, token)| (token.clone(), text.len()))
}

/// A text in quotes; a backslash takes the next character as it is.
fn quoted(rest: &str) -> Result<(Token, usize), PatternError> {
    let mut text = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((Token::Quoted(text), at + 1)),
            '\\' => text.extend(characters.next().map(|(_, escaped)| escaped)),
            other => text.push(other),
        }
    }
    Err(PatternError("A quotation mark is not closed".to_owned()))
}

fn expression(rest: &str) -> Result<(Token, usize), PatternError> {
    let inside = rest.get(1..).unwrap_or_default();
    let end = inside.find('%');
    let end = end.ok_or_else(|| PatternError("A % is not closed".to_owned()))?;
    let regex = value::regex(&inside[..end])?;
    Ok((Token::Regex(Operand::Regex(regex)), end + 2))
}

fn word(rest: &str) -> (Token, usize) {
    let is_end = |c: char| c.is_whitespace() || "()=<>!&|\"".contains(c);
    let length = rest.find(is_end).unwrap_or(rest.len()).max(1);
    // A lone `&` or `|` is a word of its own, so that the text always grows shorter.
    let length = if rest.is_char_boundary(length) {
        length
    } else {
        rest.len()
    };
    (Token::Word(rest[..length].to_owned()), length)
}
