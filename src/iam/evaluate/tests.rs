//! Tests of decisions: AWS's published rules case by case, and the combination of policies compared
//! with a simple oracle.

mod oracle;
mod table;

use serde_json::{Value, json};
use wharfinger_aws::{AccountId, Arn};

use super::*;
use crate::budget::{
    EvaluationBudget, EvaluationLimit, MAX_CONDITION_VALUE_BYTES, STEPS_PER_REQUEST,
};
use crate::context::ConditionContext;
use crate::policy::Grammar;
use crate::principal::{NamedPolicy, RoleName, UserName};

const HOME: &str = "111111111111";
const AWAY: &str = "222222222222";

fn account(id: &str) -> AccountId {
    id.parse().expect("an account")
}

fn policy(grammar: Grammar, statements: &[Value]) -> Policy {
    Policy::parse(
        &json!({"Version": "2012-10-17", "Statement": statements}).to_string(),
        grammar,
    )
    .expect("a policy")
}

/// `root` or a user of the account, with one identity policy of these statements.
fn caller(id: &str, name: &str, statements: &[Value]) -> Caller {
    if name == "root" {
        return Caller::root(account(id));
    }
    let policies = if statements.is_empty() {
        Vec::new()
    } else {
        vec![NamedPolicy {
            name: "own".into(),
            policy: Arc::new(policy(Grammar::Identity, statements)),
        }]
    };
    let user = UserName {
        path: "/".into(),
        name: name.into(),
        id: format!("AIDACKCEVSQ6C2{}", name.to_uppercase()),
    };
    Caller::new(
        account(id),
        Principal::User(user),
        Arc::new(IdentityPolicies { policies }),
    )
}

/// Decides about `action` on the repository `web` in the account HOME.
fn decide(caller: &Caller, action: &str, resource: &[Value]) -> (Decision, String) {
    let arn: Arn = format!("arn:aws:ecr:us-east-1:{HOME}:repository/web")
        .parse()
        .expect("an ARN");
    let hung = if resource.is_empty() {
        None
    } else {
        Some(policy(Grammar::Repository, resource))
    };
    let context = ConditionContext {
        secure_transport: true,
        ..ConditionContext::default()
    };
    let request = AccessRequest {
        caller,
        action,
        resource: Some(&arn),
        resource_account: account(HOME),
        context,
        budget: &EvaluationBudget::default(),
    };
    let decision = evaluate(&request, &PolicySet::of(caller, hung.as_ref()));
    let message = decision.message(&request);
    (decision, message)
}

fn allows(caller: &Caller, resource: &[Value]) -> bool {
    decide(caller, "ecr:PutImage", resource).0.is_allow()
}

fn allow_all() -> Value {
    json!({"Effect": "Allow", "Action": "*", "Resource": "*"})
}

fn shared(effect: &str, principal: &Value) -> Value {
    json!({"Sid": "shared", "Effect": effect, "Principal": principal, "Action": "ecr:*"})
}

#[test]
fn within_an_account_either_policy_allows() {
    let (with, without) = (
        caller(HOME, "ann", &[allow_all()]),
        caller(HOME, "ann", &[]),
    );
    assert!(allows(&with, &[]) && !allows(&without, &[]));
    let own_arn = json!({"AWS": format!("arn:aws:iam::{HOME}:user/ann")});
    assert!(
        allows(&without, &[shared("Allow", &own_arn)]),
        "a policy that names the user grants"
    );
    assert!(
        allows(
            &without,
            &[shared("Allow", &json!({"AWS": "AIDACKCEVSQ6C2ANN"}))]
        ),
        "or its unique id"
    );
    assert!(allows(&without, &[shared("Allow", &json!("*"))]));
    for account_name in [
        json!({"AWS": HOME}),
        json!({"AWS": format!("arn:aws:iam::{HOME}:root")}),
    ] {
        assert!(
            !allows(&without, &[shared("Allow", &account_name)]),
            "a policy that names the account only delegates"
        );
        assert!(allows(&with, &[shared("Allow", &account_name)]));
    }
    assert!(allows(&caller(HOME, "root", &[]), &[]));
}

#[test]
fn across_accounts_both_must_allow() {
    let (with, without) = (
        caller(AWAY, "bob", &[allow_all()]),
        caller(AWAY, "bob", &[]),
    );
    for principal in [
        json!({"AWS": AWAY}),
        json!({"AWS": format!("arn:aws:iam::{AWAY}:user/bob")}),
        json!("*"),
    ] {
        let policies = [shared("Allow", &principal)];
        assert!(
            allows(&with, &policies) && !allows(&without, &policies),
            "{principal}"
        );
        assert_eq!(
            allows(&caller(AWAY, "root", &[]), &policies),
            principal != json!({"AWS": format!("arn:aws:iam::{AWAY}:user/bob")})
        );
    }
    assert!(!allows(&with, &[]) && !allows(&caller(AWAY, "root", &[]), &[]));
    assert!(!allows(&with, &[shared("Allow", &json!({"AWS": HOME}))]));
    assert!(!allows(
        &with,
        &[shared("Allow", &json!({"Service": "ecs.amazonaws.com"}))]
    ));
}

#[test]
fn an_explicit_deny_wins_even_over_root() {
    let deny = json!({"Effect": "Deny", "Action": "ecr:Put*", "Resource": "*"});
    assert!(!allows(
        &caller(HOME, "ann", &[allow_all(), deny.clone()]),
        &[shared("Allow", &json!("*"))]
    ));
    assert!(!allows(
        &caller(HOME, "ann", &[allow_all()]),
        &[shared("Deny", &json!({"AWS": HOME}))]
    ));
    assert!(!allows(
        &caller(HOME, "root", &[]),
        &[shared("Deny", &json!({"AWS": HOME}))]
    ));
    assert!(allows(
        &caller(HOME, "root", &[]),
        &[shared(
            "Deny",
            &json!({"AWS": format!("arn:aws:iam::{HOME}:user/ann")})
        )]
    ));
}

#[test]
fn a_refusal_speaks_as_aws_does() {
    let on = format!(
        "is not authorized to perform: ecr:PutImage on resource: \
         arn:aws:ecr:us-east-1:{HOME}:repository/web"
    );
    let said = |caller: &Caller, resource: &[Value]| decide(caller, "ecr:PutImage", resource).1;
    let ann = format!("User: arn:aws:iam::{HOME}:user/ann {on}");
    assert_eq!(
        said(&caller(HOME, "ann", &[]), &[]),
        format!("{ann} because no identity-based policy allows the ecr:PutImage action")
    );
    let deny = json!({"Sid": "no", "Effect": "Deny", "Action": "*", "Resource": "*"});
    assert_eq!(
        said(&caller(HOME, "ann", &[allow_all(), deny.clone()]), &[]),
        format!("{ann} with an explicit deny in an identity-based policy")
    );
    let shut = [shared("Deny", &json!("*"))];
    assert_eq!(
        said(&caller(HOME, "ann", &[]), &shut),
        format!("{ann} with an explicit deny in a resource-based policy")
    );
    let bob = format!("User: arn:aws:iam::{AWAY}:user/bob {on}");
    let open = [shared("Allow", &json!("*"))];
    assert_eq!(
        said(&caller(AWAY, "bob", &[]), &[]),
        format!("{bob} because no resource-based policy allows the ecr:PutImage action")
    );
    assert_eq!(
        said(&caller(AWAY, "bob", &[]), &open),
        format!("{bob} because no identity-based policy allows the ecr:PutImage action")
    );

    let (decision, _) = decide(
        &caller(HOME, "ann", &[allow_all(), deny]),
        "ecr:PutImage",
        &[],
    );
    let statement = MatchedStatement {
        kind: PolicyKind::Identity,
        policy: Some("own".into()),
        statement: 1,
        sid: Some("no".into()),
    };
    assert_eq!(
        decision,
        Decision::Deny {
            reason: Denial::ExplicitDeny(statement)
        }
    );
    assert_eq!(
        decide(&caller(HOME, "root", &[]), "ecr:PutImage", &[]).0,
        Decision::Allow {
            by: Grant::AccountRoot
        }
    );
}

#[test]
fn actions_without_a_resource_need_the_star() {
    let decide_on = |resource: Value| {
        let caller = caller(
            HOME,
            "ann",
            &[json!({
                "Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": resource,
            })],
        );
        let context = ConditionContext::default();
        let request = AccessRequest {
            caller: &caller,
            action: "ecr:GetAuthorizationToken",
            resource: None,
            resource_account: account(HOME),
            context,
            budget: &EvaluationBudget::default(),
        };
        let decision = evaluate(&request, &PolicySet::of(&caller, None));
        (decision.is_allow(), decision.message(&request))
    };
    assert!(decide_on(json!("*")).0);
    let (allowed, message) = decide_on(json!("arn:aws:ecr:*:*:repository/*"));
    let reason = "on resource: * because no identity-based policy allows the \
                  ecr:GetAuthorizationToken action";
    assert!(!allowed && message.contains(reason));
}

#[test]
fn not_forms_speak_of_all_the_rest() {
    let one = |statement: Value| allows(&caller(HOME, "ann", &[statement]), &[]);
    assert!(one(
        json!({"Effect": "Allow", "NotAction": "ecr:Delete*", "Resource": "*"})
    ));
    assert!(!one(
        json!({"Effect": "Allow", "NotAction": ["iam:*", "ecr:put*"], "Resource": "*"})
    ));
    assert!(one(
        json!({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:ecr:*:*:repository/other"})
    ));
    assert!(!one(
        json!({"Effect": "Allow", "Action": "*", "NotResource": "arn:aws:ecr:*:*:repository/w*"})
    ));
    // A variable without a value: an Allow stays silent, a Deny does not.
    let unresolved = |effect| {
        let names = "arn:aws:ecr:*:*:repository/${aws:ResourceTag/none}";
        json!({"Effect": effect, "Action": "*", "NotResource": names})
    };
    assert!(!one(unresolved("Allow")));
    assert!(!allows(
        &caller(HOME, "ann", &[allow_all(), unresolved("Deny")]),
        &[]
    ));
}

#[test]
fn not_principal_spares_those_it_names() {
    let (ann, root) = (
        caller(HOME, "ann", &[allow_all()]),
        caller(HOME, "root", &[]),
    );
    let but = |effect: &str, names: Value| {
        let principal = json!({"AWS": names});
        json!({"Effect": effect, "NotPrincipal": principal, "Action": "ecr:*"})
    };
    let ann_arn = format!("arn:aws:iam::{HOME}:user/ann");
    let both = [but("Deny", json!([ann_arn, HOME]))];
    assert!(
        allows(&ann, &both)
            && allows(&root, &both)
            && !allows(&caller(HOME, "eve", &[allow_all()]), &both)
    );
    assert!(
        !allows(&ann, &[but("Deny", json!(ann_arn))]),
        "the account must be named as well"
    );
    assert!(!allows(&caller(AWAY, "bob", &[allow_all()]), &both));
    let open = [but("Allow", json!(ann_arn))];
    assert!(allows(&caller(HOME, "eve", &[]), &open) && !allows(&caller(HOME, "ann", &[]), &open));
}

#[test]
fn anonymous_callers_need_a_policy_for_everyone() {
    let nobody = Caller::new(account(HOME), Principal::Anonymous, Arc::default());
    assert!(!allows(&nobody, &[]) && !allows(&nobody, &[shared("Allow", &json!({"AWS": HOME}))]));
    assert!(allows(&nobody, &[shared("Allow", &json!("*"))]));
    assert!(
        decide(&nobody, "ecr:PutImage", &[])
            .1
            .starts_with("User: anonymous is not authorized")
    );
}

fn allow(action: &str) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": "*"})
}

fn named(statements: &[Value]) -> NamedPolicy {
    NamedPolicy {
        name: "limit".into(),
        policy: Arc::new(policy(Grammar::Identity, statements)),
    }
}

/// The session `run` of the role `deploy`, whose path is `/ci/`.
fn session(id: &str, statements: &[Value]) -> Caller {
    let role = RoleName {
        path: "/ci/".into(),
        name: "deploy".into(),
        id: "AROACKCEVSQ6C2DEPLOY".into(),
    };
    let principal = Principal::AssumedRole {
        role,
        session_name: "run".into(),
    };
    let policies = if statements.is_empty() {
        Vec::new()
    } else {
        vec![named(statements)]
    };
    Caller::new(
        account(id),
        principal,
        Arc::new(IdentityPolicies { policies }),
    )
}

fn with_boundary(caller: &Caller, action: &str) -> Caller {
    let mut caller = caller.clone();
    caller.boundary = Some(named(&[allow(action)]));
    caller
}

fn with_session_policies(caller: &Caller, actions: &[&str]) -> Caller {
    let policies = actions.iter().map(|action| named(&[allow(action)]));
    let policies = policies.collect();
    let mut caller = caller.clone();
    caller.session_policies = Some(Arc::new(IdentityPolicies { policies }));
    caller
}

#[test]
fn limits_cut_what_identity_policies_allow() {
    let deploy = session(HOME, &[allow_all()]);
    assert!(allows(&deploy, &[]));
    let (read, write) = ("ecr:Get*", "ecr:*");
    let both = with_session_policies(&with_boundary(&deploy, write), &[read, write]);
    assert!(allows(&both, &[]), "one session policy of several allows");
    let (decision, message) = decide(&with_boundary(&both, read), "ecr:PutImage", &[]);
    assert_eq!(
        decision,
        Decision::Deny {
            reason: Denial::NoAllow(PolicyKind::Boundary)
        }
    );
    assert_eq!(
        message,
        format!(
            "User: arn:aws:sts::{HOME}:assumed-role/deploy/run is not authorized to perform: \
             ecr:PutImage on resource: arn:aws:ecr:us-east-1:{HOME}:repository/web because no \
             permissions boundary allows the ecr:PutImage action"
        )
    );
    let (decision, message) = decide(
        &with_session_policies(&both, &[read, read]),
        "ecr:PutImage",
        &[],
    );
    assert_eq!(
        decision,
        Decision::Deny {
            reason: Denial::NoAllow(PolicyKind::Session)
        }
    );
    assert!(message.ends_with("because no session policy allows the ecr:PutImage action"));
    let only_limits = with_boundary(&session(HOME, &[allow("ecs:*")]), write);
    assert!(!allows(&only_limits, &[]), "a limit grants nothing");
}

/// The user guide, "Resource-based policies" under "Evaluating identity-based policies with
/// resource-based policies".
#[test]
fn resource_policies_and_limits() {
    let role = format!("arn:aws:iam::{HOME}:role/ci/deploy");
    let run = format!("arn:aws:sts::{HOME}:assumed-role/deploy/run");
    let ann = format!("arn:aws:iam::{HOME}:user/ann");
    let other = format!("arn:aws:sts::{HOME}:assumed-role/deploy/other");
    let to = |principal: &str| [shared("Allow", &json!({"AWS": principal}))];
    let deploy = session(HOME, &[allow("ecs:*")]);
    let bounded = with_boundary(&deploy, "ecs:*");
    let scoped = with_session_policies(&deploy, &["ecs:*"]);
    for (principal, free, limited) in [
        (role.as_str(), true, false),
        ("AROACKCEVSQ6C2DEPLOY", true, false),
        (run.as_str(), true, true),
        ("*", true, true),
        (other.as_str(), false, false),
        (HOME, false, false),
    ] {
        assert_eq!(allows(&deploy, &to(principal)), free, "{principal}");
        assert_eq!(allows(&bounded, &to(principal)), limited, "{principal}");
        assert_eq!(allows(&scoped, &to(principal)), limited, "{principal}");
    }
    let user = with_boundary(&caller(HOME, "ann", &[]), "ecs:*");
    assert!(allows(&user, &to(&ann)), "a user is named directly");
    let away = session(AWAY, &[allow_all()]);
    let named_away = to(&format!("arn:aws:sts::{AWAY}:assumed-role/deploy/run"));
    assert!(allows(&away, &named_away));
    assert!(
        !allows(&with_boundary(&away, "ecs:*"), &named_away),
        "across accounts the limits hold in any case"
    );
}

#[test]
fn a_denial_in_a_limit_wins() {
    let deny = json!({"Effect": "Deny", "Action": "ecr:*", "Resource": "*"});
    let deploy = session(HOME, &[allow_all()]);
    let mut bounded = deploy.clone();
    bounded.boundary = Some(named(&[allow_all(), deny.clone()]));
    let open = [shared("Allow", &json!("*"))];
    let said = decide(&bounded, "ecr:PutImage", &open).1;
    assert!(said.ends_with("with an explicit deny in a permissions boundary"));
    let policies = vec![named(&[allow_all()]), named(&[deny])];
    let mut scoped = deploy;
    scoped.session_policies = Some(Arc::new(IdentityPolicies { policies }));
    let said = decide(&scoped, "ecr:PutImage", &open).1;
    assert!(said.ends_with("with an explicit deny in a session policy"));
}

#[test]
fn not_principal_spares_a_session_with_its_role_and_account() {
    let role = format!("arn:aws:iam::{HOME}:role/ci/deploy");
    let run = format!("arn:aws:sts::{HOME}:assumed-role/deploy/run");
    let but = |names: &[&str]| {
        let principal = json!({"AWS": names});
        [json!({"Effect": "Deny", "NotPrincipal": principal, "Action": "ecr:*"})]
    };
    let deploy = session(HOME, &[allow_all()]);
    assert!(allows(&deploy, &but(&[&run, &role, HOME])));
    for names in [
        [run.as_str(), role.as_str()],
        [run.as_str(), HOME],
        [role.as_str(), HOME],
        ["AROACKCEVSQ6C2DEPLOY", HOME],
    ] {
        assert!(!allows(&deploy, &but(&names)), "{names:?}");
    }
}

#[test]
fn registry_policies_speak_for_all_repositories() {
    let ann = caller(HOME, "ann", &[allow_all()]);
    let arn: Arn = format!("arn:aws:ecr:us-east-1:{HOME}:repository/web")
        .parse()
        .expect("an ARN");
    let request = AccessRequest {
        caller: &ann,
        action: "ecr:PutImage",
        resource: Some(&arn),
        resource_account: account(HOME),
        context: ConditionContext::default(),
        budget: &EvaluationBudget::default(),
    };
    let policies = policy(
        Grammar::Registry,
        &[json!({
            "Effect": "Deny",
            "Principal": "*",
            "Action": "ecr:PutImage",
            "Resource": "arn:aws:ecr:*:*:repository/w*",
        })],
    );
    let decision = evaluate(
        &request,
        &PolicySet {
            registry: Some(&policies),
            ..PolicySet::of(&ann, None)
        },
    );
    assert!(
        decision
            .message(&request)
            .ends_with("with an explicit deny in a resource-based policy")
    );
}

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
