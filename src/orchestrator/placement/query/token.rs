//! The tokens of the cluster query language. PURE.

use crate::placement::query::QueryError;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, a value or a keyword, as it stands.
    Word(String),
    /// A value in quotes, which is never a keyword.
    Quoted(String),
    /// `==`, `!=`, `>`, `>=`, `<`, `<=`, `=~`, `!~`, `&&`, `||` or `!`.
    Symbol(&'static str),
    Open,
    Close,
    OpenList,
    CloseList,
    Comma,
}

/// Symbols, the longer ones before those that they begin with.
const SYMBOLS: &[&str] = &[
    "==", "!=", ">=", "<=", "=~", "!~", "&&", "||", ">", "<", "!",
];

/// The tokens of an expression.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let token;
        (token, rest) = match first {
            '(' => (Token::Open, &rest[1..]),
            ')' => (Token::Close, &rest[1..]),
            '[' => (Token::OpenList, &rest[1..]),
            ']' => (Token::CloseList, &rest[1..]),
            ',' => (Token::Comma, &rest[1..]),
            quote @ ('\'' | '"') => {
                let end = rest[1..].find(quote).ok_or(QueryError::OpenQuote)?;
                let (value, after) = rest[1..].split_at(end);
                (Token::Quoted(value.to_owned()), &after[1..])
            }
            _ => match SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
                Some(symbol) => (Token::Symbol(symbol), &rest[symbol.len()..]),
                None => {
                    let end = word_end(rest);
                    if end == 0 {
                        return Err(QueryError::Unexpected(first.to_string()));
                    }
                    (Token::Word(rest[..end].to_owned()), &rest[end..])
                }
            },
        };
        found.push(token);
        rest = rest.trim_start();
    }
    Ok(found)
}

/// Where the word at the beginning ends. Words hold what names, versions, times and simple regular
/// expressions need; other values are quoted.
fn word_end(text: &str) -> usize {
    let ends = |character: char| character.is_whitespace() || "()[],'\"=!<>~&|".contains(character);
    text.find(ends).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_symbols_need_no_space_between_them() {
        let word = |text: &str| Token::Word(text.to_owned());
        let expected = vec![
            Token::Symbol("!"),
            Token::Open,
            word("attribute:ecs.instance-type"),
            Token::Symbol("=~"),
            word("g2.*"),
            Token::Close,
            Token::Symbol("&&"),
            word("ec2InstanceId"),
            word("in"),
            Token::OpenList,
            Token::Quoted("a b".to_owned()),
            Token::Comma,
            Token::Quoted("c'd".to_owned()),
            Token::CloseList,
        ];
        let text = "!(attribute:ecs.instance-type=~g2.*)&&ec2InstanceId in ['a b',\"c'd\"]";
        assert_eq!(tokens(text), Ok(expected));
        assert_eq!(tokens(" "), Ok(vec![]));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        assert_eq!(tokens("a == 'b"), Err(QueryError::OpenQuote));
        assert_eq!(tokens("a = b"), Err(QueryError::Unexpected("=".to_owned())));
        assert_eq!(tokens("a | b"), Err(QueryError::Unexpected("|".to_owned())));
    }
}
