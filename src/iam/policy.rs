//! Policy documents: read strictly, checked for their kind, and compiled once so that decisions
//! only compare. PURE.
//!
//! Source: IAM user guide, "Grammar of the IAM JSON policy language"; ECR user guide, "Private
//! repository policies".

use std::fmt;
use std::sync::Arc;

use wharfinger_aws::{AccountId, Arn};

use crate::condition::{self, Condition};
use crate::effect::Effect;
use crate::error::PolicyError;
use crate::pattern::{ArnPattern, Pattern, Syntax};
use crate::strict_json::Json;

/// Which elements a document may and must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grammar {
    /// A managed policy: Resource required, no Principal; each Sid once, of letters and digits.
    Identity,
    /// An inline policy of a user, group or role: as a managed one, and longer.
    Inline,
    /// Hangs on an ECR repository: Principal required, no Resource; any Sids.
    Repository,
    /// Hangs on an ECR registry: Principal and Resource required; any Sids.
    Registry,
    /// The trust policy of a role: Principal required, no Resource, actions of STS only; each Sid
    /// once, of letters and digits.
    Trust,
}

impl Grammar {
    /// Longest document taken, in characters: the IAM quotas for a managed policy, for all inline
    /// policies of a role together and for a trust policy (which do not count blanks); ECR's own
    /// limit.
    #[must_use]
    pub const fn max_chars(self) -> usize {
        match self {
            Self::Identity => 6_144,
            Self::Trust => 2_048,
            Self::Inline | Self::Repository | Self::Registry => 10_240,
        }
    }

    /// Most characters with blanks: an identity policy may be indented, but not without end.
    const MAX_CHARS_WITH_BLANKS: usize = 32_768;

    fn check_length(self, text: &str) -> Result<(), PolicyError> {
        let limit = self.max_chars();
        let counted = match self {
            Self::Identity | Self::Inline | Self::Trust => text
                .chars()
                .filter(|character| !character.is_whitespace())
                .count(),
            Self::Repository | Self::Registry => text.chars().count(),
        };
        if counted > limit || text.len() > 4 * Self::MAX_CHARS_WITH_BLANKS {
            Err(PolicyError::TooLong { limit })
        } else {
            Ok(())
        }
    }
}

/// A compiled policy document. Keeps the exact text that it was read from.
pub struct Policy {
    text: Box<str>,
    pub(super) statements: Box<[Statement]>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Statement {
    pub(super) sid: Option<Arc<str>>,
    pub(super) effect: Effect,
    /// `None` in identity policies: the identity itself.
    pub(super) principal: Option<Listed<NamedPrincipal>>,
    pub(super) action: Listed<Pattern>,
    /// `None` in repository policies: the repository itself.
    pub(super) resource: Option<Listed<ArnPattern>>,
    pub(super) conditions: Vec<Condition>,
}

/// The entries of an element, or of its `Not…` form.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Listed<T> {
    Is(Vec<T>),
    Not(Vec<T>),
}

/// An entry of Principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NamedPrincipal {
    /// `*`
    Anyone,
    /// An account id or the ARN of its root.
    Account(AccountId),
    /// A user, a role or a session of a role, by ARN.
    Arn(Arn),
    /// A user, a role or (`AROA…:name`) a session of a role by unique id, as policies are stored.
    UniqueId(String),
    /// An AWS service, such as `ecs-tasks.amazonaws.com`.
    Service(Box<str>),
    /// An identity provider: the ARN of an OIDC provider, or the name of one that AWS knows.
    Federated(Box<str>),
    /// A `CloudFront` user: never a caller here.
    CanonicalUser,
}

impl Policy {
    /// Reads a document.
    ///
    /// # Errors
    /// The first thing that is wrong with it; unknown elements and keys that stand twice are wrong.
    pub fn parse(text: &str, grammar: Grammar) -> Result<Self, PolicyError> {
        grammar.check_length(text)?;
        let json = Json::parse(text).map_err(|error| PolicyError::Json(error.to_string()))?;
        let Json::Object(elements) = json else {
            return Err(PolicyError::Json("not an object".to_owned()));
        };
        let (mut variables, mut statements) = (false, None);
        for (element, value) in &elements {
            match (element.as_str(), value) {
                ("Version", Json::Text(version)) if version == "2012-10-17" => variables = true,
                ("Version", Json::Text(version)) if version == "2008-10-17" => {}
                ("Version", other) => return Err(PolicyError::value("Version", &shown(other))),
                ("Id", Json::Text(_)) => {}
                ("Id", other) => return Err(PolicyError::value("Id", &shown(other))),
                ("Statement", value) => statements = Some(value),
                _ => {
                    return Err(PolicyError::NotAllowed {
                        element: element.clone(),
                    });
                }
            }
        }
        let statements = match statements.ok_or(PolicyError::Missing {
            element: "Statement",
        })? {
            Json::List(list) => list.as_slice(),
            single => std::slice::from_ref(single),
        };
        if statements.is_empty() {
            return Err(PolicyError::Missing {
                element: "Statement",
            });
        }
        let statements: Vec<_> = statements
            .iter()
            .map(|value| statement(value, grammar, variables))
            .collect::<Result<_, _>>()?;
        if !matches!(grammar, Grammar::Repository | Grammar::Registry) {
            check_sids(&statements)?;
        }
        Ok(Self {
            text: text.into(),
            statements: statements.into(),
        })
    }

    /// The document as it was given, to the letter.
    #[must_use]
    pub const fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Policy").field(&self.text).finish()
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// Within a policy of IAM each Sid stands once and has letters and digits only.
fn check_sids(statements: &[Statement]) -> Result<(), PolicyError> {
    let mut sids: Vec<&str> = statements
        .iter()
        .filter_map(|statement| statement.sid.as_deref())
        .filter(|sid| !sid.is_empty())
        .collect();
    if let Some(bad) = sids
        .iter()
        .find(|sid| !sid.bytes().all(|byte| byte.is_ascii_alphanumeric()))
    {
        return Err(PolicyError::value("Sid", bad));
    }
    sids.sort_unstable();
    match sids.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(PolicyError::DuplicateSid(pair[0].to_owned())),
        None => Ok(()),
    }
}

fn statement(value: &Json, grammar: Grammar, variables: bool) -> Result<Statement, PolicyError> {
    let Json::Object(elements) = value else {
        return Err(PolicyError::value("Statement", &shown(value)));
    };
    let (mut sid, mut effect, mut conditions) = (None, None, Vec::new());
    let (mut principal, mut action, mut resource) =
        (Slot::default(), Slot::default(), Slot::default());
    for (element, value) in elements {
        match element.as_str() {
            "Sid" => sid = Some(text("Sid", value)?.into()),
            "Effect" => {
                effect = Some(match text("Effect", value)? {
                    "Allow" => Effect::Allow,
                    "Deny" => Effect::Deny,
                    other => return Err(PolicyError::value("Effect", other)),
                });
            }
            "Principal" | "NotPrincipal" => principal.fill(element, principals(value)?)?,
            "Action" | "NotAction" => {
                if grammar == Grammar::Trust {
                    check_assume_role(value)?;
                }
                action.fill(element, entries("Action", value, self::action)?)?;
            }
            "Resource" | "NotResource" => {
                resource.fill(
                    element,
                    entries("Resource", value, |text| self::resource(text, variables))?,
                )?;
            }
            "Condition" => conditions = condition::parse(value, variables)?,
            _ => {
                return Err(PolicyError::NotAllowed {
                    element: element.clone(),
                });
            }
        }
    }
    let (wants_principal, wants_resource) = match grammar {
        Grammar::Identity | Grammar::Inline => (false, true),
        Grammar::Trust | Grammar::Repository => (true, false),
        Grammar::Registry => (true, true),
    };
    Ok(Statement {
        sid,
        effect: effect.ok_or(PolicyError::Missing { element: "Effect" })?,
        principal: principal.take("Principal", wants_principal)?,
        action: action
            .take("Action", true)?
            .ok_or(PolicyError::Missing { element: "Action" })?,
        resource: resource.take("Resource", wants_resource)?,
        conditions,
    })
}

/// A trust policy is about assuming its role, so that it names actions of STS and no others.
fn check_assume_role(value: &Json) -> Result<(), PolicyError> {
    let of_sts = |name: &Json| !matches!(name, Json::Text(text) if !is_sts_action(text));
    let fine = match value {
        Json::List(list) => list.iter().all(of_sts),
        single => of_sts(single),
    };
    if fine {
        Ok(())
    } else {
        Err(PolicyError::NotAssumeRole)
    }
}

/// The place of an element that has a `Not…` form: one of the two, once.
struct Slot<T>(Option<Listed<T>>);

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> Slot<T> {
    fn fill(&mut self, element: &str, entries: Vec<T>) -> Result<(), PolicyError> {
        let listed = if element.starts_with("Not") {
            Listed::Not(entries)
        } else {
            Listed::Is(entries)
        };
        match self.0.replace(listed) {
            None => Ok(()),
            Some(_) => Err(PolicyError::NotAllowed {
                element: format!("{element} beside its opposite"),
            }),
        }
    }

    fn take(self, element: &'static str, wanted: bool) -> Result<Option<Listed<T>>, PolicyError> {
        match (self.0, wanted) {
            (None, true) => Err(PolicyError::Missing { element }),
            (Some(_), false) => Err(PolicyError::NotAllowed {
                element: element.to_owned(),
            }),
            (listed, _) => Ok(listed),
        }
    }
}

fn text<'j>(element: &'static str, value: &'j Json) -> Result<&'j str, PolicyError> {
    if let Json::Text(text) = value {
        Ok(text)
    } else {
        Err(PolicyError::value(element, &shown(value)))
    }
}

/// A text or a list of texts, each read by `read`; at least one.
fn entries<T>(
    element: &'static str,
    value: &Json,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, PolicyError> {
    let list = match value {
        Json::List(list) => list.as_slice(),
        single => std::slice::from_ref(single),
    };
    if list.is_empty() {
        return Err(PolicyError::value(element, "[]"));
    }
    list.iter()
        .map(|entry| {
            text(element, entry)
                .and_then(|text| read(text).ok_or_else(|| PolicyError::value(element, text)))
        })
        .collect()
}

/// `*`, or a service and an action name with wildcards: `ecr:Get*`. Case does not count, so the
/// pattern is compiled in lower case.
fn action(text: &str) -> Option<Pattern> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let fine = match text.split_once(':') {
        None => text == "*",
        Some((service, name)) => {
            let service_fine =
                service == "*" || (!service.is_empty() && service.bytes().all(legal));
            service_fine
                && !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| legal(byte) || matches!(byte, b'*' | b'?'))
        }
    };
    if fine {
        Pattern::compile(
            &text.to_ascii_lowercase(),
            Syntax {
                wildcards: true,
                variables: false,
            },
        )
        .ok()
    } else {
        None
    }
}

/// Whether a trust policy may name this action: those of STS, with wildcards after the colon.
fn is_sts_action(text: &str) -> bool {
    let service = text.split_once(':').map(|(service, _)| service);
    service.is_some_and(|service| service.eq_ignore_ascii_case("sts"))
}

/// `*`, or an ARN with wildcards and variables.
fn resource(text: &str, variables: bool) -> Option<ArnPattern> {
    let syntax = Syntax {
        wildcards: true,
        variables,
    };
    let fine = text == "*" || text.starts_with("arn:");
    if fine && text.len() <= Arn::MAX_BYTES {
        ArnPattern::compile(text, syntax).ok()
    } else {
        None
    }
}

/// `"*"`, or an object of kinds: `{"AWS": [...]}`.
fn principals(value: &Json) -> Result<Vec<NamedPrincipal>, PolicyError> {
    const ELEMENT: &str = "Principal";
    let kinds = match value {
        Json::Text(text) if text == "*" => return Ok(vec![NamedPrincipal::Anyone]),
        Json::Object(kinds) if !kinds.is_empty() => kinds,
        other => return Err(PolicyError::value(ELEMENT, &shown(other))),
    };
    let mut principals = Vec::new();
    for (kind, names) in kinds {
        principals.extend(match kind.as_str() {
            "AWS" => entries(ELEMENT, names, aws_principal)?,
            "Service" => entries(ELEMENT, names, |name| {
                (!name.is_empty()).then(|| NamedPrincipal::Service(name.into()))
            })?,
            "Federated" => entries(ELEMENT, names, |name| {
                (!name.is_empty()).then(|| NamedPrincipal::Federated(name.into()))
            })?,
            "CanonicalUser" => entries(ELEMENT, names, |name| {
                (!name.is_empty()).then_some(NamedPrincipal::CanonicalUser)
            })?,
            _ => {
                return Err(PolicyError::NotAllowed {
                    element: format!("Principal {kind}"),
                });
            }
        });
    }
    Ok(principals)
}

/// `*`, an account id, or the ARN of a root, user, role or session (whole: a wildcard may not stand
/// within it), or a unique id, after that of a role with a colon and the name of a session.
fn aws_principal(text: &str) -> Option<NamedPrincipal> {
    if text == "*" {
        return Some(NamedPrincipal::Anyone);
    }
    if let Ok(account) = text.parse() {
        return Some(NamedPrincipal::Account(account));
    }
    let (id, session) = match text.split_once(':') {
        Some((id, session)) => (id, Some(session)),
        None => (text, None),
    };
    let is_unique_id = id.len() >= 16
        && id
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let known = match session {
        None => ["AIDA", "AROA", "ASIA"]
            .iter()
            .any(|kind| id.starts_with(kind)),
        Some(session) => id.starts_with("AROA") && !session.is_empty(),
    };
    if is_unique_id && known {
        return Some(NamedPrincipal::UniqueId(text.to_owned()));
    }
    let arn: Arn = text.parse().ok()?;
    let account = arn.account_id()?;
    let resource = arn.resource();
    let named = ["user/", "role/", "assumed-role/", "federated-user/"]
        .iter()
        .any(|kind| resource.len() > kind.len() && resource.starts_with(kind));
    match arn.service() {
        "iam" if resource == "root" => Some(NamedPrincipal::Account(account)),
        "iam" | "sts" if named && !resource.contains(['*', '?']) => Some(NamedPrincipal::Arn(arn)),
        _ => None,
    }
}

/// A word for a value in an error message.
fn shown(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(truth) => truth.to_string(),
        Json::Number(number) => number.to_string(),
        Json::Text(text) => text.clone(),
        Json::List(_) => "a list".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests;
