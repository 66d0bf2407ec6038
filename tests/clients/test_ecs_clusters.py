"""ECS: clusters, container instances, attributes, capacity providers, account settings and tags by boto3 and both AWS CLIs."""

import uuid

import pytest
from harness.aws import refused

ACCOUNT = "123456789012"
GROUP = f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:autoScalingGroup:{uuid.UUID(int=0)}:autoScalingGroupName/web"
MISSING = "0" * 32


def arn(resource):
    return f"arn:aws:ecs:us-east-1:{ACCOUNT}:{resource}"


def registration(**members):
    """What an agent sends."""
    resources = [
        {"name": "CPU", "type": "INTEGER", "integerValue": 2048},
        {"name": "MEMORY", "type": "INTEGER", "integerValue": 3900},
        {"name": "PORTS", "type": "STRINGSET", "stringSetValue": ["22"]},
        {"name": "PORTS_UDP", "type": "STRINGSET", "stringSetValue": []},
    ]
    return {"totalResources": resources, "attributes": [{"name": "stack", "value": "blue"}], **members}


@pytest.fixture
def cluster(ecs, request):
    """A cluster of the test's own."""
    name = request.node.name.replace("[", "-").replace("]", "").replace("_", "-")
    ecs.create_cluster(clusterName=name)
    return name


def test_the_life_of_a_cluster(aws):
    name = f"life-{aws.name}"
    made = aws("ecs", "create-cluster", "--cluster-name", name, "--tags", "key=team,value=web", "--settings", "name=containerInsights,value=enabled")
    assert made["cluster"]["clusterArn"] == arn(f"cluster/{name}")
    assert made["cluster"]["status"] == "ACTIVE"
    assert arn(f"cluster/{name}") in aws("ecs", "list-clusters")["clusterArns"]
    described = aws("ecs", "describe-clusters", "--clusters", name, "none", "--include", "TAGS", "SETTINGS", "STATISTICS")
    assert described["clusters"][0]["tags"] == [{"key": "team", "value": "web"}]
    assert described["clusters"][0]["settings"] == [{"name": "containerInsights", "value": "enabled"}]
    assert described["failures"] == [{"arn": arn("cluster/none"), "reason": "MISSING"}]
    changed = aws("ecs", "update-cluster-settings", "--cluster", name, "--settings", "name=containerInsights,value=disabled")
    assert changed["cluster"]["settings"][0]["value"] == "disabled"
    logging = aws("ecs", "update-cluster", "--cluster", name, "--configuration", "executeCommandConfiguration={logging=DEFAULT}")
    assert logging["cluster"]["configuration"] == {"executeCommandConfiguration": {"logging": "DEFAULT"}}
    strategy = "capacityProvider=FARGATE,weight=1,base=2"
    words = ["--cluster", name, "--capacity-providers", "FARGATE", "FARGATE_SPOT", "--default-capacity-provider-strategy", strategy]
    capacity = aws("ecs", "put-cluster-capacity-providers", *words)["cluster"]
    assert capacity["capacityProviders"] == ["FARGATE", "FARGATE_SPOT"]
    assert capacity["defaultCapacityProviderStrategy"] == [{"capacityProvider": "FARGATE", "weight": 1, "base": 2}]
    assert aws("ecs", "delete-cluster", "--cluster", name)["cluster"]["status"] == "INACTIVE"
    failed = aws("ecs", "delete-cluster", "--cluster", "none", check=False)
    assert "(ClusterNotFoundException)" in failed.stderr and "Cluster not found." in failed.stderr


def test_the_life_of_an_instance(aws, ecs, tmp_path):
    """Agents register, users do the rest."""
    name = f"instances-{aws.name}"
    ecs.create_cluster(clusterName=name)
    instance = ecs.register_container_instance(cluster=name, **registration())["containerInstance"]["containerInstanceArn"]
    listed = aws("ecs", "list-container-instances", "--cluster", name, "--filter", "attribute:stack == blue")
    assert listed["containerInstanceArns"] == [instance]
    words = ["--cluster", name, "--container-instances", instance]
    described = aws("ecs", "describe-container-instances", *words, "--include", "TAGS")
    assert described["failures"] == []
    found = described["containerInstances"][0]
    assert (found["status"], found["agentConnected"], found["runningTasksCount"]) == ("ACTIVE", False, 0)
    drained = aws("ecs", "update-container-instances-state", *words, "--status", "DRAINING")
    assert drained["containerInstances"][0]["status"] == "DRAINING"
    target = f"name=disk,value=ssd,targetId={instance}"
    assert aws("ecs", "put-attributes", "--cluster", name, "--attributes", target)["attributes"][0]["value"] == "ssd"
    words = ["--cluster", name, "--target-type", "container-instance", "--attribute-name", "disk"]
    assert aws("ecs", "list-attributes", *words)["attributes"][0]["targetId"] == instance
    deleted = aws("ecs", "delete-attributes", "--cluster", name, "--attributes", f"name=disk,targetId={instance}")
    assert deleted["attributes"][0]["name"] == "disk"
    gone = aws("ecs", "deregister-container-instance", "--cluster", name, "--container-instance", instance, "--force")
    assert gone["containerInstance"]["status"] == "INACTIVE"


def test_the_life_of_a_capacity_provider(aws):
    name = f"provider-{aws.name}"
    group = f"autoScalingGroupArn={GROUP}-{aws.name},managedScaling={{status=ENABLED,targetCapacity=80}}"
    made = aws("ecs", "create-capacity-provider", "--name", name, "--auto-scaling-group-provider", group)["capacityProvider"]
    assert made["capacityProviderArn"] == arn(f"capacity-provider/{name}")
    assert made["autoScalingGroupProvider"]["managedScaling"]["targetCapacity"] == 80
    change = "managedScaling={targetCapacity=100}"
    changed = aws("ecs", "update-capacity-provider", "--name", name, "--auto-scaling-group-provider", change)["capacityProvider"]
    assert changed["autoScalingGroupProvider"]["managedScaling"]["targetCapacity"] == 100
    described = aws("ecs", "describe-capacity-providers", "--capacity-providers", name, "FARGATE")
    assert [one["status"] for one in described["capacityProviders"]] == ["ACTIVE", "ACTIVE"]
    assert aws("ecs", "delete-capacity-provider", "--capacity-provider", name)["capacityProvider"]["status"] == "INACTIVE"


def test_account_settings(aws):
    words = ["--name", "containerInsights", "--principal-arn", f"arn:aws:iam::{ACCOUNT}:user/{aws.name}"]
    set_ = aws("ecs", "put-account-setting", *words, "--value", "enabled")["setting"]
    assert (set_["name"], set_["value"]) == ("containerInsights", "enabled")
    assert aws("ecs", "list-account-settings", *words)["settings"] == [set_]
    assert aws("ecs", "delete-account-setting", *words)["setting"] == set_
    default = aws("ecs", "put-account-setting-default", "--name", "awsvpcTrunking", "--value", "enabled")["setting"]
    assert default["principalArn"] == f"arn:aws:iam::{ACCOUNT}:root"
    effective = aws("ecs", "list-account-settings", "--effective-settings", "--name", "awsvpcTrunking")
    assert effective["settings"] == [default]


def test_tags(aws, cluster):
    resource = ["--resource-arn", arn(f"cluster/{cluster}")]
    aws("ecs", "tag-resource", *resource, "--tags", "key=a,value=1", "key=b,value=2", plain=True)
    aws("ecs", "untag-resource", *resource, "--tag-keys", "a", plain=True)
    assert aws("ecs", "list-tags-for-resource", *resource)["tags"] == [{"key": "b", "value": "2"}]


def test_paginators(ecs, cluster):
    for number in range(3):
        ecs.create_cluster(clusterName=f"page-{number}")
        ecs.register_container_instance(cluster=cluster, **registration())

    def all_of(operation, member, **members):
        pages = ecs.get_paginator(operation).paginate(**members, PaginationConfig={"PageSize": 1})
        listed = [page[member] for page in pages]
        assert all(len(page) <= 1 for page in listed)
        return sum(listed, [])

    assert {arn(f"cluster/page-{number}") for number in range(3)} <= set(all_of("list_clusters", "clusterArns"))
    instances = all_of("list_container_instances", "containerInstanceArns", cluster=cluster)
    assert len(set(instances)) == 3
    attributes = all_of("list_attributes", "attributes", cluster=cluster, targetType="container-instance", attributeName="stack")
    assert sorted(one["targetId"] for one in attributes) == sorted(instances)
    assert len(all_of("list_account_settings", "settings", effectiveSettings=True)) == 11


def test_exceptions_have_their_classes(ecs, cluster):
    """Clients catch them by name."""
    with pytest.raises(ecs.exceptions.ClusterNotFoundException):
        ecs.list_container_instances(cluster="none")
    ecs.register_container_instance(cluster=cluster, **registration())
    with pytest.raises(ecs.exceptions.ClusterContainsContainerInstancesException):
        ecs.delete_cluster(cluster=cluster)
    with pytest.raises(ecs.exceptions.TargetNotFoundException):
        ecs.put_attributes(cluster=cluster, attributes=[{"name": "a", "targetId": arn(f"container-instance/{cluster}/{MISSING}")}])
    with pytest.raises(ecs.exceptions.ResourceNotFoundException):
        ecs.untag_resource(resourceArn=arn(f"service/{cluster}/none"), tagKeys=["a"])
    message = refused("InvalidParameterException", ecs.describe_container_instances, cluster=cluster, containerInstances=["None"])
    assert message == "instanceId length should be one of [32,36]"
