//! Fields between spaces: `[ip, user, ..., status=4*, bytes > 1000]`. PURE.

use crate::filter_pattern::PatternError;
use crate::filter_pattern::lexer::{Token, tokens};
use crate::filter_pattern::value::{Comparison, Operand};

/// The fields of a pattern, each with its condition.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    before: Vec<Condition>,
    /// The fields after `...`, which stands for any number of fields; `None` without it.
    after: Option<Vec<Condition>>,
}

/// What a field must be: alternatives, each of which is a list of comparisons that all hold. A
/// field without a condition has one empty alternative.
#[derive(Clone, Debug)]
struct Condition(Vec<Vec<(Comparison, Operand)>>);

impl Fields {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let mut before = Vec::new();
        let mut after: Option<Vec<Condition>> = None;
        for field in text.split(',') {
            if field.trim() == "..." {
                if after.replace(Vec::new()).is_some() {
                    return Err(PatternError("A pattern has one ... at most".to_owned()));
                }
                continue;
            }
            let condition = condition(field)?;
            after.as_mut().unwrap_or(&mut before).push(condition);
        }
        Ok(Self { before, after })
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        let found = split(message);
        let all = |conditions: &[Condition], fields: &[&str]| {
            conditions
                .iter()
                .zip(fields)
                .all(|(condition, field)| condition.holds(field))
        };
        match &self.after {
            None => found.len() == self.before.len() && all(&self.before, &found),
            Some(after) => {
                let Some(rest) = found.len().checked_sub(after.len()) else {
                    return false;
                };
                rest >= self.before.len() && all(&self.before, &found) && all(after, &found[rest..])
            }
        }
    }
}

impl Condition {
    fn holds(&self, field: &str) -> bool {
        self.0.iter().any(|all| {
            all.iter()
                .all(|(comparison, operand)| comparison.holds(field, operand))
        })
    }
}

/// `name`, or comparisons of the name joined by `&&` and `||`.
fn condition(text: &str) -> Result<Condition, PatternError> {
    let error = || PatternError(format!("{} is not a field with conditions", text.trim()));
    let mut alternatives = vec![Vec::new()];
    let mut rest = tokens(text)?.into_iter().peekable();
    loop {
        match rest.next() {
            Some(Token::Word(_)) => {}
            _ => return Err(error()),
        }
        if let Some(Token::Compare(comparison)) = rest.peek() {
            let comparison = *comparison;
            rest.next();
            let operand = match rest.next() {
                Some(Token::Word(text) | Token::Quoted(text)) => Operand::Text(text),
                Some(Token::Regex(operand)) => operand,
                _ => return Err(error()),
            };
            if let Some(all) = alternatives.last_mut() {
                all.push((comparison, operand));
            }
        }
        match rest.next() {
            None => return Ok(Condition(alternatives)),
            Some(Token::And) => {}
            Some(Token::Or) => alternatives.push(Vec::new()),
            Some(_) => return Err(error()),
        }
    }
}

/// The fields of a message: what stands between spaces, in brackets or in quotation marks.
fn split(message: &str) -> Vec<&str> {
    let mut fields = Vec::new();
    let mut rest = message.trim();
    while !rest.is_empty() {
        let enclosed = match rest.chars().next() {
            Some('[') => rest[1..].split_once(']'),
            Some('"') => rest[1..].split_once('"'),
            _ => None,
        };
        let (field, after) = match enclosed {
            Some(found) => found,
            None => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        fields.push(field);
        rest = after.trim_start();
    }
    fields
}
