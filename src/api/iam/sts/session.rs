//! The members that operations share which make sessions of roles.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use wharfinger_api_core::RequestFacts;
use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::{AssumedRole, Inherited, NewRoleSession};

use crate::sts::credentials::{Credentials, TokenSize};
use crate::sts::{Error, MODEL, Result, StsResourceId};

/// What a request says of the session that it wants.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SessionMembers {
    role_arn: String,
    pub(super) role_session_name: String,
    policy: Option<String>,
    policy_arns: Option<Vec<PolicyDescriptor>>,
    duration_seconds: Option<u64>,
    minimum_session_token_size: Option<usize>,
}

/// A managed session policy of a request.
#[derive(Debug, Deserialize)]
pub(super) struct PolicyDescriptor {
    arn: Option<String>,
}

/// The ARNs of the managed session policies.
///
/// # Errors
/// `ValidationError` for one without an ARN: the session would lack a limit that its caller wants.
pub(super) fn policy_arns(policies: Option<Vec<PolicyDescriptor>>) -> Result<Vec<String>> {
    let arns = policies.into_iter().flatten().map(|one| one.arn);
    let arns: Option<Vec<String>> = arns.collect();
    arns.ok_or_else(Error::session_policy_without_arn)
}

/// A session tag of a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Tag {
    key: String,
    value: String,
}

impl Tag {
    pub(super) fn pair(&self) -> (String, String) {
        (self.key.clone(), self.value.clone())
    }
}

impl SessionMembers {
    /// The role that shall be assumed.
    ///
    /// # Errors
    /// `ValidationError` for an ARN of anything else.
    pub(super) fn role(&self) -> Result<StsResourceId> {
        self.role_arn().map(StsResourceId::Role)
    }

    /// The account of the role.
    pub(super) fn account(&self) -> Result<AccountId> {
        let account = self.role_arn()?.account_id();
        account.ok_or_else(|| Error::invalid_role_arn(&self.role_arn))
    }

    pub(super) fn role_arn(&self) -> Result<Arn> {
        let arn = self.role_arn.parse::<Arn>().ok().filter(|arn| {
            let is_role = arn.resource().strip_prefix("role/");
            arn.service() == "iam"
                && arn.account_id().is_some()
                && is_role.is_some_and(|name| !name.is_empty() && !name.ends_with('/'))
        });
        arn.ok_or_else(|| Error::invalid_role_arn(&self.role_arn))
    }

    /// The session, without tags and source identity.
    ///
    /// # Errors
    /// Those of [`policy_arns`].
    pub(super) fn session(self) -> Result<NewRoleSession> {
        Ok(NewRoleSession {
            name: self.role_session_name,
            duration: self.duration_seconds.map(Duration::from_secs),
            policy: self.policy,
            policy_arns: policy_arns(self.policy_arns)?,
            min_token_bytes: self.minimum_session_token_size.unwrap_or_default(),
            ..NewRoleSession::default()
        })
    }
}

/// Checks the tags and the source identity that a token brings for a session of this role: they
/// have the limits of the members of `AssumeRole`.
///
/// # Errors
/// `ValidationError`.
pub(super) fn check_claims(role: &Arn, session: &NewRoleSession) -> Result<()> {
    let tags = session.tags.iter();
    let tags: Vec<_> = tags
        .map(|(key, value)| json!({"Key": key, "Value": value}))
        .collect();
    let members = json!({
        "RoleArn": role.as_str(),
        "RoleSessionName": session.name,
        "Tags": tags,
        "TransitiveTagKeys": session.transitive_keys,
        "SourceIdentity": session.source_identity,
    });
    Ok(MODEL.limits.check("AssumeRole", &members)?)
}

/// What the tags and the source identity of a session give to conditions. Those that it inherits
/// count as if the request had them.
pub(super) fn facts(
    session: &NewRoleSession,
    inherited: &Inherited,
    external_id: Option<&str>,
) -> RequestFacts {
    let mut facts = RequestFacts {
        set: [session.tags.clone(), inherited.tags.clone()].concat(),
        ..RequestFacts::default()
    };
    let mut add = |key, values: Vec<String>| {
        if !values.is_empty() {
            facts.keys.push((key, values));
        }
    };
    add("sts:RoleSessionName", vec![session.name.clone()]);
    add(
        "sts:ExternalId",
        external_id.map(ToOwned::to_owned).into_iter().collect(),
    );
    let source_identity = session.source_identity.as_ref();
    let source_identity = source_identity.or(inherited.source_identity.as_ref());
    add(
        "sts:SourceIdentity",
        source_identity.cloned().into_iter().collect(),
    );
    let passed = inherited.tags.iter().map(|(key, _)| key.clone());
    let transitive = session.transitive_keys.iter().cloned().chain(passed);
    add("sts:TransitiveTagKeys", transitive.collect());
    facts
}

/// The actions besides the operation's own that a session needs.
pub(super) fn further_actions(
    session: &NewRoleSession,
    inherited: &Inherited,
) -> impl Iterator<Item = &'static str> {
    let tags = !session.tags.is_empty() || !inherited.tags.is_empty();
    let identity = session.source_identity.is_some() || inherited.source_identity.is_some();
    let tags = tags.then_some("TagSession");
    tags.into_iter()
        .chain(identity.then_some("SetSourceIdentity"))
}

/// What responses say of a session of a role.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SessionOutput {
    credentials: Credentials,
    assumed_role_user: AssumedRoleUser,
    packed_policy_size: Option<usize>,
    source_identity: Option<String>,
    #[serde(flatten)]
    size: TokenSize,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AssumedRoleUser {
    assumed_role_id: String,
    arn: String,
}

impl From<AssumedRole> for SessionOutput {
    fn from(assumed: AssumedRole) -> Self {
        Self {
            size: TokenSize::of(&assumed.session),
            credentials: assumed.session.into(),
            assumed_role_user: AssumedRoleUser {
                assumed_role_id: assumed.id,
                arn: assumed.arn.to_string(),
            },
            packed_policy_size: assumed.packed_percent,
            source_identity: assumed.source_identity,
        }
    }
}

/// Whether MFA members are given, which no device here can prove.
pub(super) fn refuse_mfa(serial_number: Option<&String>, code: Option<&String>) -> Result<()> {
    if serial_number.is_some() || code.is_some() {
        Err(Error::invalid_mfa_code())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_aws::Fault;

    use super::*;

    #[test]
    fn tags_and_source_identity_of_a_token_have_the_limits_of_a_request() {
        let role = "arn:aws:iam::123456789012:role/deploy".parse::<Arn>();
        let role = role.expect("an ARN");
        let check = |key: &str, value: &str, source_identity: Option<&str>| {
            let session = NewRoleSession {
                name: "run".to_owned(),
                tags: vec![(key.to_owned(), value.to_owned())],
                source_identity: source_identity.map(ToOwned::to_owned),
                ..NewRoleSession::default()
            };
            check_claims(&role, &session).map_err(|error| Fault::from(error).message)
        };
        assert_eq!(check("team", "", None), Ok(()));
        assert_eq!(check("team", "red", Some("ann")), Ok(()));
        let long = "x".repeat(257);
        for (key, value, source_identity, member) in [
            ("", "red", None, "key"),
            (&long[..129], "red", None, "key"),
            ("team\n", "red", None, "key"),
            ("team", "*", None, "value"),
            ("team", &long, None, "value"),
            ("team", "red", Some("a"), "sourceIdentity"),
            ("team", "red", Some("ann\u{1}"), "sourceIdentity"),
            ("team", "red", Some(&long[..65]), "sourceIdentity"),
        ] {
            let error = check(key, value, source_identity).expect_err("refused");
            assert!(error.contains(member), "{error}");
        }
    }
}
