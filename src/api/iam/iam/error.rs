//! The errors of the IAM API: every wire code and message of this API is here.
//!
//! Source: the IAM API reference; messages as clients and issues quote them.

use wharfinger_aws::{Family, Fault};
use wharfinger_iam as iam;
use wharfinger_iam::EntityKind;

/// An error of an IAM operation. Errors of the domain convert into it, so that operations use `?`.
#[derive(Debug)]
pub struct Error(Box<Fault>);

impl Error {
    #[cfg(test)]
    pub(super) fn fault(&self) -> &Fault {
        &self.0
    }

    /// An operation that did not get the kind of resource that it names.
    pub(super) fn wrong_resource() -> Self {
        Fault::internal(Family::Query).into()
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self(Box::new(fault))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        *error.0
    }
}

impl From<iam::Error> for Error {
    fn from(error: iam::Error) -> Self {
        use iam::Error as E;
        match &error {
            E::NoSuchEntity { kind, name } => no_such_entity(*kind, name),
            E::EntityExists { kind, name } => already_exists(match kind {
                EntityKind::User => format!("User with name {name} already exists."),
                EntityKind::Group => format!("Group with name {name} already exists."),
                EntityKind::Role => format!("Role with name {name} already exists."),
                EntityKind::InstanceProfile => format!("Instance Profile {name} already exists."),
            }),
            E::NotMember { user, group } => {
                missing(format!("User {user} is not in group {group}."))
            }
            E::NoSuchKey(id) => no_such_key(id),
            E::LimitExceeded {
                what: "access keys",
                limit,
            } => conflict(
                "LimitExceeded",
                format!("Cannot exceed quota for AccessKeysPerUser: {limit}"),
            ),
            E::NoSuchInlinePolicy { .. }
            | E::NoSuchPolicyVersion { .. }
            | E::NotInProfile { .. }
            | E::NoSuchAlias(_) => missing(error.to_string()),
            E::NotAttached(arn) => missing(format!("Policy {arn} was not found.")),
            E::Policy(iam::PolicyError::TooLong { limit }) => conflict(
                "LimitExceeded",
                format!("Cannot exceed quota for PolicySize: {limit}"),
            ),
            E::Policy(why) => malformed_policy(why),
            E::NotAttachable(arn) => {
                missing(format!("Policy {arn} does not exist or is not attachable."))
            }
            E::NoSuchPolicy(arn) => no_such_policy(arn),
            E::PolicyExists(_) | E::ProviderExists(_) | E::AliasExists(_) => {
                already_exists(error.to_string())
            }
            E::NoReport => gone("ReportNotPresent", error.to_string()),
            E::ReportExpired => gone("ReportExpired", error.to_string()),
            E::AwsManagedPolicy(_) => {
                let fault = Fault::sender("AccessDenied", error.to_string());
                fault.with_status(403).into()
            }
            E::Quota { .. } | E::InlineSize { .. } | E::TooManyPolicyVersions => {
                conflict("LimitExceeded", error.to_string())
            }
            E::DeleteConflict(_) | E::PolicyInUse(_) => {
                conflict("DeleteConflict", error.to_string())
            }
            E::ServiceLinkedRole(_) => {
                Fault::sender("UnmodifiableEntity", error.to_string()).into()
            }
            E::ServicePolicy => Fault::sender("PolicyNotAttachable", error.to_string()).into(),
            E::InvalidProviderUrl(_) => validation("Invalid Open ID Connect Provider URL"),
            E::NoSuchProvider(arn) => no_such_provider(arn),
            E::InvalidThumbprint(_)
            | E::ReservedPath
            | E::NoServiceRole(_)
            | E::ServiceRoleSuffix(_)
            | E::ServiceRoleTaken(_) => invalid_input(error.to_string()),
            error if error.is_unavailable() => {
                Fault::unavailable(Family::Query).with_cause(error).into()
            }
            error => Fault::internal(Family::Query).with_cause(error).into(),
        }
    }
}

/// AWS's own words where it has some for the cause; else its first sentence, and the cause.
fn malformed_policy(why: &iam::PolicyError) -> Error {
    use iam::PolicyError as P;
    let message = match why {
        P::PrincipalNotFound(name) => format!("Invalid principal in policy: \"AWS\":\"{name}\""),
        P::NotAssumeRole => why.to_string(),
        P::NotAllowed { element } if element.ends_with("Resource") => {
            format!("Has prohibited field {element}")
        }
        P::Missing {
            element: element @ "Principal",
        } => format!("Missing required field {element}"),
        why => format!("Syntax errors in policy. {why}"),
    };
    Fault::sender("MalformedPolicyDocument", message).into()
}

pub(super) fn no_such_entity(kind: EntityKind, name: &str) -> Error {
    missing(match kind {
        EntityKind::User | EntityKind::Group | EntityKind::Role => {
            format!("The {} with name {name} cannot be found.", kind.as_str())
        }
        EntityKind::InstanceProfile => format!("Instance Profile {name} cannot be found."),
    })
}

pub(super) fn no_such_key(id: &str) -> Error {
    missing(format!("The Access Key with id {id} cannot be found."))
}

pub(super) fn no_such_login_profile(user: &str) -> Error {
    missing(format!("Login Profile for User {user} cannot be found."))
}

pub(super) fn no_such_policy(arn: &str) -> Error {
    missing(format!("Policy {arn} was not found."))
}

pub(super) fn no_such_provider(arn: &str) -> Error {
    missing(format!("OpenIDConnect Provider not found for arn {arn}"))
}

pub(super) fn no_such_deletion(task: &str) -> Error {
    missing(format!("The deletion task {task} cannot be found."))
}

fn missing(message: String) -> Error {
    Fault::sender("NoSuchEntity", message)
        .with_status(404)
        .into()
}

fn already_exists(message: String) -> Error {
    conflict("EntityAlreadyExists", message)
}

fn conflict(code: &'static str, message: String) -> Error {
    Fault::sender(code, message).with_status(409).into()
}

fn gone(code: &'static str, message: String) -> Error {
    Fault::sender(code, message).with_status(410).into()
}

/// A member that breaks a rule which only its operation can check.
pub(super) fn invalid_input(message: impl Into<String>) -> Error {
    Fault::sender("InvalidInput", message).into()
}

/// A request that names no user, of a caller that is none.
pub(super) fn no_user_name() -> Error {
    validation("Must specify userName when calling with non-User credentials")
}

pub(super) fn validation(message: impl Into<String>) -> Error {
    Fault::sender("ValidationError", message).into()
}
