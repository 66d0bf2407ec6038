//! Repository policies that name users.

use serde_json::{Value, json};

use crate::support::{ACCOUNT, Setup, TestServer, on};

const USER: &str = "arn:aws:iam::123456789012:user/reader";
/// Allows nothing that the tests request for.
const SIGN_IN_ONLY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Action":"ecr:GetAuthorizationToken","Resource":"*"}]}"#;

fn allow(user: &str) -> Value {
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow",
        "Principal": {"AWS": user},
        "Action": "ecr:ListImages",
    }]});
    on("web", json!({"policyText": policy.to_string()}))
}

#[tokio::test]
async fn a_user_created_under_the_name_of_a_deleted_one_inherits_no_policy() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    root.ok("CreateRepository", on("web", json!({}))).await;
    let missing = root.ecr("SetRepositoryPolicy", allow(USER)).await;
    missing.assert_fault("InvalidParameterException", "Principal not found");

    let first = server.aws_user(ACCOUNT, "reader", SIGN_IN_ONLY);
    let set = root.ok("SetRepositoryPolicy", allow(USER)).await;
    let get = || root.ok("GetRepositoryPolicy", on("web", json!({})));
    assert_eq!(get().await["policyText"], set["policyText"]);
    first.ok("ListImages", on("web", json!({}))).await;

    server.command(&["user", "delete", "reader"]);
    let shown = get().await["policyText"].to_string();
    assert!(!shown.contains(USER) && shown.contains("AIDA"), "{shown}");
    let second = server.aws_user(ACCOUNT, "reader", SIGN_IN_ONLY);
    let denied = second.ecr("ListImages", on("web", json!({}))).await;
    denied.assert_denied(
        "ecr:ListImages",
        "because no identity-based policy allows the ecr:ListImages action",
    );
    root.ok("SetRepositoryPolicy", allow(USER)).await;
    second.ok("ListImages", on("web", json!({}))).await;
}
