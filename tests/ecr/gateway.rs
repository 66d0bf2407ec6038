//! The way in: signatures, targets, bodies.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{ACCOUNT, Aws, Setup, TestServer, on};

const JSON: (&str, &str) = ("content-type", "application/x-amz-json-1.1");
const DESCRIBE: (&str, &str) = (
    "x-amz-target",
    "AmazonEC2ContainerRegistry_V20150921.DescribeRepositories",
);

#[tokio::test]
async fn who_is_not_known_is_told_so_and_nothing_more() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    assert_eq!(
        aws.ecr("DescribeRepositories", json!({})).await.status,
        StatusCode::OK
    );

    let unsigned = server
        .client()
        .send(http::Method::POST, "/", &[JSON, DESCRIBE], "{}")
        .await;
    assert_eq!(
        (unsigned.status, unsigned.json()["__type"].as_str()),
        (
            StatusCode::BAD_REQUEST,
            Some("MissingAuthenticationTokenException")
        )
    );
    let mut stranger = aws.clone();
    "AKIAIOSFODNN7EXAMPLE".clone_into(&mut stranger.access_key_id);
    stranger
        .ecr("DescribeRepositories", json!({}))
        .await
        .assert_fault("UnrecognizedClientException", "security token");
    let mut forger = aws.clone();
    "guessed".clone_into(&mut forger.secret);
    forger
        .ecr("DescribeRepositories", json!({}))
        .await
        .assert_fault(
            "InvalidSignatureException",
            "does not match the signature you provided",
        );
    let mut elsewhere = aws.clone();
    "s3".clone_into(&mut elsewhere.service);
    elsewhere
        .ecr("DescribeRepositories", json!({}))
        .await
        .assert_fault("InvalidSignatureException", "correct service: 'ecr'");
}

#[tokio::test]
async fn a_stale_or_altered_request_is_refused() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let send = async |headers: &http::HeaderMap, body: &str| {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().expect("text")))
            .collect();
        server
            .client()
            .send(http::Method::POST, "/", &headers, body.to_owned())
            .await
            .json()
    };
    let signed = aws.signed(&[JSON, DESCRIBE], "{}");
    assert!(send(&signed, "{}").await["repositories"].is_array());
    assert_eq!(
        send(&signed, "{ }").await["__type"],
        "InvalidSignatureException",
        "another body"
    );
    let mut other = signed.clone();
    other.insert(
        "x-amz-target",
        "AmazonEC2ContainerRegistry_V20150921.DescribeRegistry"
            .parse()
            .expect("a value"),
    );
    assert_eq!(
        send(&other, "{}").await["__type"],
        "InvalidSignatureException",
        "another operation"
    );
    let late = aws.signed(&[JSON], "{}");
    let mut late = late.clone();
    late.insert("x-amz-target", DESCRIBE.1.parse().expect("a value"));
    let unsigned_header = send(&late, "{}").await;
    assert!(
        unsigned_header["message"]
            .as_str()
            .is_some_and(|text| text.contains("not signed: x-amz-target")),
        "{unsigned_header}"
    );
    let mut slow = aws.clone();
    slow.age = Duration::from_mins(16);
    let stale = send(&slow.signed(&[JSON, DESCRIBE], "{}"), "{}").await;
    assert!(
        stale["message"]
            .as_str()
            .is_some_and(|text| text.starts_with("Signature expired: ")),
        "{stale}"
    );
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    for (body, message) in [
        ("{", "The body is not valid JSON"),
        ("[]", "The body is not a JSON object"),
        (
            r#"{"maxResults":"7"}"#,
            "STRING_VALUE can not be converted to Integer at 'maxResults'",
        ),
        (
            r#"{"repositoryNames":"web"}"#,
            "STRING_VALUE can not be converted to List at 'repositoryNames'",
        ),
    ] {
        let response = aws.post(&[JSON, DESCRIBE], body).await;
        let document = response.json();
        assert_eq!(
            (response.status, document["__type"].as_str()),
            (StatusCode::BAD_REQUEST, Some("SerializationException")),
            "{body}"
        );
        assert!(
            document["message"]
                .as_str()
                .is_some_and(|text| text.contains(message)),
            "{document}"
        );
        assert!(response.find("x-amzn-requestid").is_some());
    }
    for target in [
        "AmazonEC2ContainerRegistry_V20150921.StartNothing",
        "Other.DescribeRepositories",
        "DescribeRepositories",
        "",
    ] {
        let response = aws
            .post(&[JSON, ("x-amz-target", target)], "{}")
            .await
            .json();
        assert_eq!(response["__type"], "UnknownOperationException", "{target}");
    }
    aws.ok(
        "DescribeRepositories",
        json!({"unheardOf": {"deep": [1, null]}}),
    )
    .await;
    let long = format!(r#"{{"nextToken":"{}"}}"#, "x".repeat(2 * 1024 * 1024));
    assert_eq!(
        aws.post(&[JSON, DESCRIBE], &long).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let unsigned = server
        .client()
        .send(
            http::Method::POST,
            "/",
            &[JSON, DESCRIBE],
            "x".repeat(32 * 1024 * 1024),
        )
        .await;
    assert_eq!(
        unsigned.json()["__type"],
        "MissingAuthenticationTokenException",
        "told while the body still comes"
    );
}

#[tokio::test]
async fn sts_says_who_calls_in_xml() {
    let server = TestServer::start(Setup::default()).await;
    let mut aws = server.aws_user(ACCOUNT, "ann", "AmazonEC2ContainerRegistryReadOnly");
    "sts".clone_into(&mut aws.service);
    let form = ("content-type", "application/x-www-form-urlencoded");
    let response = aws
        .post(&[form], "Action=GetCallerIdentity&Version=2011-06-15")
        .await;
    let text = String::from_utf8_lossy(&response.body).into_owned();
    assert_eq!(response.status, StatusCode::OK, "{text}");
    assert!(
        text.contains("<Arn>arn:aws:iam::123456789012:user/ann</Arn>"),
        "{text}"
    );
    for (body, code) in [
        ("Action=AssumeNothing&Version=2011-06-15", "InvalidAction"),
        (
            "Action=GetCallerIdentity&Version=1999-01-01",
            "InvalidAction",
        ),
        ("Version=2011-06-15", "MissingAction"),
    ] {
        let response = aws.post(&[form], body).await;
        let text = String::from_utf8_lossy(&response.body).into_owned();
        assert!(text.contains(&format!("<Code>{code}</Code>")), "{text}");
    }
    "forged".clone_into(&mut aws.secret);
    let response = aws
        .post(&[form], "Action=GetCallerIdentity&Version=2011-06-15")
        .await;
    assert_eq!(response.status, StatusCode::FORBIDDEN);
    assert!(String::from_utf8_lossy(&response.body).contains("<Code>SignatureDoesNotMatch</Code>"));
}

#[tokio::test]
async fn under_dev_a_key_id_of_twelve_digits_names_the_account() {
    let server = TestServer::dev().await;
    let unsigned = server
        .client()
        .send(http::Method::POST, "/", &[JSON, DESCRIBE], "{}")
        .await;
    assert_eq!(unsigned.status, StatusCode::OK);
    let mut aws = server.aws();
    "000000000001".clone_into(&mut aws.access_key_id);
    "eu-west-1".clone_into(&mut aws.region);
    "any".clone_into(&mut aws.secret);
    let made = aws.ok("CreateRepository", on("web", json!({}))).await;
    assert_eq!(
        made["repository"]["repositoryArn"],
        "arn:aws:ecr:eu-west-1:000000000001:repository/web"
    );
    "us-east-1".clone_into(&mut aws.region);
    assert_eq!(
        aws.ok("DescribeRepositories", json!({})).await["repositories"],
        json!([]),
        "another region is another registry"
    );
}

/// A layer part of the largest size, signed, of which the server gets the head only.
async fn send_head(server: &TestServer, aws: &Aws) -> String {
    let target = "AmazonEC2ContainerRegistry_V20150921.UploadLayerPart";
    let mut head = "POST / HTTP/1.1\r\ncontent-length: 29000000\r\n".to_owned();
    for (name, value) in &aws.signed(&[JSON, ("x-amz-target", target)], "") {
        let value = value.to_str().expect("text");
        head.extend([name.as_str(), ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    let mut socket = TcpStream::connect(server.address).await.expect("connects");
    socket.write_all(head.as_bytes()).await.expect("sends");
    let mut response = vec![0; 64 * 1024];
    let read = timeout(Duration::from_secs(10), socket.read(&mut response)).await;
    let length = read.expect("a response before the body").expect("no reset");
    String::from_utf8_lossy(&response[..length]).into_owned()
}

#[tokio::test]
async fn an_unacceptable_request_is_refused_before_its_body() {
    let server = TestServer::start(Setup::default()).await;
    let mut unknown = server.aws();
    "AKIAINVENTED00000000".clone_into(&mut unknown.access_key_id);
    let response = send_head(&server, &unknown).await;
    assert!(
        response.contains("UnrecognizedClientException"),
        "{response}"
    );
    let mut stale = server.aws();
    stale.age = Duration::from_mins(20);
    let response = send_head(&server, &stale).await;
    assert!(response.contains("Signature expired"), "{response}");
}

#[tokio::test]
async fn a_document_of_many_values_is_refused() {
    let server = TestServer::start(Setup::default()).await;
    let document = json!({ "repositoryName": "web", "zeros": vec![0; 100_000] });
    let outcome = server.aws().ecr("DescribeImages", document).await;
    outcome.assert_fault("SerializationException", "more than 10000 values");
}
