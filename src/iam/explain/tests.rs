//! Explanations of single decisions.

use serde_json::{Value, json};
use wharfinger_aws::{AccountId, Arn};

use super::*;
use crate::budget::EvaluationBudget;
use crate::context::{ConditionContext, SimulatedContext};
use crate::policy::Grammar;
use crate::principal::{Caller, IdentityPolicies, UserName};

fn policy(grammar: Grammar, statements: &Value) -> Policy {
    let document = json!({"Version": "2012-10-17", "Statement": statements});
    Policy::parse(&document.to_string(), grammar).expect("a policy")
}

fn named(name: &str, owner: Option<&str>, statements: &Value) -> NamedPolicy {
    NamedPolicy {
        name: name.into(),
        owner: owner.map(Into::into),
        policy: Arc::new(policy(Grammar::Identity, statements)),
    }
}

/// The user ann, who may read, and may put images to `web` from 10.0.0.0/8.
fn ann() -> Caller {
    let own = json!([
        {"Effect": "Allow", "Action": "ecr:Get*", "Resource": "*"},
        {"Sid": "Push", "Effect": "Allow", "Action": "ecr:Put*",
         "Resource": "arn:aws:ecr:*:*:repository/${aws:PrincipalTag/team}/*",
         "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
        {"Effect": "Allow", "Action": "ecr:*", "Resource": "arn:aws:ecr:*:*:repository/api"},
    ]);
    let user = UserName {
        path: "/".into(),
        name: "ann".into(),
        id: "AIDACKCEVSQ6C2EXAMPLE".into(),
    };
    let policies = vec![named("own", Some("user/ann"), &own)];
    let policies = Arc::new(IdentityPolicies { policies });
    let mut caller = Caller::new(AccountId::DEV, Principal::User(user), policies);
    caller.tags = vec![("team".into(), "web".into())];
    caller
}

fn explain(caller: &Caller, resource: Option<&Policy>, given: &[(&str, &str)]) -> Explanation {
    let mut simulated = SimulatedContext::default();
    for (key, value) in given {
        simulated.set(key, vec![(*value).to_owned()]);
    }
    let arn: Arn = "arn:aws:ecr:us-east-1:123456789012:repository/web/app"
        .parse()
        .expect("an ARN");
    let request = AccessRequest {
        caller,
        action: "ecr:PutImage",
        resource: Some(&arn),
        resource_account: AccountId::DEV,
        context: ConditionContext {
            simulated: Some(&simulated),
            ..ConditionContext::default()
        },
        budget: &EvaluationBudget::default(),
    };
    Explainer::new(PolicySet::of(caller, resource)).explain(&request)
}

fn outcomes(explanation: &Explanation, policy: usize) -> Vec<Applicability> {
    let statements = explanation.policies[policy].statements.iter();
    statements.map(|one| one.applicability.clone()).collect()
}

#[test]
fn each_statement_says_what_keeps_it_from_applying() {
    let found = explain(&ann(), None, &[("aws:SourceIp", "192.168.0.1")]);
    assert!(!found.decision.is_allow());
    let fails = Applicability::ConditionFails {
        operator: "IpAddress".into(),
        key: "aws:SourceIp".into(),
        values: vec!["192.168.0.1".into()],
    };
    assert_eq!(
        outcomes(&found, 0),
        [
            Applicability::OtherAction,
            fails,
            Applicability::OtherResource
        ]
    );
    assert!(found.missing_keys.is_empty());
    let statement = &found.policies[0].statements[1];
    assert_eq!(statement.sid.as_deref(), Some("Push"));
    assert_eq!(found.policies[0].owner.as_deref(), Some("user/ann"));

    let found = explain(&ann(), None, &[("aws:SourceIp", "10.1.2.3")]);
    assert!(found.decision.is_allow());
    assert_eq!(found.allowed_by(PolicyKind::Identity), Some(true));
    assert_eq!(found.allowed_by(PolicyKind::Boundary), None);
    assert_eq!(found.policies[0].applying(Effect::Allow).count(), 1);
}

#[test]
fn keys_without_a_value_are_named() {
    let mut caller = ann();
    caller.tags.clear();
    let found = explain(&caller, None, &[]);
    assert_eq!(
        found.missing_keys,
        ["aws:SourceIp", "aws:PrincipalTag/team"]
    );
}

#[test]
fn policies_of_every_kind_are_explained() {
    let mut caller = ann();
    let deny = json!({"Effect": "Deny", "Action": "ecr:Put*", "Resource": "*"});
    caller.boundary = Some(named("limit", None, &deny));
    let session = vec![named("session", None, &deny)];
    caller.session_policies = Some(Arc::new(IdentityPolicies { policies: session }));
    let shared = json!([
        {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "*"},
        {"Effect": "Allow", "Principal": {"AWS": "210987654321"}, "Action": "*"},
    ]);
    let shared = policy(Grammar::Repository, &shared);
    let found = explain(&caller, Some(&shared), &[]);
    let kinds: Vec<_> = found.policies.iter().map(|policy| policy.kind).collect();
    let expected = [
        PolicyKind::Identity,
        PolicyKind::Resource,
        PolicyKind::Boundary,
        PolicyKind::Session,
    ];
    assert_eq!(kinds, expected);
    assert_eq!(
        outcomes(&found, 1),
        [Applicability::Delegates, Applicability::OtherPrincipal]
    );
    assert_eq!(outcomes(&found, 2), [Applicability::Applies]);
    assert_eq!(found.allowed_by(PolicyKind::Boundary), Some(false));
}

#[test]
fn a_root_has_no_identity_policies() {
    let found = explain(&Caller::root(AccountId::DEV), None, &[]);
    assert!(found.decision.is_allow() && found.policies.is_empty());
}

#[test]
fn explanations_take_from_the_budget_of_the_request() {
    let caller = ann();
    let explainer = Explainer::new(PolicySet::of(&caller, None));
    let budget = EvaluationBudget::default();
    let request = AccessRequest {
        caller: &caller,
        action: "ecr:PutImage",
        resource: None,
        resource_account: AccountId::DEV,
        context: ConditionContext::default(),
        budget: &budget,
    };
    let mut count = 0;
    while !budget.is_spent() {
        let found = explainer.explain(&request);
        assert!(count < 20_000, "the budget is bounded");
        count += 1;
        if budget.is_spent() {
            let last = found.policies[0].statements.last().expect("a statement");
            assert_eq!(last.applicability, Applicability::NotCompared);
        }
    }
    assert!(count > 1_000, "{count}");
}

/// Each explanation looks at all keys, and copies the values of each condition that fails.
#[test]
fn missing_keys_and_copied_values_take_from_the_budget() {
    let explained = |condition: &Value| {
        let one = json!({
            "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition,
        });
        let policies = (0..20).map(|_| named("own", None, &one)).collect();
        let mut caller = ann();
        caller.policies = Arc::new(IdentityPolicies { policies });
        let mut context = SimulatedContext::default();
        context.set("test:there", vec!["x".repeat(2_000); 100]);
        let budget = EvaluationBudget::default();
        let request = AccessRequest {
            caller: &caller,
            action: "ecr:PutImage",
            resource: None,
            resource_account: AccountId::DEV,
            context: ConditionContext {
                simulated: Some(&context),
                ..ConditionContext::default()
            },
            budget: &budget,
        };
        let explainer = Explainer::new(PolicySet::of(&caller, None));
        let mut count = 0;
        while !budget.is_spent() && count < 1_000 {
            let _ = explainer.explain(&request);
            count += 1;
        }
        count
    };
    let keys: serde_json::Map<_, _> = (0..120)
        .map(|at| (format!("test:{at:030}"), json!("x")))
        .collect();
    let count = explained(&json!({"StringNotEquals": keys}));
    assert!(count < 50, "{count} explanations with 2,400 keys");
    let count = explained(&json!({"Null": {"test:there": "true"}}));
    assert!(count < 5, "{count} explanations with 4 MB of values");
}
