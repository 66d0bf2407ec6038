//! What was decided about a request, by which statement, and the sentence that tells the caller.

use std::fmt;
use std::sync::Arc;

use crate::budget::{EvaluationLimit, MAX_CONDITION_VALUE_BYTES};
use crate::context::AccessRequest;

/// What a policy is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// The user, a group of the user, or the role.
    Identity,
    /// The repository.
    Resource,
    /// The registry: combined like the policy of a resource, over all its repositories.
    Registry,
    Boundary,
    Session,
    /// The role that shall be assumed.
    Trust,
}

impl PolicyKind {
    /// The word for the kind in records and explanations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Resource => "resource",
            Self::Registry => "registry",
            Self::Boundary => "boundary",
            Self::Session => "session",
            Self::Trust => "trust",
        }
    }

    /// The name in AWS's error messages, with its article.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Identity => ("an", "identity-based policy"),
            Self::Resource | Self::Registry => ("a", "resource-based policy"),
            Self::Boundary => ("a", "permissions boundary"),
            Self::Session => ("a", "session policy"),
            Self::Trust => ("a", "role trust policy"),
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.words().1)
    }
}

/// The statement that decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatchedStatement {
    pub kind: PolicyKind,
    /// The policy's name, where it is attached to an identity by name.
    pub policy: Option<Arc<str>>,
    /// The identity that the policy is attached to, as [`crate::NamedPolicy::owner`] has it.
    pub owner: Option<Arc<str>>,
    /// Index of the statement within its policy, from 0.
    pub statement: usize,
    pub sid: Option<Arc<str>>,
}

/// The decision, and its reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    Allow { by: Grant },
    Deny { reason: Denial },
}

/// Why a request is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The caller is the root of the account that owns the resource.
    AccountRoot,
    Statement(MatchedStatement),
}

/// Why a request is denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    ExplicitDeny(MatchedStatement),
    /// No policy of this kind allows the action, and one would have to.
    NoAllow(PolicyKind),
    /// The policies could not be evaluated within the limits of one request.
    Limit(EvaluationLimit),
}

impl Decision {
    /// The word of AWS's policy simulator.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Allow { .. } => "allowed",
            Self::Deny {
                reason: Denial::ExplicitDeny(_),
            } => "explicitDeny",
            Self::Deny { .. } => "implicitDeny",
        }
    }

    /// The statement that decided, where one did.
    #[must_use]
    pub const fn statement(&self) -> Option<&MatchedStatement> {
        match self {
            Self::Allow {
                by: Grant::Statement(statement),
            }
            | Self::Deny {
                reason: Denial::ExplicitDeny(statement),
            } => Some(statement),
            Self::Allow { .. } | Self::Deny { .. } => None,
        }
    }

    #[must_use]
    pub const fn is_allow(&self) -> bool {
        matches!(self, Self::Allow { .. })
    }

    /// The denial as AWS words it; for an allowed request, who may do what.
    #[must_use]
    pub fn message(&self, request: &AccessRequest<'_>) -> String {
        let who = request.caller.display();
        let action = request.action;
        let resource = request.resource.map_or("*", |arn| arn.as_str());
        match self {
            Self::Allow { .. } => {
                format!("User: {who} is authorized to perform: {action} on resource: {resource}")
            }
            Self::Deny { reason } => {
                let because = reason.because(action);
                format!(
                    "User: {who} is not authorized to perform: {action} on resource: {resource} \
                     {because}"
                )
            }
        }
    }
}

impl Denial {
    /// The end of AWS's sentence.
    fn because(&self, action: &str) -> String {
        match self {
            Self::ExplicitDeny(statement) => {
                let (article, kind) = statement.kind.words();
                format!("with an explicit deny in {article} {kind}")
            }
            Self::NoAllow(kind) => {
                format!("because no {kind} allows the {action} action")
            }
            Self::Limit(EvaluationLimit::Steps) => "because the policies take too long to \
                 evaluate for all parts of this request"
                .to_owned(),
            Self::Limit(EvaluationLimit::ValueBytes) => format!(
                "because a condition compares a value of the request, such as its User-Agent, \
                 that is longer than {MAX_CONDITION_VALUE_BYTES} bytes"
            ),
        }
    }
}
