//! Temporary credentials wherever keys are taken.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::StatusCode;
use serde_json::json;

use crate::support::{ACCOUNT, Setup, TestServer, now, seconds};

const READ_ONLY: &str = "AmazonEC2ContainerRegistryReadOnly";

#[tokio::test]
async fn a_session_works_wherever_its_key_does() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws_user(ACCOUNT, "ci", READ_ONLY);
    let issued = aws
        .sts("GetSessionToken", &[("DurationSeconds", "900")])
        .await;
    assert_eq!(issued.status, StatusCode::OK, "{issued:?}");
    let expiration: jiff::Timestamp = issued.text("Expiration").parse().expect("a time");
    let left = seconds(expiration) - seconds(now());
    assert!((880.0..=900.0).contains(&left), "{left}");
    let session = aws.with_session(&issued);
    assert!(session.access_key_id.starts_with("ASIA"));

    let (by_key, by_session) = (
        aws.sts("GetCallerIdentity", &[]).await,
        session.sts("GetCallerIdentity", &[]).await,
    );
    for element in ["UserId", "Account", "Arn"] {
        assert_eq!(by_key.text(element), by_session.text(element));
    }
    session.ok("DescribeRepositories", json!({})).await;
    session
        .ecr("CreateRepository", json!({"repositoryName": "web"}))
        .await
        .assert_denied("ecr:CreateRepository", "ecr:CreateRepository action");

    let response = session.ok("GetAuthorizationToken", json!({})).await;
    let data = &response["authorizationData"][0];
    let expires = data["expiresAt"].as_f64().expect("a time");
    assert!(expires <= seconds(expiration), "{data}");
    let pair = STANDARD.decode(data["authorizationToken"].as_str().expect("a token"));
    let pair = String::from_utf8(pair.expect("Base64")).expect("text");
    let password = pair.strip_prefix("AWS:").expect("the user AWS");
    let docker = server.client().with_password(password);
    assert_eq!(docker.get("/v2/").await.status, StatusCode::OK);
}

#[tokio::test]
async fn credentials_that_do_not_belong_together_are_refused() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws_user(ACCOUNT, "ci", READ_ONLY);
    let session = aws.with_session(&aws.sts("GetSessionToken", &[]).await);
    let other = aws.with_session(&aws.sts("GetSessionToken", &[]).await);
    let mut without = session.clone();
    without.session_token = None;
    let mut mixed = session.clone();
    mixed.session_token = other.session_token.clone();
    let mut lasting = aws.clone();
    lasting.session_token.clone_from(&session.session_token);
    for wrong in [without, mixed, lasting] {
        wrong
            .ecr("DescribeRepositories", json!({}))
            .await
            .assert_fault("UnrecognizedClientException", "security token");
        wrong.sts("GetCallerIdentity", &[]).await.assert_fault(
            403,
            "InvalidClientTokenId",
            "security token",
        );
    }
}

#[tokio::test]
async fn what_no_session_can_be_is_refused() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws_user(ACCOUNT, "ci", READ_ONLY);
    for (duration, constraint) in [
        ("899", "must have value greater than or equal to 900"),
        ("129601", "must have value less than or equal to 129600"),
    ] {
        aws.sts("GetSessionToken", &[("DurationSeconds", duration)])
            .await
            .assert_fault(400, "ValidationError", constraint);
    }
    let code = [
        ("SerialNumber", "arn:aws:iam::123456789012:mfa/ci"),
        ("TokenCode", "123456"),
    ];
    aws.sts("GetSessionToken", &code).await.assert_fault(
        403,
        "AccessDenied",
        "MultiFactorAuthentication failed",
    );
    let session = aws.with_session(&aws.sts("GetSessionToken", &[]).await);
    session.sts("GetSessionToken", &[]).await.assert_fault(
        403,
        "AccessDenied",
        "with session credentials",
    );
}

#[tokio::test]
async fn a_key_id_tells_its_account() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let (key, session) = (
        server.aws_user("999999999999", "ci", READ_ONLY),
        root.with_session(&root.sts("GetSessionToken", &[]).await),
    );
    let account = async |id: &str| {
        let found = root.sts("GetAccessKeyInfo", &[("AccessKeyId", id)]).await;
        found.text("Account")
    };
    assert_eq!(account(&key.access_key_id).await, "999999999999");
    assert_eq!(account(&session.access_key_id).await, ACCOUNT);
    root.sts(
        "GetAccessKeyInfo",
        &[("AccessKeyId", "AKIAIOSFODNN7EXAMPLE")],
    )
    .await
    .assert_fault(400, "ValidationError", "not valid");
    key.sts("GetAccessKeyInfo", &[("AccessKeyId", &key.access_key_id)])
        .await
        .assert_fault(403, "AccessDenied", "sts:GetAccessKeyInfo");
}
