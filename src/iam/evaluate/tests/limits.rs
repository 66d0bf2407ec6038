//! Permissions boundaries and the policies of sessions.

use super::*;

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
