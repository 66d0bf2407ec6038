//! Measures policy decisions for callers with 100 statements, on one thread.
//!
//! `cargo bench --package wharfinger-iam --bench decisions`; the target is 5 µs for a decision.

use std::hint::black_box;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use wharfinger_aws::{AccountId, Arn};
use wharfinger_iam::{
    AccessRequest, Caller, ConditionContext, EvaluationBudget, Grammar, IdentityPolicies,
    NamedPolicy, Policy, PolicySet, Principal, UserName, evaluate,
};

/// Policies attached to a user: IAM's quota.
const POLICIES: usize = 10;
const STATEMENTS: usize = 100;
/// A round is shorter than a time slice, so that most are not interrupted; their median counts.
const DECISIONS: u32 = 100;
const ROUNDS: usize = 501;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let rows = [
        (
            "other services' actions",
            actions_of_other_services as fn(usize) -> String,
        ),
        ("the action on other resources", other_resources),
        ("conditions that fail", failing_conditions),
    ];
    for (name, statement) in rows {
        for (decision, last) in [("denied", None), ("allowed by the last", Some(ALLOW))] {
            let median = measure(&caller(statement, last));
            let ns = median.as_nanos();
            writeln!(
                out,
                "{STATEMENTS} statements with {name}, {decision}: {ns} ns"
            )?;
        }
    }
    Ok(())
}

const ALLOW: &str = r#"{"Effect":"Allow","Action":"ecr:*Image",
    "Resource":"arn:aws:ecr:*:*:repository/team/*"}"#;

fn actions_of_other_services(at: usize) -> String {
    format!(
        r#"{{"Effect":"Allow","Action":["ecs:Describe{at}*","logs:Put*","ec2:Get{at}"],
        "Resource":"*"}}"#
    )
}

fn other_resources(at: usize) -> String {
    format!(
        r#"{{"Effect":"Allow","Action":["ecr:Batch*","ecr:PutImage"],
        "Resource":"arn:aws:ecr:us-east-1:123456789012:repository/app-{at}/*"}}"#
    )
}

fn failing_conditions(at: usize) -> String {
    format!(
        r#"{{"Effect":"Deny","Action":"ecr:Put*","Resource":"*","Condition":{{
        "StringLike":{{"aws:username":"guest-{at}-*"}},"Bool":{{"aws:SecureTransport":"true"}}}}}}"#
    )
}

/// A user whose last statement is `last`, where there is one.
fn caller(statement: fn(usize) -> String, last: Option<&str>) -> Caller {
    let mut statements: Vec<String> = (0..STATEMENTS).map(statement).collect();
    if let (Some(last), Some(place)) = (last, statements.last_mut()) {
        last.clone_into(place);
    }
    let policies = statements
        .chunks(STATEMENTS / POLICIES)
        .map(|statements| {
            let text = format!(
                r#"{{"Version":"2012-10-17","Statement":[{}]}}"#,
                statements.join(",")
            );
            NamedPolicy {
                name: "own".into(),
                owner: None,
                policy: Arc::new(Policy::parse(&text, Grammar::Identity).expect("a policy")),
            }
        })
        .collect();
    let user = UserName {
        path: "/".into(),
        name: "ann".into(),
        id: "AIDAEXAMPLE".into(),
    };
    Caller::new(
        AccountId::DEV,
        Principal::User(user),
        Arc::new(IdentityPolicies { policies }),
    )
}

/// The time that one decision takes.
fn measure(caller: &Caller) -> Duration {
    let arn: Arn = "arn:aws:ecr:us-east-1:123456789012:repository/team/web"
        .parse()
        .expect("an ARN");
    let mut rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..DECISIONS {
                let budget = EvaluationBudget::default();
                let request = AccessRequest {
                    caller,
                    action: "ecr:PutImage",
                    resource: Some(&arn),
                    resource_account: AccountId::DEV,
                    context: ConditionContext {
                        secure_transport: true,
                        ..ConditionContext::default()
                    },
                    budget: &budget,
                };
                black_box(evaluate(black_box(&request), &PolicySet::of(caller, None)));
            }
            start.elapsed() / DECISIONS
        })
        .collect();
    rounds.sort_unstable();
    rounds[ROUNDS / 2]
}
