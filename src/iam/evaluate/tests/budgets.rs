//! The bounds of the work that a decision may take.

use super::*;
use crate::budget::{EvaluationLimit, MAX_CONDITION_VALUE_BYTES, STEPS_PER_REQUEST};

/// A decision about a user with this identity policy, sent with this `User-Agent`.
fn decide_for_agent(caller: &Caller, agent: &str, budget: &EvaluationBudget) -> (Decision, String) {
    let context = ConditionContext {
        user_agent: Some(agent),
        ..ConditionContext::default()
    };
    let request = AccessRequest {
        caller,
        action: "ecr:PutImage",
        resource: None,
        resource_account: account(HOME),
        context,
        budget,
    };
    let decision = evaluate(&request, &PolicySet::of(caller, None));
    let message = decision.message(&request);
    (decision, message)
}

fn deny_agents(patterns: &[String]) -> Value {
    json!({
        "Effect": "Deny", "Action": "*", "Resource": "*",
        "Condition": {"StringLike": {"aws:UserAgent": patterns}},
    })
}

#[test]
fn a_long_condition_value_is_denied_only_where_a_condition_uses_it() {
    let longest = "a".repeat(MAX_CONDITION_VALUE_BYTES);
    let longer = format!("{longest}a");
    let budget = EvaluationBudget::default();
    let ann = caller(HOME, "ann", &[allow_all(), deny_agents(&["b*".into()])]);
    assert!(decide_for_agent(&ann, &longest, &budget).0.is_allow());
    let (decision, message) = decide_for_agent(&ann, &longer, &budget);
    let reason = Denial::Limit(EvaluationLimit::ValueBytes);
    assert_eq!(decision, Decision::Deny { reason });
    assert!(
        message.ends_with("that is longer than 2048 bytes"),
        "{message}"
    );
    let eve = caller(HOME, "eve", &[allow_all()]);
    assert!(decide_for_agent(&eve, &longer, &budget).0.is_allow());
}

#[test]
fn the_decisions_of_one_request_share_a_budget() {
    let agent = "a".repeat(MAX_CONDITION_VALUE_BYTES);
    let patterns: Vec<_> = (0..90)
        .map(|at| format!("*{}b{at}*", "a?".repeat(20)))
        .collect();
    let ann = caller(HOME, "ann", &[allow_all(), deny_agents(&patterns)]);
    let (budget, mut allowed) = (EvaluationBudget::default(), 0_u64);
    let message = loop {
        match decide_for_agent(&ann, &agent, &budget) {
            (Decision::Allow { .. }, _) => allowed += 1,
            (_, message) => break message,
        }
        assert!(allowed < STEPS_PER_REQUEST / agent.len() as u64);
    };
    assert!(allowed > 10, "{allowed} decisions");
    assert!(
        message.contains("because the policies take too long"),
        "{message}"
    );
    assert!(budget.is_spent());
    let other = EvaluationBudget::default();
    assert!(decide_for_agent(&ann, &agent, &other).0.is_allow());
}

#[test]
fn one_decision_takes_a_twentieth_of_a_requests_budget_at_most() {
    let agent = "a".repeat(MAX_CONDITION_VALUE_BYTES);
    let hostile = |policies: usize| {
        let patterns: Vec<_> = (0..80)
            .map(|at| format!("*{}b{at}*", "a?".repeat(20)))
            .collect();
        let deny = [deny_agents(&patterns)];
        let mut all = vec![named(&[allow_all()])];
        all.extend((0..policies).map(|_| named(&deny)));
        let mut caller = caller(HOME, "ann", &[]);
        caller.policies = Arc::new(IdentityPolicies { policies: all });
        caller
    };
    let budget = EvaluationBudget::default();
    assert!(decide_for_agent(&hostile(1), &agent, &budget).0.is_allow());
    assert!(!budget.is_spent());
    let (decision, _) = decide_for_agent(&hostile(9), &agent, &budget);
    let reason = Denial::Limit(EvaluationLimit::Steps);
    assert_eq!(decision, Decision::Deny { reason });
    assert!(budget.is_spent(), "the request is refused as a whole");
}
