//! Events in files: what was pushed and deleted through both APIs, in order.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Setup, TestServer, on};

const CONFIG: &str = concat!(
    "--config=",
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/ecr/events.toml"
);

/// The lines of a file, once it has `count` of them.
async fn lines(server: &TestServer, file: &str, count: usize) -> Vec<Value> {
    let path = server.folder().join(file);
    let found = async {
        loop {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let lines: Vec<Value> = whole
                .lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect();
            if lines.len() >= count {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_mins(1), found);
    found.await.expect("the events arrive")
}

#[tokio::test]
async fn pushes_and_deletions_of_both_apis_are_delivered_in_order() {
    let server = TestServer::start(Setup {
        dev: true,
        arguments: &[CONFIG],
        ..Setup::default()
    })
    .await;
    let (aws, client) = (server.aws(), server.client());
    let web = client.push_image("team/web", "v1").await;
    let other = client.push_image("other", "v1").await;
    let deleted = json!({"imageIds": [{"imageTag": "v1"}]});
    aws.ok("BatchDeleteImage", on("team/web", deleted)).await;
    let path = format!("/v2/other/manifests/{other}");
    assert_eq!(client.delete(&path).await.status, 202);

    let all = lines(&server, "all.jsonl", 4).await;
    let told = |line: &Value| {
        let detail = &line["detail"];
        [
            &detail["action-type"],
            &detail["repository-name"],
            &detail["image-digest"],
            &detail["image-tag"],
        ]
        .map(|member| member.as_str().unwrap_or("-").to_owned())
    };
    let all: Vec<_> = all.iter().map(told).collect();
    assert_eq!(
        all,
        [
            ["PUSH", "team/web", &web, "v1"],
            ["PUSH", "other", &other, "v1"],
            ["DELETE", "team/web", &web, "v1"],
            ["DELETE", "other", &other, "v1"],
        ]
    );
    let team = lines(&server, "team.jsonl", 2).await;
    assert_eq!(team.len(), 2);
    let (first, id) = (&team[0], team[0]["id"].as_str().expect("an id"));
    assert_eq!(id.len(), 36);
    assert_eq!(
        (&first["source"], &first["detail-type"], &first["version"]),
        (&json!("aws.ecr"), &json!("ECR Image Action"), &json!("0"))
    );
    assert_eq!(
        (&first["account"], &first["region"], &first["resources"]),
        (&json!("123456789012"), &json!("us-east-1"), &json!([]))
    );

    // A repository that is scanned at other times, to each sink what it takes.
    let filters = json!([{"filter": "*", "filterType": "WILDCARD"}]);
    let rules = json!([{"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": filters}]);
    let enhanced = json!({"scanType": "ENHANCED", "rules": rules});
    for _ in 0..2 {
        aws.ok("PutRegistryScanningConfiguration", enhanced.clone())
            .await;
    }
    for (file, count, names) in [
        ("all.jsonl", 5, &["other", "team/web"][..]),
        ("team.jsonl", 3, &["team/web"][..]),
    ] {
        let all = lines(&server, file, count).await;
        let last = &all[count - 1];
        assert_eq!(last["detail-type"], "ECR Scan Resource Change");
        let changed = last["detail"]["repositories"].as_array().expect("a list");
        let told: Vec<_> = changed.iter().map(|one| &one["repository-name"]).collect();
        assert_eq!(told, names, "{last}");
        assert_eq!(
            (
                &changed[0]["scan-frequency"],
                &changed[0]["previous-scan-frequency"]
            ),
            (&json!("SCAN_ON_PUSH"), &json!("MANUAL"))
        );
    }
    let metrics = client.get("/metrics").await;
    let metrics = String::from_utf8_lossy(&metrics.body).into_owned();
    assert!(
        metrics.contains("wharfinger_events_delivered_total 8"),
        "{metrics}"
    );
}
