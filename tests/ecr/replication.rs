//! Replication through the program: images arrive in other regions and accounts, with events.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::support::{Aws, Setup, TestServer, on};

const ACCOUNT: &str = "123456789012";
const OTHER: &str = "210987654321";
const AWAY: &str = "eu-west-1";
/// For replications, which are made a moment after the push.
const TRIES: usize = 200;

fn configuration(destinations: &[(&str, &str)]) -> Value {
    let destinations: Vec<_> = destinations
        .iter()
        .map(|(region, account)| json!({"region": region, "registryId": account}))
        .collect();
    json!({"replicationConfiguration": {"rules": [{"destinations": destinations}]}})
}

fn in_region(aws: &Aws, region: &str) -> Aws {
    let mut aws = aws.clone();
    region.clone_into(&mut aws.region);
    aws
}

/// The statuses of an image, once none is in progress.
async fn settled(aws: &Aws, name: &str, tag: &str) -> Value {
    let image = json!({"imageId": {"imageTag": tag}});
    for _ in 0..TRIES {
        let got = aws
            .ok("DescribeImageReplicationStatus", on(name, image.clone()))
            .await;
        let statuses = got["replicationStatuses"].as_array().expect("a list");
        if !statuses.is_empty() && statuses.iter().all(|one| one["status"] != "IN_PROGRESS") {
            return got["replicationStatuses"].clone();
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the image is not replicated");
}

#[tokio::test]
async fn an_image_arrives_in_another_region_and_in_an_account_that_lets_it_in() {
    let server = TestServer::start(Setup::default()).await;
    let (aws, docker) = (server.aws(), server.root());
    aws.ok("CreateRepository", on("team/web", json!({}))).await;
    let empty = aws.ok("DescribeRegistry", json!({})).await;
    assert_eq!(empty["replicationConfiguration"], json!({"rules": []}));
    let put = configuration(&[(AWAY, ACCOUNT), (AWAY, OTHER)]);
    let said = aws.ok("PutReplicationConfiguration", put.clone()).await;
    assert_eq!(said, put);
    let described = aws.ok("DescribeRegistry", json!({})).await;
    assert_eq!(
        described["replicationConfiguration"],
        put["replicationConfiguration"]
    );

    docker.push_image("team/web", "v1").await;
    let denied = json!([
        {"region": AWAY, "registryId": ACCOUNT, "status": "COMPLETE"},
        {"region": AWAY, "registryId": OTHER, "status": "FAILED", "failureCode": "AccessDenied"},
    ]);
    assert_eq!(settled(&aws, "team/web", "v1").await, denied);

    let all = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"ecr:*",
        "Resource":"*"}]}"#;
    let theirs = in_region(&server.aws_user(OTHER, "ann", all), AWAY);
    let policy = json!({"Version": "2012-10-17", "Statement": [{
        "Sid": "in", "Effect": "Allow",
        "Principal": {"AWS": format!("arn:aws:iam::{ACCOUNT}:root")},
        "Action": ["ecr:ReplicateImage", "ecr:CreateRepository"],
        "Resource": format!("arn:aws:ecr:{AWAY}:{OTHER}:repository/team/*"),
    }]});
    let policy = json!({"policyText": policy.to_string()});
    theirs.ok("PutRegistryPolicy", policy).await;
    let digest = docker.push_image("team/web", "v2").await;
    let statuses = settled(&aws, "team/web", "v2").await;
    assert_eq!(statuses[1]["status"], "COMPLETE");
    for there in [&in_region(&aws, AWAY), &theirs] {
        let got = json!({"imageIds": [{"imageTag": "v2"}]});
        let got = there.ok("BatchGetImage", on("team/web", got)).await;
        assert_eq!(got["images"][0]["imageId"]["imageDigest"], digest);
    }
    let metrics = server.client().send(Method::GET, "/metrics", &[], "").await;
    let metrics = String::from_utf8(metrics.body.to_vec()).expect("text");
    for line in [
        "wharfinger_replications_ended_total 3\n",
        "wharfinger_replications_failed_total 1\n",
        "wharfinger_replication_attempts_failed_total 0\n",
        "wharfinger_replications_waiting ",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    // What is refused.
    let own = configuration(&[("us-east-1", ACCOUNT)]);
    let outcome = aws.ecr("PutReplicationConfiguration", own).await;
    outcome.assert_fault(
        "InvalidParameterException",
        "Replication destination cannot be the same as the source registry",
    );
    let none = json!({"imageId": {"imageTag": "none"}});
    let outcome = aws
        .ecr("DescribeImageReplicationStatus", on("team/web", none))
        .await;
    outcome.assert_fault("ImageNotFoundException", "imageTag:'none'");
}

#[tokio::test]
async fn a_backfill_tells_its_results_once_it_has_ended() {
    let server = TestServer::start(Setup::default()).await;
    let (aws, docker) = (server.aws(), server.root());
    aws.ok("CreateRepository", on("team/web", json!({}))).await;
    let digest = docker.push_image("team/web", "v1").await;
    let destination = json!({"destination": {"region": AWAY, "registryId": ACCOUNT}});
    let outcome = aws
        .ecr("StartReplicationBackfill", destination.clone())
        .await;
    outcome.assert_fault("ValidationException", AWAY);
    let put = configuration(&[(AWAY, ACCOUNT)]);
    aws.ok("PutReplicationConfiguration", put).await;
    let begun = aws.ok("StartReplicationBackfill", destination).await;
    assert_eq!(begun["status"], "PREPARING");
    let one = json!({"replicationBackfillId": begun["replicationBackfillId"]});
    let mut found = Value::Null;
    for _ in 0..TRIES {
        found = aws
            .ok("DescribeReplicationBackfillResults", one.clone())
            .await;
        if found["status"] == "COMPLETE" {
            break;
        }
        assert_eq!(found["results"], json!([]));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(found["status"], "COMPLETE");
    let result = json!({"repositoryName": "team/web", "status": "COMPLETE",
        "imageId": {"imageDigest": digest, "imageTag": "v1"}});
    assert_eq!(found["results"], json!([result]));
    let outcome = aws.ecr("StopReplicationBackfill", one).await;
    outcome.assert_fault("ReplicationBackfillInvalidStatusException", "COMPLETE");
    let nothing = json!({"replicationBackfillId": "01234567-89ab-4def-8123-456789abcdef"});
    for operation in [
        "StopReplicationBackfill",
        "DescribeReplicationBackfillResults",
    ] {
        let outcome = aws.ecr(operation, nothing.clone()).await;
        outcome.assert_fault("ReplicationBackfillNotFoundException", ACCOUNT);
    }
    let listed = aws.ok("ListReplicationBackfills", json!({})).await;
    let ids = &listed["backfills"][0]["replicationBackfillId"];
    assert_eq!(*ids, begun["replicationBackfillId"]);
}
