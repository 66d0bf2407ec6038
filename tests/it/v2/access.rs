//! Who may do what on `/v2/`: every route with every kind of credential.

use std::time::Duration;

use http::{Method, StatusCode};
use wharfinger::api::v2::actions::{Row, TABLE};
use wharfinger_aws::{AccountId, Region};
use wharfinger_registry::{RegistryId, RepositorySettings};

use crate::support::{Answer, Client, Setup, TestServer, digest_of};

const UPLOAD: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
const HOME: &str = "123456789012.dkr.ecr.us-east-1.localhost";

/// A policy that allows something, and nothing here.
const NOTHING: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;

fn home() -> RegistryId {
    RegistryId {
        account: AccountId::DEV,
        region: "us-east-1".parse::<Region>().expect("a region"),
    }
}

async fn closed_server() -> TestServer {
    let server = TestServer::start(Setup::default()).await;
    let name = "team/web".parse().expect("a name");
    server
        .app
        .registry
        .repositories
        .create(&home(), &name, RepositorySettings::default())
        .await
        .expect("a repository");
    server
}

/// One request by a row of the table.
async fn ask(client: &Client, row: &Row, name: &str) -> Answer {
    let path = row
        .path
        .replace("NAME", name)
        .replace("REFERENCE", "latest")
        .replace("DIGEST", &digest_of(b"x"))
        .replace("ID", UPLOAD);
    let method: Method = row.method.parse().expect("a method");
    client.send(method, &path, &[("host", HOME)], "").await
}

/// Status, and of an error its code; a HEAD has no body to say it in.
fn outcome(row: &Row, answer: &Answer) -> String {
    if row.method == "HEAD" || answer.status.is_success() {
        answer.status.as_u16().to_string()
    } else {
        answer.error()
    }
}

#[tokio::test]
async fn without_good_credentials_every_route_asks_for_them() {
    let server = closed_server().await;
    let root = server.root();
    let expired = server.root();
    let token = |text: &str| server.client().with_authorization(text);
    let clients = [
        ("none", server.client()),
        ("wrong", server.client().with_password("wrong")),
        ("tampered", server.root_with_changed_password()),
        ("not base 64", token("Basic %%%")),
        ("no such scheme", token("Digest x")),
        ("a wrong bearer token", token("Bearer x.y.z")),
    ];
    for row in &TABLE {
        for (kind, client) in &clients {
            let answer = ask(client, row, "team/web").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{kind}: {row:?}");
            let challenge = answer.header("www-authenticate");
            assert_eq!(
                challenge,
                format!("Basic realm=\"http://{HOME}/\",service=\"ecr.amazonaws.com\"")
            );
        }
        assert_ne!(
            ask(&root, row, "team/web").await.status,
            StatusCode::UNAUTHORIZED,
            "{row:?}"
        );
    }
    server.clock.advance(Duration::from_hours(13));
    for row in &TABLE {
        let answer = ask(&expired, row, "team/web").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{row:?}");
        if row.method != "HEAD" {
            assert_eq!(
                answer.json()["errors"][0]["message"],
                "Your authorization token has expired. Reauthenticate and try again."
            );
        }
    }
}

#[tokio::test]
async fn a_refusal_names_the_action_and_hides_what_exists() {
    let server = closed_server().await;
    let nobody = server.user(AccountId::DEV, "nobody", NOTHING).await;
    for row in TABLE.iter().filter(|row| row.path.contains("NAME")) {
        for name in ["team/web", "no/such"] {
            let answer = ask(&nobody, row, name).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{row:?}");
            if row.method != "HEAD" {
                let action = row.actions[0];
                let expected = format!(
                    "User: arn:aws:iam::123456789012:user/nobody is not authorized to perform: {action} on resource: \
                     arn:aws:ecr:us-east-1:123456789012:repository/{name} because no identity-based policy allows the {action} action"
                );
                assert_eq!(answer.json()["errors"][0]["message"], expected);
                assert_eq!(answer.error(), "403 DENIED");
            }
        }
    }
    assert_eq!(nobody.get("/v2/").await.status, StatusCode::OK);
    assert_eq!(nobody.get("/v2/_catalog").await.error(), "403 DENIED");
}

#[tokio::test]
async fn each_action_opens_its_own_routes_and_no_other() {
    let server = closed_server().await;
    let mut actions: Vec<_> = TABLE.iter().flat_map(|row| row.actions).copied().collect();
    actions.sort_unstable();
    actions.dedup();
    for (n, action) in actions.into_iter().enumerate() {
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Action":"{action}","Resource":"*"}}]}}"#
        );
        let user = server.user(AccountId::DEV, &format!("u{n}"), &policy).await;
        for row in &TABLE {
            let answer = ask(&user, row, "team/web").await;
            let allowed = row.actions.iter().all(|needed| *needed == action);
            assert_eq!(
                answer.status != StatusCode::FORBIDDEN,
                allowed,
                "{action}: {row:?}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn read_only_callers_read_and_no_more() {
    let server = closed_server().await;
    let digest = server.root().push_image("team/web", "latest").await;
    let reader = server
        .user(
            AccountId::DEV,
            "reader",
            "AmazonEC2ContainerRegistryReadOnly",
        )
        .await;
    let expected = [
        ("/v2/", "200"),
        ("/v2/_catalog", "200"),
        ("GET blobs", "404 BLOB_UNKNOWN"),
        ("HEAD blobs", "404"),
        ("DELETE blobs", "403 DENIED"),
        ("GET manifests", "200"),
        ("HEAD manifests", "200"),
        ("PUT manifests", "403 DENIED"),
        ("DELETE manifests", "403 DENIED"),
        ("POST uploads", "403 DENIED"),
        ("GET upload", "403 DENIED"),
        ("PATCH upload", "403 DENIED"),
        ("PUT upload", "403 DENIED"),
        ("DELETE upload", "403 DENIED"),
        ("GET tags", "200"),
        ("GET referrers", "200"),
    ];
    for (row, (what, expected)) in TABLE.iter().zip(expected) {
        assert_eq!(
            outcome(row, &ask(&reader, row, "team/web").await),
            expected,
            "{what}: {row:?}"
        );
    }
    assert_eq!(
        reader
            .get(&format!("/v2/team/web/manifests/{digest}"))
            .await
            .status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn another_account_gets_in_only_where_both_sides_say_so() {
    let server = closed_server().await;
    server.root().push_image("team/web", "latest").await;
    let foreign: AccountId = "999999999999".parse().expect("an account");
    let full = server
        .user(foreign, "full", "AmazonEC2ContainerRegistryFullAccess")
        .await;
    let none = server.user(foreign, "none", NOTHING).await;
    let pull = |client: Client| async move {
        client
            .get_with("/v2/team/web/manifests/latest", &[("host", HOME)])
            .await
    };
    let refused = pull(full.clone()).await;
    assert_eq!(refused.error(), "403 DENIED");
    let message = refused.json()["errors"][0]["message"]
        .as_str()
        .map(ToOwned::to_owned);
    assert!(message.is_some_and(|text| {
        text.ends_with("because no resource-based policy allows the ecr:BatchGetImage action")
    }));
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"999999999999"},"Action":"ecr:BatchGetImage"}]}"#;
    let name = "team/web".parse().expect("a name");
    server
        .app
        .registry
        .repositories
        .set_policy(&home(), &name, policy.to_owned())
        .await
        .expect("a policy");
    assert_eq!(pull(full.clone()).await.status, StatusCode::OK);
    assert_eq!(pull(none).await.error(), "403 DENIED");
    let push = full
        .send(
            Method::PUT,
            "/v2/team/web/manifests/latest",
            &[("host", HOME)],
            "{}",
        )
        .await;
    assert_eq!(push.error(), "403 DENIED");
    // Under its own host name the same path is the caller's own registry, where there is nothing.
    assert_eq!(
        full.get("/v2/team/web/manifests/latest").await.error(),
        "404 NAME_UNKNOWN"
    );
}

#[tokio::test]
async fn what_is_refused_is_never_listed_nor_mounted() {
    let server = closed_server().await;
    let root = server.root();
    let digest = root.push_blob("team/web", b"secret").await;
    let name = "team/own".parse().expect("a name");
    server
        .app
        .registry
        .repositories
        .create(&home(), &name, RepositorySettings::default())
        .await
        .expect("a repository");
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*",
                     "Resource":"arn:aws:ecr:us-east-1:123456789012:repository/team/own"}]}"#;
    let user = server.user(AccountId::DEV, "own", policy).await;
    assert_eq!(
        user.get("/v2/_catalog").await.json(),
        serde_json::json!({ "repositories": ["team/own"] })
    );
    for query in [
        format!("mount={digest}&from=team/web"),
        format!("mount={digest}"),
    ] {
        let answer = user
            .post(&format!("/v2/team/own/blobs/uploads/?{query}"), "")
            .await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{query}");
        let answer = root
            .post(&format!("/v2/team/own/blobs/uploads/?{query}"), "")
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{query}");
        root.delete(&format!("/v2/team/own/blobs/{digest}")).await;
    }
}

#[tokio::test]
async fn a_push_makes_a_repository_only_where_that_is_on_and_allowed() {
    let off = closed_server().await;
    assert_eq!(
        off.root()
            .post("/v2/new/one/blobs/uploads/", "")
            .await
            .error(),
        "404 NAME_UNKNOWN"
    );
    let on = TestServer::start(Setup {
        create_on_push: true,
        ..Setup::default()
    })
    .await;
    let pusher = on
        .user(
            AccountId::DEV,
            "pusher",
            "AmazonEC2ContainerRegistryPowerUser",
        )
        .await;
    let answer = pusher.post("/v2/new/one/blobs/uploads/", "").await;
    assert_eq!(answer.error(), "403 DENIED");
    assert!(answer.json().to_string().contains("ecr:CreateRepository"));
    assert_eq!(
        on.root()
            .post("/v2/new/one/blobs/uploads/", "")
            .await
            .status,
        StatusCode::ACCEPTED
    );
    assert_eq!(
        pusher.post("/v2/new/one/blobs/uploads/", "").await.status,
        StatusCode::ACCEPTED
    );
}

#[tokio::test]
async fn bytes_in_the_last_request_need_the_right_to_upload_bytes() {
    let server = closed_server().await;
    let finish = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["ecr:InitiateLayerUpload","ecr:CompleteLayerUpload"],"Resource":"*"}]}"#;
    let user = server.user(AccountId::DEV, "finish", finish).await;
    let (location, digest) = (user.start_upload("team/web").await, digest_of(b"x"));
    let answer = user
        .send(
            Method::PUT,
            &format!("{location}?digest={digest}"),
            &[],
            "x",
        )
        .await;
    assert_eq!(answer.error(), "403 DENIED");
    assert_eq!(
        user.post(&format!("/v2/team/web/blobs/uploads/?digest={digest}"), "x")
            .await
            .error(),
        "403 DENIED"
    );
    let answer = user
        .send(
            Method::PUT,
            &format!("{location}?digest={}", digest_of(b"")),
            &[],
            "",
        )
        .await;
    assert_eq!(answer.status, StatusCode::CREATED);
}
