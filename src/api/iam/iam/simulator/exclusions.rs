//! `PolicyExclusionList`: attached policies that a simulation leaves out.

use std::sync::Arc;

use serde::Deserialize;
use wharfinger_iam::{AttachedPolicies, IdentityPolicies, NamedPolicy};

use crate::iam::{Result, error};

/// A policy to leave out: one of its members is set.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(clippy::struct_field_names, reason = "the names of the service model")]
pub(super) struct PolicyIdentifier {
    policy_type: Option<String>,
    policy_arn: Option<String>,
    inline_policy_identifier: Option<InlinePolicyIdentifier>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InlinePolicyIdentifier {
    policy_name: String,
    attachment_type: String,
    attachment_name: String,
}

/// How the ARNs of managed policies begin.
const ARN: &str = "arn:";
const AWS_MANAGED: &str = "arn:aws:iam::aws:policy/";

impl PolicyIdentifier {
    fn is(&self, policy: &NamedPolicy) -> bool {
        let is_managed = policy.name.starts_with(ARN);
        let by_type = self.policy_type.as_deref().is_some_and(|kind| match kind {
            "inline" => !is_managed,
            "aws-managed" => policy.name.starts_with(AWS_MANAGED),
            "user-managed" => is_managed && !policy.name.starts_with(AWS_MANAGED),
            _ => false,
        });
        let by_arn = self.policy_arn.as_deref() == Some(&*policy.name);
        let inline = self.inline_policy_identifier.as_ref();
        let by_name = inline.is_some_and(|inline| {
            let owner = policy.owner.as_deref().unwrap_or_default();
            let (kind, path) = owner.split_once('/').unwrap_or_default();
            let name = path.rsplit('/').next().unwrap_or_default();
            !is_managed
                && *policy.name == *inline.policy_name
                && kind == inline.attachment_type
                && name == inline.attachment_name
        });
        by_type || by_arn || by_name
    }

    fn is_boundary(&self, boundary: &NamedPolicy) -> bool {
        self.policy_type.as_deref() == Some("permission-boundary")
            || self.policy_arn.as_deref() == Some(&*boundary.name)
    }

    fn check(&self) -> Result<()> {
        let set = [
            self.policy_type.is_some(),
            self.policy_arn.is_some(),
            self.inline_policy_identifier.is_some(),
        ];
        if set.iter().filter(|set| **set).count() == 1 {
            return Ok(());
        }
        let message = "Each entry of PolicyExclusionList has exactly one member.";
        Err(error::invalid_input(message))
    }
}

/// The policies that are left.
///
/// # Errors
/// `InvalidInput`.
pub(super) fn without(
    mut attached: AttachedPolicies,
    excluded: &[PolicyIdentifier],
) -> Result<AttachedPolicies> {
    excluded.iter().try_for_each(PolicyIdentifier::check)?;
    if excluded.is_empty() {
        return Ok(attached);
    }
    let kept = attached.policies.policies.iter();
    let kept = kept.filter(|policy| !excluded.iter().any(|one| one.is(policy)));
    let policies = kept.cloned().collect();
    attached.policies = Arc::new(IdentityPolicies { policies });
    let is_excluded = |boundary: &NamedPolicy| excluded.iter().any(|one| one.is_boundary(boundary));
    attached.boundary = attached.boundary.filter(|boundary| !is_excluded(boundary));
    Ok(attached)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wharfinger_iam::{Grammar, Policy};

    use super::*;

    fn left(excluded: Value) -> Vec<String> {
        let text = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#;
        let named = |name: &str, owner: &str| NamedPolicy {
            name: name.into(),
            owner: Some(owner.into()),
            policy: Arc::new(Policy::parse(text, Grammar::Identity).expect("a policy")),
        };
        let policies = vec![
            named("own", "user/ann"),
            named("own", "group/team/ops"),
            named("arn:aws:iam::aws:policy/AdministratorAccess", "user/ann"),
            named("arn:aws:iam::123456789012:policy/limit", "user/ann"),
        ];
        let attached = AttachedPolicies {
            policies: Arc::new(IdentityPolicies { policies }),
            boundary: Some(named("arn:aws:iam::123456789012:policy/limit", "")),
            caller: None,
        };
        let excluded: Vec<_> = serde_json::from_value(excluded).expect("a list");
        let left = without(attached, &excluded).expect("valid");
        let boundary = left.boundary.map(|_| "boundary".to_owned());
        let owners = left.policies.policies.iter();
        let owners = owners.map(|policy| policy.owner.clone().expect("one").to_string());
        owners.chain(boundary).collect()
    }

    #[test]
    fn policies_are_left_out_by_type_arn_and_name() {
        let (ann, ops) = ("user/ann", "group/team/ops");
        for (excluded, expected) in [
            (json!([]), &[ann, ops, ann, ann, "boundary"][..]),
            (json!([{"PolicyType": "inline"}]), &[ann, ann, "boundary"]),
            (
                json!([{"PolicyType": "aws-managed"}]),
                &[ann, ops, ann, "boundary"],
            ),
            (
                json!([{"PolicyType": "permission-boundary"}]),
                &[ann, ops, ann, ann],
            ),
            (
                json!([{"PolicyArn": "arn:aws:iam::123456789012:policy/limit"}]),
                &[ann, ops, ann],
            ),
            (
                json!([{"InlinePolicyIdentifier": {
                    "PolicyName": "own", "AttachmentType": "group", "AttachmentName": "ops",
                }}]),
                &[ann, ann, ann, "boundary"],
            ),
        ] {
            assert_eq!(left(excluded.clone()), expected, "{excluded}");
        }
    }
}
