//! `CloudWatch` Logs: groups, streams and events, over HTTP.

use serde_json::{Value, json};

use crate::support::{Aws, Outcome, Setup, TestServer, now};

/// A client of the Logs API.
struct Logs(Aws);

impl Logs {
    async fn call(&self, operation: &str, document: Value) -> Outcome {
        self.0
            .json("logs", "Logs_20140328", operation, document)
            .await
    }

    async fn ok(&self, operation: &str, document: Value) -> Value {
        let outcome = self.call(operation, document).await;
        assert_eq!(outcome.status, 200, "{operation}: {}", outcome.document);
        outcome.document
    }
}

async fn logs(server: &TestServer) -> Logs {
    let logs = Logs(server.aws());
    logs.ok("CreateLogGroup", json!({"logGroupName": "/ecs/web"}))
        .await;
    for stream in ["web/a/1", "web/b/2"] {
        let stream = json!({"logGroupName": "/ecs/web", "logStreamName": stream});
        logs.ok("CreateLogStream", stream).await;
    }
    logs
}

fn put(stream: &str, events: &[(i64, &str)]) -> Value {
    let events: Vec<Value> = events
        .iter()
        .map(|(timestamp, message)| json!({"timestamp": timestamp, "message": message}))
        .collect();
    json!({"logGroupName": "/ecs/web", "logStreamName": stream, "logEvents": events})
}

fn messages(document: &Value) -> Vec<&str> {
    let events = document["events"].as_array().expect("events");
    events
        .iter()
        .map(|event| event["message"].as_str().expect("a message"))
        .collect()
}

#[tokio::test]
async fn events_are_read_in_order_and_by_pages() {
    let server = TestServer::start(Setup::default()).await;
    let logs = logs(&server).await;
    let start = now().as_millisecond() - 10_000;
    logs.ok(
        "PutLogEvents",
        put("web/a/1", &[(start, "one"), (start + 2, "three")]),
    )
    .await;
    let stored = logs
        .ok(
            "PutLogEvents",
            put("web/b/2", &[(start + 1, "two {\"n\": 5}")]),
        )
        .await;
    assert!(stored.get("rejectedLogEventsInfo").is_none(), "{stored}");

    let group = |more: Value| {
        let mut request = json!({"logGroupName": "/ecs/web"});
        request
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().expect("an object"));
        request
    };
    let all = logs.ok("FilterLogEvents", group(json!({}))).await;
    assert_eq!(messages(&all), ["one", "two {\"n\": 5}", "three"]);
    let streams: Vec<&Value> = all["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|e| &e["logStreamName"])
        .collect();
    assert_eq!(streams, ["web/a/1", "web/b/2", "web/a/1"]);
    let found = logs
        .ok("FilterLogEvents", group(json!({"filterPattern": "t -two"})))
        .await;
    assert_eq!(messages(&found), ["three"]);
    let later = logs.ok(
        "FilterLogEvents",
        group(json!({"startTime": start + 1, "endTime": start + 1})),
    );
    assert_eq!(messages(&later.await), ["two {\"n\": 5}"]);

    let first = logs.ok("FilterLogEvents", group(json!({"limit": 2}))).await;
    let token = first["nextToken"].as_str().expect("a token");
    let rest = logs
        .ok(
            "FilterLogEvents",
            group(json!({"limit": 2, "nextToken": token})),
        )
        .await;
    assert_eq!(messages(&rest), ["three"]);
    assert!(rest.get("nextToken").is_none(), "{rest}");

    let stream = json!({"logStreamName": "web/a/1", "startFromHead": true, "limit": 1});
    let page = logs.ok("GetLogEvents", group(stream)).await;
    assert_eq!(messages(&page), ["one"]);
    let next = |token: &Value| group(json!({"logStreamName": "web/a/1", "nextToken": token}));
    let page = logs
        .ok("GetLogEvents", next(&page["nextForwardToken"]))
        .await;
    assert_eq!(messages(&page), ["three"]);
    let end = logs
        .ok("GetLogEvents", next(&page["nextForwardToken"]))
        .await;
    assert!(messages(&end).is_empty());
    assert_eq!(end["nextForwardToken"], page["nextForwardToken"]);
    let back = logs
        .ok("GetLogEvents", next(&page["nextBackwardToken"]))
        .await;
    assert_eq!(messages(&back), ["one"]);
    let latest = logs
        .ok(
            "GetLogEvents",
            group(json!({"logStreamName": "web/a/1", "limit": 1})),
        )
        .await;
    assert_eq!(messages(&latest), ["three"]);
}

#[tokio::test]
async fn groups_and_streams_are_described_tagged_and_deleted() {
    let server = TestServer::start(Setup::default()).await;
    let logs = logs(&server).await;
    logs.call("CreateLogGroup", json!({"logGroupName": "/ecs/web"}))
        .await
        .assert_fault(
            "ResourceAlreadyExistsException",
            "The specified log group already exists",
        );
    logs.ok(
        "PutRetentionPolicy",
        json!({"logGroupName": "/ecs/web", "retentionInDays": 7}),
    )
    .await;
    let refused = logs.call(
        "PutRetentionPolicy",
        json!({"logGroupName": "/ecs/web", "retentionInDays": 8}),
    );
    assert_eq!(refused.await.code(), "InvalidParameterException");
    let found = logs
        .ok("DescribeLogGroups", json!({"logGroupNamePrefix": "/ecs"}))
        .await;
    let group = &found["logGroups"][0];
    assert_eq!(
        group["arn"],
        "arn:aws:logs:us-east-1:123456789012:log-group:/ecs/web:*"
    );
    assert_eq!(group["retentionInDays"], 7);
    let streams = logs
        .ok(
            "DescribeLogStreams",
            json!({"logGroupName": "/ecs/web", "limit": 1}),
        )
        .await;
    assert_eq!(streams["logStreams"][0]["logStreamName"], "web/a/1");
    let token = &streams["nextToken"];
    let request = json!({"logGroupName": "/ecs/web", "limit": 1, "nextToken": token});
    let streams = logs.ok("DescribeLogStreams", request).await;
    assert_eq!(streams["logStreams"][0]["logStreamName"], "web/b/2");
    let now = now().as_millisecond();
    logs.ok("PutLogEvents", put("web/a/1", &[(now, "newest")]))
        .await;
    let request =
        json!({"logGroupName": "/ecs/web", "orderBy": "LastEventTime", "descending": true});
    let streams = logs.ok("DescribeLogStreams", request).await;
    assert_eq!(streams["logStreams"][0]["logStreamName"], "web/a/1");
    assert_eq!(streams["logStreams"][0]["lastEventTimestamp"], now);

    let arn = "arn:aws:logs:us-east-1:123456789012:log-group:/ecs/web";
    logs.ok(
        "TagResource",
        json!({"resourceArn": arn, "tags": {"team": "a", "b": "c"}}),
    )
    .await;
    logs.ok(
        "UntagLogGroup",
        json!({"logGroupName": "/ecs/web", "tags": ["b"]}),
    )
    .await;
    let tags = logs
        .ok("ListTagsForResource", json!({"resourceArn": arn}))
        .await;
    assert_eq!(tags["tags"], json!({"team": "a"}));

    logs.ok(
        "DeleteLogStream",
        json!({"logGroupName": "/ecs/web", "logStreamName": "web/a/1"}),
    )
    .await;
    logs.call(
        "GetLogEvents",
        json!({"logGroupName": "/ecs/web", "logStreamName": "web/a/1"}),
    )
    .await
    .assert_fault(
        "ResourceNotFoundException",
        "The specified log stream does not exist.",
    );
    logs.ok("DeleteLogGroup", json!({"logGroupName": "/ecs/web"}))
        .await;
    logs.call("FilterLogEvents", json!({"logGroupName": "/ecs/web"}))
        .await
        .assert_fault(
            "ResourceNotFoundException",
            "The specified log group does not exist.",
        );
}

#[tokio::test]
async fn invalid_requests_change_nothing() {
    let server = TestServer::start(Setup::default()).await;
    let logs = logs(&server).await;
    let start = now().as_millisecond();
    logs.call(
        "PutLogEvents",
        put("web/a/1", &[(start, "b"), (start - 1, "a")]),
    )
    .await
    .assert_fault(
        "InvalidParameterException",
        "Log events in a single PutLogEvents request must be in chronological order.",
    );
    let old = start - 15 * 24 * 60 * 60 * 1000;
    let stored = logs
        .ok("PutLogEvents", put("web/a/1", &[(old, "old")]))
        .await;
    assert_eq!(
        stored["rejectedLogEventsInfo"],
        json!({"tooOldLogEventEndIndex": 1})
    );
    for request in [
        json!({"logGroupName": "a b"}),
        json!({"logGroupName": "/ecs/web", "filterPattern": "{ $.a }"}),
        json!({"logGroupName": "/ecs/web", "nextToken": "no token"}),
        json!({"logGroupName": "/ecs/web", "limit": 10_001}),
        json!({}),
    ] {
        let outcome = logs.call("FilterLogEvents", request.clone()).await;
        assert_eq!(outcome.code(), "InvalidParameterException", "{request}");
    }
    let all = logs
        .ok("FilterLogEvents", json!({"logGroupName": "/ecs/web"}))
        .await;
    assert!(messages(&all).is_empty());
}
