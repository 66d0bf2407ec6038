//! `wharfinger policy explain`.

use serde_json::{Value, json};

use crate::support::{Setup, TestServer, on, run, stderr};

const ACCOUNT: &str = "123456789012";
const ARN: &str = "arn:aws:ecr:us-east-1:123456789012:repository/web";
const OWN: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":"ecr:Get*","Resource":"*"},
    {"Sid":"Push","Effect":"Allow","Action":"ecr:PutImage","Resource":"*",
     "Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"},
                  "StringEquals":{"aws:ResourceTag/team":"blue"}}}]}"#;

fn explain(server: &TestServer, more: &[&str]) -> Value {
    let arguments = ["policy", "explain", "--json", "--action", "ecr:PutImage"];
    let printed = server.command(&[&arguments, more].concat());
    serde_json::from_str(&printed).expect("JSON")
}

async fn server() -> TestServer {
    let server = TestServer::start(Setup::default()).await;
    let tags = json!([{"Key": "team", "Value": "blue"}]);
    let create = on("web", json!({ "tags": tags }));
    server.aws().ok("CreateRepository", create).await;
    server
}

#[tokio::test]
async fn a_decision_is_explained_from_what_is_stored() {
    let server = server().await;
    let key = server.aws_user(ACCOUNT, "ann", OWN).access_key_id;
    let on_web = ["--user", "ann", "--resource", ARN];
    let missing = explain(&server, &on_web);
    assert_eq!(missing["decision"], "implicitDeny");
    assert_eq!(missing["missingContextValues"], json!(["aws:SourceIp"]));
    let message = missing["message"].as_str().expect("a message");
    assert!(message.ends_with("because no identity-based policy allows the ecr:PutImage action"));
    let statements = &missing["policies"][0]["statements"];
    assert_eq!(statements[0]["why"], "is about other actions");
    let why = statements[1]["why"].as_str().expect("a reason");
    assert!(
        why.contains("IpAddress on aws:SourceIp does not hold"),
        "{why}"
    );

    // By the repository's tag, and with the key in place of the user's name.
    let from = ["--context", "aws:SourceIp=10.0.0.1"];
    let allowed = explain(
        &server,
        &[&["--key", &key, "--resource", ARN], &from[..]].concat(),
    );
    assert_eq!(allowed["decision"], "allowed");
    let decider = &allowed["decidedBy"];
    assert_eq!(decider["policyOwner"], "user/ann");
    assert_eq!(
        (&decider["statement"], &decider["sid"]),
        (&json!(1), &json!("Push"))
    );
    assert_eq!(decider["policyType"], "identity");
    let text = server.command(
        &[
            &["policy", "explain", "--action", "ecr:PutImage"],
            &on_web[..],
            &from,
        ]
        .concat(),
    );
    assert!(text.starts_with("allowed\nUser: arn:aws:iam::123456789012:user/ann is authorized"));
    assert!(
        text.contains("Decided by statement 1 (Push) of the identity policy"),
        "{text}"
    );
    assert!(
        text.contains("statement 1 (Push), line 3: allows\n"),
        "{text}"
    );
}

#[tokio::test]
async fn the_policy_of_the_repository_counts_unless_another_is_given() {
    let server = server().await;
    server.aws_user(ACCOUNT, "ann", OWN);
    let policy = |effect: &str| {
        let principal = json!({"AWS": "arn:aws:iam::123456789012:user/ann"});
        let statement = json!({
            "Sid": "shared", "Effect": effect, "Principal": principal, "Action": "ecr:PutImage",
        });
        json!({"Version": "2012-10-17", "Statement": [statement]}).to_string()
    };
    let set = json!({"policyText": policy("Allow")});
    server.aws().ok("SetRepositoryPolicy", on("web", set)).await;
    let on_web = ["--user", "ann", "--resource", ARN];
    let stored = explain(&server, &on_web);
    assert_eq!(stored["decidedBy"]["policyType"], "resource");
    let file = server.folder().join("given.json");
    std::fs::write(&file, policy("Deny")).expect("written");
    let file = file.to_str().expect("text");
    let given = explain(
        &server,
        &[&on_web[..], &["--resource-policy", file]].concat(),
    );
    assert_eq!(given["decision"], "explicitDeny");
    assert_eq!(given["decidedBy"]["sid"], "shared");
}

#[tokio::test]
async fn what_cannot_be_explained_says_why() {
    let server = server().await;
    server.aws_user(ACCOUNT, "ann", OWN);
    let action = ["policy", "explain", "--action", "ecr:PutImage"];
    for (more, expected) in [
        (&["--user", "eve"][..], "no user eve"),
        (&["--role", "eve"], "no role eve"),
        (&["--key", "AKIAIOSFODNN7EXAMPLE"], "no access key"),
        (&[], "--user"),
        (&["--user", "ann", "--resource", "web"], "not an ARN"),
        (
            &["--user", "ann", "--context", "aws:SourceIp"],
            "has no `=`",
        ),
        (
            &["--user", "ann", "--resource-policy", "/nowhere"],
            "/nowhere",
        ),
    ] {
        let output = run(server.folder(), &[&action, more].concat());
        assert!(!output.status.success(), "{more:?}");
        assert!(
            stderr(&output).contains(expected),
            "{more:?}: {}",
            stderr(&output)
        );
    }
}
