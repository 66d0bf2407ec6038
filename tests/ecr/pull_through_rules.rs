//! Rules of the pull-through cache: what may be in them, and whether their secrets work.

use serde_json::{Value, json};

use crate::support::{Aws, Setup, TestServer};

/// Makes a secret of this name and value; its ARN.
async fn secret(aws: &Aws, name: &str, value: &str) -> String {
    let request = json!({"Name": name, "SecretString": value, "ClientRequestToken":
        "00000000-0000-4000-8000-000000000001"});
    let made = aws.json("secretsmanager", "secretsmanager", "CreateSecret", request);
    let made = made.await.document;
    made["ARN"].as_str().expect("an ARN").to_owned()
}

fn rule(prefix: &str, url: &str, more: &Value) -> Value {
    let mut rule = json!({"ecrRepositoryPrefix": prefix, "upstreamRegistryUrl": url});
    let members = more.as_object().expect("an object").clone();
    rule.as_object_mut().expect("an object").extend(members);
    rule
}

#[tokio::test]
async fn a_rule_is_created_described_and_deleted() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let made = aws
        .ok(
            "CreatePullThroughCacheRule",
            rule("quay/", "quay.io", &json!({})),
        )
        .await;
    assert!(made["createdAt"].is_f64(), "{made}");
    assert_eq!(
        made,
        json!({"ecrRepositoryPrefix": "quay", "upstreamRegistryUrl": "quay.io",
            "registryId": "123456789012", "upstreamRegistry": "quay",
            "createdAt": made["createdAt"]})
    );
    aws.ecr(
        "CreatePullThroughCacheRule",
        rule("quay", "quay.io", &json!({})),
    )
    .await
    .assert_fault(
        "PullThroughCacheRuleAlreadyExistsException",
        "The pull through cache rule with prefix 'quay' already exists in the registry with \
             id '123456789012'",
    );
    let more = json!({"upstreamRegistry": "k8s", "upstreamRepositoryPrefix": "a/b"});
    aws.ok(
        "CreatePullThroughCacheRule",
        rule("ROOT", "registry.k8s.io", &more),
    )
    .await;
    let all = aws.ok("DescribePullThroughCacheRules", json!({})).await;
    let all = all["pullThroughCacheRules"]
        .as_array()
        .expect("rules")
        .clone();
    assert_eq!(all.len(), 2);
    assert_eq!(all[0]["upstreamRepositoryPrefix"], "a/b");
    assert_eq!(all[1]["updatedAt"], made["createdAt"]);
    assert_eq!(all[1].get("upstreamRepositoryPrefix"), None);
    let first = aws
        .ok("DescribePullThroughCacheRules", json!({"maxResults": 1}))
        .await;
    let token = json!({"maxResults": 1, "nextToken": first["nextToken"]});
    let second = aws.ok("DescribePullThroughCacheRules", token).await;
    assert_eq!(second["pullThroughCacheRules"], json!([all[1]]));
    assert_eq!(second["nextToken"], Value::Null);
    let named = json!({"ecrRepositoryPrefixes": ["quay", "other"]});
    aws.ecr("DescribePullThroughCacheRules", named)
        .await
        .assert_fault(
            "PullThroughCacheRuleNotFoundException",
            "The pull through cache rule with prefix 'other' does not exist in the registry",
        );
    let quay = json!({"ecrRepositoryPrefix": "quay"});
    let gone = aws.ok("DeletePullThroughCacheRule", quay.clone()).await;
    assert_eq!(gone["createdAt"], made["createdAt"]);
    for operation in ["DeletePullThroughCacheRule", "ValidatePullThroughCacheRule"] {
        let missing = aws.ecr(operation, quay.clone()).await;
        missing.assert_fault("PullThroughCacheRuleNotFoundException", "prefix 'quay'");
    }
    // Another region has rules of its own.
    let mut elsewhere = aws.clone();
    elsewhere.region = "eu-west-1".to_owned();
    let none = elsewhere
        .ok("DescribePullThroughCacheRules", json!({}))
        .await;
    assert_eq!(none["pullThroughCacheRules"], json!([]));
}

const ROLE: &str = "arn:aws:iam::123456789012:role/r";

#[tokio::test]
async fn the_value_of_a_secret_may_be_put_after_the_rule() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let bad = secret(&aws, "ecr-pullthroughcache/bad", "u:t").await;
    let early = rule(
        "early",
        "registry-1.docker.io",
        &json!({"credentialArn": bad}),
    );
    aws.ok("CreatePullThroughCacheRule", early).await;
    let checked = json!({"ecrRepositoryPrefix": "early"});
    let checked = aws.ok("ValidatePullThroughCacheRule", checked).await;
    assert_eq!(
        checked["failure"], "The secret must have the keys username and accessToken.",
        "{checked}"
    );
}

#[tokio::test]
async fn a_rule_names_a_known_registry_and_a_secret_that_can_be_read() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let good = secret(
        &aws,
        "ecr-pullthroughcache/good",
        r#"{"username": "u", "accessToken": "t"}"#,
    )
    .await;
    let other = secret(&aws, "something-else-of-a-long-name", "{}").await;
    let missing = good.replace("/good", "/none");
    let elsewhere = good.replace("us-east-1", "eu-west-1");
    let hub = "registry-1.docker.io";
    for (rule, code, message) in [
        (
            rule("x", "quay.io", &json!({})),
            "InvalidParameterException",
            "must have length greater than or equal to 2",
        ),
        (
            rule("Quay", "quay.io", &json!({})),
            "InvalidParameterException",
            "Invalid parameter at 'ecrRepositoryPrefix' failed to satisfy constraint: 'must \
             satisfy regular expression",
        ),
        (
            rule("quay", "quay.example.com", &json!({})),
            "UnsupportedUpstreamRegistryException",
            "The specified upstream registry isn't supported",
        ),
        (
            rule("quay", "quay.io", &json!({"upstreamRegistry": "k8s"})),
            "UnsupportedUpstreamRegistryException",
            "",
        ),
        (
            rule("hub", hub, &json!({})),
            "ValidationException",
            "A credentialArn is required for the upstream registry docker-hub.",
        ),
        (
            rule("hub", hub, &json!({"credentialArn": other})),
            "InvalidParameterException",
            "ecr\\-pullthroughcache",
        ),
        (
            rule("hub", hub, &json!({"credentialArn": missing})),
            "SecretNotFoundException",
            "was not found",
        ),
        (
            rule("hub", hub, &json!({"credentialArn": elsewhere})),
            "ValidationException",
            "The secret must be in the same account and Region as the registry.",
        ),
        (
            rule("quay", "quay.io", &json!({"customRoleArn": ROLE})),
            "ValidationException",
            "A customRoleArn is for an upstream registry of Amazon ECR only.",
        ),
    ] {
        let refused = aws.ecr("CreatePullThroughCacheRule", rule).await;
        refused.assert_fault(code, message);
    }
    let made = rule("hub", hub, &json!({"credentialArn": good}));
    let made = aws.ok("CreatePullThroughCacheRule", made).await;
    assert_eq!(made["credentialArn"], good.as_str());
    let update = |arn: &str| json!({"ecrRepositoryPrefix": "hub", "credentialArn": arn});
    aws.ecr("UpdatePullThroughCacheRule", update(&missing))
        .await
        .assert_fault("SecretNotFoundException", "");
    aws.ecr(
        "UpdatePullThroughCacheRule",
        json!({"ecrRepositoryPrefix": "hub"}),
    )
    .await
    .assert_fault(
        "ValidationException",
        "A credentialArn or a customRoleArn is required",
    );
    let changed = aws.ok("UpdatePullThroughCacheRule", update(&good)).await;
    assert!(changed["updatedAt"].is_f64(), "{changed}");
    assert_eq!(changed.get("upstreamRepositoryPrefix"), None);

    // The secret goes afterwards.
    let gone = json!({"SecretId": good, "ForceDeleteWithoutRecovery": true});
    aws.json("secretsmanager", "secretsmanager", "DeleteSecret", gone)
        .await;
    let checked = json!({"ecrRepositoryPrefix": "hub"});
    let checked = aws.ok("ValidatePullThroughCacheRule", checked).await;
    assert_eq!(checked["isValid"], false, "{checked}");
    assert!(
        checked["failure"]
            .as_str()
            .is_some_and(|why| why.contains("not found"))
    );
}

#[tokio::test]
async fn a_rule_is_valid_if_the_upstream_accepts_its_credentials() {
    let upstream = TestServer::start(Setup::default()).await;
    let mapped = format!(
        "--upstreams=quay.io=http://{},ghcr.io=http://127.0.0.1:1",
        upstream.address
    );
    let arguments: &'static [&'static str] =
        Box::leak(Box::new([&*Box::leak(mapped.into_boxed_str())]));
    let server = TestServer::start(Setup {
        arguments,
        ..Setup::default()
    })
    .await;
    let aws = server.aws();
    let value = |password: &str| json!({"username": "AWS", "accessToken": password}).to_string();
    let good = value(&upstream.root_password());
    let good = secret(&aws, "ecr-pullthroughcache/good", &good).await;
    let bad = secret(&aws, "ecr-pullthroughcache/bad", &value("wrong")).await;
    for (prefix, url, arn, valid) in [
        ("good", "quay.io", Some(&good), true),
        ("bad", "quay.io", Some(&bad), false),
        ("anonymous", "quay.io", None, false),
        ("gone", "ghcr.io", Some(&good), false),
    ] {
        let more = arn.map_or_else(|| json!({}), |arn| json!({"credentialArn": arn}));
        aws.ok("CreatePullThroughCacheRule", rule(prefix, url, &more))
            .await;
        let checked = json!({"ecrRepositoryPrefix": prefix});
        let checked = aws.ok("ValidatePullThroughCacheRule", checked).await;
        assert_eq!(checked["isValid"], valid, "{checked}");
        assert_eq!(checked["failure"].is_string(), !valid, "{checked}");
        assert_eq!(checked["upstreamRegistryUrl"], url);
    }
}
