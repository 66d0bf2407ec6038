//! Tags of resources.

use serde_json::{Value, json};

use super::{arn, register, with_cluster};
use crate::support::{ACCOUNT, Ecs};

#[tokio::test]
async fn tags_are_set_listed_and_removed() {
    let (_server, ecs) = with_cluster("web").await;
    let group = json!({"autoScalingGroupArn": "group"});
    let provider = json!({"name": "big", "autoScalingGroupProvider": group});
    ecs.ok("CreateCapacityProvider", provider).await;
    let definition = json!({"family": "web",
        "containerDefinitions": [{"name": "web", "image": "web", "memory": 64}]});
    ecs.ok("RegisterTaskDefinition", definition).await;
    let instance = register(&ecs, "web", json!({})).await["containerInstanceArn"].clone();
    for resource in [
        arn("cluster/web"),
        arn("capacity-provider/big"),
        arn("task-definition/web:1"),
        instance.as_str().expect("an ARN").to_owned(),
    ] {
        let listed = async || {
            let response = ecs
                .ok("ListTagsForResource", json!({"resourceArn": resource}))
                .await;
            response["tags"].clone()
        };
        assert_eq!(listed().await, json!([]));
        let first = json!([{"key": "a", "value": "1"}, {"key": "b", "value": ""}]);
        let request = json!({"resourceArn": resource, "tags": first});
        assert_eq!(ecs.ok("TagResource", request).await, json!({}));
        let second = json!([{"key": "b", "value": "2"}, {"key": "c", "value": "3"}]);
        ecs.ok(
            "TagResource",
            json!({"resourceArn": resource, "tags": second}),
        )
        .await;
        let remove = json!({"resourceArn": resource, "tagKeys": ["a", "none"]});
        assert_eq!(ecs.ok("UntagResource", remove).await, json!({}));
        let left = json!([{"key": "b", "value": "2"}, {"key": "c", "value": "3"}]);
        assert_eq!(listed().await, left);
    }
}

#[tokio::test]
async fn tags_have_limits() {
    let (_server, ecs) = with_cluster("web").await;
    let tags = |range: std::ops::Range<u32>| {
        let tag = |number: u32| json!({"key": format!("k{number}"), "value": "v"});
        range.map(tag).collect::<Vec<Value>>()
    };
    let request = |tags: Value| json!({"resourceArn": arn("cluster/web"), "tags": tags});
    ecs.ok("TagResource", request(tags(0..50).into())).await;
    for (given, code, message) in [
        (
            tags(50..51).into(),
            "LimitExceededException",
            "The maximum number of tags for a resource is 50.",
        ),
        (
            tags(0..51).into(),
            "InvalidParameterException",
            "Value at 'tags' failed to satisfy constraint: Member must have length less than or \
             equal to 50",
        ),
        (
            json!([{"key": "AWS:a", "value": "b"}]),
            "InvalidParameterException",
            "begins with 'aws:', which is reserved",
        ),
        (
            json!([{"key": "a*", "value": "b"}]),
            "InvalidParameterException",
            "must satisfy regular expression",
        ),
        (
            json!([{"key": "a", "value": "b"}, {"key": "a", "value": "c"}]),
            "InvalidParameterException",
            "The tag key 'a' is given more than once.",
        ),
    ] {
        ecs.refused("TagResource", request(given), code, message)
            .await;
    }
}

#[tokio::test]
async fn what_has_no_tags_is_refused() {
    let (_server, ecs) = with_cluster("gone").await;
    ecs.ok("DeleteCluster", json!({"cluster": "gone"})).await;
    let id = "0".repeat(32);
    for (resource, code, message) in [
        (
            arn("cluster/gone"),
            "InvalidParameterException",
            "The specified cluster is inactive. Specify an active cluster and try again.",
        ),
        (
            arn("cluster/none"),
            "ClusterNotFoundException",
            "Cluster not found.",
        ),
        (
            arn("service/web"),
            "InvalidParameterException",
            "Long arn format must be used for tagging operations",
        ),
        (
            arn(&format!("task/gone/{id}")),
            "InvalidParameterException",
            "The specified task could not be found.",
        ),
        (
            arn("thing/x"),
            "InvalidParameterException",
            "Unsupported resource type: thing",
        ),
        (
            "web".to_owned(),
            "InvalidParameterException",
            "Invalid identifier: web is not an ARN of Amazon ECS",
        ),
    ] {
        let request = json!({"resourceArn": resource});
        ecs.refused("ListTagsForResource", request, code, message)
            .await;
    }
    let request = json!({"resourceArn": arn("service/gone/web"), "tags": []});
    ecs.refused(
        "TagResource",
        request,
        "ResourceNotFoundException",
        "The specified service",
    )
    .await;
}

/// The keys of what is removed, and the values of what is set, are conditions.
#[tokio::test]
async fn conditions_see_the_tags_of_a_request() {
    let (server, _ecs) = with_cluster("web").await;
    let may_set = json!({"Effect": "Allow", "Action": "ecs:TagResource", "Resource": "*",
        "Condition": {"StringEquals": {"aws:RequestTag/team": "web"}}});
    let may_remove = json!({"Effect": "Allow", "Action": "ecs:UntagResource", "Resource": "*",
        "Condition": {"ForAllValues:StringEquals": {"aws:TagKeys": ["team"]}}});
    let policy = json!({"Version": "2012-10-17", "Statement": [may_set, may_remove]});
    let ann = Ecs::of(&server.aws_user(ACCOUNT, "ann", &policy.to_string()));
    let resource = arn("cluster/web");
    let tag =
        |value: &str| json!({"resourceArn": resource, "tags": [{"key": "team", "value": value}]});
    let untag = |key: &str| json!({"resourceArn": resource, "tagKeys": [key]});
    ann.ok("TagResource", tag("web")).await;
    let denied = ann.call("TagResource", tag("api")).await;
    denied.assert_denied("ecs:TagResource", "allows the ecs:TagResource action");
    let denied = ann.call("UntagResource", untag("owner")).await;
    denied.assert_denied("ecs:UntagResource", "allows the ecs:UntagResource action");
    ann.ok("UntagResource", untag("team")).await;
}
