//! Services: created, updated, deleted, described and listed, and their history. No agent is
//! connected here; tests of clients run real containers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{allow, arn, with_cluster};
use crate::support::{ACCOUNT, Ecs};

/// From a change to what the reconciler makes of it. A pass takes far less; this only says "never".
const PATIENCE: Duration = Duration::from_secs(20);

async fn define(ecs: &Ecs, family: &str) -> String {
    let container = json!({"name": "web", "image": "nginx", "memory": 128});
    let request = json!({"family": family, "containerDefinitions": [container]});
    let registered = ecs.ok("RegisterTaskDefinition", request).await;
    let arn = registered["taskDefinition"]["taskDefinitionArn"].as_str();
    arn.expect("an ARN").to_owned()
}

/// A request to create the service `web` in the cluster `c`, with further members.
fn request(members: &Value) -> Value {
    let mut request =
        json!({"cluster": "c", "serviceName": "web", "taskDefinition": "web", "desiredCount": 2});
    for (name, value) in members.as_object().expect("members") {
        request[name] = value.clone();
    }
    request
}

async fn create(ecs: &Ecs, members: Value) -> Value {
    ecs.ok("CreateService", request(&members)).await["service"].clone()
}

async fn describe(ecs: &Ecs) -> Value {
    let named = json!({"cluster": "c", "services": ["web"]});
    ecs.ok("DescribeServices", named).await["services"][0].clone()
}

/// Describes the service until it is as a test wants it.
async fn described(ecs: &Ecs, wanted: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let service = describe(ecs).await;
        if wanted(&service) {
            return service;
        }
        assert!(Instant::now() < end, "never as wanted: {service}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn messages(service: &Value) -> Vec<&str> {
    let events = service["events"].as_array().expect("events");
    events
        .iter()
        .filter_map(|event| event["message"].as_str())
        .collect()
}

#[tokio::test]
async fn a_service_is_made_with_the_defaults_of_ecs() {
    let (_server, ecs) = with_cluster("c").await;
    let definition = define(&ecs, "web").await;
    let made = create(&ecs, json!({"tags": [{"key": "a", "value": "b"}]})).await;
    let deployment = &made["deployments"][0];
    let expected = json!({
        "serviceArn": arn("service/c/web"), "serviceName": "web", "clusterArn": arn("cluster/c"),
        "status": "ACTIVE", "desiredCount": 2, "runningCount": 0, "pendingCount": 0,
        "launchType": "EC2", "taskDefinition": definition,
        "deploymentConfiguration": {
            "deploymentCircuitBreaker": {"enable": false, "rollback": false},
            "maximumPercent": 200, "minimumHealthyPercent": 100, "strategy": "ROLLING",
        },
        "loadBalancers": [], "serviceRegistries": [], "events": [],
        "placementConstraints": [], "placementStrategy": [],
        "schedulingStrategy": "REPLICA", "deploymentController": {"type": "ECS"},
        "createdBy": format!("arn:aws:iam::{ACCOUNT}:root"), "enableECSManagedTags": false,
        "propagateTags": "NONE", "enableExecuteCommand": false,
        "availabilityZoneRebalancing": "ENABLED", "tags": [{"key": "a", "value": "b"}],
    });
    for (member, value) in expected.as_object().expect("members") {
        assert_eq!(&made[member], value, "{member}");
    }
    assert_eq!(made["deployments"].as_array().map(Vec::len), Some(1));
    let id = deployment["id"].as_str().expect("an id");
    let digits = id.strip_prefix("ecs-svc/").expect("the form of ECS");
    assert!(
        digits.len() == 19 && digits.bytes().all(|byte| byte.is_ascii_digit()),
        "{id}"
    );
    for (member, value) in [
        ("status", json!("PRIMARY")),
        ("taskDefinition", json!(definition)),
        ("desiredCount", json!(2)),
        ("rolloutState", json!("IN_PROGRESS")),
        (
            "rolloutStateReason",
            json!(format!("ECS deployment {id} in progress.")),
        ),
    ] {
        assert_eq!(deployment[member], value, "{member}");
    }
    let described = describe(&ecs).await;
    assert_eq!(described["tags"], Value::Null, "only on request");
    assert_eq!(described["deployments"][0]["id"], deployment["id"]);
}

/// A client that repeats a request, such as a retry, gets what the first one made.
#[tokio::test]
async fn a_name_is_used_once() {
    let (_server, ecs) = with_cluster("c").await;
    define(&ecs, "web").await;
    let first = create(&ecs, json!({})).await;
    let again = create(&ecs, json!({})).await;
    assert_eq!(again["deployments"][0]["id"], first["deployments"][0]["id"]);
    let (invalid, code) = (
        "Creation of service was not idempotent.",
        "InvalidParameterException",
    );
    ecs.refused(
        "CreateService",
        request(&json!({"desiredCount": 3})),
        code,
        invalid,
    )
    .await;
    let scaled = "The service cannot be stopped while it is scaled above 0.";
    let delete = json!({"cluster": "c", "service": "web"});
    ecs.refused("DeleteService", delete, code, scaled).await;
    let force = json!({"cluster": "c", "service": arn("service/c/web"), "force": true});
    let deleted = ecs.ok("DeleteService", force.clone()).await;
    assert_eq!(deleted["service"]["status"], "DRAINING");
    described(&ecs, |service| service["status"] == "INACTIVE").await;
    ecs.refused(
        "DeleteService",
        force,
        "ServiceNotFoundException",
        "Service not found.",
    )
    .await;
    let update = json!({"cluster": "c", "service": "web", "desiredCount": 1});
    let (code, message) = ("ServiceNotActiveException", "Service was not ACTIVE.");
    ecs.refused("UpdateService", update, code, message).await;
    let second = create(&ecs, json!({"desiredCount": 3})).await;
    assert_ne!(
        second["deployments"][0]["id"],
        first["deployments"][0]["id"]
    );
    assert_eq!(describe(&ecs).await["status"], "ACTIVE");
}

/// A client token gives what it made, whatever became of that since, unless it was deleted.
#[tokio::test]
async fn a_client_token_is_used_once() {
    let (_server, ecs) = with_cluster("c").await;
    define(&ecs, "web").await;
    let token = json!({"clientToken": "once"});
    let first = create(&ecs, token.clone()).await;
    let scale = json!({"cluster": "c", "service": "web", "desiredCount": 4});
    ecs.ok("UpdateService", scale).await;
    let again = create(&ecs, token).await;
    assert_eq!(again["deployments"][0]["id"], first["deployments"][0]["id"]);
    assert_eq!(again["desiredCount"], 4);
    let other = request(&json!({"clientToken": "once", "desiredCount": 4}));
    let code = "InvalidParameterException";
    let message = "Creation of service was not idempotent.";
    ecs.refused("CreateService", other, code, message).await;
    let delete = json!({"cluster": "c", "service": "web", "force": true});
    ecs.ok("DeleteService", delete).await;
    described(&ecs, |one| one["status"] == "INACTIVE").await;
    for _ in 0..2 {
        let new = create(&ecs, json!({"clientToken": "once"})).await;
        assert_eq!(new["status"], "ACTIVE");
        assert_ne!(new["deployments"][0]["id"], first["deployments"][0]["id"]);
    }
}

#[tokio::test]
async fn a_service_without_tasks_is_steady_and_its_deployments_complete() {
    let (_server, ecs) = with_cluster("c").await;
    define(&ecs, "web").await;
    create(&ecs, json!({"desiredCount": 0})).await;
    let first = described(&ecs, |one| {
        one["deployments"][0]["rolloutState"] == "COMPLETED"
    })
    .await;
    let id = first["deployments"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let reason = format!("ECS deployment {id} completed.");
    assert_eq!(first["deployments"][0]["rolloutStateReason"], reason);
    let expected = [
        "(service web) has reached a steady state.".to_owned(),
        format!("(service web) (deployment {id}) deployment completed."),
    ];
    assert_eq!(messages(&first), expected, "the newest first");
    // The same definition changes nothing; a new one, or a forced deployment, does.
    let update = |members: Value| {
        let mut request = json!({"cluster": "c", "service": "web"});
        for (name, value) in members.as_object().expect("members") {
            request[name] = value.clone();
        }
        ecs.ok("UpdateService", request)
    };
    let same = update(json!({"taskDefinition": "web:1"})).await;
    assert_eq!(same["service"]["deployments"][0]["id"], json!(id));
    let second = define(&ecs, "web").await;
    let changed = update(json!({"taskDefinition": "web"})).await["service"].clone();
    assert_eq!(changed["taskDefinition"], second);
    assert_eq!(changed["deployments"][0]["status"], "PRIMARY");
    assert_eq!(changed["deployments"][1]["status"], "ACTIVE");
    assert_eq!(changed["deployments"][1]["id"], json!(id));
    let done = |one: &Value| {
        let deployments = one["deployments"].as_array().expect("deployments");
        deployments.len() == 1 && deployments[0]["rolloutState"] == "COMPLETED"
    };
    described(&ecs, done).await;
    let forced = update(json!({"forceNewDeployment": true})).await["service"].clone();
    assert_eq!(forced["deployments"].as_array().map(Vec::len), Some(2));
    described(&ecs, done).await;

    let list = json!({"cluster": "c", "service": "web", "maxResults": 2});
    let page = ecs.ok("ListServiceDeployments", list).await;
    assert_eq!(page["serviceDeployments"].as_array().map(Vec::len), Some(2));
    let rest = json!({"cluster": "c", "service": "web", "nextToken": page["nextToken"]});
    let rest = ecs.ok("ListServiceDeployments", rest).await;
    let oldest = &rest["serviceDeployments"][0];
    assert_eq!(
        (oldest["status"].as_str(), &rest["nextToken"]),
        (Some("SUCCESSFUL"), &Value::Null)
    );
    let deployment = json!({"serviceDeploymentArns": [oldest["serviceDeploymentArn"]]});
    let deployment = ecs.ok("DescribeServiceDeployments", deployment).await;
    let deployment = &deployment["serviceDeployments"][0];
    assert_eq!(deployment["deploymentCircuitBreaker"]["status"], "DISABLED");
    assert_eq!(deployment["deploymentCircuitBreaker"]["threshold"], 3);
    let revision = deployment["targetServiceRevision"]["arn"].clone();
    assert_eq!(revision, oldest["targetServiceRevisionArn"]);
    let missing = arn("service-revision/c/web/1");
    let revisions = json!({"serviceRevisionArns": [revision, missing]});
    let revisions = ecs.ok("DescribeServiceRevisions", revisions).await;
    let first = arn("task-definition/web:1");
    assert_eq!(revisions["serviceRevisions"][0]["taskDefinition"], first);
    assert_eq!(
        revisions["failures"],
        json!([{"arn": missing, "reason": "MISSING"}])
    );
    let stop = json!({"serviceDeploymentArn": oldest["serviceDeploymentArn"]});
    let message = "The service deployment is SUCCESSFUL and cannot be stopped.";
    ecs.refused("StopServiceDeployment", stop, "ConflictException", message)
        .await;
}

#[tokio::test]
async fn a_deployment_under_way_can_be_rolled_back() {
    let (_server, ecs) = with_cluster("c").await;
    define(&ecs, "web").await;
    create(&ecs, json!({"desiredCount": 0})).await;
    described(&ecs, |one| {
        one["deployments"][0]["rolloutState"] == "COMPLETED"
    })
    .await;
    define(&ecs, "web").await;
    let update = json!({"cluster": "c", "service": "web", "taskDefinition": "web:2",
        "desiredCount": 1});
    let updated = ecs.ok("UpdateService", update).await["service"].clone();
    let deployment = &updated["currentServiceDeployment"];
    let stop = json!({"serviceDeploymentArn": deployment, "stopType": "ROLLBACK"});
    ecs.ok("StopServiceDeployment", stop).await;
    let first = arn("task-definition/web:1");
    let back = described(&ecs, |one| one["taskDefinition"] == first).await;
    let prefix = "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/";
    let reason = back["deployments"][0]["rolloutStateReason"]
        .as_str()
        .expect("a reason");
    assert!(reason.starts_with(prefix), "{reason}");
    let describe = json!({"serviceDeploymentArns": [deployment]});
    let described = ecs.ok("DescribeServiceDeployments", describe).await;
    let described = &described["serviceDeployments"][0];
    assert_eq!(described["status"], "ROLLBACK_IN_PROGRESS");
    assert_eq!(
        described["rollback"]["serviceRevisionArn"],
        described["sourceServiceRevisions"][0]["arn"]
    );
}

#[tokio::test]
async fn what_finds_no_instance_says_so_once() {
    let (_server, ecs) = with_cluster("c").await;
    define(&ecs, "web").await;
    create(&ecs, json!({})).await;
    let service = described(&ecs, |one| one["events"][0] != Value::Null).await;
    let none = "(service web) was unable to place a task because no container instance met all of \
                its requirements. Reason: No Container Instances were found in your cluster. \
                For more information, see the Troubleshooting section of the Amazon ECS \
                Developer Guide.";
    assert_eq!(messages(&service), [none]);
    let update = json!({"cluster": "c", "service": "web", "desiredCount": 4});
    ecs.ok("UpdateService", update).await;
    assert_eq!(messages(&describe(&ecs).await), [none]);
}

#[tokio::test]
async fn services_are_listed_in_pages_and_by_kind() {
    let (_server, ecs) = with_cluster("c").await;
    define(&ecs, "web").await;
    for name in ["a", "b", "c"] {
        create(&ecs, json!({"serviceName": name, "desiredCount": 0})).await;
    }
    let daemon = json!({"cluster": "c", "serviceName": "d", "taskDefinition": "web",
        "schedulingStrategy": "DAEMON"});
    let daemon = ecs.ok("CreateService", daemon).await["service"].clone();
    let percents = &daemon["deploymentConfiguration"];
    assert_eq!(
        (
            &percents["minimumHealthyPercent"],
            &percents["maximumPercent"]
        ),
        (&json!(0), &json!(100))
    );
    let first = ecs
        .ok("ListServices", json!({"cluster": "c", "maxResults": 3}))
        .await;
    let arns = ["a", "b", "c"].map(|name| arn(&format!("service/c/{name}")));
    assert_eq!(first["serviceArns"], json!(arns));
    let second = json!({"cluster": "c", "nextToken": first["nextToken"]});
    let second = ecs.ok("ListServices", second).await;
    assert_eq!(second, json!({"serviceArns": [arn("service/c/d")]}));
    let daemons = json!({"cluster": "c", "schedulingStrategy": "DAEMON"});
    let daemons = ecs.ok("ListServices", daemons).await;
    assert_eq!(daemons["serviceArns"], json!([arn("service/c/d")]));
    let none = ecs
        .ok(
            "ListServices",
            json!({"cluster": "c", "launchType": "FARGATE"}),
        )
        .await;
    assert_eq!(none["serviceArns"], json!([]));
    let missing = json!({"cluster": "c", "services": ["a", "x"]});
    let described = ecs.ok("DescribeServices", missing).await;
    assert_eq!(described["services"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        described["failures"],
        json!([{"arn": arn("service/c/x"), "reason": "MISSING"}])
    );
}

#[tokio::test]
async fn what_is_not_done_is_refused() {
    let (_server, ecs) = with_cluster("c").await;
    define(&ecs, "web").await;
    let code = "InvalidParameterException";
    for (members, message) in [
        (
            json!({"loadBalancers": [{"targetGroupArn": "t", "containerName": "web",
                "containerPort": 80}]}),
            "This server does not support 'loadBalancers' of services.",
        ),
        (
            json!({"serviceRegistries": [{"registryArn": "r"}]}),
            "This server does not support 'serviceRegistries' of services.",
        ),
        (
            json!({"deploymentController": {"type": "CODE_DEPLOY"}}),
            "This server does not support the deployment controller CODE_DEPLOY.",
        ),
        (
            json!({"deploymentConfiguration": {"strategy": "BLUE_GREEN"}}),
            "The deployment strategy BLUE_GREEN is not supported.",
        ),
        (
            json!({"deploymentConfiguration": {"alarms":
                {"alarmNames": ["a"], "enable": true, "rollback": false}}}),
            "alarms of deploymentConfiguration is not supported.",
        ),
        (
            json!({"deploymentConfiguration": {"maximumPercent": 100,
                "minimumHealthyPercent": 100}}),
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block \
             deployments.",
        ),
        (
            json!({"schedulingStrategy": "DAEMON"}),
            "The daemon scheduling strategy does not support a desired count for services. Remove \
             the desired count value and try again.",
        ),
        (
            json!({"launchType": "FARGATE"}),
            "Task definition does not support launch_type FARGATE.",
        ),
    ] {
        ecs.refused("CreateService", request(&members), code, message)
            .await;
    }
    let off = json!({"serviceConnectConfiguration": {"enabled": false}, "loadBalancers": []});
    assert_eq!(create(&ecs, off).await["status"], "ACTIVE");
}

#[tokio::test]
async fn policies_decide_about_services_by_their_names() {
    let (server, ecs) = with_cluster("c").await;
    define(&ecs, "web").await;
    create(&ecs, json!({"desiredCount": 0})).await;
    let policy = allow("ecs:UpdateService", &arn("service/c/web"));
    let ann = Ecs::of(&server.aws_user(ACCOUNT, "ann", &policy));
    let update = |name: &str| json!({"cluster": "c", "service": name, "desiredCount": 0});
    ann.ok("UpdateService", update("web")).await;
    for (operation, document) in [
        ("UpdateService", update("api")),
        ("DeleteService", json!({"cluster": "c", "service": "web"})),
        (
            "DescribeServices",
            json!({"cluster": "c", "services": ["web"]}),
        ),
        ("ListServices", json!({"cluster": "c"})),
        ("CreateService", request(&json!({}))),
    ] {
        let outcome = ann.call(operation, document).await;
        assert_eq!(outcome.code(), "AccessDeniedException", "{operation}");
    }
}

#[tokio::test]
async fn a_service_deployment_that_is_not_there_is_not_stopped() {
    let (_server, ecs) = with_cluster("c").await;
    define(&ecs, "web").await;
    create(&ecs, json!({"desiredCount": 1})).await;
    let service = describe(&ecs).await;
    let there = service["currentServiceDeployment"]
        .as_str()
        .expect("an ARN");
    let of_other = there.replace("/web/", "/api/");
    let code = "ServiceDeploymentNotFoundException";
    let message = "Service deployment not found.";
    for missing in [
        arn("service-deployment/c/web/0123456789abcdefghijk"),
        arn("service-deployment/none/web/0123456789abcdefghijk"),
        of_other,
    ] {
        let stop = json!({"serviceDeploymentArn": missing});
        ecs.refused("StopServiceDeployment", stop, code, message)
            .await;
    }
}

#[tokio::test]
async fn fargate_has_the_platform_versions_of_ecs_only() {
    let (_server, ecs) = with_cluster("c").await;
    define(&ecs, "web").await;
    let definition = json!({"family": "fargate", "networkMode": "awsvpc", "cpu": "256",
        "memory": "512", "requiresCompatibilities": ["FARGATE"],
        "containerDefinitions": [{"name": "web", "image": "nginx"}]});
    ecs.ok("RegisterTaskDefinition", definition).await;
    let network = json!({"awsvpcConfiguration": {"subnets": ["subnet-1"]}});
    let on_fargate = |version: &str| {
        json!({"cluster": "c", "taskDefinition": "fargate", "launchType": "FARGATE",
            "networkConfiguration": network, "platformVersion": version})
    };
    let service = |mut request: Value| {
        request["serviceName"] = "web".into();
        request["desiredCount"] = 0.into();
        request
    };
    let (code, message) = (
        "PlatformUnknownException",
        "The specified platform version does not exist.",
    );
    ecs.refused("RunTask", on_fargate("9.9.9"), code, message)
        .await;
    let unknown = service(on_fargate("9.9.9"));
    ecs.refused("CreateService", unknown, code, message).await;
    let made = ecs.ok("CreateService", service(on_fargate("1.4.0"))).await;
    assert_eq!(made["service"]["platformVersion"], "1.4.0");
    let update = json!({"cluster": "c", "service": "web", "platformVersion": "9.9.9"});
    ecs.refused("UpdateService", update, code, message).await;

    let on_ec2 = json!({"cluster": "c", "taskDefinition": "web", "platformVersion": "1.4.0"});
    let message = "The platform version must be null when specifying an EC2 launch type.";
    ecs.refused("RunTask", on_ec2, "InvalidParameterException", message)
        .await;
}

#[tokio::test]
async fn the_roles_of_a_service_must_be_passed() {
    let (server, ecs) = with_cluster("c").await;
    let role = format!("arn:aws:iam::{ACCOUNT}:role/app");
    define(&ecs, "plain").await;
    for member in ["taskRoleArn", "executionRoleArn"] {
        let container = json!({"name": "web", "image": "nginx", "memory": 128});
        let mut request = json!({"family": member, "containerDefinitions": [container]});
        request[member] = json!(role);
        ecs.ok("RegisterTaskDefinition", request).await;
    }
    let ann = Ecs::of(&server.aws_user(ACCOUNT, "ann", &allow("ecs:*", "*")));
    let plain = json!({"desiredCount": 0, "taskDefinition": "plain"});
    ann.ok("CreateService", request(&plain)).await;
    let message = format!("perform: iam:PassRole on resource: {role}");
    for definition in ["taskRoleArn", "executionRoleArn"] {
        let new = json!({"serviceName": "api", "taskDefinition": definition});
        let denied = ann.call("CreateService", request(&new)).await;
        denied.assert_fault("AccessDeniedException", &message);
        let update = json!({"cluster": "c", "service": "web", "taskDefinition": definition});
        let denied = ann.call("UpdateService", update.clone()).await;
        denied.assert_fault("AccessDeniedException", &message);
    }
    let passes = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": "ecs:*", "Resource": "*"},
        {"Effect": "Allow", "Action": "iam:PassRole", "Resource": role,
            "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}},
    ]});
    let ben = Ecs::of(&server.aws_user(ACCOUNT, "ben", &passes.to_string()));
    let update = json!({"cluster": "c", "service": "web", "taskDefinition": "taskRoleArn"});
    ben.ok("UpdateService", update).await;
}
