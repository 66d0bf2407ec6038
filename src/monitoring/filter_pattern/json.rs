//! JSON selectors: `$.a.b[0] = "x" && ($.c > 3 || $.d IS NULL)`. PURE.

use serde_json::Value;

use crate::filter_pattern::PatternError;
use crate::filter_pattern::lexer::{Token, tokens};
use crate::filter_pattern::value::{Comparison, Operand};

/// Deepest nesting of parentheses.
const MAX_DEPTH: usize = 32;

/// An expression over the members of a JSON object.
#[derive(Clone, Debug)]
pub(super) enum Expression {
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Compare(Selector, Comparison, Operand),
    /// `IS TRUE`, `IS FALSE`, `IS NULL`.
    Is(Selector, Value),
    /// `EXISTS`, or `NOT EXISTS` with `false`.
    Exists(Selector, bool),
}

/// The steps to a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selector(Vec<Step>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Item(usize),
    /// `[*]` or `.*`.
    Any,
}

impl Expression {
    pub(super) fn parse(text: &str) -> Result<Self, PatternError> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens, at: 0 };
        let expression = parser.or(0)?;
        if parser.at < parser.tokens.len() {
            return Err(PatternError(
                "The selector has text after its end".to_owned(),
            ));
        }
        Ok(expression)
    }

    pub(super) fn matches(&self, message: &str) -> bool {
        let Ok(document) = serde_json::from_str::<Value>(message) else {
            return false;
        };
        document.is_object() && self.holds(&document)
    }

    fn holds(&self, document: &Value) -> bool {
        match self {
            Self::And(left, right) => left.holds(document) && right.holds(document),
            Self::Or(left, right) => left.holds(document) || right.holds(document),
            Self::Compare(selector, comparison, operand) => selector
                .find(document)
                .iter()
                .filter_map(|value| scalar(value))
                .any(|text| comparison.holds(&text, operand)),
            Self::Is(selector, wanted) => selector.find(document).contains(&wanted),
            Self::Exists(selector, wanted) => selector.find(document).is_empty() != *wanted,
        }
    }
}

/// The text of a value that can be compared.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

impl Selector {
    fn parse(text: &str) -> Result<Self, PatternError> {
        let error = || PatternError(format!("{text} is not a selector such as $.name"));
        let mut rest = text.strip_prefix('$').ok_or_else(error)?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                let name = &after[..end];
                match name {
                    "" => return Err(error()),
                    "*" => steps.push(Step::Any),
                    name => steps.push(Step::Member(name.to_owned())),
                }
                rest = &after[end..];
            } else if let Some(after) = rest.strip_prefix('[') {
                let (inside, after) = after.split_once(']').ok_or_else(error)?;
                steps.push(step_in_brackets(inside).ok_or_else(error)?);
                rest = after;
            } else {
                return Err(error());
            }
        }
        Ok(Self(steps))
    }

    fn find<'a>(&self, document: &'a Value) -> Vec<&'a Value> {
        let mut found = vec![document];
        for step in &self.0 {
            found = found.into_iter().flat_map(|value| step.of(value)).collect();
        }
        found
    }
}

fn step_in_brackets(inside: &str) -> Option<Step> {
    if inside == "*" {
        return Some(Step::Any);
    }
    let quoted = |mark: char| inside.strip_prefix(mark)?.strip_suffix(mark);
    if let Some(name) = quoted('\'').or_else(|| quoted('"')) {
        return Some(Step::Member(name.to_owned()));
    }
    inside.parse().ok().map(Step::Item)
}

impl Step {
    fn of<'a>(&self, value: &'a Value) -> Vec<&'a Value> {
        match (self, value) {
            (Self::Member(name), Value::Object(members)) => members.get(name).into_iter().collect(),
            (Self::Item(index), Value::Array(items)) => items.get(*index).into_iter().collect(),
            (Self::Any, Value::Array(items)) => items.iter().collect(),
            (Self::Any, Value::Object(members)) => members.values().collect(),
            _ => Vec::new(),
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn or(&mut self, depth: usize) -> Result<Expression, PatternError> {
        let mut left = self.and(depth)?;
        while matches!(self.tokens.get(self.at), Some(Token::Or)) {
            self.at += 1;
            left = Expression::Or(Box::new(left), Box::new(self.and(depth)?));
        }
        Ok(left)
    }

    fn and(&mut self, depth: usize) -> Result<Expression, PatternError> {
        let mut left = self.condition(depth)?;
        while matches!(self.tokens.get(self.at), Some(Token::And)) {
            self.at += 1;
            left = Expression::And(Box::new(left), Box::new(self.condition(depth)?));
        }
        Ok(left)
    }

    fn condition(&mut self, depth: usize) -> Result<Expression, PatternError> {
        if depth > MAX_DEPTH {
            return Err(PatternError("The selector is nested too deeply".to_owned()));
        }
        let selector = match self.next() {
            Some(Token::Open) => {
                let inside = self.or(depth + 1)?;
                return match self.next() {
                    Some(Token::Close) => Ok(inside),
                    _ => Err(PatternError("A parenthesis is not closed".to_owned())),
                };
            }
            Some(Token::Word(word)) => Selector::parse(&word)?,
            _ => {
                return Err(PatternError(
                    "A condition begins with a selector".to_owned(),
                ));
            }
        };
        self.after(selector)
    }

    /// What follows a selector.
    fn after(&mut self, selector: Selector) -> Result<Expression, PatternError> {
        let error = || PatternError("A selector is followed by a comparison".to_owned());
        match self.next() {
            Some(Token::Compare(comparison)) => {
                let operand = match self.next() {
                    Some(Token::Word(text) | Token::Quoted(text)) => Operand::Text(text),
                    Some(Token::Regex(operand)) => operand,
                    _ => return Err(error()),
                };
                Ok(Expression::Compare(selector, comparison, operand))
            }
            Some(Token::Word(word)) => match word.to_ascii_uppercase().as_str() {
                "IS" => Ok(Expression::Is(selector, self.constant()?)),
                "EXISTS" => Ok(Expression::Exists(selector, true)),
                "NOT" => match self.next() {
                    Some(Token::Word(word)) if word.eq_ignore_ascii_case("EXISTS") => {
                        Ok(Expression::Exists(selector, false))
                    }
                    _ => Err(error()),
                },
                _ => Err(error()),
            },
            _ => Err(error()),
        }
    }

    fn constant(&mut self) -> Result<Value, PatternError> {
        let Some(Token::Word(word)) = self.next() else {
            return Err(PatternError(
                "IS is followed by TRUE, FALSE or NULL".to_owned(),
            ));
        };
        match word.to_ascii_uppercase().as_str() {
            "TRUE" => Ok(Value::Bool(true)),
            "FALSE" => Ok(Value::Bool(false)),
            "NULL" => Ok(Value::Null),
            _ => Err(PatternError(
                "IS is followed by TRUE, FALSE or NULL".to_owned(),
            )),
        }
    }
}
