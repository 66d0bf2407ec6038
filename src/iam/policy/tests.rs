//! Which documents are policies, and of which kind.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const IDENTITY: &str =
    r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"ecr:*","Resource":"*"}}"#;
const REPOSITORY: &str = r#"{"Version":"2008-10-17","Statement":[{"Sid":"new statement",
    "Effect":"Allow","Principal":"*","Action":"ecr:*"}]}"#;

/// The identity policy above with one element of its statement set, or taken away.
fn with(element: &str, value: serde_json::Value) -> String {
    let mut statement = json!({"Effect": "Allow", "Action": "ecr:*", "Resource": "*"});
    if value.is_null() {
        statement
            .as_object_mut()
            .expect("an object")
            .remove(element);
    } else {
        statement[element] = value;
    }
    json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
}

fn identity(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(text, Grammar::Identity)
}

fn repository(principal: &serde_json::Value) -> Result<Policy, PolicyError> {
    let statement =
        json!({"Effect": "Allow", "Principal": principal, "Action": ["ecr:BatchGetImage"]});
    Policy::parse(
        &json!({"Statement": [statement]}).to_string(),
        Grammar::Repository,
    )
}

#[test]
fn the_text_is_kept_to_the_letter() {
    let text = format!(" {}\n", REPOSITORY.replace("\":", "\" :  "));
    assert_eq!(
        Policy::parse(&text, Grammar::Repository)
            .expect("a policy")
            .text(),
        text
    );
}

#[test]
fn each_kind_has_its_elements() {
    assert!(identity(IDENTITY).is_ok() && Policy::parse(REPOSITORY, Grammar::Repository).is_ok());
    assert_eq!(
        identity(REPOSITORY),
        Err(PolicyError::NotAllowed {
            element: "Principal".into()
        })
    );
    assert_eq!(
        Policy::parse(IDENTITY, Grammar::Repository),
        Err(PolicyError::Missing {
            element: "Principal"
        })
    );
    let both = REPOSITORY.replace(r#""Action""#, r#""Resource":"*","Action""#);
    assert_eq!(
        Policy::parse(&both, Grammar::Repository),
        Err(PolicyError::NotAllowed {
            element: "Resource".into()
        })
    );
    assert!(Policy::parse(&both, Grammar::Registry).is_ok());
    assert!(Policy::parse(REPOSITORY, Grammar::Registry).is_err());
}

#[test]
fn elements_may_be_single_or_listed() {
    for (element, value) in [
        ("Sid", json!("Abc123")),
        ("Effect", json!("Deny")),
        (
            "Action",
            json!([
                "ecr:Get*",
                "*",
                "ECR:putimage",
                "ec2:Describe?mages",
                "*:*",
                "a4b-x:Do_it"
            ]),
        ),
        (
            "Resource",
            json!([
                "*",
                "arn:aws:ecr:*:*:repository/${aws:username}/*",
                "arn:aws:ecr"
            ]),
        ),
        ("Condition", json!({})),
        ("Condition", json!({"StringLike": {"aws:username": ["a*"]}})),
    ] {
        assert!(
            identity(&with(element, value.clone())).is_ok(),
            "{element} {value}"
        );
    }
    for element in ["Action", "Resource"] {
        let negated = IDENTITY.replace(&format!(r#""{element}""#), &format!(r#""Not{element}""#));
        assert!(identity(&negated).is_ok(), "{negated}");
    }
}

#[test]
fn what_is_no_policy_is_refused() {
    for bad in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"Statement":[]}"#,
        r#"{"Statement":"x"}"#,
        r#"{"Statement":[[]]}"#,
        &IDENTITY.replace("2012-10-17", "2012-10-18"),
        &IDENTITY.replace(r#""2012-10-17""#, "1"),
        &IDENTITY.replace("Version", "version"),
        &IDENTITY.replace(
            r#""Effect":"Allow""#,
            r#""Effect":"Allow","Effect":"Allow""#,
        ),
        &IDENTITY.replace('{', r#"{"Id":1,"#),
        &format!("{IDENTITY} x"),
        &with("Effect", json!("allow")),
        &with("Effect", json!(null)),
        &with("Action", json!(null)),
        &with("Action", json!([])),
        &with("Action", json!([1])),
        &with("Action", json!("PutImage")),
        &with("Action", json!("ec*:PutImage")),
        &with("Action", json!("ecr:")),
        &with("Action", json!("ecr:Put Image")),
        &with("NotAction", json!("ecr:PutImage")),
        &with("Resource", json!(null)),
        &with("Resource", json!("repository/web")),
        &with("Resource", json!("arn:aws:ecr:*:*:${aws:username")),
        &with("NotResource", json!("*")),
        &with("Principal", json!("*")),
        &with("Sid", json!("with blank")),
        &with("Sid", json!(1)),
        &with("Condition", json!([])),
        &with("Condition", json!({"Sometimes": {"a": "b"}})),
        &with("Comment", json!("hello")),
    ] {
        assert!(identity(bad).is_err(), "{bad}");
    }
    let twice = r#"{"Statement":[{"Sid":"a","Effect":"Deny","Action":"*","Resource":"*"},
        {"Sid":"a","Effect":"Deny","Action":"*","Resource":"*"}]}"#;
    assert_eq!(identity(twice), Err(PolicyError::DuplicateSid("a".into())));
    let allowed = twice.replace("Resource", "Principal");
    assert!(
        Policy::parse(&allowed, Grammar::Repository).is_ok(),
        "ECR takes the same Sid twice"
    );
}

#[test]
fn principals_are_whole_names() {
    for good in [
        json!("*"),
        json!({"AWS": "*"}),
        json!({"AWS": "123456789012"}),
        json!({"AWS": [
            "arn:aws:iam::123456789012:root",
            "arn:aws:iam::123456789012:user/build/ci",
        ]}),
        json!({"AWS": "arn:aws:iam::123456789012:role/x", "Service": ["codebuild.amazonaws.com"]}),
        json!({"AWS": "arn:aws:sts::123456789012:assumed-role/x/session"}),
        json!({"AWS": "AIDACKCEVSQ6C2EXAMPLE"}),
        json!({"Federated": "cognito-identity.amazonaws.com"}),
    ] {
        assert!(repository(&good).is_ok(), "{good}");
    }
    for bad in [
        json!("123456789012"),
        json!({}),
        json!([]),
        json!({"AWS": []}),
        json!({"AWS": 123_456_789_012_u64}),
        json!({"AWS": "ci"}),
        json!({"AWS": "12345678901"}),
        json!({"AWS": "arn:aws:iam::123456789012:user/*"}),
        json!({"AWS": "arn:aws:iam::123456789012:user/"}),
        json!({"AWS": "arn:aws:iam::*:root"}),
        json!({"AWS": "arn:aws:s3:::bucket"}),
        json!({"Nobody": "*"}),
        json!({"Service": ""}),
    ] {
        assert!(repository(&bad).is_err(), "{bad}");
    }
}

#[test]
fn a_trust_policy_has_principals_and_actions_of_sts_only() {
    let trust = |action: &str| {
        let statement = json!({
            "Effect": "Allow",
            "Action": action,
            "Principal": {"Service": "ecs-tasks.amazonaws.com"},
        });
        let text = json!({"Version": "2012-10-17", "Statement": statement}).to_string();
        Policy::parse(&text, Grammar::Trust)
    };
    for good in ["sts:AssumeRole", "sts:*", "STS:TagSession", "sts:Assume*"] {
        assert!(trust(good).is_ok(), "{good}");
    }
    for bad in ["*", "*:AssumeRole", "ecr:PutImage", "sts", "sts:"] {
        assert!(trust(bad).is_err(), "{bad}");
    }
    assert!(Policy::parse(IDENTITY, Grammar::Trust).is_err());
    let long = format!("sts:{}", "x".repeat(2_048));
    assert_eq!(trust(&long), Err(PolicyError::TooLong { limit: 2_048 }));
}

#[test]
fn length_and_depth_are_bounded() {
    let padded = |text: &str, filler: char, count: usize| {
        format!("{text}{}", filler.to_string().repeat(count))
    };
    assert!(
        identity(&padded(IDENTITY, ' ', 20_000)).is_ok(),
        "blanks are not counted"
    );
    assert!(
        identity(&padded(IDENTITY, ' ', 200_000)).is_err(),
        "but not without end"
    );
    assert!(
        Policy::parse(
            &padded(REPOSITORY, ' ', 10_240 - REPOSITORY.len()),
            Grammar::Repository
        )
        .is_ok()
    );
    let over = padded(REPOSITORY, ' ', 10_241 - REPOSITORY.len());
    assert_eq!(
        Policy::parse(&over, Grammar::Repository),
        Err(PolicyError::TooLong { limit: 10_240 })
    );
    let long = with(
        "Resource",
        json!(vec![format!("arn:aws:ecr:*:*:{}", "x".repeat(1_000)); 7]),
    );
    assert_eq!(identity(&long), Err(PolicyError::TooLong { limit: 6_144 }));
    assert!(identity(&"[".repeat(6_000)).is_err());
    assert!(
        identity(&with("Resource", json!("*")).replace(
            r#""*""#,
            &format!("{}1{}", "[".repeat(900), "]".repeat(900))
        ))
        .is_err()
    );
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}|[\\[\\]{}\",:a*]{0,60}") {
        let grammars = [
            Grammar::Identity,
            Grammar::Repository,
            Grammar::Registry,
            Grammar::Trust,
        ];
        for grammar in grammars {
            prop_assert!(Policy::parse(&text, grammar).is_err());
        }
    }

    #[test]
    fn a_damaged_policy_never_panics(at in 0..IDENTITY.len(), damage in any::<char>()) {
        let mut text: Vec<char> = IDENTITY.chars().collect();
        text[at] = damage;
        let _ = identity(&text.into_iter().collect::<String>());
    }
}
