//! What an encoded authorization message says about a denial. PURE.
//!
//! Source: STS API reference, `DecodeAuthorizationMessage`, "Sample Response".

use serde_json::{Value, json};
use wharfinger_audit::{DecisionRecord, UserIdentity};

/// The message about a decision against a caller, as JSON.
pub(crate) fn message(caller: &UserIdentity, denied: &DecisionRecord) -> String {
    let is_explicit = denied.decision == "explicitDeny";
    let statement = denied.statement.filter(|_| is_explicit).map(|index| {
        json!({
            "statementId": denied.sid.as_deref().unwrap_or_default(),
            "statementIndex": index,
            "effect": "DENY",
            "policyType": denied.policy_type,
            "policy": denied.policy,
            "policyOwner": denied.policy_owner,
        })
    });
    json!({
        "allowed": false,
        "explicitDeny": is_explicit,
        "matchedStatements": {"items": statement.into_iter().collect::<Vec<Value>>()},
        "failures": {"items": []},
        "context": {
            "principal": {
                "id": caller.principal_id,
                "name": caller.user_name,
                "arn": caller.arn,
            },
            "action": denied.action,
            "resource": denied.resource.as_deref().unwrap_or("*"),
            "policyType": denied.policy_type,
            "conditions": {"items": []},
        },
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_names_the_caller_the_action_and_the_statement() {
        let caller = UserIdentity {
            principal_id: Some("AIDA1".to_owned()),
            arn: Some("arn:aws:iam::123456789012:user/ann".to_owned()),
            user_name: Some("ann".to_owned()),
            ..UserIdentity::default()
        };
        let mut denied = DecisionRecord {
            action: "ecr:PutImage".to_owned(),
            resource: None,
            decision: "implicitDeny".to_owned(),
            policy_type: "identity".to_owned(),
            policy: None,
            policy_owner: None,
            statement: None,
            sid: None,
        };
        let read = |denied: &DecisionRecord| -> Value {
            serde_json::from_str(&message(&caller, denied)).expect("JSON")
        };
        let implicit = read(&denied);
        assert_eq!(implicit["explicitDeny"], false);
        assert_eq!(implicit["matchedStatements"]["items"], json!([]));
        assert_eq!(implicit["context"]["principal"]["id"], "AIDA1");
        assert_eq!(implicit["context"]["action"], "ecr:PutImage");
        assert_eq!(implicit["context"]["resource"], "*");
        denied.decision = "explicitDeny".to_owned();
        denied.statement = Some(2);
        denied.sid = Some("keep".to_owned());
        let explicit = read(&denied);
        assert_eq!(explicit["explicitDeny"], true);
        assert_eq!(
            explicit["matchedStatements"]["items"][0]["statementId"],
            "keep"
        );
    }
}
