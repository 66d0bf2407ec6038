//! Clusters of another account, in the operations that name a cluster.

use serde_json::{Value, json};

use super::{arn, with_cluster};
use crate::support::{Ecs, TestAgent};

const OTHER: &str = "999999999999";

/// Requests of the operations that name a cluster, but for those that `tests/ecs/clusters.rs`
/// has: they need permission on the cluster itself.
fn requests(instance: &str) -> Vec<(&'static str, Value)> {
    let id = "0".repeat(32);
    let attributes = json!([{"name": "a", "targetId": instance}]);
    let settings = json!([{"name": "containerInsights", "value": "enabled"}]);
    vec![
        ("DeleteCluster", json!({})),
        ("UpdateCluster", json!({ "settings": settings })),
        ("UpdateClusterSettings", json!({ "settings": settings })),
        (
            "PutClusterCapacityProviders",
            json!({"capacityProviders": [], "defaultCapacityProviderStrategy": []}),
        ),
        ("DescribeCapacityProviders", json!({})),
        ("RegisterContainerInstance", super::registration("web")),
        (
            "RegisterContainerInstance",
            json!({"containerInstanceArn": instance}),
        ),
        (
            "DeregisterContainerInstance",
            json!({"containerInstance": instance}),
        ),
        (
            "DescribeContainerInstances",
            json!({"containerInstances": [instance]}),
        ),
        ("ListContainerInstances", json!({})),
        (
            "UpdateContainerInstancesState",
            json!({"containerInstances": [instance], "status": "DRAINING"}),
        ),
        ("PutAttributes", json!({ "attributes": attributes })),
        ("DeleteAttributes", json!({ "attributes": attributes })),
        (
            "ListAttributes",
            json!({"targetType": "container-instance"}),
        ),
        ("RunTask", json!({"taskDefinition": "sleep"})),
        (
            "StartTask",
            json!({"taskDefinition": "sleep", "containerInstances": [instance]}),
        ),
        ("StopTask", json!({ "task": id })),
        ("DescribeTasks", json!({"tasks": [id]})),
        ("ListTasks", json!({})),
        ("GetTaskProtection", json!({"tasks": [id]})),
        (
            "UpdateTaskProtection",
            json!({"tasks": [id], "protectionEnabled": true}),
        ),
        (
            "CreateService",
            json!({"serviceName": "api", "taskDefinition": "sleep", "desiredCount": 1}),
        ),
        ("UpdateService", json!({"service": "api"})),
        ("DeleteService", json!({"service": "api"})),
        ("DescribeServices", json!({"services": ["api"]})),
        ("ListServices", json!({})),
        ("ListServiceDeployments", json!({"service": "api"})),
        (
            "SubmitTaskStateChange",
            json!({"task": id, "status": "RUNNING"}),
        ),
        (
            "SubmitContainerStateChange",
            json!({"task": id, "containerName": "main", "status": "RUNNING"}),
        ),
        (
            "SubmitAttachmentStateChanges",
            json!({"attachments": [{"attachmentArn": "a", "status": "ATTACHED"}]}),
        ),
    ]
}

#[tokio::test]
async fn no_operation_works_on_a_cluster_of_another_account_or_region() {
    let (server, ecs) = with_cluster("web").await;
    let agent = TestAgent::register(&ecs, "web").await;
    let _acs = agent.acs().await;
    let other = Ecs::of(&server.aws_root(OTHER));
    let container = json!({"name": "main", "image": "busybox", "memory": 64});
    let definition = json!({"family": "sleep", "containerDefinitions": [container]});
    let elsewhere = ecs.in_region("eu-west-1");
    for client in [&other, &elsewhere] {
        client
            .ok("RegisterTaskDefinition", definition.clone())
            .await;
    }
    for (operation, mut request) in requests(&agent.instance) {
        request["cluster"] = arn("cluster/web").into();
        let invalid = "InvalidParameterException";
        let message = format!("Identifier is for account 123456789012. Your account is {OTHER}");
        other
            .refused(operation, request.clone(), invalid, &message)
            .await;
        let message = "Identifier is for region us-east-1. Your region is eu-west-1";
        elsewhere
            .refused(operation, request, invalid, message)
            .await;
    }
    let tasks = ecs.ok("ListTasks", json!({"cluster": "web"})).await;
    assert_eq!(tasks, json!({"taskArns": []}));
    let services = ecs.ok("ListServices", json!({"cluster": "web"})).await;
    assert_eq!(services, json!({"serviceArns": []}));
    let refused = agent.with(&other);
    let refused = TestAgent {
        cluster: arn("cluster/web"),
        ..refused
    };
    assert!(refused.try_acs().await.is_err());
}
