//! Capacity providers.

use serde_json::{Value, json};

use super::{arn, server};

const GROUP: &str = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:\
                     00000000-0000-4000-8000-000000000000:autoScalingGroupName/";

fn request(name: &str) -> Value {
    let group = json!({"autoScalingGroupArn": format!("{GROUP}{name}"),
        "managedScaling": {"status": "ENABLED", "targetCapacity": 80}});
    json!({"name": name, "autoScalingGroupProvider": group})
}

#[tokio::test]
async fn a_capacity_provider_from_its_creation_to_its_end() {
    let (_server, ecs) = server().await;
    let made = ecs.ok("CreateCapacityProvider", request("big")).await;
    let expected = json!({
        "capacityProvider": {
            "capacityProviderArn": arn("capacity-provider/big"),
            "name": "big",
            "status": "ACTIVE",
            "autoScalingGroupProvider": {
                "autoScalingGroupArn": format!("{GROUP}big"),
                "managedScaling": {"status": "ENABLED", "targetCapacity": 80,
                    "minimumScalingStepSize": 1, "maximumScalingStepSize": 10000,
                    "instanceWarmupPeriod": 300},
                "managedTerminationProtection": "DISABLED",
                "managedDraining": "ENABLED",
            },
            "tags": [],
            "type": "EC2_AUTOSCALING",
        }
    });
    assert_eq!(made, expected);
    let change = json!({"managedScaling": {"targetCapacity": 100}, "managedDraining": "DISABLED"});
    let update = json!({"name": arn("capacity-provider/big"), "autoScalingGroupProvider": change});
    let changed = ecs.ok("UpdateCapacityProvider", update).await;
    let changed = &changed["capacityProvider"];
    assert_eq!(changed["updateStatus"], "UPDATE_COMPLETE");
    let group = &changed["autoScalingGroupProvider"];
    assert_eq!(group["managedScaling"]["targetCapacity"], 100);
    assert_eq!(group["managedScaling"]["status"], "ENABLED");
    assert_eq!(group["managedDraining"], "DISABLED");

    let strategy = json!([{"capacityProvider": "big", "weight": 1}]);
    let cluster = json!({"clusterName": "web", "capacityProviders": ["big"],
        "defaultCapacityProviderStrategy": strategy});
    ecs.ok("CreateCluster", cluster).await;
    let delete = json!({"capacityProvider": "big"});
    let kept = ecs.ok("DeleteCapacityProvider", delete.clone()).await;
    let kept = &kept["capacityProvider"];
    assert_eq!(
        (&kept["status"], &kept["updateStatus"]),
        (&json!("ACTIVE"), &json!("DELETE_FAILED"))
    );
    assert_eq!(
        kept["updateStatusReason"],
        "The capacity provider cannot be deleted because it is associated with cluster: web. \
         Remove the capacity provider from the cluster and try again."
    );
    ecs.ok("DeleteCluster", json!({"cluster": "web"})).await;
    let deleted = ecs.ok("DeleteCapacityProvider", delete.clone()).await;
    assert_eq!(deleted["capacityProvider"]["status"], "INACTIVE");
    assert_eq!(
        deleted["capacityProvider"]["updateStatus"],
        "DELETE_COMPLETE"
    );
    ecs.refused(
        "DeleteCapacityProvider",
        delete,
        "ClientException",
        "The specified capacity provider does not exist. Specify a valid name or ARN and try \
         again.",
    )
    .await;
    ecs.ok("CreateCapacityProvider", request("big")).await;
}

#[tokio::test]
async fn capacity_providers_are_listed_after_those_of_fargate() {
    let (_server, ecs) = server().await;
    for name in ["a", "b", "c"] {
        ecs.ok("CreateCapacityProvider", request(name)).await;
    }
    let (mut found, mut token) = (Vec::new(), Value::Null);
    loop {
        let request = json!({"maxResults": 2, "nextToken": token});
        let page = ecs.ok("DescribeCapacityProviders", request).await;
        let providers = page["capacityProviders"]
            .as_array()
            .expect("a list")
            .clone();
        found.extend(providers.iter().map(|one| one["name"].clone()));
        match page.get("nextToken") {
            Some(next) => token = next.clone(),
            None => break,
        }
    }
    assert_eq!(
        Value::from(found),
        json!(["FARGATE", "FARGATE_SPOT", "a", "b", "c"])
    );
    let named = json!({"capacityProviders": ["FARGATE", arn("capacity-provider/b"), "none"]});
    let named = ecs.ok("DescribeCapacityProviders", named).await;
    assert_eq!(named["capacityProviders"].as_array().map(Vec::len), Some(2));
    let missing = json!([{"arn": arn("capacity-provider/none"), "reason": "MISSING"}]);
    assert_eq!(named["failures"], missing);
    let cluster = json!({"clusterName": "web", "capacityProviders": ["c"]});
    ecs.ok("CreateCluster", cluster).await;
    let of_cluster = ecs
        .ok("DescribeCapacityProviders", json!({"cluster": "web"}))
        .await;
    assert_eq!(
        of_cluster["capacityProviders"].as_array().map(Vec::len),
        Some(1)
    );
    assert_eq!(of_cluster["capacityProviders"][0]["name"], "c");
}

#[tokio::test]
async fn what_is_no_capacity_provider_is_refused() {
    let (_server, ecs) = server().await;
    ecs.ok("CreateCapacityProvider", request("big")).await;
    let same_group = json!({"name": "other",
        "autoScalingGroupProvider": {"autoScalingGroupArn": format!("{GROUP}big")}});
    for (request, code, message) in [
        (
            request("big"),
            "ClientException",
            "The specified capacity provider already exists. To change the configuration of an \
             existing capacity provider, update the capacity provider.",
        ),
        (
            same_group,
            "ClientException",
            "The specified Auto Scaling group ARN is already being used",
        ),
        (
            request("fargate-2"),
            "InvalidParameterException",
            "The specified capacity provider name is invalid.",
        ),
        (
            json!({"name": "x"}),
            "InvalidParameterException",
            "An Auto Scaling group provider must be specified.",
        ),
        (
            json!({"name": "x", "cluster": "web"}),
            "UnsupportedFeatureException",
            "This server does not support Amazon ECS Managed Instances.",
        ),
    ] {
        ecs.refused("CreateCapacityProvider", request, code, message)
            .await;
    }
    ecs.refused(
        "DeleteCapacityProvider",
        json!({"capacityProvider": "FARGATE"}),
        "InvalidParameterException",
        "The FARGATE and FARGATE_SPOT capacity providers are reserved and cannot be deleted.",
    )
    .await;
}
