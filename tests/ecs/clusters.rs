//! Clusters: made, described, listed, configured and deleted.

use serde_json::{Value, json};

use super::{allow, arn, server, with_cluster};
use crate::support::{ACCOUNT, Ecs, TestAgent, TestServer};

#[tokio::test]
async fn a_cluster_is_made_once() {
    let (_server, ecs) = server().await;
    let made = ecs.ok("CreateCluster", json!({})).await;
    let expected = json!({
        "cluster": {
            "clusterArn": arn("cluster/default"),
            "clusterName": "default",
            "status": "ACTIVE",
            "registeredContainerInstancesCount": 0,
            "runningTasksCount": 0,
            "pendingTasksCount": 0,
            "activeServicesCount": 0,
            "statistics": [],
            "tags": [],
            "settings": [{"name": "containerInsights", "value": "disabled"}],
            "capacityProviders": [],
            "defaultCapacityProviderStrategy": [],
        }
    });
    assert_eq!(made, expected);
    assert_eq!(ecs.ok("CreateCluster", json!({})).await, expected);
    let other = json!({"settings": [{"name": "containerInsights", "value": "enabled"}]});
    ecs.refused(
        "CreateCluster",
        other,
        "InvalidParameterException",
        "Arguments on this idempotent request are inconsistent",
    )
    .await;
}

#[tokio::test]
async fn what_is_no_cluster_is_refused() {
    let (_server, ecs) = server().await;
    for (request, message) in [
        (
            json!({"clusterName": "a b"}),
            "Cluster must match ^[a-zA-Z0-9\\-_]{1,255}$, but was a b",
        ),
        (
            json!({"clusterName": arn("cluster/a")}),
            "Invalid cluster name.",
        ),
        (
            json!({"settings": [{"name": "containerInsights", "value": "on"}]}),
            "containerInsights should be one of [enabled,disabled,enhanced]",
        ),
        (
            json!({"settings": [{"name": "other", "value": "enabled"}]}),
            "name should be one of [containerInsights]",
        ),
        (
            json!({"capacityProviders": ["none"]}),
            "The specified capacity provider does not exist.",
        ),
        (
            json!({"defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE"}]}),
            "The capacity provider strategy cannot contain a capacity provider that is not \
             associated with the cluster.",
        ),
        (
            json!({"serviceConnectDefaults": {"namespace": "n"}}),
            "This server does not support Service Connect.",
        ),
        (
            json!({"configuration": {"executeCommandConfiguration": {"logging": "OVERRIDE"}}}),
            "A logConfiguration must be specified",
        ),
        (
            json!({"tags": [{"key": "aws:x", "value": "y"}]}),
            "The tag key 'aws:x' begins with 'aws:', which is reserved.",
        ),
    ] {
        ecs.refused(
            "CreateCluster",
            request,
            "InvalidParameterException",
            message,
        )
        .await;
    }
    for (operation, request, message) in [
        ("DeleteCluster", json!({}), "Cluster can not be blank."),
        (
            "DescribeClusters",
            json!({"include": ["SETTINGS", "ALL"]}),
            "include should be one of [ATTACHMENTS,CONFIGURATIONS,SETTINGS,STATISTICS,TAGS]",
        ),
        (
            "DescribeClusters",
            json!({"clusters": vec!["a"; 101]}),
            "Clusters can not have more than 100 items.",
        ),
        (
            "ListClusters",
            json!({"maxResults": 101}),
            "maxResults should be between 1 and 100",
        ),
        ("ListClusters", json!({"nextToken": "x"}), "Invalid token"),
    ] {
        ecs.refused(operation, request, "InvalidParameterException", message)
            .await;
    }
}

#[tokio::test]
async fn a_description_has_what_is_requested() {
    let (_server, ecs) = server().await;
    let configuration = json!({"executeCommandConfiguration": {"logging": "DEFAULT"}});
    let tags = json!([{"key": "team", "value": "web"}]);
    let settings = json!([{"name": "containerInsights", "value": "enhanced"}]);
    let strategy = json!([{"capacityProvider": "FARGATE", "weight": 1, "base": 2}]);
    let request = json!({"clusterName": "web", "configuration": configuration, "tags": tags,
        "settings": settings, "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
        "defaultCapacityProviderStrategy": strategy});
    ecs.ok("CreateCluster", request).await;
    let described = async |include: Value| {
        let request = json!({"clusters": ["web", arn("cluster/web"), "none"], "include": include});
        let response = ecs.ok("DescribeClusters", request).await;
        let missing = json!([{"arn": arn("cluster/none"), "reason": "MISSING"}]);
        assert_eq!(response["failures"], missing);
        assert_eq!(response["clusters"].as_array().map(Vec::len), Some(1));
        response["clusters"][0].clone()
    };
    let plain = described(json!([])).await;
    assert_eq!(
        plain["capacityProviders"],
        json!(["FARGATE", "FARGATE_SPOT"])
    );
    assert_eq!(plain["defaultCapacityProviderStrategy"], strategy);
    for empty in ["tags", "settings", "statistics"] {
        assert_eq!(plain[empty], json!([]), "{empty}");
    }
    assert!(plain.get("configuration").is_none() && plain.get("attachments").is_none());
    let all = json!([
        "ATTACHMENTS",
        "CONFIGURATIONS",
        "SETTINGS",
        "STATISTICS",
        "TAGS"
    ]);
    let whole = described(all).await;
    assert_eq!((&whole["tags"], &whole["settings"]), (&tags, &settings));
    assert_eq!(whole["configuration"], configuration);
    assert_eq!(whole["attachments"], json!([]));
    let statistics = whole["statistics"].as_array().expect("a list");
    let zero = |name: &str| statistics.contains(&json!({"name": name, "value": "0"}));
    assert!(zero("runningEC2TasksCount") && zero("drainingFargateServiceCount"));
}

#[tokio::test]
async fn clusters_are_listed_in_pages() {
    let (_server, ecs) = server().await;
    let names = ["a", "b", "c", "d", "e"];
    for name in names {
        ecs.ok("CreateCluster", json!({"clusterName": name})).await;
    }
    ecs.ok("DeleteCluster", json!({"cluster": "c"})).await;
    let other = ecs.in_region("eu-west-1");
    other.ok("CreateCluster", json!({"clusterName": "x"})).await;
    let (mut found, mut token) = (Vec::new(), Value::Null);
    loop {
        let request = json!({"maxResults": 2, "nextToken": token});
        let page = ecs.ok("ListClusters", request).await;
        let arns = page["clusterArns"].as_array().expect("a list");
        assert!(!arns.is_empty() && arns.len() <= 2);
        found.extend(
            arns.iter()
                .map(|arn| arn.as_str().expect("text").to_owned()),
        );
        match page.get("nextToken") {
            Some(next) => token = next.clone(),
            None => break,
        }
    }
    let expected = ["a", "b", "d", "e"].map(|name| arn(&format!("cluster/{name}")));
    assert_eq!(found, expected);
    let all = other.ok("ListClusters", json!({})).await;
    let elsewhere = format!("arn:aws:ecs:eu-west-1:{ACCOUNT}:cluster/x");
    assert_eq!(all, json!({"clusterArns": [elsewhere]}));
}

#[tokio::test]
async fn a_deleted_cluster_is_inactive_until_it_is_made_again() {
    let (_server, ecs) = with_cluster("web").await;
    let deleted = ecs
        .ok("DeleteCluster", json!({"cluster": arn("cluster/web")}))
        .await;
    assert_eq!(deleted["cluster"]["status"], "INACTIVE");
    let described = ecs
        .ok("DescribeClusters", json!({"clusters": ["web"]}))
        .await;
    assert_eq!(described["clusters"][0]["status"], "INACTIVE");
    assert_eq!(described["failures"], json!([]));
    let again = ecs.ok("DeleteCluster", json!({"cluster": "web"})).await;
    assert_eq!(again["cluster"]["status"], "INACTIVE");
    let settings = json!([{"name": "containerInsights", "value": "enabled"}]);
    let change = json!({"cluster": "web", "settings": settings});
    ecs.refused(
        "UpdateClusterSettings",
        change,
        "ClientException",
        "Cluster was not ACTIVE.",
    )
    .await;
    let made = ecs.ok("CreateCluster", json!({"clusterName": "web"})).await;
    assert_eq!(made["cluster"]["status"], "ACTIVE");
    assert_eq!(
        made["cluster"]["settings"],
        json!([{"name": "containerInsights", "value": "disabled"}])
    );
    ecs.refused(
        "DeleteCluster",
        json!({"cluster": "none"}),
        "ClusterNotFoundException",
        "Cluster not found.",
    )
    .await;
}

#[tokio::test]
async fn settings_and_capacity_change() {
    let (_server, ecs) = with_cluster("web").await;
    let enabled = json!([{"name": "containerInsights", "value": "enabled"}]);
    let request = json!({"cluster": "web", "settings": enabled});
    let changed = ecs.ok("UpdateClusterSettings", request).await;
    assert_eq!(changed["cluster"]["settings"], enabled);
    let configuration = json!({"managedStorageConfiguration": {"kmsKeyId": "k"}});
    let request = json!({"cluster": "web", "configuration": configuration});
    let changed = ecs.ok("UpdateCluster", request).await;
    assert_eq!(changed["cluster"]["configuration"], configuration);
    assert_eq!(changed["cluster"]["settings"], enabled);
    let strategy = json!([{"capacityProvider": "FARGATE_SPOT", "weight": 3, "base": 0}]);
    let request = json!({"cluster": "web", "capacityProviders": ["FARGATE_SPOT"],
        "defaultCapacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT", "weight": 3}]});
    let changed = ecs.ok("PutClusterCapacityProviders", request).await;
    assert_eq!(
        changed["cluster"]["defaultCapacityProviderStrategy"],
        strategy
    );
    for (request, code, message) in [
        (
            json!({"cluster": "none", "capacityProviders": [],
                "defaultCapacityProviderStrategy": []}),
            "ClusterNotFoundException",
            "Cluster not found.",
        ),
        (
            json!({"cluster": "web", "capacityProviders": []}),
            "InvalidParameterException",
            "DefaultCapacityProviderStrategy can not be blank.",
        ),
        (
            json!({"cluster": "web", "capacityProviders": ["FARGATE"],
                "defaultCapacityProviderStrategy": [
                    {"capacityProvider": "FARGATE", "weight": 1001}]}),
            "InvalidParameterException",
            "less than or equal to 1000",
        ),
    ] {
        ecs.refused("PutClusterCapacityProviders", request, code, message)
            .await;
    }
}

/// A caller learns nothing about clusters that it may not describe.
#[tokio::test]
async fn a_policy_names_clusters_by_their_arns() {
    let (server, ecs) = with_cluster("web").await;
    ecs.ok("CreateCluster", json!({"clusterName": "api"})).await;
    let policy = allow("ecs:Describe*", &arn("cluster/web"));
    let ann = Ecs::of(&server.aws_user(ACCOUNT, "ann", &policy));
    ann.ok("DescribeClusters", json!({"clusters": ["web"]}))
        .await;
    for name in ["api", "none"] {
        let outcome = ann
            .call("DescribeClusters", json!({"clusters": ["web", name]}))
            .await;
        let resource = format!("on resource: {}", arn(&format!("cluster/{name}")));
        outcome.assert_denied(
            "ecs:DescribeClusters",
            "allows the ecs:DescribeClusters action",
        );
        assert!(
            outcome.message().contains(&resource),
            "{}",
            outcome.message()
        );
    }
    let outcome = ann.call("CreateCluster", json!({})).await;
    outcome.assert_fault(
        "AccessDeniedException",
        "is not authorized to perform: ecs:CreateCluster on resource: *",
    );
}

/// Tags at creation need `ecs:TagResource` on the cluster; conditions see them.
#[tokio::test]
async fn tags_at_creation_need_a_permission_of_their_own() {
    let (server, _) = server().await;
    let creates = json!({"Effect": "Allow", "Action": "ecs:CreateCluster", "Resource": "*"});
    let tags = json!({"Effect": "Allow", "Action": "ecs:TagResource", "Resource": "*",
        "Condition": {"StringEquals": {"ecs:CreateAction": "CreateCluster",
            "aws:RequestTag/team": "web"}}});
    let policy =
        |statements: Value| json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    let user = |name: &str, statements: Value| {
        Ecs::of(&server.aws_user(ACCOUNT, name, &policy(statements)))
    };
    let ann = user("ann", json!([creates]));
    let ben = user("ben", json!([creates, tags]));
    let request = |name: &str, team: &str| {
        let tags = json!([{"key": "team", "value": team}]);
        json!({"clusterName": name, "tags": tags})
    };
    ann.ok("CreateCluster", json!({"clusterName": "plain"}))
        .await;
    let outcome = ann.call("CreateCluster", request("a", "web")).await;
    let message = format!("perform: ecs:TagResource on resource: {}", arn("cluster/a"));
    outcome.assert_fault("AccessDeniedException", &message);
    ben.ok("CreateCluster", request("b", "web")).await;
    let outcome = ben.call("CreateCluster", request("c", "api")).await;
    outcome.assert_fault("AccessDeniedException", "ecs:TagResource");
}

/// A policy that allows what carries a tag.
#[tokio::test]
async fn a_policy_names_clusters_by_their_tags() {
    let (server, ecs) = server().await;
    for (name, team) in [("web", "web"), ("api", "api")] {
        let tags = json!([{"key": "team", "value": team}]);
        ecs.ok("CreateCluster", json!({"clusterName": name, "tags": tags}))
            .await;
    }
    let statement = json!({"Effect": "Allow", "Action": "ecs:DeleteCluster", "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceTag/team": "web"}}});
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    let ann = Ecs::of(&server.aws_user(ACCOUNT, "ann", &policy));
    let denied = ann.call("DeleteCluster", json!({"cluster": "api"})).await;
    denied.assert_denied("ecs:DeleteCluster", "allows the ecs:DeleteCluster action");
    ann.ok("DeleteCluster", json!({"cluster": "web"})).await;
}

#[tokio::test]
async fn another_accounts_cluster_is_out_of_reach() {
    let (server, _ecs) = with_cluster("web").await;
    let other = Ecs::of(&server.aws_root("999999999999"));
    let outcome = other
        .call(
            "DescribeClusters",
            json!({"clusters": [arn("cluster/web")]}),
        )
        .await;
    outcome.assert_fault("AccessDeniedException", "ecs:DescribeClusters");
    let own = other
        .ok("DescribeClusters", json!({"clusters": ["web"]}))
        .await;
    assert_eq!(own["failures"][0]["reason"], "MISSING");
}

#[tokio::test]
async fn a_development_server_forgets_its_clusters() {
    let server = TestServer::dev().await;
    let ecs = Ecs::of(&server.aws());
    ecs.ok("CreateCluster", json!({})).await;
    let reset = server.client().post("/_wharfinger/reset", "").await;
    assert_eq!(reset.status, 200);
    let listed = ecs.ok("ListClusters", json!({})).await;
    assert_eq!(listed, json!({"clusterArns": []}));
}

async fn define(ecs: &Ecs) {
    let container = json!({"name": "web", "image": "nginx", "memory": 128});
    let request = json!({"family": "web", "containerDefinitions": [container]});
    ecs.ok("RegisterTaskDefinition", request).await;
}

#[tokio::test]
async fn a_cluster_is_deleted_only_when_nothing_is_in_it() {
    let (_server, ecs) = with_cluster("web").await;
    define(&ecs).await;
    let delete = async |code: &str, message: &str| {
        let request = json!({"cluster": "web"});
        ecs.refused("DeleteCluster", request, code, message).await;
    };
    let service = json!({"cluster": "web", "serviceName": "s", "taskDefinition": "web",
        "desiredCount": 0});
    ecs.ok("CreateService", service).await;
    let services = "The Cluster cannot be deleted while Services are active.";
    delete("ClusterContainsServicesException", services).await;
    let service = json!({"cluster": "web", "service": "s"});
    ecs.ok("DeleteService", service).await;

    let agent = TestAgent::register(&ecs, "web").await;
    let _acs = agent.acs().await;
    let run = json!({"cluster": "web", "taskDefinition": "web"});
    let task = ecs.ok("RunTask", run).await["tasks"][0]["taskArn"].clone();
    let task = task.as_str().expect("an ARN");
    let named = json!({"cluster": "web", "services": ["s"]});
    let patience = std::time::Duration::from_secs(20);
    let inactive = async {
        loop {
            let described = ecs.ok("DescribeServices", named.clone()).await;
            if described["services"][0]["status"] == "INACTIVE" {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let ended = tokio::time::timeout(patience, inactive).await;
    ended.expect("the service ends");
    let tasks = "The Cluster cannot be deleted while Tasks are active.";
    delete("ClusterContainsTasksException", tasks).await;
    let stop = json!({"cluster": "web", "task": task});
    ecs.ok("StopTask", stop).await;
    agent.report(task, "STOPPED").await;

    let instances = "The Cluster cannot be deleted while Container Instances are active or \
                     draining.";
    delete("ClusterContainsContainerInstancesException", instances).await;
    let instance = json!({"cluster": "web", "containerInstance": agent.instance});
    ecs.ok("DeregisterContainerInstance", instance).await;
    let deleted = ecs.ok("DeleteCluster", json!({"cluster": "web"})).await;
    assert_eq!(deleted["cluster"]["status"], "INACTIVE");
}

#[tokio::test]
async fn a_capacity_provider_in_use_stays_with_its_cluster() {
    let (_server, ecs) = server().await;
    let group = "arn:aws:autoscaling:us-east-1:123456789012:autoScalingGroup:\
                 00000000-0000-4000-8000-000000000000:autoScalingGroupName/";
    for name in ["big", "small"] {
        let group = json!({"autoScalingGroupArn": format!("{group}{name}")});
        let provider = json!({"name": name, "autoScalingGroupProvider": group});
        ecs.ok("CreateCapacityProvider", provider).await;
    }
    let cluster = json!({"clusterName": "web", "capacityProviders": ["big", "small"]});
    ecs.ok("CreateCluster", cluster).await;
    define(&ecs).await;
    // No instance of the provider is there: the task waits for one.
    let run = json!({"cluster": "web", "taskDefinition": "web",
        "capacityProviderStrategy": [{"capacityProvider": "big", "weight": 1}]});
    let task = ecs.ok("RunTask", run).await["tasks"][0].clone();
    assert_eq!(task["lastStatus"], "PROVISIONING");
    let keep = |providers: Value| {
        json!({"cluster": "web", "capacityProviders": providers,
            "defaultCapacityProviderStrategy": []})
    };
    ecs.refused(
        "PutClusterCapacityProviders",
        keep(json!(["small"])),
        "ResourceInUseException",
        "The specified capacity provider is in use and cannot be removed.",
    )
    .await;
    ecs.ok("PutClusterCapacityProviders", keep(json!(["big"])))
        .await;
    let stop = json!({"cluster": "web", "task": task["taskArn"]});
    ecs.ok("StopTask", stop).await;
    ecs.ok("PutClusterCapacityProviders", keep(json!([]))).await;
}
