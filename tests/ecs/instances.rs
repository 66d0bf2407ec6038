//! Container instances: registered, described, listed, drained and deregistered.

use serde_json::{Value, json};

use super::{allow, arn, register, with_cluster};
use crate::support::{ACCOUNT, Ecs};

fn resource(instance: &Value, list: &str, name: &str) -> Value {
    let all = instance[list].as_array().expect("resources");
    let found = all
        .iter()
        .find(|one| one["name"] == name)
        .expect("the resource");
    if found["type"] == "STRINGSET" {
        found["stringSetValue"].clone()
    } else {
        found["integerValue"].clone()
    }
}

#[tokio::test]
async fn an_instance_is_what_its_agent_registers() {
    let (_server, ecs) = with_cluster("web").await;
    let instance = register(&ecs, "web", json!({"tags": [{"key": "a", "value": "b"}]})).await;
    let id = instance["containerInstanceArn"].as_str().expect("an ARN");
    let id = id
        .strip_prefix(&arn("container-instance/web/"))
        .expect("a long ARN");
    assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(instance["status"], "ACTIVE");
    assert_eq!(instance["agentConnected"], false);
    assert_eq!(instance["version"], 1);
    assert_eq!(instance["tags"], json!([{"key": "a", "value": "b"}]));
    for list in ["registeredResources", "remainingResources"] {
        assert_eq!(resource(&instance, list, "CPU"), 2048);
        assert_eq!(resource(&instance, list, "MEMORY"), 3900);
        assert_eq!(resource(&instance, list, "PORTS"), json!(["22", "2375"]));
        assert_eq!(resource(&instance, list, "PORTS_UDP"), json!([]));
    }
    let attributes = instance["attributes"].as_array().expect("attributes");
    for attribute in [
        json!({"name": "ecs.availability-zone", "value": "us-east-1a"}),
        json!({"name": "ecs.capability.execution-role-ecr-pull"}),
        json!({"name": "stack", "value": "blue"}),
    ] {
        assert!(attributes.contains(&attribute), "{attribute}");
    }
    let cluster = ecs
        .ok("DescribeClusters", json!({"clusters": ["web"]}))
        .await;
    assert_eq!(
        cluster["clusters"][0]["registeredContainerInstancesCount"],
        1
    );
    ecs.refused(
        "DeleteCluster",
        json!({"cluster": "web"}),
        "ClusterContainsContainerInstancesException",
        "The Cluster cannot be deleted while Container Instances are active or draining.",
    )
    .await;
}

#[tokio::test]
async fn a_registration_is_repeated() {
    let (_server, ecs) = with_cluster("web").await;
    let first = register(&ecs, "web", json!({"clientToken": "t"})).await;
    let same = register(&ecs, "web", json!({"clientToken": "t"})).await;
    assert_eq!(same["containerInstanceArn"], first["containerInstanceArn"]);
    let known = json!({"containerInstanceArn": first["containerInstanceArn"],
        "attributes": [{"name": "stack", "value": "green"}]});
    let again = register(&ecs, "web", known.clone()).await;
    assert_eq!(again["containerInstanceArn"], first["containerInstanceArn"]);
    let attributes = again["attributes"].as_array().expect("attributes");
    assert!(attributes.contains(&json!({"name": "stack", "value": "green"})));
    let other = register(&ecs, "web", json!({"clientToken": "u"})).await;
    assert_ne!(other["containerInstanceArn"], first["containerInstanceArn"]);
    let gone = json!({"cluster": "web", "containerInstance": first["containerInstanceArn"]});
    ecs.ok("DeregisterContainerInstance", gone).await;
    let mut request = super::registration("web");
    request["containerInstanceArn"] = first["containerInstanceArn"].clone();
    let outcome = ecs.call("RegisterContainerInstance", request).await;
    outcome.assert_fault("ClientException", "is not registered in the cluster");
    let new = register(&ecs, "web", json!({"clientToken": "t"})).await;
    assert_ne!(new["containerInstanceArn"], first["containerInstanceArn"]);
}

/// Whoever registered an instance gets its tasks and the credentials of their roles.
#[tokio::test]
async fn an_instance_is_registered_again_by_its_registrant_or_an_administrator() {
    let (server, ecs) = with_cluster("web").await;
    let user = |name: &str, policy: &str| Ecs::of(&server.aws_user(ACCOUNT, name, policy));
    let role = "AmazonEC2ContainerServiceforEC2Role";
    let (first, other) = (user("first", role), user("other", role));
    let instance = register(&first, "web", json!({"clientToken": "t"})).await;
    let instance = instance["containerInstanceArn"].clone();
    let known = json!({"containerInstanceArn": instance});
    let again = |members: &Value| {
        let mut request = super::registration("web");
        for (name, value) in members.as_object().expect("members") {
            request[name] = value.clone();
        }
        request
    };
    let refused = "Only the principal that registered a container instance may register it again.";
    let with_token = json!({"clientToken": "t"});
    for members in [&known, &with_token] {
        let outcome = other
            .call("RegisterContainerInstance", again(members))
            .await;
        outcome.assert_fault("AccessDeniedException", refused);
        let same = register(&first, "web", members.clone()).await;
        assert_eq!(same["containerInstanceArn"], instance);
    }
    let own = register(&other, "web", json!({"clientToken": "u"})).await;
    assert_ne!(own["containerInstanceArn"], instance);

    let text = |arn: &Value| arn.as_str().expect("an ARN").to_owned();
    let administrator = |of: &Value| {
        let statements = json!([
            {"Effect": "Allow", "Action": "ecs:RegisterContainerInstance", "Resource": "*"},
            {"Effect": "Allow", "Action": "ecs:UpdateContainerAgent", "Resource": text(of)},
        ]);
        json!({"Version": "2012-10-17", "Statement": statements}).to_string()
    };
    let elsewhere = user("elsewhere", &administrator(&own["containerInstanceArn"]));
    let outcome = elsewhere
        .call("RegisterContainerInstance", again(&known))
        .await;
    outcome.assert_fault("AccessDeniedException", refused);
    let here = user("here", &administrator(&instance));
    for members in [known, with_token] {
        let same = register(&here, "web", members).await;
        assert_eq!(same["containerInstanceArn"], instance);
    }
    // The root may do all.
    let known = json!({"containerInstanceArn": own["containerInstanceArn"]});
    register(&ecs, "web", known).await;
}

#[tokio::test]
async fn what_is_no_registration_is_refused() {
    let (_server, ecs) = with_cluster("web").await;
    for (change, code, message) in [
        (
            json!({"cluster": "none"}),
            "ClusterNotFoundException",
            "Cluster not found.",
        ),
        (
            json!({"totalResources": []}),
            "InvalidParameterException",
            "A container instance must register a positive amount of CPU.",
        ),
        (
            json!({"attributes": [{"name": "a b"}]}),
            "InvalidParameterException",
            "The attribute name 'a b' is invalid.",
        ),
        (
            json!({"instanceIdentityDocument": "{"}),
            "InvalidParameterException",
            "The instance identity document is invalid.",
        ),
        (
            json!({"containerInstanceArn": "x"}),
            "InvalidParameterException",
            "instanceId length should be one of [32,36]",
        ),
    ] {
        let mut request = super::registration("web");
        for (name, value) in change.as_object().expect("members") {
            request[name] = value.clone();
        }
        ecs.refused("RegisterContainerInstance", request, code, message)
            .await;
    }
}

#[tokio::test]
async fn instances_are_described_with_what_is_requested() {
    let (_server, ecs) = with_cluster("web").await;
    let document = json!({"instanceId": "i-0123", "instanceType": "m5.large",
        "availabilityZone": "us-east-1b"});
    let instance = json!({"tags": [{"key": "a", "value": "b"}],
        "instanceIdentityDocument": document.to_string()});
    let instance = register(&ecs, "web", instance).await;
    let id = instance["containerInstanceArn"].as_str().expect("an ARN");
    let short = id.rsplit('/').next().expect("an identifier");
    let none = "0".repeat(32);
    let request = json!({"cluster": "web", "containerInstances": [short, id, none]});
    let plain = ecs.ok("DescribeContainerInstances", request).await;
    let missing = arn(&format!("container-instance/web/{none}"));
    assert_eq!(
        plain["failures"],
        json!([{"arn": missing, "reason": "MISSING"}])
    );
    let found = plain["containerInstances"].as_array().expect("a list");
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["ec2InstanceId"], "i-0123");
    assert_eq!(
        (&found[0]["tags"], found[0].get("healthStatus")),
        (&json!([]), None)
    );
    let request = json!({"cluster": "web", "containerInstances": [id],
        "include": ["TAGS", "CONTAINER_INSTANCE_HEALTH"]});
    let whole = ecs.ok("DescribeContainerInstances", request).await;
    let found = &whole["containerInstances"][0];
    assert_eq!(found["tags"], json!([{"key": "a", "value": "b"}]));
    assert_eq!(found["healthStatus"]["overallStatus"], "INSUFFICIENT_DATA");
    for (given, message) in [
        (json!([]), "Container instances can not be empty."),
        (
            json!(vec![none; 101]),
            "Container instances can not have more than 100 items.",
        ),
        (
            json!(["None"]),
            "instanceId length should be one of [32,36]",
        ),
        (
            json!([arn("container-instance/api/0")]),
            "Invalid identifier: Identifier is for cluster api. Your cluster is web",
        ),
    ] {
        let request = json!({"cluster": "web", "containerInstances": given});
        ecs.refused(
            "DescribeContainerInstances",
            request,
            "InvalidParameterException",
            message,
        )
        .await;
    }
}

#[tokio::test]
async fn instances_are_listed_by_status_and_expression() {
    let (_server, ecs) = with_cluster("web").await;
    let mut arns = Vec::new();
    for stack in ["blue", "green", "blue", "red"] {
        let attributes = json!([{"name": "stack", "value": stack}]);
        let instance = register(&ecs, "web", json!({"attributes": attributes})).await;
        arns.push(instance["containerInstanceArn"].clone());
    }
    let drain = json!({"cluster": "web", "containerInstances": [arns[3]], "status": "DRAINING"});
    ecs.ok("UpdateContainerInstancesState", drain).await;
    let listed = async |more: Value| {
        let (mut found, mut token) = (Vec::new(), Value::Null);
        loop {
            let mut request = json!({"cluster": "web", "maxResults": 1, "nextToken": token});
            for (name, value) in more.as_object().expect("members") {
                request[name] = value.clone();
            }
            let page = ecs.ok("ListContainerInstances", request).await;
            found.extend(
                page["containerInstanceArns"]
                    .as_array()
                    .expect("a list")
                    .clone(),
            );
            match page.get("nextToken") {
                Some(next) => token = next.clone(),
                None => return sorted(found),
            }
        }
    };
    assert_eq!(listed(json!({})).await, sorted(arns.clone()));
    let blue = sorted(vec![arns[0].clone(), arns[2].clone()]);
    assert_eq!(
        listed(json!({"filter": "attribute:stack == blue"})).await,
        blue
    );
    assert_eq!(
        listed(json!({"status": "DRAINING"})).await,
        [arns[3].clone()]
    );
    let both = json!({"status": "ACTIVE", "filter": "attribute:stack in [red, green]"});
    assert_eq!(listed(both).await, [arns[1].clone()]);
    let request = json!({"cluster": "web", "filter": "attribute:stack =="});
    ecs.refused(
        "ListContainerInstances",
        request,
        "InvalidParameterException",
        "Invalid cluster query:",
    )
    .await;
}

fn sorted(mut arns: Vec<Value>) -> Vec<Value> {
    arns.sort_by_key(ToString::to_string);
    arns
}

#[tokio::test]
async fn an_instance_is_drained_and_deregistered() {
    let (_server, ecs) = with_cluster("web").await;
    let instance = register(&ecs, "web", json!({})).await["containerInstanceArn"].clone();
    let none = arn(&format!("container-instance/web/{}", "0".repeat(32)));
    let both = json!([instance, none]);
    let state = |status: &str| {
        let mut request = json!({"cluster": "web", "containerInstances": both});
        request["status"] = status.into();
        request
    };
    let drained = ecs
        .ok("UpdateContainerInstancesState", state("DRAINING"))
        .await;
    assert_eq!(drained["containerInstances"][0]["status"], "DRAINING");
    assert_eq!(drained["containerInstances"][0]["version"], 2);
    assert_eq!(
        drained["failures"],
        json!([{"arn": none, "reason": "MISSING"}])
    );
    let active = ecs
        .ok("UpdateContainerInstancesState", state("ACTIVE"))
        .await;
    assert_eq!(active["containerInstances"][0]["status"], "ACTIVE");
    ecs.refused(
        "UpdateContainerInstancesState",
        state("DEREGISTERING"),
        "InvalidParameterException",
        "Container instance status should be one of [ACTIVE,DRAINING]",
    )
    .await;
    let request = json!({"cluster": "web", "containerInstance": instance});
    for _ in 0..2 {
        let gone = ecs.ok("DeregisterContainerInstance", request.clone()).await;
        assert_eq!(gone["containerInstance"]["status"], "INACTIVE");
    }
    let listed = ecs
        .ok("ListContainerInstances", json!({"cluster": "web"}))
        .await;
    assert_eq!(listed, json!({"containerInstanceArns": []}));
    let failed = ecs
        .ok("UpdateContainerInstancesState", state("ACTIVE"))
        .await;
    let reasons: Vec<_> = failed["failures"]
        .as_array()
        .expect("a list")
        .iter()
        .collect();
    assert_eq!(
        (&reasons[0]["reason"], &reasons[1]["reason"]),
        (&json!("INACTIVE"), &json!("MISSING"))
    );
    let request = json!({"cluster": "web", "containerInstance": none});
    ecs.refused(
        "DeregisterContainerInstance",
        request,
        "InvalidParameterException",
        "Referenced container instance 00000000000000000000000000000000 not found.",
    )
    .await;
    ecs.ok("DeleteCluster", json!({"cluster": "web"})).await;
}

/// The condition key `ecs:cluster`, and the ARNs of instances.
#[tokio::test]
async fn policies_name_instances_and_their_cluster() {
    let (server, ecs) = with_cluster("web").await;
    ecs.ok("CreateCluster", json!({"clusterName": "api"})).await;
    let of_web = register(&ecs, "web", json!({})).await["containerInstanceArn"].clone();
    let of_api = register(&ecs, "api", json!({})).await["containerInstanceArn"].clone();
    let statement = json!({"Effect": "Allow", "Action": "ecs:DescribeContainerInstances",
        "Resource": "*", "Condition": {"ArnEquals": {"ecs:cluster": arn("cluster/web")}}});
    let policy = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    let ann = Ecs::of(&server.aws_user(ACCOUNT, "ann", &policy));
    let describe = |cluster: &str, instance: &Value| {
        let instances = [instance];
        json!({"cluster": cluster, "containerInstances": instances})
    };
    ann.ok("DescribeContainerInstances", describe("web", &of_web))
        .await;
    let denied = ann
        .call("DescribeContainerInstances", describe("api", &of_api))
        .await;
    denied.assert_denied(
        "ecs:DescribeContainerInstances",
        "allows the ecs:DescribeContainerInstances action",
    );
    let by_arn = allow("ecs:*", of_api.as_str().expect("an ARN"));
    let ben = Ecs::of(&server.aws_user(ACCOUNT, "ben", &by_arn));
    ben.ok("DescribeContainerInstances", describe("api", &of_api))
        .await;
    let denied = ben
        .call("DescribeContainerInstances", describe("web", &of_web))
        .await;
    denied.assert_fault("AccessDeniedException", of_web.as_str().expect("an ARN"));
    let denied = ben
        .call("ListContainerInstances", json!({"cluster": "api"}))
        .await;
    denied.assert_fault("AccessDeniedException", "ecs:ListContainerInstances");
}
