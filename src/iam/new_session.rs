//! Checks what a caller wants of a session of a role: its length, its session policies, its tags
//! and its source identity. PURE.
//!
//! Source: STS API reference, `AssumeRole`; IAM user guide, "Session policies" and "Pass session
//! tags in AWS STS".

use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Error;
use crate::policy::{Grammar, Policy};
use crate::principal::{Caller, Principal};
use crate::session_claims::{RoleSession, SessionTag};

/// How long the session of a role lasts unless its request says so, and the longest session of a
/// role that a session of another role assumed (STS API reference, `AssumeRole`).
const ROLE_SESSION: Duration = Duration::from_hours(1);
const MAX_CHAINED_SESSION: Duration = Duration::from_hours(1);
/// Most characters of the inline session policy and the ARNs of the managed ones together.
const MAX_PLAIN_CHARS: usize = 2_048;
/// Most managed session policies.
const MAX_POLICY_ARNS: usize = 10;
/// Most bytes that session policies and session tags take in a session token, so that the token
/// with all else that it holds stays readable and fits into headers.
const MAX_PACKED_BYTES: usize = 2_400;

/// What a session of a role, or of a federated user, shall be.
#[derive(Clone, Debug, Default)]
pub struct NewRoleSession {
    /// 2 to 64 letters, digits and `+=,.@_-`.
    pub name: String,
    /// One hour where absent.
    pub duration: Option<Duration>,
    /// The inline session policy.
    pub policy: Option<String>,
    /// The managed session policies, of the role's account or of AWS.
    pub policy_arns: Vec<String>,
    pub tags: Vec<(String, String)>,
    /// Keys of `tags` that sessions get which are made with this one.
    pub transitive_keys: Vec<String>,
    pub source_identity: Option<String>,
    /// Bytes that the session token has at least.
    pub min_token_bytes: usize,
}

/// What a session of a role inherits from the session that made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inherited {
    pub tags: Vec<(String, String)>,
    pub source_identity: Option<String>,
}

/// What sessions inherit that this caller makes.
#[must_use]
pub fn inherited(caller: &Caller) -> Inherited {
    let role = caller.temporary.as_ref().and_then(|one| one.role.as_ref());
    let Some(role) = role else {
        return Inherited::default();
    };
    let transitive = role.tags.iter().filter(|tag| tag.transitive);
    Inherited {
        tags: transitive.map(SessionTag::pair).collect(),
        source_identity: role.source_identity.clone(),
    }
}

/// A checked session, ready to be sealed.
pub(super) struct CheckedSession {
    pub(super) role: RoleSession,
    pub(super) duration: Duration,
    /// How much of the space for policies and tags is used, in percent; `None` where there are
    /// none.
    pub(super) packed_percent: Option<usize>,
}

/// Checks what a caller wants of a session of a role that lasts `max_session` at most.
///
/// # Errors
/// [`Error::SessionTooLong`], [`Error::ChainedSessionTooLong`], [`Error::Policy`],
/// [`Error::SessionTags`], [`Error::SourceIdentity`], [`Error::PackedPolicyTooLarge`].
pub(super) fn checked(
    caller: &Caller,
    max_session: Duration,
    new: NewRoleSession,
) -> Result<CheckedSession, Error> {
    let duration = duration(caller, new.duration, max_session)?;
    let policy = new.policy.as_deref().map(packed_policy).transpose()?;
    check_plain_size(new.policy.as_deref(), &new.policy_arns)?;
    let inherited = inherited(caller);
    let tags = tags(&new, &inherited)?;
    let federated = matches!(caller.principal, Principal::WebIdentity { .. });
    let role = RoleSession {
        name: new.name,
        policy,
        policy_arns: new.policy_arns,
        tags,
        source_identity: source_identity(new.source_identity, inherited.source_identity)?,
        provider: federated.then(|| caller.arn().to_string()),
        keys: kept_keys(caller),
    };
    let packed_percent = packed_percent(&role)?;
    Ok(CheckedSession {
        role,
        duration,
        packed_percent,
    })
}

/// Checks what a caller wants of a session of a federated user; returns it, and how much of the
/// space for policies and tags is used, in percent.
///
/// # Errors
/// [`Error::Policy`], [`Error::SessionTags`], [`Error::PackedPolicyTooLarge`],
/// [`Error::TooManySessionPolicies`].
pub(super) fn checked_federation(
    new: NewRoleSession,
) -> Result<(RoleSession, Option<usize>), Error> {
    let policy = new.policy.as_deref().map(packed_policy).transpose()?;
    check_plain_size(new.policy.as_deref(), &new.policy_arns)?;
    let tags = tags(&new, &Inherited::default())?;
    let session = RoleSession {
        name: new.name,
        policy,
        policy_arns: new.policy_arns,
        tags,
        source_identity: None,
        provider: None,
        keys: Vec::new(),
    };
    let packed_percent = packed_percent(&session)?;
    Ok((session, packed_percent))
}

fn duration(
    caller: &Caller,
    wanted: Option<Duration>,
    max_session: Duration,
) -> Result<Duration, Error> {
    let duration = wanted.unwrap_or(ROLE_SESSION);
    let chained = matches!(caller.principal, Principal::AssumedRole { .. });
    if chained && duration > MAX_CHAINED_SESSION {
        return Err(Error::ChainedSessionTooLong);
    }
    if duration > max_session {
        return Err(Error::SessionTooLong);
    }
    Ok(duration)
}

/// The policy without blanks.
fn packed_policy(text: &str) -> Result<Box<RawValue>, Error> {
    Policy::parse(text, Grammar::Identity)?;
    let packed = serde_json::from_str::<Value>(text)
        .and_then(|policy| serde_json::value::to_raw_value(&policy));
    packed.map_err(|_| Error::Signing)
}

fn check_plain_size(policy: Option<&str>, policy_arns: &[String]) -> Result<(), Error> {
    let chars = |text: &str| text.chars().count();
    let arns: usize = policy_arns.iter().map(|arn| chars(arn)).sum();
    let plain = policy.map_or(0, chars) + arns;
    if plain > MAX_PLAIN_CHARS {
        return Err(Error::PackedPolicyTooLarge {
            percent: percent(plain, MAX_PLAIN_CHARS),
        });
    }
    if policy_arns.len() > MAX_POLICY_ARNS {
        return Err(Error::TooManySessionPolicies);
    }
    Ok(())
}

/// The tags of the session with those that it inherits, which it may not replace.
fn tags(new: &NewRoleSession, inherited: &Inherited) -> Result<Vec<SessionTag>, Error> {
    let wrong = |why| Err(Error::SessionTags(why));
    let same = |one: &str, other: &str| one.eq_ignore_ascii_case(other);
    for (at, (key, _)) in new.tags.iter().enumerate() {
        if key.to_ascii_lowercase().starts_with("aws:") {
            return wrong("aws: prefixed tag key names are not allowed for external use.");
        }
        if new.tags[..at].iter().any(|(other, _)| same(key, other)) {
            return wrong(
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            );
        }
        if inherited.tags.iter().any(|(other, _)| same(key, other)) {
            return wrong(
                "One of the specified tag keys conflicts with a transitive tag key from the \
                 calling session.",
            );
        }
    }
    let is_given = |key: &String| new.tags.iter().any(|(given, _)| same(key, given));
    if !new.transitive_keys.iter().all(is_given) {
        return wrong("The specified transitive tag key must be included in the requested tags.");
    }
    let own = new.tags.iter().map(|(key, value)| SessionTag {
        transitive: new.transitive_keys.iter().any(|one| same(one, key)),
        key: key.clone(),
        value: value.clone(),
    });
    let passed = inherited.tags.iter().map(|(key, value)| SessionTag {
        transitive: true,
        key: key.clone(),
        value: value.clone(),
    });
    Ok(own.chain(passed).collect())
}

/// The source identity: once set, it stays through all sessions that follow.
fn source_identity(
    wanted: Option<String>,
    inherited: Option<String>,
) -> Result<Option<String>, Error> {
    match (wanted, inherited) {
        (Some(wanted), _) if wanted.to_ascii_lowercase().starts_with("aws:") => Err(
            Error::SourceIdentity("aws: prefixed values are not allowed for external use."),
        ),
        (Some(wanted), Some(known)) if wanted != known => Err(Error::SourceIdentity(
            "The source identity of the calling session cannot be changed.",
        )),
        (wanted, inherited) => Ok(wanted.or(inherited)),
    }
}

/// The condition keys of a web identity that its session keeps: audience and subject.
fn kept_keys(caller: &Caller) -> Vec<(String, Vec<String>)> {
    let is_kept = |key: &str| key.ends_with(":aud") || key.ends_with(":sub");
    let keys = caller.session_keys.iter();
    match caller.principal {
        Principal::WebIdentity { .. } => keys.filter(|(key, _)| is_kept(key)).cloned().collect(),
        _ => Vec::new(),
    }
}

fn packed_percent(role: &RoleSession) -> Result<Option<usize>, Error> {
    if role.policy.is_none() && role.policy_arns.is_empty() && role.tags.is_empty() {
        return Ok(None);
    }
    let packed = (&role.policy, &role.policy_arns, &role.tags);
    let packed = serde_json::to_vec(&packed)
        .map_err(|_| Error::Signing)?
        .len();
    let percent = percent(packed, MAX_PACKED_BYTES);
    if packed > MAX_PACKED_BYTES {
        return Err(Error::PackedPolicyTooLarge { percent });
    }
    Ok(Some(percent))
}

/// `part` of `whole` in percent, rounded up.
pub(super) const fn percent(part: usize, whole: usize) -> usize {
    (100 * part).div_ceil(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    fn new(tags: &[(&str, &str)], transitive: &[&str]) -> NewRoleSession {
        NewRoleSession {
            tags: tags.iter().map(|(key, value)| pair(key, value)).collect(),
            transitive_keys: transitive.iter().map(|key| (*key).to_owned()).collect(),
            ..NewRoleSession::default()
        }
    }

    #[test]
    fn tags_are_passed_on_and_not_replaced() {
        let inherited = Inherited {
            tags: vec![pair("cost", "7")],
            source_identity: None,
        };
        let made = tags(&new(&[("Team", "red"), ("x", "")], &["team"]), &inherited);
        let made: Vec<_> = made.expect("tags").into_iter().collect();
        let made: Vec<_> = made
            .iter()
            .map(|tag| (tag.key.as_str(), tag.transitive))
            .collect();
        assert_eq!(made, [("Team", true), ("x", false), ("cost", true)]);
        for wrong in [
            new(&[("COST", "8")], &[]),
            new(&[("a", "1"), ("A", "2")], &[]),
            new(&[("aws:a", "1")], &[]),
            new(&[("a", "1")], &["b"]),
            new(&[], &["cost"]),
        ] {
            assert!(tags(&wrong, &inherited).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_source_identity_stays() {
        let check = |wanted: Option<&str>, known: Option<&str>| {
            source_identity(wanted.map(ToOwned::to_owned), known.map(ToOwned::to_owned)).ok()
        };
        let ann = Some(Some("ann".to_owned()));
        assert_eq!(check(None, None), Some(None));
        assert_eq!(check(Some("ann"), None), ann);
        assert_eq!(check(None, Some("ann")), ann);
        assert_eq!(check(Some("ann"), Some("ann")), ann);
        assert_eq!(check(Some("eve"), Some("ann")), None);
        assert_eq!(check(Some("AWS:x"), None), None);
    }

    #[test]
    fn policies_and_tags_have_space_for_what_sts_takes() {
        let statement = r#"{"Effect":"Allow","Action":"ecr:*","Resource":"*"}"#;
        let wide = format!(r#"{{ "Version": "2012-10-17", "Statement": [ {statement} ] }}"#);
        let packed = packed_policy(&wide).expect("packed");
        assert!(
            packed.get().len() < wide.len()
                && Policy::parse(packed.get(), Grammar::Identity).is_ok()
        );
        assert!(packed_policy("{}").is_err());
        let mut role = RoleSession::named("run");
        assert_eq!(packed_percent(&role), Ok(None));
        role.policy = Some(packed);
        role.policy_arns = vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".to_owned(); 10];
        let used = packed_percent(&role).expect("fits").expect("some");
        assert!((10..40).contains(&used), "{used}");
        role.tags = (0..50)
            .map(|at| SessionTag {
                key: format!("key-{at}"),
                value: "value of this tag".repeat(3),
                transitive: false,
            })
            .collect();
        assert!(matches!(
            packed_percent(&role),
            Err(Error::PackedPolicyTooLarge { percent: 101.. })
        ));
    }

    #[test]
    fn session_policies_are_bounded_in_length_and_number() {
        let arns = |count: usize, length: usize| vec!["a".repeat(length); count];
        assert_eq!(check_plain_size(None, &arns(10, 204)), Ok(()));
        assert_eq!(
            check_plain_size(None, &arns(11, 20)),
            Err(Error::TooManySessionPolicies)
        );
        assert_eq!(
            check_plain_size(Some(&" ".repeat(9)), &arns(10, 204)),
            Err(Error::PackedPolicyTooLarge { percent: 101 })
        );
    }
}
