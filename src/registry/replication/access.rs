//! Whether a registry lets another account replicate into it. PURE.
//!
//! Source: ECR user guide, "Registry permissions in Amazon ECR": the policy of the destination's
//! registry grants `ecr:ReplicateImage`, and `ecr:CreateRepository` for repositories that are not
//! there, to the root of the source's account.

use wharfinger_base::Timestamp;
use wharfinger_iam::{
    AccessRequest, Caller, ConditionContext, EvaluationBudget, Policy, PolicySet, evaluate,
};
use wharfinger_oci::RepositoryName;

use crate::model::RegistryId;

/// What a replication may do at its destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    pub(super) replicate: bool,
    pub(super) create_repository: bool,
}

/// What a registry may do in the repository of this name of a destination with this policy. An
/// account may do in its own registries what their policies do not deny.
pub(super) fn allowed(
    source: &RegistryId,
    destination: &RegistryId,
    name: &RepositoryName,
    policy: Option<&Policy>,
    now: Timestamp,
) -> Allowed {
    let caller = Caller::root(source.account);
    let (arn, budget) = (
        destination.repository_arn(name),
        EvaluationBudget::default(),
    );
    let is_allowed = |action| {
        let request = AccessRequest {
            caller: &caller,
            action,
            resource: Some(&arn),
            resource_account: destination.account,
            context: ConditionContext {
                now,
                secure_transport: true,
                requested_region: Some(destination.region.as_str()),
                ..ConditionContext::default()
            },
            budget: &budget,
        };
        let policies = PolicySet::of(&caller, None).with_registry_policy(policy);
        evaluate(&request, &policies).is_allow()
    };
    Allowed {
        replicate: is_allowed("ecr:ReplicateImage"),
        create_repository: is_allowed("ecr:CreateRepository"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wharfinger_iam::Grammar;

    use super::*;

    fn registry(account: &str) -> RegistryId {
        RegistryId {
            account: account.parse().expect("an account"),
            region: "us-east-1".parse().expect("a region"),
        }
    }

    fn decide(source: &str, policy: Option<&serde_json::Value>) -> (bool, bool) {
        let policy = policy
            .map(|text| Policy::parse(&text.to_string(), Grammar::Registry).expect("a policy"));
        let found = allowed(
            &registry(source),
            &registry("222222222222"),
            &"team/web".parse().expect("a name"),
            policy.as_ref(),
            Timestamp::from_ms(0),
        );
        (found.replicate, found.create_repository)
    }

    #[test]
    fn another_account_needs_the_policy_of_the_registry_for_each_action() {
        let policy = |actions: serde_json::Value, resource: &str| {
            json!({"Version": "2012-10-17", "Statement": [{
                "Sid": "Replication", "Effect": "Allow",
                "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
                "Action": actions, "Resource": [resource],
            }]})
        };
        let team = "arn:aws:ecr:us-east-1:222222222222:repository/team/*";
        let other = "arn:aws:ecr:us-east-1:222222222222:repository/other/*";
        let both = json!(["ecr:ReplicateImage", "ecr:CreateRepository"]);
        let one = json!(["ecr:ReplicateImage"]);
        let source = "111111111111";
        assert_eq!(decide(source, None), (false, false));
        assert_eq!(
            decide(source, Some(&policy(both.clone(), team))),
            (true, true)
        );
        assert_eq!(decide(source, Some(&policy(one, team))), (true, false));
        assert_eq!(
            decide(source, Some(&policy(both.clone(), other))),
            (false, false)
        );
        assert_eq!(
            decide("333333333333", Some(&policy(both, team))),
            (false, false)
        );
        assert_eq!(decide("222222222222", None), (true, true));
    }

    #[test]
    fn an_account_may_do_in_its_own_registries_what_their_policies_do_not_deny() {
        let policy = |effect: &str, action: &str| {
            json!({"Version": "2012-10-17", "Statement": [{
                "Sid": "one", "Effect": effect, "Principal": "*", "Action": [action],
                "Resource": ["arn:aws:ecr:us-east-1:222222222222:repository/*"],
            }]})
        };
        let own = "222222222222";
        for (action, expected) in [
            ("ecr:ReplicateImage", (false, true)),
            ("ecr:CreateRepository", (true, false)),
        ] {
            assert_eq!(decide(own, Some(&policy("Deny", action))), expected);
            assert_eq!(decide(own, Some(&policy("Allow", action))), (true, true));
        }
    }
}
