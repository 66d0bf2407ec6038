//! Callers and decisions as the audit log records them. PURE.

use std::sync::Arc;

use wharfinger_audit::{DecisionRecord, SessionContext, SessionIssuer, UserIdentity};
use wharfinger_aws::Arn;
use wharfinger_iam::{Caller, Decision, Denial, Grant, Principal};

/// Longest access key id that is recorded of a request whose credentials are not valid: the IAM
/// API's own limit.
const MAX_KEY_ID_BYTES: usize = 128;

/// The sender of a request.
pub(crate) fn identity(caller: &Caller) -> UserIdentity {
    let mut identity = UserIdentity {
        r#type: kind(&caller.principal).to_owned(),
        principal_id: Some(caller.user_id().to_owned()),
        arn: Some(caller.arn().to_string()),
        account_id: Some(caller.account.to_string()),
        access_key_id: caller.access_key_id.as_deref().map(ToOwned::to_owned),
        ..UserIdentity::default()
    };
    match &caller.principal {
        Principal::User(user) => identity.user_name = Some(user.name.clone()),
        Principal::AssumedRole { role, .. } => {
            identity.session_context = Some(SessionContext {
                session_issuer: SessionIssuer {
                    r#type: "Role".to_owned(),
                    principal_id: role.id.clone(),
                    arn: role.arn(caller.account).to_string(),
                    account_id: caller.account.to_string(),
                    user_name: role.name.clone(),
                },
            });
        }
        Principal::FederatedUser {
            lender: Some(user), ..
        } => {
            identity.session_context = Some(SessionContext {
                session_issuer: SessionIssuer {
                    r#type: "IAMUser".to_owned(),
                    principal_id: user.id.clone(),
                    arn: user.arn(caller.account).to_string(),
                    account_id: caller.account.to_string(),
                    user_name: user.name.clone(),
                },
            });
        }
        Principal::WebIdentity { subject, .. } => identity.user_name = Some(subject.clone()),
        Principal::Anonymous => {
            identity.principal_id = None;
            identity.arn = None;
            identity.account_id = Some("ANONYMOUS_PRINCIPAL".to_owned());
        }
        Principal::Root | Principal::Service(_) | Principal::FederatedUser { .. } => {}
    }
    identity
}

/// The type of a caller, as `CloudTrail` names it.
const fn kind(principal: &Principal) -> &'static str {
    match principal {
        Principal::Root => "Root",
        Principal::User(_) => "IAMUser",
        Principal::AssumedRole { .. } => "AssumedRole",
        Principal::FederatedUser { .. } => "FederatedUser",
        Principal::WebIdentity { .. } => "WebIdentityUser",
        Principal::Service(_) => "AWSService",
        Principal::Anonymous => "AWSAccount",
    }
}

/// Whoever sent credentials that are not valid. The access key id is kept only where it has the
/// form of one, since people paste secrets into the wrong field.
pub(crate) fn unknown_identity(access_key_id: Option<&str>) -> UserIdentity {
    let is_key_id = |id: &&str| {
        let is_upper = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
        let starts = ["AKIA", "ASIA"].iter().any(|prefix| id.starts_with(prefix));
        starts && id.len() <= MAX_KEY_ID_BYTES && id.bytes().all(is_upper)
    };
    UserIdentity {
        r#type: "Unknown".to_owned(),
        access_key_id: access_key_id.filter(is_key_id).map(ToOwned::to_owned),
        ..UserIdentity::default()
    }
}

/// A decision with the statement that made it.
pub(crate) fn decision(action: &str, resource: Option<&Arn>, made: &Decision) -> DecisionRecord {
    let policy_type = match made {
        Decision::Allow {
            by: Grant::AccountRoot,
        } => "root",
        Decision::Allow {
            by: Grant::Statement(statement),
        }
        | Decision::Deny {
            reason: Denial::ExplicitDeny(statement),
        } => statement.kind.as_str(),
        Decision::Deny {
            reason: Denial::NoAllow(kind),
        } => kind.as_str(),
        Decision::Deny {
            reason: Denial::Limit(_),
        } => "limit",
    };
    let statement = made.statement();
    let text = |text: &Option<Arc<str>>| text.as_deref().map(ToOwned::to_owned);
    DecisionRecord {
        action: action.to_owned(),
        resource: resource.map(ToString::to_string),
        decision: made.as_str().to_owned(),
        policy_type: policy_type.to_owned(),
        policy: statement.and_then(|statement| text(&statement.policy)),
        policy_owner: statement.and_then(|statement| text(&statement.owner)),
        statement: statement.map(|statement| statement.statement),
        sid: statement.and_then(|statement| text(&statement.sid)),
    }
}

#[cfg(test)]
mod tests {
    use wharfinger_aws::AccountId;
    use wharfinger_iam::{MatchedStatement, PolicyKind, RoleName};

    use super::*;

    #[test]
    fn a_session_names_its_role() {
        let role = RoleName {
            path: "/ci/".into(),
            name: "deploy".into(),
            id: "AROAEXAMPLE".into(),
        };
        let principal = Principal::AssumedRole {
            role,
            session_name: "run".into(),
        };
        let caller = Caller::new(AccountId::DEV, principal, Arc::default())
            .with_access_key("ASIAEXAMPLE".into());
        let found = identity(&caller);
        assert_eq!(found.r#type, "AssumedRole");
        assert_eq!(found.principal_id.as_deref(), Some("AROAEXAMPLE:run"));
        assert_eq!(found.access_key_id.as_deref(), Some("ASIAEXAMPLE"));
        let issuer = found.session_context.expect("a session").session_issuer;
        assert_eq!(issuer.arn, "arn:aws:iam::123456789012:role/ci/deploy");
        let anonymous = Caller::new(AccountId::DEV, Principal::Anonymous, Arc::default());
        let found = identity(&anonymous);
        assert_eq!((found.r#type.as_str(), found.arn), ("AWSAccount", None));
    }

    #[test]
    fn only_what_looks_like_a_key_id_is_kept_of_invalid_credentials() {
        for (id, kept) in [
            ("AKIAIOSFODNN7EXAMPLE", true),
            ("ASIAIOSFODNN7EXAMPLE", true),
            ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", false),
            ("AKIAhunter2", false),
            ("", false),
        ] {
            assert_eq!(
                unknown_identity(Some(id)).access_key_id.is_some(),
                kept,
                "{id}"
            );
        }
    }

    #[test]
    fn a_decision_names_the_statement() {
        let statement = MatchedStatement {
            kind: PolicyKind::Identity,
            policy: Some("own".into()),
            owner: Some("user/ann".into()),
            statement: 1,
            sid: Some("Push".into()),
        };
        let made = Decision::Deny {
            reason: Denial::ExplicitDeny(statement),
        };
        let record = decision("ecr:PutImage", None, &made);
        let expected = DecisionRecord {
            action: "ecr:PutImage".into(),
            resource: None,
            decision: "explicitDeny".into(),
            policy_type: "identity".into(),
            policy: Some("own".into()),
            policy_owner: Some("user/ann".into()),
            statement: Some(1),
            sid: Some("Push".into()),
        };
        assert_eq!(record, expected);
        let made = Decision::Deny {
            reason: Denial::NoAllow(PolicyKind::Boundary),
        };
        let record = decision("ecr:PutImage", None, &made);
        assert_eq!(
            (record.decision.as_str(), record.policy_type.as_str()),
            ("implicitDeny", "boundary")
        );
    }
}
