//! Patterns of the policy language: texts with `*`, `?` and `${variable}`, and ARNs made of such
//! texts. PURE.
//!
//! Source: IAM JSON policy elements reference, "Resource" and "Variables and tags".

use std::borrow::Cow;

use crate::budget::Meter;
use crate::glob::{Glob, Token};

/// Steps counted for finding the value of a variable.
const VARIABLE_STEPS: usize = 32;

/// Gives the values of policy variables such as `aws:username`.
pub(super) trait Variables {
    /// `None` where the request has no such value, or more than one.
    fn variable(&self, key: &str) -> Option<Cow<'_, str>>;

    /// Counts the work of the decision that the variables are for.
    fn meter(&self) -> &Meter<'_>;
}

/// Why a text is not a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatternError {
    /// `${` without its `}`, an empty name, or a default that is not in single quotes.
    Variable,
}

/// Which special characters a text may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Syntax {
    /// `*` and `?`.
    pub(super) wildcards: bool,
    /// `${...}`; only in documents of version 2012-10-17.
    pub(super) variables: bool,
}

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Fixed(Glob),
    /// A pattern that depends on the request.
    WithVariables(Vec<Element>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Token(Token),
    /// `${key}` or `${key, 'default'}`.
    Variable {
        key: Box<str>,
        default: Option<Box<str>>,
    },
}

/// The result of comparing a text with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatternMatch {
    Matches,
    Differs,
    /// A variable of the pattern has no value in this request.
    Unresolved,
}

impl From<bool> for PatternMatch {
    fn from(matches: bool) -> Self {
        if matches {
            Self::Matches
        } else {
            Self::Differs
        }
    }
}

impl Pattern {
    pub(super) fn compile(text: &str, syntax: Syntax) -> Result<Self, PatternError> {
        elements(text, syntax).map(Self::of)
    }

    fn of(elements: Vec<Element>) -> Self {
        let token = |element: &Element| match element {
            Element::Token(token) => Some(token.clone()),
            Element::Variable { .. } => None,
        };
        match elements.iter().map(token).collect() {
            Some(tokens) => Self::Fixed(Glob::new(tokens)),
            None => Self::WithVariables(elements),
        }
    }

    fn any() -> Self {
        Self::Fixed(Glob::new(vec![Token::Run]))
    }

    fn is_any(&self) -> bool {
        matches!(self, Self::Fixed(glob) if glob.is_any())
    }

    /// Compares all of `text`; case counts.
    pub(super) fn matches(&self, text: &str, variables: &dyn Variables) -> PatternMatch {
        match self {
            Self::Fixed(glob) => glob.matches(text, variables.meter()).into(),
            Self::WithVariables(elements) => match resolve(elements, variables) {
                None => PatternMatch::Unresolved,
                Some(values) => glob_of(elements, values, text.len())
                    .is_some_and(|glob| glob.matches(text, variables.meter()))
                    .into(),
            },
        }
    }

    /// The text that a pattern without wildcards stands for in this request, at most `max_bytes`
    /// long.
    pub(super) fn expand(&self, variables: &dyn Variables, max_bytes: usize) -> Option<String> {
        let expanded;
        let glob = match self {
            Self::Fixed(glob) => glob,
            Self::WithVariables(elements) => {
                expanded = glob_of(elements, resolve(elements, variables)?, max_bytes)?;
                &expanded
            }
        };
        glob.literal().map(ToOwned::to_owned)
    }
}

/// The values of all variables, in the order of the elements; `None` where one has no value.
fn resolve<'e>(elements: &'e [Element], variables: &'e dyn Variables) -> Option<Vec<Cow<'e, str>>> {
    elements
        .iter()
        .filter_map(|element| match element {
            Element::Token(_) => None,
            Element::Variable { key, default } => {
                variables.meter().spend(VARIABLE_STEPS);
                let default = || default.as_deref().map(Cow::Borrowed);
                Some(variables.variable(key).or_else(default))
            }
        })
        .collect()
}

/// The pattern with each variable replaced by its value as plain text, so that a `*` inside a value
/// stands for itself. `None` where only texts longer than `max_bytes` would match.
fn glob_of(elements: &[Element], values: Vec<Cow<'_, str>>, max_bytes: usize) -> Option<Glob> {
    let mut tokens = Vec::new();
    let mut plain = String::new();
    let mut values = values.into_iter();
    let mut bytes = 0;
    for element in elements {
        match element {
            Element::Token(Token::Text(text)) => plain.push_str(text),
            Element::Token(token) => {
                bytes += plain.len();
                flush(&mut plain, &mut tokens);
                tokens.push(token.clone());
            }
            Element::Variable { .. } => plain.push_str(&values.next()?),
        }
        if bytes + plain.len() > max_bytes {
            return None;
        }
    }
    flush(&mut plain, &mut tokens);
    Some(Glob::new(tokens))
}

fn flush(plain: &mut String, tokens: &mut Vec<Token>) {
    if !plain.is_empty() {
        tokens.push(Token::Text(std::mem::take(plain).into()));
    }
}

fn elements(text: &str, syntax: Syntax) -> Result<Vec<Element>, PatternError> {
    let mut elements = Vec::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let mut special = None;
        if syntax.variables && rest.starts_with("${") {
            let (inner, after) = rest[2..].split_once('}').ok_or(PatternError::Variable)?;
            rest = after;
            if let "*" | "?" | "$" = inner {
                plain.push_str(inner);
                continue;
            }
            special = Some(variable(inner)?);
        } else {
            rest = &rest[character.len_utf8()..];
            match character {
                '*' if syntax.wildcards => special = Some(Element::Token(Token::Run)),
                '?' if syntax.wildcards => special = Some(Element::Token(Token::One)),
                _ => plain.push(character),
            }
        }
        if let Some(special) = special {
            push_text(&mut plain, &mut elements);
            let repeated = special == Element::Token(Token::Run);
            if !repeated || elements.last() != Some(&special) {
                elements.push(special);
            }
        }
    }
    push_text(&mut plain, &mut elements);
    Ok(elements)
}

fn push_text(plain: &mut String, elements: &mut Vec<Element>) {
    if !plain.is_empty() {
        let text = std::mem::take(plain).into();
        elements.push(Element::Token(Token::Text(text)));
    }
}

/// Reads the text between `${` and `}`.
fn variable(inner: &str) -> Result<Element, PatternError> {
    let (key, default) = match inner.split_once(',') {
        None => (inner, None),
        Some((key, default)) => {
            let text = default
                .trim()
                .strip_prefix('\'')
                .and_then(|text| text.strip_suffix('\''))
                .ok_or(PatternError::Variable)?;
            (key, Some(text.into()))
        }
    };
    let key = key.trim();
    if key.is_empty()
        || key.contains(|character: char| {
            character.is_whitespace() || matches!(character, '$' | '{' | '\'')
        })
    {
        return Err(PatternError::Variable);
    }
    Ok(Element::Variable {
        key: key.into(),
        default,
    })
}

/// Cuts at the first `count - 1` colons of the plain text; gives fewer parts where there are fewer
/// colons.
fn split_at_colons(elements: Vec<Element>, count: usize) -> Vec<Vec<Element>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    for element in elements {
        let Element::Token(Token::Text(text)) = &element else {
            part.push(element);
            continue;
        };
        for (at, piece) in text.splitn(count - parts.len(), ':').enumerate() {
            if at > 0 {
                parts.push(std::mem::take(&mut part));
            }
            if !piece.is_empty() {
                part.push(Element::Token(Token::Text(piece.into())));
            }
        }
    }
    parts.push(part);
    parts
}

/// The pattern of an ARN: each of the six fields is compared by itself, so that a `*` never crosses
/// a colon of the first five. Missing fields at the end count as `*` ("Incomplete ARNs" in the
/// reference).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ArnPattern {
    Any,
    Fields(Box<[Pattern; ARN_FIELDS]>),
}

const ARN_FIELDS: usize = 6;

/// The fields of an ARN, to be compared with many patterns.
pub(super) type ArnFields<'a> = [&'a str; ARN_FIELDS];

/// Cuts an ARN into its fields; `None` for a text with fewer.
pub(super) fn arn_fields(text: &str) -> Option<ArnFields<'_>> {
    let mut parts = text.splitn(ARN_FIELDS, ':');
    let mut fields = [""; ARN_FIELDS];
    for field in &mut fields {
        *field = parts.next()?;
    }
    Some(fields)
}

impl ArnPattern {
    pub(super) fn compile(text: &str, syntax: Syntax) -> Result<Self, PatternError> {
        let elements = elements(text, syntax)?;
        if Pattern::of(elements.clone()).is_any() {
            return Ok(Self::Any);
        }
        let mut fields = split_at_colons(elements, ARN_FIELDS)
            .into_iter()
            .map(Pattern::of);
        Ok(Self::Fields(Box::new(std::array::from_fn(|_| {
            fields.next().unwrap_or_else(Pattern::any)
        }))))
    }

    /// Compares an ARN; `None` stands for a text that is none, such as the `*` of an action without
    /// a resource.
    pub(super) fn matches(
        &self,
        arn: Option<&ArnFields<'_>>,
        variables: &dyn Variables,
    ) -> PatternMatch {
        let Self::Fields(patterns) = self else {
            return PatternMatch::Matches;
        };
        let Some(fields) = arn else {
            return PatternMatch::Differs;
        };
        let mut unresolved = false;
        // The last field tells resources apart best.
        for (pattern, field) in patterns.iter().zip(fields).rev() {
            match pattern.matches(field, variables) {
                PatternMatch::Matches => {}
                PatternMatch::Differs => return PatternMatch::Differs,
                PatternMatch::Unresolved => unresolved = true,
            }
        }
        if unresolved {
            PatternMatch::Unresolved
        } else {
            PatternMatch::Matches
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::budget::EvaluationBudget;

    const ALL: Syntax = Syntax {
        wildcards: true,
        variables: true,
    };

    struct Name<'a>(Option<&'static str>, Meter<'a>);

    impl Variables for Name<'_> {
        fn variable(&self, key: &str) -> Option<Cow<'_, str>> {
            if key == "aws:username" {
                self.0.map(Cow::Borrowed)
            } else {
                None
            }
        }

        fn meter(&self) -> &Meter<'_> {
            &self.1
        }
    }

    fn matches(pattern: &str, text: &str, name: Option<&'static str>) -> PatternMatch {
        let budget = EvaluationBudget::default();
        Pattern::compile(pattern, ALL)
            .expect("a pattern")
            .matches(text, &Name(name, Meter::new(&budget)))
    }

    fn arn_matches(pattern: &str, text: &str, name: Option<&'static str>) -> PatternMatch {
        let budget = EvaluationBudget::default();
        ArnPattern::compile(pattern, ALL)
            .expect("a pattern")
            .matches(arn_fields(text).as_ref(), &Name(name, Meter::new(&budget)))
    }

    #[test]
    fn a_variable_is_plain_text() {
        use PatternMatch::{Differs, Matches, Unresolved};
        for (pattern, text, name, expected) in [
            ("home/${aws:username}/*", "home/ann/x", Some("ann"), Matches),
            ("home/${aws:username}/*", "home/bob/x", Some("ann"), Differs),
            ("home/${aws:username}", "home/anything", Some("*"), Differs),
            ("home/${aws:username}", "home/*", Some("*"), Matches),
            ("home/${aws:username}", "home/x", None, Unresolved),
            ("${*}${?}${$}{*", "*?${x", None, Matches),
            ("${*}", "x", None, Differs),
        ] {
            assert_eq!(matches(pattern, text, name), expected, "{pattern} {text}");
        }
        let default = "home/${aws:username, 'guest, too'}";
        assert_eq!(matches(default, "home/guest, too", None), Matches);
    }

    #[test]
    fn broken_variables_are_refused_and_old_documents_have_none() {
        for bad in [
            "${",
            "${aws:username",
            "${}",
            "${ }",
            "${a, b}",
            "${a b}",
            "${${a}}",
        ] {
            assert_eq!(
                Pattern::compile(bad, ALL),
                Err(PatternError::Variable),
                "{bad}"
            );
        }
        let old = Syntax {
            wildcards: true,
            variables: false,
        };
        let text = "${aws:username";
        let Ok(Pattern::Fixed(glob)) = Pattern::compile(text, old) else {
            panic!("{text} has no variables in an old document");
        };
        assert_eq!(glob.literal(), Some(text));
    }

    #[test]
    fn the_fields_of_an_arn_are_compared_by_themselves() {
        let check = |pattern: &str, text: &str| arn_matches(pattern, text, Some("a:b"));
        let web = "arn:aws:ecr:us-east-1:123456789012:repository/web";
        for (pattern, expected) in [
            ("*", true),
            ("arn:aws:ecr:*", true),
            ("arn:aws:ecr", true),
            ("arn:aws:s3*", false),
            ("arn:aws:ecr:*:*:repository/*", true),
            ("arn:aws:ecr:*:repository/web", false),
            ("arn:*:ecr:us-????-1:123456789012:repository/w?b", true),
            ("arn:aws:ecr:us-east-1:123456789012:repository/we", false),
        ] {
            assert_eq!(check(pattern, web), expected.into(), "{pattern}");
        }
        assert_eq!(
            check("arn:aws:ecr:*:*:${aws:username}", "arn:aws:ecr:r:1:a:b"),
            PatternMatch::Matches
        );
        assert_eq!(
            check("arn:aws:ecr:${aws:username}:*:x", "arn:aws:ecr:a:b:x:y"),
            PatternMatch::Differs
        );
        assert_eq!(check("arn:aws:ecr:*", "web"), PatternMatch::Differs);
    }

    /// Values are expanded no further than the compared text is long.
    #[test]
    fn a_variable_repeated_many_times_takes_few_steps() {
        let budget = EvaluationBudget::default();
        let name = Name(Some("aaaaaaaaaaaaaaaa"), Meter::new(&budget));
        let pattern = "${aws:username}?".repeat(500);
        let result = Pattern::compile(&pattern, ALL)
            .expect("a pattern")
            .matches(&"a".repeat(2_000), &name);
        assert_eq!(result, PatternMatch::Differs);
        assert!(name.1.spent() < 20_000, "{}", name.1.spent());
    }

    proptest! {
        #[test]
        fn any_text_compiles_or_is_refused(
            text in "[${}*?:, 'a]{0,16}|\\PC{0,40}", against in "\\PC{0,40}"
        ) {
            if let Ok(pattern) = ArnPattern::compile(&text, ALL) {
                let budget = EvaluationBudget::default();
                let name = Name(Some("x"), Meter::new(&budget));
                pattern.matches(arn_fields(&against).as_ref(), &name);
            }
        }
    }
}
