//! `/token` and what its tokens open.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::support::{ACCOUNT, Client, Response, Setup, TestServer, on};

async fn server() -> TestServer {
    TestServer::start(Setup {
        bearer: true,
        create_on_push: true,
        ..Setup::default()
    })
    .await
}

async fn token(client: &Client, query: &str) -> String {
    let response = client.get(&format!("/token?{query}")).await;
    assert_eq!(response.status, StatusCode::OK, "{response:?}");
    let document = response.json();
    assert_eq!(document["token"], document["access_token"]);
    assert!(
        document["expires_in"]
            .as_u64()
            .is_some_and(|seconds| seconds >= 60)
    );
    assert!(
        document["issued_at"]
            .as_str()
            .is_some_and(|text| text.ends_with('Z'))
    );
    document["token"].as_str().expect("a token").to_owned()
}

async fn form(client: &Client, body: &str) -> Response {
    client
        .send(
            Method::POST,
            "/token",
            &[("content-type", "application/x-www-form-urlencoded")],
            body.to_owned(),
        )
        .await
}

#[tokio::test]
async fn a_challenge_leads_to_a_token_for_the_requested_scope() {
    let server = server().await;
    let root = server.root();
    root.push_image("aa/bb", "v1").await;
    let ping = server.client().get("/v2/").await;
    assert_eq!(ping.error(), "401 UNAUTHORIZED");
    assert_eq!(
        ping.header("www-authenticate"),
        format!(
            "Bearer realm=\"http://{0}/token\",service=\"{0}\"",
            server.address
        )
    );
    let refused = server.client().get("/v2/aa/bb/manifests/v1").await;
    assert!(
        refused
            .header("www-authenticate")
            .ends_with(",scope=\"repository:aa/bb:pull\"")
    );
    let pull = token(&root, "service=x&scope=repository:aa/bb:pull").await;
    let puller = server
        .client()
        .with_authorization(&format!("Bearer {pull}"));
    assert_eq!(puller.get("/v2/").await.status, StatusCode::OK);
    assert_eq!(
        puller.get("/v2/aa/bb/manifests/v1").await.status,
        StatusCode::OK
    );
    let short = puller.post("/v2/aa/bb/blobs/uploads/", "").await;
    assert_eq!(short.error(), "401 UNAUTHORIZED");
    let expected = ",scope=\"repository:aa/bb:pull,push\",error=\"insufficient_scope\"";
    assert!(
        short.header("www-authenticate").ends_with(expected),
        "{short:?}"
    );
    assert_eq!(puller.get("/v2/_catalog").await.error(), "401 UNAUTHORIZED");
}

#[tokio::test]
async fn a_token_says_what_policies_allow_and_no_more() {
    let server = server().await;
    server.root().push_image("aa/bb", "v1").await;
    let reader = server
        .user(ACCOUNT, "reader", "AmazonEC2ContainerRegistryReadOnly")
        .await;
    let text = token(
        &reader,
        "scope=repository:aa/bb:pull,push,delete%20registry:catalog:*",
    )
    .await;
    let claims = text.split('.').nth(1).expect("a JWT");
    let claims = base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, claims)
        .expect("base 64");
    let claims: serde_json::Value = serde_json::from_slice(&claims).expect("JSON");
    assert_eq!(
        claims["registry"],
        json!({
            "account": "123456789012",
            "region": "us-east-1",
            "scope": "repository:aa/bb:pull registry:catalog:*",
        })
    );
    let client = server
        .client()
        .with_authorization(&format!("Bearer {text}"));
    assert_eq!(
        client.get("/v2/aa/bb/tags/list").await.status,
        StatusCode::OK
    );
    assert_eq!(client.get("/v2/_catalog").await.status, StatusCode::OK);
    // What policies refuse is refused for good: another token would not help.
    assert_eq!(
        client.post("/v2/aa/bb/blobs/uploads/", "").await.error(),
        "403 DENIED"
    );
    // The policies decide at every use of the token, not when it is issued.
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Deny",
        "Principal": {"AWS": "arn:aws:iam::123456789012:user/reader"},
        "Action": "ecr:ListImages",
    }]});
    let policy = on("aa/bb", json!({ "policyText": policy.to_string() }));
    server.aws().ok("SetRepositoryPolicy", policy).await;
    assert_eq!(
        client.get("/v2/aa/bb/tags/list").await.error(),
        "403 DENIED"
    );
}

#[tokio::test]
async fn a_mount_needs_a_token_for_both_repositories() {
    let server = server().await;
    let root = server.root();
    let digest = root.push_blob("from/here", b"content").await;
    root.start_upload("to/there").await;
    let text = token(&root, "scope=repository:to/there:pull,push").await;
    let client = server
        .client()
        .with_authorization(&format!("Bearer {text}"));
    let mount = format!("/v2/to/there/blobs/uploads/?mount={digest}&from=from/here");
    let short = client.post(&mount, "").await;
    assert_eq!(short.error(), "401 UNAUTHORIZED");
    let expected = "scope=\"repository:to/there:pull,push repository:from/here:pull\",\
                    error=\"insufficient_scope\"";
    assert!(
        short.header("www-authenticate").ends_with(expected),
        "{short:?}"
    );
    let missing = client
        .post(&mount.replace("from/here", "no/such"), "")
        .await;
    assert_eq!(missing.status, StatusCode::ACCEPTED);
    let text = token(
        &root,
        "scope=repository:to/there:pull,push&scope=repository:from/here:pull",
    )
    .await;
    let client = server
        .client()
        .with_authorization(&format!("Bearer {text}"));
    assert_eq!(client.post(&mount, "").await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn forms_take_passwords_and_give_them_back_to_come_again() {
    let server = server().await;
    let password = server.root_password();
    let scope = "scope=repository%3Aaa%2Fbb%3Apull";
    let response = form(
        &server.client(),
        &format!(
            "grant_type=password&username=AWS&password={password}&access_type=offline&{scope}"
        ),
    )
    .await;
    assert_eq!(response.status, StatusCode::OK, "{response:?}");
    let refresh = response.json()["refresh_token"]
        .as_str()
        .expect("a refresh token")
        .to_owned();
    let response = form(
        &server.client(),
        &format!("grant_type=refresh_token&refresh_token={refresh}&{scope}"),
    )
    .await;
    assert_eq!(
        (response.status, response.json()["refresh_token"].clone()),
        (StatusCode::OK, serde_json::Value::Null)
    );
    let offline = server
        .root()
        .get(&format!("/token?offline_token=true&{scope}"))
        .await;
    assert_eq!(offline.json()["refresh_token"], password);
    for (body, status) in [
        (
            "grant_type=password&username=AWS&password=wrong",
            "401 UNAUTHORIZED",
        ),
        ("grant_type=password&username=AWS", "400 UNSUPPORTED"),
        (
            "grant_type=refresh_token&refresh_token=wrong",
            "401 UNAUTHORIZED",
        ),
        ("grant_type=magic", "400 UNSUPPORTED"),
        ("", "401 UNAUTHORIZED"),
    ] {
        assert_eq!(form(&server.client(), body).await.error(), status, "{body}");
    }
    let large = format!("grant_type=password&x={}", "x".repeat(100_000));
    assert_eq!(
        form(&server.client(), &large).await.error(),
        "400 UNSUPPORTED"
    );
    assert_eq!(
        server.client().delete("/token").await.error(),
        "405 UNSUPPORTED"
    );
}

#[tokio::test]
async fn a_token_buys_no_other_token() {
    let server = server().await;
    let text = token(&server.root(), "scope=repository:aa/bb:pull").await;
    let client = server
        .client()
        .with_authorization(&format!("Bearer {text}"));
    assert_eq!(
        client
            .get("/token?scope=repository:aa/bb:pull,push")
            .await
            .error(),
        "401 UNAUTHORIZED"
    );
    let response = form(
        &server.client(),
        &format!("grant_type=refresh_token&refresh_token={text}"),
    )
    .await;
    assert_eq!(response.error(), "401 UNAUTHORIZED");
}

#[tokio::test]
async fn a_token_is_valid_at_the_registry_it_was_issued_for_and_at_no_other() {
    const EUROPE: &str = "123456789012.dkr.ecr.eu-west-1.localhost";
    let server = server().await;
    let root = server.root();
    root.push_image("aa/bb", "v1").await;
    let challenged = server
        .client()
        .get_with("/v2/aa/bb/tags/list", &[("host", EUROPE)])
        .await;
    let service = format!("service=\"{EUROPE}\"");
    assert!(challenged.header("www-authenticate").contains(&service));
    // By the `service` that the challenge names, or by the host of the token endpoint.
    let scope = "scope=repository:aa/bb:pull";
    let usual = token(&root, &format!("service=registry&{scope}")).await;
    let europe = token(&root, &format!("service={EUROPE}&{scope}")).await;
    let by_host = root
        .get_with(&format!("/token?{scope}"), &[("host", EUROPE)])
        .await;
    let by_host = by_host.json()["token"]
        .as_str()
        .expect("a token")
        .to_owned();
    let list = async |token: &str, host: &str| {
        server
            .client()
            .with_authorization(&format!("Bearer {token}"))
            .get_with("/v2/aa/bb/tags/list", &[("host", host)])
            .await
    };
    assert_eq!(list(&usual, "localhost").await.status, StatusCode::OK);
    for token in [&europe, &by_host] {
        // The repository exists in the other region only.
        assert_eq!(list(token, EUROPE).await.error(), "404 NAME_UNKNOWN");
    }
    for (token, host) in [(&usual, EUROPE), (&europe, "localhost")] {
        let refused = list(token, host).await;
        assert_eq!(refused.error(), "401 UNAUTHORIZED");
        let challenge = refused.header("www-authenticate");
        assert!(
            challenge.ends_with("error=\"invalid_token\""),
            "{challenge}"
        );
    }
}

#[tokio::test]
async fn a_token_that_is_issued_is_accepted_and_scopes_that_do_not_fit_are_refused() {
    let server = server().await;
    let root = server.root();
    for (count, expected) in [(10, Some(StatusCode::OK)), (32, None), (40, None)] {
        // Names of 254 characters, the longest being 256.
        let scopes: Vec<_> = (10..10 + count)
            .map(|n| format!("repository:{}:pull,push,delete", n.to_string().repeat(127)))
            .collect();
        let body = format!(
            "grant_type=password&username=AWS&password={}&scope={}",
            server.root_password(),
            scopes.join("+")
        );
        let response = form(&root, &body).await;
        let Some(expected) = expected else {
            assert_eq!(response.error(), "400 UNSUPPORTED", "{count} scopes");
            continue;
        };
        assert_eq!(response.status, expected);
        let token = response.json()["token"]
            .as_str()
            .expect("a token")
            .to_owned();
        let client = server
            .client()
            .with_authorization(&format!("Bearer {token}"));
        assert_eq!(client.get("/v2/").await.status, StatusCode::OK);
    }
    let scopes: Vec<_> = (0..33).map(|n| format!("repository:r{n}:pull")).collect();
    let response = root
        .get(&format!("/token?scope={}", scopes.join("+")))
        .await;
    assert_eq!(response.error(), "400 UNSUPPORTED");
}

#[tokio::test]
async fn forms_share_the_memory_of_all_bodies() {
    const MANIFEST_BYTES: usize = 4 * 1024 * 1024;
    const REST_BYTES: usize = 200 * 1024;
    let server = TestServer::dev().await;
    let mut held = Vec::new();
    // Unfinished manifests that use up what one address may use, of which 8 KiB each are free.
    for bytes in [[MANIFEST_BYTES; 24].as_slice(), &[REST_BYTES]].concat() {
        let mut socket = TcpStream::connect(server.address).await.expect("connects");
        let start = format!(
            "PUT /v2/web/manifests/latest HTTP/1.1\r\nHost: localhost\r\n\
             Content-Length: {bytes}\r\n\r\n"
        );
        socket.write_all(start.as_bytes()).await.expect("sends");
        let body = vec![b' '; bytes - 1];
        socket.write_all(&body).await.expect("sends");
        held.push(socket);
    }
    let client = server.client();
    let long = format!("offline_token={}", "x".repeat(60 * 1024));
    // The server may not have received all manifests yet.
    let mut status = StatusCode::OK;
    for _ in 0..200 {
        status = form(&client, &long).await.status;
        if status != StatusCode::OK {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(form(&client, "scope=a").await.status, StatusCode::OK);
}
