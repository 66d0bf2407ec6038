//! Account settings, exclusions of pull times, and the scanning and signing configuration.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ACCOUNT, Setup, TestServer, on};

#[tokio::test]
async fn account_settings_have_defaults_and_known_values() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    for (name, default) in [
        ("BASIC_SCAN_TYPE_VERSION", "AWS_NATIVE"),
        ("REGISTRY_POLICY_SCOPE", "V2"),
        ("BLOB_MOUNTING", "ENABLED"),
    ] {
        let value = json!({"name": name, "value": default});
        let got = aws.ok("GetAccountSetting", json!({"name": name})).await;
        assert_eq!(got, value);
        assert_eq!(aws.ok("PutAccountSetting", value.clone()).await, value);
    }
    for (document, member) in [
        (json!({"name": "NONE", "value": "V2"}), "'name'"),
        (
            json!({"name": "REGISTRY_POLICY_SCOPE", "value": "V1"}),
            "'value'",
        ),
    ] {
        let outcome = aws.ecr("PutAccountSetting", document).await;
        outcome.assert_fault("InvalidParameterException", member);
        outcome.assert_fault(
            "InvalidParameterException",
            "Member must satisfy enum value set: [",
        );
    }
}

#[tokio::test]
async fn blobs_are_mounted_from_other_repositories_unless_that_is_switched_off() {
    let server = TestServer::start(Setup::default()).await;
    let (aws, docker) = (server.aws(), server.root());
    for name in ["source", "target"] {
        aws.ok("CreateRepository", on(name, json!({}))).await;
    }
    let mount = async |digest: &str, from: &str, to: &str| {
        let path = format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}");
        docker.post(&path, "").await.status
    };
    let one = docker.push_blob("source", b"one").await;
    assert_eq!(mount(&one, "source", "target").await, StatusCode::CREATED);
    let off = json!({"name": "BLOB_MOUNTING", "value": "DISABLED"});
    aws.ok("PutAccountSetting", off).await;
    let two = docker.push_blob("source", b"two").await;
    assert_eq!(mount(&two, "source", "target").await, StatusCode::ACCEPTED);
    assert_eq!(mount(&two, "source", "source").await, StatusCode::CREATED);
    let path = format!("/v2/target/blobs/{two}");
    assert_eq!(docker.head(&path).await.status, StatusCode::NOT_FOUND);
    let on = json!({"name": "BLOB_MOUNTING", "value": "ENABLED"});
    aws.ok("PutAccountSetting", on).await;
    assert_eq!(mount(&two, "source", "target").await, StatusCode::CREATED);
}

#[tokio::test]
async fn principals_are_excluded_once_listed_in_pages_and_removed() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let arn = |name: &str| format!("arn:aws:iam::123456789012:role/{name}");
    let principal = |name: &str| json!({"principalArn": arn(name)});
    for name in ["a", "b", "c"] {
        let added = aws
            .ok("RegisterPullTimeUpdateExclusion", principal(name))
            .await;
        assert_eq!(added["principalArn"], arn(name));
        assert!(added["createdAt"].is_number());
    }
    let twice = aws
        .ecr("RegisterPullTimeUpdateExclusion", principal("a"))
        .await;
    twice.assert_fault("ExclusionAlreadyExistsException", &arn("a"));
    let page = aws
        .ok("ListPullTimeUpdateExclusions", json!({"maxResults": 2}))
        .await;
    assert_eq!(
        page["pullTimeUpdateExclusions"],
        json!([arn("a"), arn("b")])
    );
    let next = json!({"nextToken": page["nextToken"]});
    let page = aws.ok("ListPullTimeUpdateExclusions", next).await;
    assert_eq!(page, json!({"pullTimeUpdateExclusions": [arn("c")]}));
    let removed = aws
        .ok("DeregisterPullTimeUpdateExclusion", principal("a"))
        .await;
    assert_eq!(removed, principal("a"));
    let again = aws
        .ecr("DeregisterPullTimeUpdateExclusion", principal("a"))
        .await;
    again.assert_fault("ExclusionNotFoundException", &arn("a"));
    let user = json!({"principalArn": "arn:aws:sts::123456789012:assumed-role/a/b"});
    let outcome = aws.ecr("RegisterPullTimeUpdateExclusion", user).await;
    outcome.assert_fault(
        "InvalidParameterException",
        "must satisfy regular expression",
    );
}

#[tokio::test]
async fn the_scanning_configuration_decides_for_each_repository() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    let got = aws.ok("GetRegistryScanningConfiguration", json!({})).await;
    let basic = json!({"scanType": "BASIC", "rules": []});
    assert_eq!(
        got,
        json!({"registryId": ACCOUNT, "scanningConfiguration": basic})
    );
    let on_push = json!({"imageScanningConfiguration": {"scanOnPush": true}});
    aws.ok("CreateRepository", on("prod/web", json!({}))).await;
    aws.ok("CreateRepository", on("test", on_push)).await;
    let effective = async || {
        let names = json!({"repositoryNames": ["prod/web", "test", "none", "test"]});
        let got = aws
            .ok("BatchGetRepositoryScanningConfiguration", names)
            .await;
        let failure = json!([{
            "repositoryName": "none",
            "failureCode": "REPOSITORY_NOT_FOUND",
            "failureReason": "The repository with name 'none' does not exist in the registry with \
                              id '123456789012'",
        }]);
        assert_eq!(got["failures"], failure);
        got["scanningConfigurations"].clone()
    };
    let view = |name: &str, frequency: &str, filters: Value| {
        json!({
            "repositoryArn": format!("arn:aws:ecr:us-east-1:123456789012:repository/{name}"),
            "repositoryName": name,
            "scanOnPush": frequency != "MANUAL",
            "scanFrequency": frequency,
            "appliedScanFilters": filters,
        })
    };
    let expected = json!([
        view("prod/web", "MANUAL", json!([])),
        view("test", "SCAN_ON_PUSH", json!([])),
    ]);
    assert_eq!(effective().await, expected);

    let filter = |text: &str| json!([{"filter": text, "filterType": "WILDCARD"}]);
    let rules = json!([
        {"scanFrequency": "CONTINUOUS_SCAN", "repositoryFilters": filter("prod/*")},
        {"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": filter("*web*")},
    ]);
    let enhanced = json!({"scanType": "ENHANCED", "rules": rules});
    let put = aws
        .ok("PutRegistryScanningConfiguration", enhanced.clone())
        .await;
    assert_eq!(put, json!({"registryScanningConfiguration": enhanced}));
    let got = aws.ok("GetRegistryScanningConfiguration", json!({})).await;
    assert_eq!(got["scanningConfiguration"], enhanced);
    let expected = json!([
        view("prod/web", "CONTINUOUS_SCAN", filter("prod/*")),
        view("test", "MANUAL", json!([])),
    ]);
    assert_eq!(effective().await, expected);

    let continuous = json!({"scanType": "BASIC", "rules": [rules[0]]});
    let outcome = aws
        .ecr("PutRegistryScanningConfiguration", continuous)
        .await;
    outcome.assert_fault("ValidationException", "ENHANCED");
    let bad = json!({"rules": [{"scanFrequency": "SCAN_ON_PUSH",
        "repositoryFilters": filter("Prod")}]});
    let outcome = aws.ecr("PutRegistryScanningConfiguration", bad).await;
    outcome.assert_fault(
        "InvalidParameterException",
        "must satisfy regular expression",
    );
    let got = aws.ok("GetRegistryScanningConfiguration", json!({})).await;
    assert_eq!(got["scanningConfiguration"], enhanced);
}

#[tokio::test]
async fn a_signing_configuration_is_set_shown_and_deleted() {
    let server = TestServer::start(Setup::default()).await;
    let aws = server.aws();
    for operation in ["GetSigningConfiguration", "DeleteSigningConfiguration"] {
        let outcome = aws.ecr(operation, json!({})).await;
        outcome.assert_fault("SigningConfigurationNotFoundException", ACCOUNT);
    }
    let profile = "arn:aws:signer:us-east-1:123456789012:/signing-profiles/release";
    let configuration = json!({"signingConfiguration": {"rules": [
        {"signingProfileArn": profile,
         "repositoryFilters": [{"filter": "prod/*", "filterType": "WILDCARD_MATCH"}]},
        {"signingProfileArn": profile},
    ]}});
    let put = aws
        .ok("PutSigningConfiguration", configuration.clone())
        .await;
    assert_eq!(put, configuration);
    for operation in ["GetSigningConfiguration", "DeleteSigningConfiguration"] {
        let got = aws.ok(operation, json!({})).await;
        assert_eq!(got["registryId"], ACCOUNT);
        assert_eq!(
            got["signingConfiguration"],
            configuration["signingConfiguration"]
        );
    }
    let bad = json!({"signingConfiguration": {"rules": [{"signingProfileArn": "release"}]}});
    let outcome = aws.ecr("PutSigningConfiguration", bad).await;
    outcome.assert_fault(
        "InvalidParameterException",
        "must satisfy regular expression",
    );
}
