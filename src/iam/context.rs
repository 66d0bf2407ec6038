//! The request that a decision is about, with the values of the global and ECR condition keys. They
//! are computed only when a condition needs them. PURE.
//!
//! Source: IAM user guide, "AWS global condition context keys"; Service Authorization Reference,
//! "Amazon ECR".

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;

use wharfinger_aws::{AccountId, Arn};
use wharfinger_base::Timestamp;

use crate::budget::EvaluationBudget;
use crate::key::Key;
use crate::principal::{Caller, Principal};

/// A request for a decision: whether the caller may perform the action on the resource.
#[derive(Clone, Copy, Debug)]
pub struct AccessRequest<'a> {
    pub caller: &'a Caller,
    /// The IAM action, such as `ecr:PutImage`.
    pub action: &'a str,
    /// `None` for actions without a resource: policies must then name `*`.
    pub resource: Option<&'a Arn>,
    /// The account that owns the resource, or the registry.
    pub resource_account: AccountId,
    pub context: ConditionContext<'a>,
    /// Shared by all decisions about one HTTP request.
    pub budget: &'a EvaluationBudget,
}

/// The other values of a request that conditions may use. Borrowed, so that making one is cheap.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConditionContext<'a> {
    /// `aws:CurrentTime` and `aws:EpochTime`.
    pub now: Timestamp,
    /// `aws:SourceIp`.
    pub source_ip: Option<IpAddr>,
    /// `aws:SecureTransport`.
    pub secure_transport: bool,
    /// `aws:UserAgent`.
    pub user_agent: Option<&'a str>,
    /// `aws:RequestedRegion`.
    pub requested_region: Option<&'a str>,
    /// `aws:ResourceTag/KEY` and `ecr:ResourceTag/KEY`: the tags of the resource as it stands.
    pub resource_tags: &'a [(String, String)],
    /// `aws:RequestTag/KEY` and `aws:TagKeys`: the tags that the request brings.
    pub request_tags: &'a [(String, String)],
    /// Further values of `aws:TagKeys`: the keys of the tags that the request removes.
    pub removed_tags: &'a [String],
    /// Keys of a single service, by their full name.
    pub extra: &'a [(&'a str, &'a [String])],
    /// For a simulation: values in place of those of a request. The keys of the time and of the
    /// connection then have no others.
    pub simulated: Option<&'a SimulatedContext>,
}

/// The values of condition keys that a simulation is given.
#[derive(Clone, Debug, Default)]
pub struct SimulatedContext {
    entries: HashMap<Key, Vec<String>>,
    hides_caller: bool,
}

impl SimulatedContext {
    /// Gives a key its values, in place of those that it had.
    pub fn set(&mut self, key: &str, values: Vec<String>) {
        self.entries.insert(Key::of(key), values);
    }

    /// Leaves the keys about the caller without a value unless they are given one: nobody in
    /// particular is the caller.
    pub const fn hide_caller(&mut self) {
        self.hides_caller = true;
    }

    fn get(&self, key: &Key) -> Option<&[String]> {
        self.entries.get(key).map(Vec::as_slice)
    }
}

impl<'a> AccessRequest<'a> {
    /// The values for a condition key; none where the request lacks it.
    pub(super) fn values(&self, key: &Key) -> Vec<Cow<'a, str>> {
        let Some(simulated) = self.context.simulated else {
            return self.own_values(key);
        };
        match simulated.get(key) {
            Some(values) => values.iter().map(|value| value.as_str().into()).collect(),
            None if key.is_of_connection() => Vec::new(),
            None if simulated.hides_caller && key.is_of_caller() => Vec::new(),
            None => self.own_values(key),
        }
    }

    fn own_values(&self, key: &Key) -> Vec<Cow<'a, str>> {
        // Keys of tags differ by case, and condition keys do not: all such tags are values.
        let tags = |tags: &'a [(String, String)], wanted: &str| {
            tags.iter()
                .filter(|(name, _)| name.eq_ignore_ascii_case(wanted))
                .map(|(_, value)| Cow::Borrowed(value.as_str()))
                .collect()
        };
        let context = self.context;
        match key {
            Key::ResourceTag(wanted) => return tags(context.resource_tags, wanted),
            Key::RequestTag(wanted) => return tags(context.request_tags, wanted),
            Key::PrincipalTag(wanted) => return tags(&self.caller.tags, wanted),
            Key::TagKeys => {
                let set = context.request_tags.iter().map(|(name, _)| name);
                let keys = set.chain(context.removed_tags);
                return keys.map(|name| Cow::Borrowed(name.as_str())).collect();
            }
            Key::Other(name) => {
                let found = context
                    .extra
                    .iter()
                    .find(|(key, _)| key.eq_ignore_ascii_case(name));
                let kept = || {
                    let mut kept = self.caller.session_keys.iter();
                    kept.find(|(key, _)| key == name)
                        .map(|(_, values)| values.as_slice())
                };
                let found = found.map(|(_, values)| *values).or_else(kept);
                let values = found.unwrap_or_default().iter();
                return values.map(|value| Cow::Borrowed(value.as_str())).collect();
            }
            _ => {}
        }
        let single = match key {
            Key::CurrentTime => Some(Cow::Owned(context.now.to_rfc3339())),
            Key::EpochTime => Some(Cow::Owned(
                (context.now.as_ms().div_euclid(1000)).to_string(),
            )),
            Key::SourceIp => context
                .source_ip
                .map(|ip| Cow::Owned(ip.to_canonical().to_string())),
            Key::SecureTransport => Some(Cow::Borrowed(if context.secure_transport {
                "true"
            } else {
                "false"
            })),
            Key::UserAgent => context.user_agent.map(Cow::Borrowed),
            Key::RequestedRegion => context.requested_region.map(Cow::Borrowed),
            Key::ResourceAccount => Some(Cow::Owned(self.resource_account.as_str().to_owned())),
            Key::ViaService => Some(Cow::Borrowed("false")),
            Key::ResourceTag(_)
            | Key::RequestTag(_)
            | Key::PrincipalTag(_)
            | Key::TagKeys
            | Key::Other(_) => None,
            Key::PrincipalArn
            | Key::PrincipalAccount
            | Key::PrincipalType
            | Key::PrincipalIsService
            | Key::PrincipalServiceName
            | Key::Username
            | Key::UserId
            | Key::TokenIssueTime
            | Key::MultiFactorAuthPresent => self.of_caller(key),
        };
        single.into_iter().collect()
    }

    /// The value of a policy variable; `None` where the request has none or several.
    pub(super) fn variable(&self, key: &str) -> Option<Cow<'a, str>> {
        let key = Key::of(key);
        // A key with many values is not a variable, even where this request has only one value.
        if key == Key::TagKeys {
            return None;
        }
        let mut values = self.values(&key);
        if values.len() == 1 {
            values.pop()
        } else {
            None
        }
    }

    /// The keys about the caller. Source: the table "Principal key values" of the IAM user guide.
    fn of_caller(&self, key: &Key) -> Option<Cow<'a, str>> {
        let caller = self.caller;
        let known = match caller.principal {
            Principal::Root
            | Principal::User(_)
            | Principal::AssumedRole { .. }
            | Principal::FederatedUser { .. } => true,
            Principal::WebIdentity { .. } | Principal::Service(_) | Principal::Anonymous => false,
        };
        match (key, &caller.principal) {
            (Key::PrincipalType, Principal::Root) => Some("Account".into()),
            (Key::PrincipalType, Principal::User(_)) => Some("User".into()),
            (Key::PrincipalType, Principal::AssumedRole { .. }) => Some("AssumedRole".into()),
            (Key::PrincipalType, Principal::FederatedUser { .. }) => Some("FederatedUser".into()),
            (Key::PrincipalType, Principal::Anonymous) => Some("Anonymous".into()),
            (Key::PrincipalArn, _) if known => Some(caller.principal_arn().as_str().into()),
            (Key::PrincipalAccount, _) if known => Some(caller.account.as_str().into()),
            (Key::UserId, Principal::Anonymous) => Some("anonymous".into()),
            (Key::UserId, _) if known => Some(caller.user_id().into()),
            (Key::PrincipalIsService, Principal::Service(_)) => Some("true".into()),
            (Key::PrincipalIsService, _) => Some("false".into()),
            (Key::PrincipalServiceName, Principal::Service(name)) => Some((&**name).into()),
            (Key::Username, Principal::User(user)) => Some(user.name.as_str().into()),
            (Key::TokenIssueTime, _) => caller.issued_at.map(|at| at.to_rfc3339().into()),
            // The key exists for temporary credentials only, and no device proves anything here.
            (Key::MultiFactorAuthPresent, _) => caller.issued_at.map(|_| "false".into()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::principal::{RoleName, UserName};

    #[test]
    fn every_key_has_its_value() {
        let ann = UserName {
            path: "/".into(),
            name: "ann".into(),
            id: "AIDA1".into(),
        };
        let caller = Caller::new(AccountId::DEV, Principal::User(ann), Arc::default());
        let tags = [
            ("Team".to_owned(), "red".to_owned()),
            ("x".to_owned(), "y".to_owned()),
            ("X".to_owned(), "z".to_owned()),
        ];
        let removed = ["old".to_owned()];
        let extra = ["a".to_owned(), "b".to_owned()];
        let context = ConditionContext {
            now: Timestamp::from_ms(1_700_000_000_500),
            source_ip: "::ffff:10.0.0.1".parse().ok(),
            secure_transport: true,
            user_agent: Some("curl"),
            requested_region: Some("us-east-1"),
            resource_tags: &tags[..1],
            request_tags: &tags,
            removed_tags: &removed,
            extra: &[("ecr:Thing", &extra)],
            simulated: None,
        };
        let request = AccessRequest {
            caller: &caller,
            action: "ecr:PutImage",
            resource: None,
            resource_account: AccountId::DEV,
            context,
            budget: &EvaluationBudget::default(),
        };
        for (key, expected) in [
            ("aws:CurrentTime", "2023-11-14T22:13:20.5Z"),
            ("aws:EpochTime", "1700000000"),
            ("aws:SourceIp", "10.0.0.1"),
            ("AWS:SECURETRANSPORT", "true"),
            ("aws:UserAgent", "curl"),
            ("aws:RequestedRegion", "us-east-1"),
            ("aws:PrincipalArn", "arn:aws:iam::123456789012:user/ann"),
            ("aws:PrincipalAccount", "123456789012"),
            ("aws:PrincipalType", "User"),
            ("aws:username", "ann"),
            ("aws:userid", "AIDA1"),
            ("aws:ResourceAccount", "123456789012"),
            ("aws:PrincipalIsAWSService", "false"),
            ("aws:PrincipalTag/team", ""),
            ("aws:TokenIssueTime", ""),
            ("aws:MultiFactorAuthPresent", ""),
            ("ecr:ResourceTag/Team", "red"),
            ("aws:ResourceTag/team", "red"),
            ("aws:RequestTag/x", "y,z"),
            ("aws:RequestTag/old", ""),
            ("aws:TagKeys", "Team,x,X,old"),
            ("ecr:thing", "a,b"),
            ("aws:ResourceTag/none", ""),
            ("aws:PrincipalOrgID", ""),
        ] {
            assert_eq!(request.values(&Key::of(key)).join(","), expected, "{key}");
        }
        assert_eq!(request.variable("aws:username").as_deref(), Some("ann"));
        assert_eq!(request.variable("aws:TagKeys"), None);
        assert_eq!(request.variable("aws:RequestTag/x"), None);
        assert_eq!(
            AccessRequest {
                caller: &Caller::root(AccountId::DEV),
                ..request
            }
            .variable("aws:username"),
            None
        );
    }
    #[test]
    fn a_session_has_keys_of_its_own() {
        let role = RoleName {
            path: "/ci/".into(),
            name: "deploy".into(),
            id: "AROA1".into(),
        };
        let principal = Principal::AssumedRole {
            role,
            session_name: "run".into(),
        };
        let mut caller = Caller::new(AccountId::DEV, principal, Arc::default());
        caller.tags = vec![("Team".to_owned(), "red".to_owned())];
        caller.issued_at = Some(Timestamp::from_ms(1_700_000_000_000));
        let request = AccessRequest {
            caller: &caller,
            action: "ecr:PutImage",
            resource: None,
            resource_account: AccountId::DEV,
            context: ConditionContext::default(),
            budget: &EvaluationBudget::default(),
        };
        for (key, expected) in [
            (
                "aws:PrincipalArn",
                "arn:aws:iam::123456789012:role/ci/deploy",
            ),
            ("aws:PrincipalType", "AssumedRole"),
            ("aws:username", ""),
            ("aws:userid", "AROA1:run"),
            ("aws:PrincipalTag/team", "red"),
            ("aws:TokenIssueTime", "2023-11-14T22:13:20Z"),
            ("aws:MultiFactorAuthPresent", "false"),
        ] {
            assert_eq!(request.values(&Key::of(key)).join(","), expected, "{key}");
        }
        let tag = request.variable("aws:PrincipalTag/TEAM");
        assert_eq!(tag.as_deref(), Some("red"));
    }

    #[test]
    fn a_simulation_has_its_own_values() {
        let mut simulated = SimulatedContext::default();
        simulated.set("aws:SourceIp", vec!["10.0.0.1".into()]);
        simulated.set("AWS:sourceip", vec!["10.0.0.2".into()]);
        simulated.set("aws:PrincipalArn", vec!["other".into()]);
        let caller = Caller::root(AccountId::DEV);
        let request = AccessRequest {
            caller: &caller,
            action: "ecr:PutImage",
            resource: None,
            resource_account: AccountId::DEV,
            context: ConditionContext {
                user_agent: Some("curl"),
                simulated: Some(&simulated),
                ..ConditionContext::default()
            },
            budget: &EvaluationBudget::default(),
        };
        for (key, expected) in [
            ("aws:SourceIp", "10.0.0.2"),
            ("aws:PrincipalArn", "other"),
            ("aws:PrincipalType", "Account"),
            ("aws:UserAgent", ""),
            ("aws:CurrentTime", ""),
            ("aws:SecureTransport", ""),
        ] {
            assert_eq!(request.values(&Key::of(key)).join(","), expected, "{key}");
        }
        let arn = request.values(&Key::of("aws:userid"));
        assert_eq!(arn, ["123456789012"]);
        let mut hidden = simulated.clone();
        hidden.hide_caller();
        let request = AccessRequest {
            context: ConditionContext {
                simulated: Some(&hidden),
                ..request.context
            },
            ..request
        };
        assert!(request.values(&Key::of("aws:userid")).is_empty());
        assert_eq!(request.values(&Key::of("aws:PrincipalArn")), ["other"]);
    }
}
