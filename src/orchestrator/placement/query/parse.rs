//! The parser of the cluster query language. PURE.

use std::cmp::Ordering;
use std::vec::IntoIter;

use regex_automata::meta::{Config, Regex};
use regex_automata::nfa::thompson::WhichCaptures;
use regex_automata::util::syntax;
use wharfinger_base::Timestamp;

use crate::placement::query::token::{Token, tokens};
use crate::placement::query::{
    Comparison, MAX_CHARACTERS, QueryError, Subject, Term, Test, Version,
};

/// How deep parentheses and negations may stand in each other.
const MAX_DEPTH: u32 = 64;

/// Most bytes that all regular expressions of an expression take together while they are compiled,
/// and about twice what they take then: ten times what patterns for names and types take. A match
/// costs as much for each byte of the value as the pattern has states: at most 0.8 ms for the
/// longest value of an attribute, and a fiftieth of that for usual patterns.
pub(super) const MAX_REGEX_BYTES: usize = 32 * 1024;

/// The same for the groups of tasks, of which an instance has many and which are longer.
pub(super) const MAX_GROUP_REGEX_BYTES: usize = 8 * 1024;

/// An expression as it was parsed.
pub(super) struct Parsed {
    pub(super) root: Term,
    /// What its regular expressions take.
    pub(super) regex_bytes: usize,
}

pub(super) fn parse(text: &str) -> Result<Parsed, QueryError> {
    if text.chars().count() > MAX_CHARACTERS {
        return Err(QueryError::TooLong);
    }
    let mut parser = Parser {
        tokens: tokens(text)?.into_iter(),
        next: None,
        regex_bytes: 0,
    };
    parser.advance();
    let root = parser.any(0)?;
    match parser.next {
        None => Ok(Parsed {
            root,
            regex_bytes: parser.regex_bytes,
        }),
        Some(token) => Err(unexpected(&token)),
    }
}

struct Parser {
    tokens: IntoIter<Token>,
    /// The token that is read next.
    next: Option<Token>,
    /// What the regular expressions so far take.
    regex_bytes: usize,
}

impl Parser {
    fn advance(&mut self) -> Option<Token> {
        std::mem::replace(&mut self.next, self.tokens.next())
    }

    /// Takes the next token if it is this symbol or keyword.
    fn takes(&mut self, symbol: &str, keyword: &str) -> bool {
        let found = match &self.next {
            Some(Token::Symbol(next)) => *next == symbol,
            Some(Token::Word(next)) => next.eq_ignore_ascii_case(keyword),
            _ => false,
        };
        if found {
            self.advance();
        }
        found
    }

    fn any(&mut self, depth: u32) -> Result<Term, QueryError> {
        let mut terms = vec![self.all(depth)?];
        while self.takes("||", "or") {
            terms.push(self.all(depth)?);
        }
        Ok(only(&mut terms).unwrap_or(Term::Any(terms)))
    }

    fn all(&mut self, depth: u32) -> Result<Term, QueryError> {
        let mut terms = vec![self.unary(depth)?];
        while self.takes("&&", "and") {
            terms.push(self.unary(depth)?);
        }
        Ok(only(&mut terms).unwrap_or(Term::All(terms)))
    }

    fn unary(&mut self, depth: u32) -> Result<Term, QueryError> {
        if depth > MAX_DEPTH {
            return Err(QueryError::TooDeep);
        }
        if self.takes("!", "not") {
            return Ok(Term::Not(Box::new(self.unary(depth + 1)?)));
        }
        if self.next == Some(Token::Open) {
            self.advance();
            let term = self.any(depth + 1)?;
            return match self.advance() {
                Some(Token::Close) => Ok(term),
                other => Err(unexpected_or_end(other)),
            };
        }
        self.test()
    }

    /// A subject with its operator and argument.
    fn test(&mut self) -> Result<Term, QueryError> {
        let subject = match self.advance() {
            Some(Token::Word(name)) => subject(&name)?,
            other => return Err(unexpected_or_end(other)),
        };
        let operator = self.operator()?;
        let (test, is_negated) = match operator {
            Operator::Exists => (Test::Exists, false),
            Operator::NotExists => (Test::Exists, true),
            Operator::In => (Test::Any(self.list(&subject)?), false),
            Operator::NotIn => (Test::Any(self.list(&subject)?), true),
            Operator::Matches => (self.regex(&subject)?, false),
            Operator::NotMatches => (self.regex(&subject)?, true),
            Operator::Equals => (Test::Any(vec![self.operand(&subject)?]), false),
            Operator::NotEquals => (Test::Any(vec![self.operand(&subject)?]), true),
            Operator::Ordered(orderings) => {
                if matches!(subject, Subject::AgentConnected | Subject::TaskGroup) {
                    return Err(QueryError::Operator(subject.to_string()));
                }
                (Test::Ordered(orderings, self.operand(&subject)?), false)
            }
        };
        let term = Term::Test(subject, test);
        Ok(if is_negated {
            Term::Not(Box::new(term))
        } else {
            term
        })
    }

    fn operator(&mut self) -> Result<Operator, QueryError> {
        use Ordering::{Equal, Greater, Less};
        let token = self.advance();
        let text = match &token {
            Some(Token::Symbol("!")) => match self.advance() {
                Some(Token::Word(word)) => format!("!{}", word.to_ascii_lowercase()),
                other => return Err(unexpected_or_end(other)),
            },
            Some(Token::Symbol(symbol)) => (*symbol).to_owned(),
            Some(Token::Word(word)) => word.to_ascii_lowercase(),
            _ => return Err(unexpected_or_end(token)),
        };
        Ok(match text.as_str() {
            "==" | "equals" => Operator::Equals,
            "!=" | "not_equals" => Operator::NotEquals,
            ">" | "greater_than" => Operator::Ordered(&[Greater]),
            ">=" | "greater_than_equal" => Operator::Ordered(&[Greater, Equal]),
            "<" | "less_than" => Operator::Ordered(&[Less]),
            "<=" | "less_than_equal" => Operator::Ordered(&[Less, Equal]),
            "in" => Operator::In,
            "!in" | "not_in" => Operator::NotIn,
            "=~" | "matches" => Operator::Matches,
            "!~" | "not_matches" => Operator::NotMatches,
            "exists" => Operator::Exists,
            "!exists" | "not_exists" => Operator::NotExists,
            _ => return Err(QueryError::Unexpected(text)),
        })
    }

    fn value(&mut self) -> Result<String, QueryError> {
        match self.advance() {
            Some(Token::Word(value) | Token::Quoted(value)) => Ok(value),
            other => Err(unexpected_or_end(other)),
        }
    }

    fn operand(&mut self, subject: &Subject) -> Result<Comparison, QueryError> {
        let value = self.value()?;
        comparison(subject, value)
    }

    fn list(&mut self, subject: &Subject) -> Result<Vec<Comparison>, QueryError> {
        match self.advance() {
            Some(Token::OpenList) => {}
            other => return Err(unexpected_or_end(other)),
        }
        let mut values = vec![self.operand(subject)?];
        loop {
            match self.advance() {
                Some(Token::Comma) => values.push(self.operand(subject)?),
                Some(Token::CloseList) => return Ok(values),
                other => return Err(unexpected_or_end(other)),
            }
        }
    }

    /// A regular expression that must match the whole value.
    fn regex(&mut self, subject: &Subject) -> Result<Test, QueryError> {
        let is_text = matches!(
            subject,
            Subject::Attribute(_)
                | Subject::Ec2InstanceId
                | Subject::AgentVersion
                | Subject::TaskGroup
        );
        if !is_text {
            return Err(QueryError::Operator(subject.to_string()));
        }
        let pattern = self.value()?;
        // First by itself: `a)|(b` would be an expression within the parentheses only.
        let mut left = MAX_REGEX_BYTES - self.regex_bytes;
        if matches!(subject, Subject::TaskGroup) {
            left = left.min(MAX_GROUP_REGEX_BYTES);
        }
        let whole = format!("^(?:{pattern})$");
        let compiled = compile(&pattern, left).and_then(|_| compile(&whole, left));
        let Some((regex, bytes)) = compiled else {
            return Err(QueryError::Regex(pattern));
        };
        self.regex_bytes += bytes;
        Ok(Test::Matches(regex))
    }
}

/// A compiled regular expression and the bytes that it takes with the memory of a search; `None`
/// where it is not valid or takes more than `most`.
pub(super) fn compile(pattern: &str, most: usize) -> Option<(Regex, usize)> {
    // Classes such as `\w` have ASCII characters only, as in Java, and a twentieth of the states.
    // Where the pattern has others itself, its characters are Unicode's.
    let unicode = !pattern.is_ascii();
    let syntax = syntax::Config::new().unicode(unicode).utf8(unicode);
    // The one engine left needs memory for each state, not for each pair of state and group.
    let config = Config::new()
        .utf8_empty(unicode)
        .nfa_size_limit(Some(most))
        .which_captures(WhichCaptures::None)
        .hybrid(false)
        .dfa(false)
        .onepass(false)
        .backtrack(false);
    let mut builder = Regex::builder();
    let regex = builder.configure(config).syntax(syntax).build(pattern);
    let regex = regex.ok()?;
    let bytes = regex.memory_usage() + regex.create_cache().memory_usage();
    (bytes <= most).then_some((regex, bytes))
}

#[derive(Clone, Copy)]
enum Operator {
    Equals,
    NotEquals,
    Ordered(&'static [Ordering]),
    In,
    NotIn,
    Matches,
    NotMatches,
    Exists,
    NotExists,
}

fn subject(name: &str) -> Result<Subject, QueryError> {
    if let Some(attribute) = name.strip_prefix("attribute:") {
        return if attribute.is_empty() {
            Err(QueryError::Subject(name.to_owned()))
        } else {
            Ok(Subject::Attribute(attribute.to_owned()))
        };
    }
    Ok(match name {
        "ec2InstanceId" => Subject::Ec2InstanceId,
        "agentVersion" => Subject::AgentVersion,
        "agentConnected" => Subject::AgentConnected,
        "registeredAt" => Subject::RegisteredAt,
        "runningTasksCount" => Subject::RunningTasksCount,
        "task:group" => Subject::TaskGroup,
        _ => return Err(QueryError::Subject(name.to_owned())),
    })
}

/// The value as the subject's type has it.
fn comparison(subject: &Subject, value: String) -> Result<Comparison, QueryError> {
    let parsed = match subject {
        Subject::Attribute(_) | Subject::Ec2InstanceId | Subject::TaskGroup => {
            return Ok(Comparison::Text(value));
        }
        Subject::AgentVersion => Version::parse(&value).map(Comparison::Version),
        Subject::AgentConnected => value.parse().ok().map(Comparison::Flag),
        Subject::RunningTasksCount => value.parse().ok().map(Comparison::Count),
        Subject::RegisteredAt => time(&value).map(Comparison::Time),
    };
    parsed.ok_or(QueryError::Value {
        subject: subject.to_string(),
        value,
    })
}

/// A date, which means its first instant in UTC, or a date with a time and perhaps an offset.
fn time(text: &str) -> Option<Timestamp> {
    let instant = text.parse::<jiff::Timestamp>().ok().or_else(|| {
        let civil = text.parse::<jiff::civil::DateTime>().ok()?;
        jiff::tz::Offset::UTC.to_timestamp(civil).ok()
    });
    instant.map(|instant| Timestamp::from_ms(instant.as_millisecond()))
}

/// The only term of a list, which needs none around it.
fn only(terms: &mut Vec<Term>) -> Option<Term> {
    if terms.len() == 1 { terms.pop() } else { None }
}

fn unexpected(token: &Token) -> QueryError {
    let text = match token {
        Token::Word(text) | Token::Quoted(text) => text,
        Token::Symbol(symbol) => *symbol,
        Token::Open => "(",
        Token::Close => ")",
        Token::OpenList => "[",
        Token::CloseList => "]",
        Token::Comma => ",",
    };
    QueryError::Unexpected(text.to_owned())
}

fn unexpected_or_end(token: Option<Token>) -> QueryError {
    token.map_or(QueryError::End, |token| unexpected(&token))
}
