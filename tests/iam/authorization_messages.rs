//! The encoded message of a denial, and who may decode it.

use serde_json::Value;

use crate::support::{Aws, Setup, TestServer};

const HEADER: &str = "x-wharfinger-authorization-message";
const DENY: &str = r#"{"Version":"2012-10-17","Statement":[
    {"Effect":"Allow","Action":["ecr:*","sts:*"],"Resource":"*"},
    {"Sid":"NoNewOnes","Effect":"Deny","Action":"ecr:CreateRepository","Resource":"*"}]}"#;

async fn user(server: &TestServer, name: &str, policy: Option<&str>) -> Aws {
    let root = server.aws();
    root.iam_ok("CreateUser", &[("UserName", name)]).await;
    if let Some(policy) = policy {
        let put = [("UserName", name), ("PolicyName", "own")];
        let document = ("PolicyDocument", policy);
        root.iam_ok("PutUserPolicy", &[put[0], put[1], document])
            .await;
    }
    let key = root.iam_ok("CreateAccessKey", &[("UserName", name)]).await;
    server.aws_with(key.one("AccessKeyId"), key.one("SecretAccessKey"))
}

/// Creates a repository, which is refused; returns the encoded message.
async fn refused(user: &Aws) -> String {
    let target = "AmazonEC2ContainerRegistry_V20150921.CreateRepository";
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", target),
    ];
    let response = user.post(&headers, r#"{"repositoryName":"web"}"#).await;
    assert_eq!(response.status, 400, "{}", response.error());
    response.header(HEADER).to_owned()
}

#[tokio::test]
async fn the_message_of_a_denial_is_decoded_for_those_who_may() {
    let server = TestServer::start(Setup::default()).await;
    let (root, ann) = (server.aws(), user(&server, "ann", Some(DENY)).await);
    let bob = user(&server, "bob", None).await;
    let encoded = refused(&ann).await;
    let members = [("EncodedMessage", encoded.as_str())];
    for caller in [&root, &ann] {
        let decoded = caller.sts("DecodeAuthorizationMessage", &members).await;
        assert_eq!(decoded.status, 200, "{}", decoded.document);
        let text = decoded.text("DecodedMessage").replace("&quot;", "\"");
        let message: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(message["explicitDeny"], true);
        let statement = &message["matchedStatements"]["items"][0];
        assert_eq!(statement["statementId"], "NoNewOnes");
        let context = &message["context"];
        assert_eq!(context["action"], "ecr:CreateRepository");
        assert_eq!(context["principal"]["name"], "ann");
        let arn = "arn:aws:ecr:us-east-1:123456789012:repository/web";
        assert_eq!(context["resource"], arn);
    }
    let denied = bob.sts("DecodeAuthorizationMessage", &members).await;
    assert_eq!(denied.status, 403, "{}", denied.document);
    let implicit = refused(&bob).await;
    let members = [("EncodedMessage", implicit.as_str())];
    let decoded = root.sts("DecodeAuthorizationMessage", &members).await;
    let text = decoded.text("DecodedMessage");
    assert!(text.contains("explicitDeny&quot;:false"), "{text}");
}

#[tokio::test]
async fn what_is_no_message_is_refused() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    for bad in ["x", "0123456789abcdef0123456789abcdefAAAA"] {
        let members = [("EncodedMessage", bad)];
        let refused = root.sts("DecodeAuthorizationMessage", &members).await;
        let code = "InvalidAuthorizationMessageException";
        refused.assert_fault(400, code, "Invalid authorization message.");
    }
}
