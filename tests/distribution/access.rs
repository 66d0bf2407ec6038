//! Access control of `/v2/`: every endpoint with every kind of credentials.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use serde_json::json;

use crate::support::{ACCOUNT, Client, Response, Setup, TestServer, digest_of, on};

const UPLOAD: &str = "67e55044-10b1-426f-9247-bb680e5fe0c8";
const HOME: &str = "123456789012.dkr.ecr.us-east-1.localhost";

/// A policy that allows something, and nothing here.
const NOTHING: &str = r#"{"Version":"2012-10-17",
    "Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}"#;

/// A request and the permission that it needs, as AWS documents them for pulls and pushes ("IAM
/// permissions for pushing an image"), with `ecr:BatchDeleteImage` for every DELETE of content.
struct Endpoint {
    method: Method,
    path: &'static str,
    /// `None` where any valid credentials are enough.
    action: Option<&'static str>,
    /// What a caller with read-only permissions gets; a HEAD response has no error code.
    read_only: &'static str,
}

const fn endpoint(
    method: Method,
    path: &'static str,
    action: Option<&'static str>,
    read_only: &'static str,
) -> Endpoint {
    Endpoint {
        method,
        path,
        action,
        read_only,
    }
}

const ENDPOINTS: [Endpoint; 17] = [
    endpoint(Method::GET, "/v2/", None, "200"),
    endpoint(
        Method::GET,
        "/v2/_catalog",
        Some("ecr:DescribeRepositories"),
        "200",
    ),
    endpoint(
        Method::GET,
        "/v2/NAME/blobs/DIGEST",
        Some("ecr:GetDownloadUrlForLayer"),
        "404 BLOB_UNKNOWN",
    ),
    endpoint(
        Method::HEAD,
        "/v2/NAME/blobs/DIGEST",
        Some("ecr:BatchCheckLayerAvailability"),
        "404",
    ),
    endpoint(
        Method::DELETE,
        "/v2/NAME/blobs/DIGEST",
        Some("ecr:BatchDeleteImage"),
        "403 DENIED",
    ),
    endpoint(
        Method::GET,
        "/v2/NAME/manifests/latest",
        Some("ecr:BatchGetImage"),
        "200",
    ),
    endpoint(
        Method::HEAD,
        "/v2/NAME/manifests/latest",
        Some("ecr:BatchGetImage"),
        "200",
    ),
    endpoint(
        Method::PUT,
        "/v2/NAME/manifests/latest",
        Some("ecr:PutImage"),
        "403 DENIED",
    ),
    endpoint(
        Method::DELETE,
        "/v2/NAME/manifests/latest",
        Some("ecr:BatchDeleteImage"),
        "403 DENIED",
    ),
    endpoint(
        Method::POST,
        "/v2/NAME/blobs/uploads/",
        Some("ecr:InitiateLayerUpload"),
        "403 DENIED",
    ),
    endpoint(
        Method::GET,
        "/v2/NAME/blobs/uploads/ID",
        Some("ecr:UploadLayerPart"),
        "403 DENIED",
    ),
    endpoint(
        Method::HEAD,
        "/v2/NAME/blobs/uploads/ID",
        Some("ecr:UploadLayerPart"),
        "403",
    ),
    endpoint(
        Method::PATCH,
        "/v2/NAME/blobs/uploads/ID",
        Some("ecr:UploadLayerPart"),
        "403 DENIED",
    ),
    endpoint(
        Method::PUT,
        "/v2/NAME/blobs/uploads/ID",
        Some("ecr:CompleteLayerUpload"),
        "403 DENIED",
    ),
    endpoint(
        Method::DELETE,
        "/v2/NAME/blobs/uploads/ID",
        Some("ecr:UploadLayerPart"),
        "403 DENIED",
    ),
    endpoint(
        Method::GET,
        "/v2/NAME/tags/list",
        Some("ecr:ListImages"),
        "200",
    ),
    endpoint(
        Method::GET,
        "/v2/NAME/referrers/DIGEST",
        Some("ecr:BatchGetImage"),
        "200",
    ),
];

impl Endpoint {
    async fn request(&self, client: &Client, name: &str) -> Response {
        let path = self
            .path
            .replace("NAME", name)
            .replace("DIGEST", &digest_of(b"x"))
            .replace("ID", UPLOAD);
        let headers = [("host", HOME)];
        client.send(self.method.clone(), &path, &headers, "").await
    }

    /// The status, and of an error its code; a HEAD response has no body to state it.
    fn outcome(&self, response: &Response) -> String {
        if self.method == Method::HEAD || response.status.is_success() {
            response.status.as_u16().to_string()
        } else {
            response.error()
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)
    }
}

/// A policy that allows these actions on everything.
fn allowing(actions: &[&str]) -> String {
    json!({
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}],
    })
    .to_string()
}

async fn closed_server() -> TestServer {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("team/web", json!({}))).await;
    server
}

#[tokio::test]
async fn without_valid_credentials_every_endpoint_challenges() {
    let server = closed_server().await;
    let root = server.root();
    let token = |text: &str| server.client().with_authorization(text);
    let clients = [
        ("none", server.client()),
        ("wrong", server.client().with_password("wrong")),
        ("tampered", server.root_with_changed_password()),
        ("not base 64", token("Basic %%%")),
        ("unknown scheme", token("Digest x")),
        ("a wrong bearer token", token("Bearer x.y.z")),
    ];
    for endpoint in &ENDPOINTS {
        for (kind, client) in &clients {
            let response = endpoint.request(client, "team/web").await;
            assert_eq!(
                response.status,
                StatusCode::UNAUTHORIZED,
                "{kind}: {endpoint}"
            );
            assert_eq!(
                response.header("www-authenticate"),
                format!("Basic realm=\"http://{HOME}/\",service=\"ecr.amazonaws.com\"")
            );
        }
        assert_ne!(
            endpoint.request(&root, "team/web").await.status,
            StatusCode::UNAUTHORIZED,
            "{endpoint}"
        );
    }
}

#[tokio::test]
async fn a_denial_names_the_action_and_hides_what_exists() {
    let server = closed_server().await;
    let nobody = server.user(ACCOUNT, "nobody", NOTHING).await;
    for endpoint in &ENDPOINTS {
        let Some(action) = endpoint.action.filter(|_| endpoint.path.contains("NAME")) else {
            continue;
        };
        for name in ["team/web", "no/such"] {
            let response = endpoint.request(&nobody, name).await;
            assert_eq!(response.status, StatusCode::FORBIDDEN, "{endpoint}");
            if endpoint.method != Method::HEAD {
                let expected = format!(
                    "User: arn:aws:iam::123456789012:user/nobody is not authorized to perform: \
                     {action} on resource: arn:aws:ecr:us-east-1:123456789012:repository/{name} \
                     because no identity-based policy allows the {action} action"
                );
                assert_eq!(response.json()["errors"][0]["message"], expected);
                assert_eq!(response.error(), "403 DENIED");
            }
        }
    }
    assert_eq!(nobody.get("/v2/").await.status, StatusCode::OK);
    assert_eq!(nobody.get("/v2/_catalog").await.error(), "403 DENIED");
}

#[tokio::test]
async fn each_action_permits_its_own_endpoints_and_no_other() {
    let server = closed_server().await;
    let actions: BTreeSet<_> = ENDPOINTS
        .iter()
        .filter_map(|endpoint| endpoint.action)
        .collect();
    for (n, action) in actions.into_iter().enumerate() {
        let user = server
            .user(ACCOUNT, &format!("u{n}"), &allowing(&[action]))
            .await;
        for endpoint in &ENDPOINTS {
            let response = endpoint.request(&user, "team/web").await;
            let permitted = endpoint.action.is_none_or(|needed| needed == action);
            assert_eq!(
                response.status != StatusCode::FORBIDDEN,
                permitted,
                "{action}: {endpoint}: {response:?}"
            );
        }
    }
}

#[tokio::test]
async fn read_only_callers_only_read() {
    let server = closed_server().await;
    let digest = server.root().push_image("team/web", "latest").await;
    let reader = server
        .user(ACCOUNT, "reader", "AmazonEC2ContainerRegistryReadOnly")
        .await;
    for endpoint in &ENDPOINTS {
        assert_eq!(
            endpoint.outcome(&endpoint.request(&reader, "team/web").await),
            endpoint.read_only,
            "{endpoint}"
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
async fn another_account_needs_permission_from_both_sides() {
    let server = closed_server().await;
    server.root().push_image("team/web", "latest").await;
    let foreign = "999999999999";
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
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
        "Principal":{"AWS":"999999999999"},"Action":"ecr:BatchGetImage"}]}"#;
    let text = on("team/web", json!({ "policyText": policy }));
    server.aws().ok("SetRepositoryPolicy", text).await;
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
async fn repositories_without_permission_are_neither_listed_nor_mounted_from() {
    let server = closed_server().await;
    let root = server.root();
    let digest = root.push_blob("team/web", b"secret").await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("team/own", json!({}))).await;
    let policy = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*",
                     "Resource":"arn:aws:ecr:us-east-1:123456789012:repository/team/own"}]}"#;
    let user = server.user(ACCOUNT, "own", policy).await;
    assert_eq!(
        user.get("/v2/_catalog").await.json(),
        json!({ "repositories": ["team/own"] })
    );
    for query in [
        format!("mount={digest}&from=team/web"),
        format!("mount={digest}"),
    ] {
        let response = user
            .post(&format!("/v2/team/own/blobs/uploads/?{query}"), "")
            .await;
        assert_eq!(response.status, StatusCode::ACCEPTED, "{query}");
        let response = root
            .post(&format!("/v2/team/own/blobs/uploads/?{query}"), "")
            .await;
        assert_eq!(response.status, StatusCode::CREATED, "{query}");
        root.delete(&format!("/v2/team/own/blobs/{digest}")).await;
    }
}

#[tokio::test]
async fn a_push_creates_a_repository_only_where_configured_and_allowed() {
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
        .user(ACCOUNT, "pusher", "AmazonEC2ContainerRegistryPowerUser")
        .await;
    let response = pusher.post("/v2/new/one/blobs/uploads/", "").await;
    assert_eq!(response.error(), "403 DENIED");
    assert!(response.json().to_string().contains("ecr:CreateRepository"));
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
async fn bytes_in_the_last_request_need_permission_to_upload_bytes() {
    let server = closed_server().await;
    let policy = allowing(&["ecr:InitiateLayerUpload", "ecr:CompleteLayerUpload"]);
    let user = server.user(ACCOUNT, "finish", &policy).await;
    let (location, digest) = (user.start_upload("team/web").await, digest_of(b"x"));
    let response = user
        .send(
            Method::PUT,
            &format!("{location}?digest={digest}"),
            &[],
            "x",
        )
        .await;
    assert_eq!(response.error(), "403 DENIED");
    assert_eq!(
        user.post(&format!("/v2/team/web/blobs/uploads/?digest={digest}"), "x")
            .await
            .error(),
        "403 DENIED"
    );
    let response = user
        .send(
            Method::PUT,
            &format!("{location}?digest={}", digest_of(b"")),
            &[],
            "",
        )
        .await;
    assert_eq!(response.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_mount_needs_permission_to_complete_an_upload_of_the_target() {
    let server = closed_server().await;
    let digest = server.root().push_blob("team/web", b"content").await;
    let aws = server.aws();
    aws.ok("CreateRepository", on("team/own", json!({}))).await;
    let mount = format!("/v2/team/own/blobs/uploads/?mount={digest}&from=team/web");
    let start = ["ecr:InitiateLayerUpload", "ecr:GetDownloadUrlForLayer"];
    let starter = server.user(ACCOUNT, "starter", &allowing(&start)).await;
    let denied = starter.post(&mount, "").await;
    assert_eq!(denied.error(), "403 DENIED");
    assert!(
        denied
            .json()
            .to_string()
            .contains("ecr:CompleteLayerUpload")
    );
    let all = [start[0], start[1], "ecr:CompleteLayerUpload"];
    let mounter = server.user(ACCOUNT, "mounter", &allowing(&all)).await;
    assert_eq!(mounter.post(&mount, "").await.status, StatusCode::CREATED);
}
