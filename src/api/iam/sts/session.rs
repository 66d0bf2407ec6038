//! The members that operations share which make sessions of roles.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wharfinger_api_core::RequestFacts;
use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::{AssumedRole, Inherited, NewRoleSession};

use crate::sts::credentials::{Credentials, TokenSize};
use crate::sts::{Error, Result, StsResourceId};

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

#[derive(Debug, Deserialize)]
struct PolicyDescriptor {
    arn: Option<String>,
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

    fn role_arn(&self) -> Result<Arn> {
        let arn = self.role_arn.parse::<Arn>().ok().filter(|arn| {
            let is_role = arn.resource().strip_prefix("role/");
            arn.service() == "iam"
                && arn.account_id().is_some()
                && is_role.is_some_and(|name| !name.is_empty() && !name.ends_with('/'))
        });
        arn.ok_or_else(|| Error::invalid_role_arn(&self.role_arn))
    }

    /// The session, without tags and source identity.
    pub(super) fn session(self) -> NewRoleSession {
        let arns = self.policy_arns.unwrap_or_default();
        NewRoleSession {
            name: self.role_session_name,
            duration: self.duration_seconds.map(Duration::from_secs),
            policy: self.policy,
            policy_arns: arns.into_iter().filter_map(|one| one.arn).collect(),
            min_token_bytes: self.minimum_session_token_size.unwrap_or_default(),
            ..NewRoleSession::default()
        }
    }
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
