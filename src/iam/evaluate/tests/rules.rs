//! The rules of one and of several accounts, elements of statements, and messages.

use super::*;

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
        owner: None,
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
