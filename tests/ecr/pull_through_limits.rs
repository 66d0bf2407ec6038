//! Upstream registries that hang, lie or send too much: they hold up nothing but their own images,
//! and what changes here meanwhile counts.

use std::time::Duration;

use futures_util::future::join_all;
use http::StatusCode;
use serde_json::json;

use super::pull_through::{IMAGE, INDEX, Script, Upstream};
use crate::support::{ACCOUNT, digest_of, image, index, on};

/// Until an upstream has got all requests that a server makes at once.
const SETTLED: Duration = Duration::from_millis(1_500);

fn index_of(members: &[(String, usize)]) -> String {
    let members = members
        .iter()
        .map(|(digest, size)| (digest.as_str(), *size));
    index(&members.collect::<Vec<_>>())
}

#[tokio::test]
async fn an_index_of_indexes_keeps_few_manifests_in_memory() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&[]).await;
    let (config, layer) = (upstream.blob("web", b"{}"), upstream.blob("web", b"layer"));
    let mut inner = Vec::new();
    for outer in 0..6 {
        let mut members = Vec::new();
        for number in 0..6 {
            let extra = format!(r#","annotations":{{"number":"{outer}-{number}"}}"#);
            let text = image(&config, &layer, 5, &extra);
            let digest = digest_of(text.as_bytes());
            upstream.set(
                &format!("/v2/web/manifests/{digest}"),
                Script::Halves(text.clone().into()),
            );
            members.push((digest, text.len()));
        }
        let text = index_of(&members);
        let digest = upstream.manifest("web", "inner", INDEX, &text);
        inner.push((digest, text.len()));
    }
    let text = index_of(&inner);
    upstream.manifest("web", "v1", INDEX, &text);
    let root = server.root();
    let pull = async { root.get("/v2/quay/web/manifests/v1").await };
    let look = async {
        tokio::time::sleep(SETTLED).await;
        // The index, its six members, and three quarters of what may be received at once.
        assert_eq!(upstream.count("/v2/web/manifests/"), 1 + 6 + 24);
        upstream.go.send_replace(true);
    };
    let (pulled, ()) = tokio::join!(pull, look);
    assert_eq!(
        (pulled.status, &*pulled.body),
        (StatusCode::OK, text.as_bytes())
    );
}

#[tokio::test]
async fn a_cached_image_is_served_while_its_upstream_hangs() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&["--pull-through-refresh-seconds=0"]).await;
    let root = server.root();
    let first = upstream.image("web", "v1", b"first");
    let path = "/v2/quay/web/manifests/v1";
    assert_eq!(root.get(path).await.body, first.as_bytes());
    // Another image, of which nothing but its digest comes.
    let members = [(digest_of(b"hanging"), 7)];
    upstream.set(&format!("/v2/web/manifests/{}", members[0].0), Script::Hang);
    upstream.manifest("web", "v1", INDEX, &index_of(&members));
    let got = tokio::time::timeout(Duration::from_secs(40), root.get(path)).await;
    assert_eq!(got.expect("in time").body, first.as_bytes());
}

#[tokio::test]
async fn few_tags_are_looked_at_at_once() {
    const TAGS: usize = 80;
    let upstream = Upstream::start().await;
    let server = upstream.cache(&["--pull-through-refresh-seconds=0"]).await;
    let root = server.root();
    let path = |number: usize| format!("/v2/quay/web/manifests/t{number}");
    let mut text = String::new();
    for number in 0..TAGS {
        text = upstream.image("web", &format!("t{number}"), b"layer");
        let got = root.get(&path(number)).await;
        assert_eq!(got.status, StatusCode::OK, "{got:?}");
    }
    for number in 0..TAGS {
        upstream.set(&format!("/v2/web/manifests/t{number}"), Script::Hang);
    }
    let gets = (0..TAGS).map(|number| {
        let (root, path) = (&root, path(number));
        async move { root.get(&path).await }
    });
    let look = async {
        tokio::time::sleep(SETTLED).await;
        // Three quarters of what is looked at at once.
        assert_eq!(upstream.count("HEAD /v2/web/manifests/"), 48);
    };
    let (all, ()) = tokio::join!(join_all(gets), look);
    assert!(all.iter().all(|got| got.body == text.as_bytes()));
}

#[tokio::test]
async fn an_image_that_lies_about_a_layer_spoils_it_for_no_other() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&[]).await;
    let root = server.root();
    let config = upstream.blob("web", b"{}");
    let layer = digest_of(b"the layer");
    let elsewhere = image(&config, &layer, 9, "").replace(
        r#""size":9"#,
        r#""size":9,"urls":["https://example.com/x"]"#,
    );
    for (tag, text) in [
        ("short", image(&config, &layer, 7, "")),
        ("elsewhere", elsewhere),
        ("right", image(&config, &layer, 9, "")),
    ] {
        upstream.manifest("web", tag, IMAGE, &text);
        let got = root.get(&format!("/v2/quay/web/manifests/{tag}")).await;
        assert_eq!(got.status, StatusCode::OK, "{got:?}");
    }
    // Two of them were tried in the background.
    let path = format!("/v2/web/blobs/{layer}");
    for _ in 0..200 {
        if upstream.count(&path) >= 2 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    upstream.blob("web", b"the layer");
    let got = root.get(&format!("/v2/quay/web/blobs/{layer}")).await;
    assert_eq!(
        (got.status, &*got.body),
        (StatusCode::OK, &b"the layer"[..])
    );
}

#[tokio::test]
async fn a_repository_that_was_created_meanwhile_has_its_own_policy() {
    for is_aws in [false, true] {
        let upstream = Upstream::start().await;
        let server = upstream.cache(&[]).await;
        let theirs = upstream.image("web", "v1", b"theirs");
        let path = "/v2/web/manifests/v1";
        upstream.set(path, Script::Halves(theirs.into()));
        let all = r#"{"Version":"2012-10-17","Statement":{"Effect":"Allow","Resource":"*",
            "Action":"ecr:*"}}"#;
        let (docker, aws) = (
            server.user(ACCOUNT, "docker", all).await,
            server.aws_user(ACCOUNT, "aws", all),
        );
        let pull = async {
            if is_aws {
                let ids = json!({"imageIds": [{"imageTag": "v1"}]});
                let got = aws.ecr("BatchGetImage", on("quay/web", ids)).await;
                got.assert_fault("AccessDeniedException", "explicit deny");
            } else {
                let got = docker.get("/v2/quay/web/manifests/v1").await;
                assert_eq!(got.error(), "403 DENIED", "{got:?}");
            }
        };
        let create = async {
            while upstream.count(path) == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let root = server.aws();
            root.ok("CreateRepository", on("quay/web", json!({}))).await;
            let policy = json!({"Version": "2012-10-17", "Statement": {"Effect": "Deny",
                "Principal": {"AWS": [format!("arn:aws:iam::{ACCOUNT}:user/docker"),
                    format!("arn:aws:iam::{ACCOUNT}:user/aws")]},
                "Action": ["ecr:BatchGetImage", "ecr:BatchImportUpstreamImage"]}});
            let policy = json!({"policyText": policy.to_string()});
            root.ok("SetRepositoryPolicy", on("quay/web", policy)).await;
            server.root().push_image("quay/web", "v1").await;
            upstream.go.send_replace(true);
        };
        tokio::join!(pull, create);
        let images = server
            .aws()
            .ok("ListImages", on("quay/web", json!({})))
            .await;
        let images = images["imageIds"].as_array().map(Vec::len);
        assert_eq!(images, Some(1), "nothing was imported");
    }
}

#[tokio::test]
async fn a_layer_that_is_said_to_be_empty_has_its_digest() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&[]).await;
    let config = upstream.blob("web", b"{}");
    let (layer, root) = (digest_of(b"not empty"), server.root());
    let path = format!("/v2/web/blobs/{layer}");
    upstream.set(&path, Script::Unsized(b"".to_vec().into()));
    upstream.manifest("web", "v1", IMAGE, &image(&config, &layer, 0, ""));
    let got = root.get("/v2/quay/web/manifests/v1").await;
    assert_eq!(got.status, StatusCode::OK, "{got:?}");
    let got = root.get(&format!("/v2/quay/web/blobs/{layer}")).await;
    assert_eq!(got.status, StatusCode::BAD_GATEWAY, "{got:?}");
}

#[tokio::test]
async fn two_pulls_may_create_the_same_repository() {
    let upstream = Upstream::start().await;
    let server = upstream.cache(&[]).await;
    for tag in ["v1", "v2"] {
        let text = upstream.image("web", tag, tag.as_bytes());
        upstream.set(
            &format!("/v2/web/manifests/{tag}"),
            Script::Halves(text.into()),
        );
    }
    let root = server.root();
    let pull = async |tag: &str| root.get(&format!("/v2/quay/web/manifests/{tag}")).await;
    let both = join_all(["v1", "v2"].map(pull));
    let release = async {
        while upstream.count("/v2/web/manifests/") < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        upstream.go.send_replace(true);
    };
    let (both, ()) = tokio::join!(both, release);
    for got in both {
        assert_eq!(got.status, StatusCode::OK, "{got:?}");
    }
}
