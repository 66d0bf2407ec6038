//! OIDC providers, and web-identity tokens that prove nobody.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{Method, StatusCode};
use serde_json::json;

use crate::support::{ACCOUNT, QueryOutcome, Setup, TestServer};

const ARN: &str = "arn:aws:iam::123456789012:oidc-provider/ci.example.com/jobs";
const URL: &str = "https://ci.example.com/jobs";
const THUMBPRINT: &str = "0123456789abcdef0123456789abcdef01234567";

#[tokio::test]
async fn a_provider_is_managed() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let members = [
        ("Url", URL),
        ("ClientIDList.member.1", "sts.example.com"),
        ("ThumbprintList.member.1", THUMBPRINT),
        ("Tags.member.1.Key", "team"),
        ("Tags.member.1.Value", "red"),
    ];
    let made = root.iam_ok("CreateOpenIDConnectProvider", &members).await;
    assert_eq!(made.one("OpenIDConnectProviderArn"), ARN);
    root.iam("CreateOpenIDConnectProvider", &members)
        .await
        .assert_fault(409, "EntityAlreadyExists", "already exists");
    let arn = ("OpenIDConnectProviderArn", ARN);
    let other = ("ClientID", "other");
    root.iam_ok("AddClientIDToOpenIDConnectProvider", &[arn, other])
        .await;
    let list = (
        "ThumbprintList.member.1",
        "ffffffffffffffffffffffffffffffffffffffff",
    );
    root.iam_ok("UpdateOpenIDConnectProviderThumbprint", &[arn, list])
        .await;
    let tag = [("Tags.member.1.Key", "cost"), ("Tags.member.1.Value", "7")];
    root.iam_ok("TagOpenIDConnectProvider", &[arn, tag[0], tag[1]])
        .await;
    root.iam_ok(
        "UntagOpenIDConnectProvider",
        &[arn, ("TagKeys.member.1", "team")],
    )
    .await;
    let tags = root.iam_ok("ListOpenIDConnectProviderTags", &[arn]).await;
    assert_eq!(tags.all("Key"), ["cost"]);
    let found = root.iam_ok("GetOpenIDConnectProvider", &[arn]).await;
    assert_eq!(found.one("Url"), "ci.example.com/jobs");
    let expected =
        "<ClientIDList><member>sts.example.com</member><member>other</member></ClientIDList>";
    assert!(found.document.contains(expected), "{}", found.document);
    assert!(
        found
            .document
            .contains("<member>ffffffffffffffffffffffffffffffffffffffff</member>")
    );
    root.iam_ok("RemoveClientIDFromOpenIDConnectProvider", &[arn, other])
        .await;
    let listed = root.iam_ok("ListOpenIDConnectProviders", &[]).await;
    assert_eq!(listed.all("Arn"), [ARN]);
    root.iam_ok("DeleteOpenIDConnectProvider", &[arn]).await;
    root.iam_ok("DeleteOpenIDConnectProvider", &[arn]).await;
    let gone = root.iam("GetOpenIDConnectProvider", &[arn]).await;
    gone.assert_fault(
        404,
        "NoSuchEntity",
        "OpenIDConnect Provider not found for arn",
    );
    let add = root
        .iam("AddClientIDToOpenIDConnectProvider", &[arn, other])
        .await;
    add.assert_fault(
        404,
        "NoSuchEntity",
        "OpenIDConnect Provider not found for arn",
    );
}

#[tokio::test]
async fn wrong_providers_and_callers_are_refused() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    for (members, code, message) in [
        (
            &[("Url", "http://ci.example.com")][..],
            "ValidationError",
            "Invalid Open ID Connect Provider URL",
        ),
        (
            &[("Url", "https://ci.example.com?a=b")],
            "ValidationError",
            "Invalid Open ID Connect Provider URL",
        ),
        (
            &[("Url", URL), ("ThumbprintList.member.1", "xy")],
            "ValidationError",
            "length greater than or equal to 40",
        ),
        (
            &[
                ("Url", URL),
                (
                    "ThumbprintList.member.1",
                    "z123456789abcdef0123456789abcdef01234567",
                ),
            ],
            "InvalidInput",
            "Invalid thumbprint",
        ),
        (&[], "ValidationError", "must not be null"),
    ] {
        let refused = root.iam("CreateOpenIDConnectProvider", members).await;
        refused.assert_fault(400, code, message);
    }
    let wrong = [(
        "OpenIDConnectProviderArn",
        "arn:aws:iam::123456789012:role/deploy",
    )];
    let refused = root.iam("GetOpenIDConnectProvider", &wrong).await;
    refused.assert_fault(400, "ValidationError", "Invalid ARN");
    let reader = server.aws_user(ACCOUNT, "eve", "IAMReadOnlyAccess");
    let arn = [("OpenIDConnectProviderArn", ARN)];
    let denied = reader.iam("DeleteOpenIDConnectProvider", &arn).await;
    denied.assert_fault(403, "AccessDenied", "iam:DeleteOpenIDConnectProvider");
    reader.iam_ok("ListOpenIDConnectProviders", &[]).await;
}

/// An unsigned request.
async fn unsigned(server: &TestServer, form: &str) -> QueryOutcome {
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let client = server.client();
    let response = client
        .send(Method::POST, "/", &headers, form.to_owned())
        .await;
    QueryOutcome {
        status: response.status,
        document: String::from_utf8(response.body.to_vec()).expect("text"),
    }
}

fn web_identity(token: &str) -> String {
    format!(
        "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleSessionName=run&RoleArn=\
         arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fdeploy&WebIdentityToken={token}"
    )
}

#[tokio::test]
async fn a_token_that_proves_nobody_is_refused() {
    let server = TestServer::start(Setup::default()).await;
    let encode = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let token = |header: serde_json::Value, claims: serde_json::Value| {
        format!("{}.{}.c2ln", encode(header), encode(claims))
    };
    let claims = json!({"iss": URL, "sub": "job", "aud": "x", "exp": 1, "iat": 1});
    for (token, message) in [
        ("nothing".to_owned(), "not a valid JWT"),
        (
            token(json!({"alg": "none"}), claims.clone()),
            "algorithm is not supported",
        ),
        (
            token(json!({"alg": "HS256"}), claims.clone()),
            "algorithm is not supported",
        ),
        (token(json!({"alg": "RS256"}), json!({})), "iss"),
        (
            token(json!({"alg": "RS256"}), claims.clone()),
            "No OpenIDConnect provider found in your account for https://ci.example.com/jobs",
        ),
    ] {
        let refused = unsigned(&server, &web_identity(&token)).await;
        refused.assert_fault(400, "InvalidIdentityToken", message);
    }
    let members = [("Url", URL), ("ThumbprintList.member.1", THUMBPRINT)];
    server
        .aws()
        .iam_ok("CreateOpenIDConnectProvider", &members)
        .await;
    let refused = unsigned(
        &server,
        &web_identity(&token(json!({"alg": "RS256"}), claims)),
    )
    .await;
    refused.assert_fault(
        400,
        "IDPCommunicationError",
        "Couldn't retrieve verification key",
    );
    let provider = format!("{}&ProviderId=www.amazon.com", web_identity("abcd"));
    let refused = unsigned(&server, &provider).await;
    refused.assert_fault(400, "ValidationError", "ProviderId");
    let short = unsigned(&server, &web_identity("a")).await;
    short.assert_fault(400, "ValidationError", "webIdentityToken");
}

#[tokio::test]
async fn only_operations_that_need_no_signature_run_without_one() {
    let server = TestServer::start(Setup::default()).await;
    let long = format!("Action=AssumeRoleWithWebIdentity&X={}", "x".repeat(70_000));
    for form in [
        "Action=GetCallerIdentity&Version=2011-06-15",
        "Action=ListUsers&Version=2010-05-08",
        "Action=NoSuchThing",
        "nothing",
        "",
    ] {
        let refused = unsigned(&server, form).await;
        refused.assert_fault(403, "MissingAuthenticationToken", "");
    }
    let refused = unsigned(&server, &long).await;
    assert_eq!(refused.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn operations_without_meaning_here_say_so() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let message = "does not support the operation";
    for operation in [
        "AssumeRoot",
        "GetDelegatedAccessToken",
        "GetWebIdentityToken",
    ] {
        let refused = root.sts(operation, &[]).await;
        refused.assert_fault(501, "NotImplemented", message);
    }
    for operation in [
        "CreateSAMLProvider",
        "EnableMFADevice",
        "UploadSSHPublicKey",
    ] {
        let refused = root.iam(operation, &[]).await;
        refused.assert_fault(501, "NotImplemented", message);
        let elsewhere = root.sts(operation, &[]).await;
        elsewhere.assert_fault(400, "InvalidAction", "Could not find operation");
    }
    let refused = unsigned(&server, "Action=AssumeRoleWithSAML&SAMLAssertion=x").await;
    refused.assert_fault(501, "NotImplemented", message);
}

#[tokio::test]
async fn faults_have_the_namespace_of_their_service() {
    let server = TestServer::start(Setup::default()).await;
    let root = server.aws();
    let stranger = server.aws_with("AKIAIOSFODNN7EXAMPLE", "none");
    let (iam, sts) = (
        "xmlns=\"https://iam.amazonaws.com/doc/2010-05-08/\"",
        "xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"",
    );
    for (fault, namespace) in [
        (root.iam("GetUser", &[("UserName", "none")]).await, iam),
        (root.iam("NoSuchThing", &[]).await, iam),
        (stranger.iam("ListUsers", &[]).await, iam),
        (stranger.sts("GetCallerIdentity", &[]).await, sts),
        (
            unsigned(&server, "Action=ListUsers&Version=2010-05-08").await,
            iam,
        ),
        (unsigned(&server, "Action=GetCallerIdentity").await, sts),
        (unsigned(&server, "").await, sts),
    ] {
        assert!(fault.document.contains(namespace), "{}", fault.document);
    }
}
