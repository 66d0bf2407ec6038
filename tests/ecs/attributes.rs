//! Attributes of container instances that users set.

use serde_json::{Value, json};

use super::{allow, arn, register, with_cluster};
use crate::support::{ACCOUNT, Ecs};

#[tokio::test]
async fn attributes_are_set_listed_and_deleted() {
    let (_server, ecs) = with_cluster("web").await;
    let one = register(&ecs, "web", json!({})).await["containerInstanceArn"].clone();
    let two = register(&ecs, "web", json!({})).await["containerInstanceArn"].clone();
    let short = two
        .as_str()
        .and_then(|arn| arn.rsplit('/').next())
        .expect("an identifier");
    let given = json!([
        {"name": "disk", "value": "ssd", "targetId": one},
        {"name": "disk", "value": "hdd", "targetType": "container-instance", "targetId": short},
        {"name": "spare", "targetId": one},
    ]);
    let request = json!({"cluster": "web", "attributes": given});
    let set = ecs.ok("PutAttributes", request).await;
    let shown = |name: &str, value: Option<&str>, target: &Value| {
        let mut shown = json!({"name": name, "targetType": "container-instance",
            "targetId": target});
        if let Some(value) = value {
            shown["value"] = value.into();
        }
        shown
    };
    let expected = json!([
        shown("disk", Some("ssd"), &one),
        shown("disk", Some("hdd"), &two),
        shown("spare", None, &one),
    ]);
    assert_eq!(set["attributes"], expected);
    let listed = async |more: Value| {
        let (mut found, mut token) = (Vec::new(), Value::Null);
        loop {
            let mut request = json!({"cluster": "web", "targetType": "container-instance",
                "maxResults": 2, "nextToken": token});
            for (name, value) in more.as_object().expect("members") {
                request[name] = value.clone();
            }
            let page = ecs.ok("ListAttributes", request).await;
            found.extend(page["attributes"].as_array().expect("a list").clone());
            match page.get("nextToken") {
                Some(next) => token = next.clone(),
                None => return found,
            }
        }
    };
    assert_eq!(listed(json!({"attributeName": "disk"})).await.len(), 2);
    let filter = json!({"attributeName": "disk", "attributeValue": "hdd"});
    assert_eq!(listed(filter).await, [shown("disk", Some("hdd"), &two)]);
    // Those of the agent, and the ones above.
    assert_eq!(listed(json!({})).await.len(), 2 * 3 + 3);
    let request = json!({"cluster": "web", "filter": "attribute:disk == ssd"});
    let matching = ecs.ok("ListContainerInstances", request).await;
    assert_eq!(matching["containerInstanceArns"], json!([one]));
    let request = json!({"cluster": "web", "attributes": [
        {"name": "disk", "targetId": one}, {"name": "none", "targetId": one}]});
    let deleted = ecs.ok("DeleteAttributes", request).await;
    assert_eq!(
        deleted["attributes"],
        json!([shown("disk", Some("ssd"), &one)])
    );
    assert_eq!(listed(json!({"attributeName": "disk"})).await.len(), 1);
}

#[tokio::test]
async fn attributes_have_limits() {
    let (_server, ecs) = with_cluster("web").await;
    let instance = register(&ecs, "web", json!({})).await["containerInstanceArn"].clone();
    let none = arn(&format!("container-instance/web/{}", "0".repeat(32)));
    let attribute =
        |name: &str, value: &str| json!({"name": name, "value": value, "targetId": instance});
    let many = |count: u32| {
        (0..count)
            .map(|n| attribute(&format!("a{n}"), "x"))
            .collect::<Vec<_>>()
    };
    // The agent has set one custom attribute.
    ecs.ok(
        "PutAttributes",
        json!({"cluster": "web", "attributes": many(9)}),
    )
    .await;
    for (given, code, message) in [
        (
            json!([attribute("b", "x")]),
            "AttributeLimitExceededException",
            "You can apply up to 10 custom attributes for each resource.",
        ),
        (
            json!(many(11)),
            "InvalidParameterException",
            "Attributes can not have more than 10 items.",
        ),
        (
            json!([]),
            "InvalidParameterException",
            "Attributes can not be empty.",
        ),
        (
            json!([attribute("ecs.os-type", "x")]),
            "InvalidParameterException",
            "The attribute ecs.os-type is reserved",
        ),
        (
            json!([attribute("a", " x")]),
            "InvalidParameterException",
            "The value of the attribute a is invalid.",
        ),
        (
            json!([{"name": "a", "value": "x", "targetId": none}]),
            "TargetNotFoundException",
            "The specified target wasn't found.",
        ),
        (
            json!([{"name": "a", "targetId": "0".repeat(32)}]),
            "InvalidParameterException",
            "Target type must be specified",
        ),
        (
            json!([{"name": "a"}]),
            "InvalidParameterException",
            "Target ID can not be blank.",
        ),
    ] {
        let request = json!({"cluster": "web", "attributes": given});
        ecs.refused("PutAttributes", request, code, message).await;
    }
    let request = json!({"cluster": "web", "targetType": "container-instance",
        "attributeValue": "x"});
    ecs.refused(
        "ListAttributes",
        request,
        "InvalidParameterException",
        "An attribute name must be specified with an attribute value.",
    )
    .await;
}

/// Nothing is looked up and decided for attributes that are too many in any case.
#[tokio::test]
async fn too_many_attributes_are_refused_at_once() {
    let (server, _ecs) = with_cluster("web").await;
    let nobody = Ecs::of(&server.aws_user(ACCOUNT, "nobody", &allow("ecs:ListClusters", "*")));
    let attribute = |n: usize| {
        let instance = arn(&format!("container-instance/web/{n:032}"));
        json!({"name": "a", "targetId": instance})
    };
    for operation in ["PutAttributes", "DeleteAttributes"] {
        let given: Vec<Value> = (0..11).map(attribute).collect();
        let request = json!({"cluster": "web", "attributes": given});
        let message = "Attributes can not have more than 10 items.";
        let code = "InvalidParameterException";
        nobody.refused(operation, request, code, message).await;
    }
}
