//! What session tokens hold. Names of members are short, because tokens travel in headers.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use wharfinger_aws::AccountId;
use wharfinger_base::Timestamp;

/// The content of a session token.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SessionClaims {
    pub(super) secret: String,
    pub(super) account: AccountId,
    /// The unique id of the user or role, or `root`.
    pub(super) owner: String,
    /// Seconds since the epoch.
    pub(super) issued: i64,
    pub(super) expires: i64,
    /// Of the session of a role, or of a federated user where the owner is a user or a root.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(super) role: Option<RoleSession>,
}

impl SessionClaims {
    pub(super) const fn issued_at(&self) -> Timestamp {
        Timestamp::from_ms(self.issued.saturating_mul(1000))
    }

    pub(super) const fn expires_at(&self) -> Timestamp {
        Timestamp::from_ms(self.expires.saturating_mul(1000))
    }
}

/// What makes a session of a role different from others of the role, or a federated user from its
/// lender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct RoleSession {
    #[serde(rename = "n")]
    pub(super) name: String,
    /// The inline session policy.
    #[serde(rename = "p", skip_serializing_if = "Option::is_none", default)]
    pub(super) policy: Option<Box<RawValue>>,
    /// The ARNs of managed session policies.
    #[serde(rename = "a", skip_serializing_if = "Vec::is_empty", default)]
    pub(super) policy_arns: Vec<String>,
    #[serde(rename = "t", skip_serializing_if = "Vec::is_empty", default)]
    pub(super) tags: Vec<SessionTag>,
    #[serde(rename = "s", skip_serializing_if = "Option::is_none", default)]
    pub(super) source_identity: Option<String>,
    /// The ARN of the OIDC provider whose token the session was made with.
    #[serde(rename = "f", skip_serializing_if = "Option::is_none", default)]
    pub(super) provider: Option<String>,
    /// The condition keys of that token.
    #[serde(rename = "k", skip_serializing_if = "Vec::is_empty", default)]
    pub(super) keys: Vec<(String, Vec<String>)>,
}

/// A tag of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionTag {
    #[serde(rename = "k")]
    pub(super) key: String,
    #[serde(rename = "v")]
    pub(super) value: String,
    /// Whether sessions get it that are made with this one.
    #[serde(rename = "t", skip_serializing_if = "std::ops::Not::not", default)]
    pub(super) transitive: bool,
}

impl SessionTag {
    pub(super) fn pair(&self) -> (String, String) {
        (self.key.clone(), self.value.clone())
    }
}

impl RoleSession {
    /// A session without policies and tags.
    #[cfg(test)]
    pub(super) fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            policy: None,
            policy_arns: Vec::new(),
            tags: Vec::new(),
            source_identity: None,
            provider: None,
            keys: Vec::new(),
        }
    }

    /// The condition keys that requests of the session have besides those of the role.
    pub(super) fn condition_keys(&self) -> Vec<(String, Vec<String>)> {
        let key = |name: &str, value: &Option<String>| {
            let value = value.clone()?;
            Some((name.to_owned(), vec![value]))
        };
        let mut keys = self.keys.clone();
        keys.extend(key("aws:sourceidentity", &self.source_identity));
        keys.extend(key("aws:federatedprovider", &self.provider));
        keys
    }

    /// The tags of the role with those of the session in place of equal keys.
    pub(super) fn tags_over(&self, role: &[(String, String)]) -> Vec<(String, String)> {
        let is_replaced = |key: &str| {
            let mut tags = self.tags.iter();
            tags.any(|tag| tag.key.eq_ignore_ascii_case(key))
        };
        let kept = role.iter().filter(|(key, _)| !is_replaced(key)).cloned();
        kept.chain(self.tags.iter().map(SessionTag::pair)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_a_session_replace_those_of_its_role() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let mut session = RoleSession::named("run");
        session.tags = vec![SessionTag {
            key: "TEAM".to_owned(),
            value: "blue".to_owned(),
            transitive: false,
        }];
        let role = [pair("team", "red"), pair("cost", "7")];
        let tags = session.tags_over(&role);
        assert_eq!(tags, [pair("cost", "7"), pair("TEAM", "blue")]);
    }

    #[test]
    fn a_session_has_keys_of_its_beginning() {
        let mut session = RoleSession::named("run");
        assert!(session.condition_keys().is_empty());
        session.source_identity = Some("ann".to_owned());
        session.keys = vec![("ci:sub".to_owned(), vec!["job".to_owned()])];
        let keys = session.condition_keys();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys[1].0, "aws:sourceidentity");
    }

    #[test]
    fn claims_of_users_have_no_members_of_roles() {
        let text =
            r#"{"secret":"s","account":"123456789012","owner":"root","issued":1,"expires":2}"#;
        let claims: SessionClaims = serde_json::from_str(text).expect("claims");
        assert!(claims.role.is_none());
        assert_eq!(serde_json::to_string(&claims).expect("text"), text);
    }
}
