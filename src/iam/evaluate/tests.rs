//! Tests of decisions: AWS's published rules case by case, and the combination of policies compared
//! with a simple oracle.

mod budgets;
mod limits;
mod oracle;
mod rules;
mod table;
mod written;

use serde_json::{Value, json};
use wharfinger_aws::{AccountId, Arn};
use written::{AWAY, HOME};

use super::*;
use crate::budget::EvaluationBudget;
use crate::context::ConditionContext;
use crate::policy::Grammar;
use crate::principal::{NamedPolicy, RoleName, UserName};

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
            owner: None,
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

fn allow(action: &str) -> Value {
    json!({"Effect": "Allow", "Action": action, "Resource": "*"})
}

fn named(statements: &[Value]) -> NamedPolicy {
    NamedPolicy {
        name: "limit".into(),
        owner: None,
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
