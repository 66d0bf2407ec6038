//! Filter patterns of `CloudWatch` Logs: terms, JSON selectors, and fields between spaces. PURE.
//!
//! Source: `CloudWatch` Logs user guide, "Filter pattern syntax".

mod fields;
mod json;
mod lexer;
mod terms;
mod value;

use fields::Fields;
use json::Expression;
use terms::Terms;

/// Why a text is no filter pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PatternError(pub(crate) String);

/// A parsed filter pattern.
#[derive(Clone, Debug)]
pub struct FilterPattern(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// The empty pattern.
    Everything,
    Terms(Terms),
    Json(Expression),
    Fields(Fields),
}

impl FilterPattern {
    /// Parses a pattern: in braces a JSON selector, in brackets fields, else terms.
    ///
    /// # Errors
    /// A text that is none of these.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let text = text.trim();
        let inside = |open: char, close: char| {
            text.strip_prefix(open).map(|rest| {
                rest.strip_suffix(close).ok_or_else(|| {
                    PatternError(format!(
                        "A pattern that begins with {open} ends with {close}"
                    ))
                })
            })
        };
        let kind = if text.is_empty() {
            Kind::Everything
        } else if let Some(selector) = inside('{', '}') {
            Kind::Json(Expression::parse(selector?)?)
        } else if let Some(fields) = inside('[', ']') {
            Kind::Fields(Fields::parse(fields?)?)
        } else {
            Kind::Terms(Terms::parse(text)?)
        };
        Ok(Self(kind))
    }

    /// Whether an event with this message is found. A JSON selector finds nothing in a message
    /// that is no JSON object.
    pub fn matches(&self, message: &str) -> bool {
        match &self.0 {
            Kind::Everything => true,
            Kind::Terms(terms) => terms.matches(message),
            Kind::Json(expression) => expression.matches(message),
            Kind::Fields(fields) => fields.matches(message),
        }
    }
}

#[cfg(test)]
mod tests;
