"""ECS: what the other files leave to drive by boto3 and both AWS CLIs, with real containers where tasks must run.

Version 2 of the CLI in Debian knows no service deployments, no service revisions and no deletion of task definitions.
"""

import contextlib
import json
import uuid

import pytest
from harness.aws import refused
from harness.command_line import CommandLine
from harness.ecs import SLEEP, container, engine_with_network, instances, wait_until
from harness.server import Server

ACCOUNT = "123456789012"
RESOURCES = [{"name": name, "type": "INTEGER", "integerValue": 1024} for name in ("CPU", "MEMORY")]
SERVICE = ["--cluster", "default", "--services"]


def arn(resource):
    return f"arn:aws:ecs:us-east-1:{ACCOUNT}:{resource}"


@pytest.fixture(scope="module")
def docker():
    with engine_with_network("ecs-cli") as running:
        yield running


@pytest.fixture(scope="module")
def server(docker):
    settings = {
        "local_clusters": "default",
        "docker_host": f"unix://{docker.socket}",
        "task_cleanup_seconds": 600,
        "service_healthy_seconds": 1,
    }
    with Server.fresh("ecs-cli", settings=settings) as running:
        yield running


@pytest.fixture(scope="module")
def instance(ecs):
    """The ARN of the instance that the server made for this host."""
    found = wait_until(lambda: instances(ecs, "default"), "an instance in the default cluster")
    return found[0]["containerInstanceArn"]


class Line:
    """A command line of `aws ecs`."""

    def __init__(self, name, server, home):
        self.name, self.home = name, home
        self.commands = CommandLine(name, server, home)

    def __call__(self, *words):
        """What a command prints as JSON; None for one that prints nothing."""
        code, out, err = self.commands.run("ecs", *words)
        assert not code, (words, err)
        return json.loads(out) if out else None

    def fails(self, *words):
        """What a command says that must fail."""
        code, _, err = self.commands.run("ecs", *words)
        assert code, words
        return err


@pytest.fixture(scope="module", params=["cli1", "cli2"])
def aws(request, server, tmp_path_factory):
    made = Line(request.param, server, tmp_path_factory.mktemp("home"))
    yield made
    made.commands.stop()


@pytest.fixture
def family(ecs):
    """A family of the test's own. Its tasks and services are stopped at the end."""
    name = f"cli-{uuid.uuid4().hex[:8]}"
    yield name
    for listed in ecs.list_services(cluster="default")["serviceArns"]:
        if listed.rsplit("/")[-1] == name:
            ecs.delete_service(cluster="default", service=name, force=True)
    for task in ecs.list_tasks(cluster="default", family=name)["taskArns"]:
        with contextlib.suppress(ecs.exceptions.InvalidParameterException):
            ecs.stop_task(cluster="default", task=task)


@pytest.fixture
def define(aws, image, family):
    """Registers a revision of the family from a file; returns its ARN."""

    def register(script=SLEEP, **members):
        definition = {"family": family, "containerDefinitions": [{**container(image, script), **members}]}
        (aws.home / "definition.json").write_text(json.dumps(definition))
        made = aws("register-task-definition", "--cli-input-json", "file://definition.json")
        return made["taskDefinition"]["taskDefinitionArn"]

    return register


def pages(ecs, operation, member, **members):
    """All items of a listing, of which each page has one."""
    listed = [page[member] for page in ecs.get_paginator(operation).paginate(**members, PaginationConfig={"PageSize": 1})]
    assert all(len(page) <= 1 for page in listed)
    return sum(listed, [])


def test_task_definitions_by_the_command_line(aws, define, family):
    first, second = define(), define()
    words = ["--family-prefix", family]
    described = aws("describe-task-definition", "--task-definition", family, "--include", "TAGS")
    assert (described["taskDefinition"]["taskDefinitionArn"], described["tags"]) == (second, [])
    assert described["taskDefinition"]["registeredBy"] == f"arn:aws:iam::{ACCOUNT}:root"
    listed = aws("list-task-definitions", *words, "--sort", "DESC", "--page-size", "1")
    assert listed["taskDefinitionArns"] == [second, first]
    listed = aws("list-task-definitions", *words, "--max-items", "1")
    assert listed["taskDefinitionArns"] == [first] and listed["NextToken"]
    rest = aws("list-task-definitions", *words, "--starting-token", listed["NextToken"])
    assert rest["taskDefinitionArns"] == [second]
    assert aws("list-task-definition-families", *words, "--page-size", "1")["families"] == [family]
    for revision in (first, second):
        gone = aws("deregister-task-definition", "--task-definition", revision)["taskDefinition"]
        assert gone["status"] == "INACTIVE" and gone["deregisteredAt"] >= gone["registeredAt"]
    assert aws("list-task-definition-families", *words, "--status", "ACTIVE")["families"] == []
    assert aws("list-task-definitions", *words, "--status", "INACTIVE")["taskDefinitionArns"] == [first, second]
    if aws.name == "cli1":
        deleted = aws("delete-task-definitions", "--task-definitions", first, second, f"{family}:9")
        assert [one["status"] for one in deleted["taskDefinitions"]] == ["DELETE_IN_PROGRESS"] * 2
        assert len(deleted["failures"]) == 1
    assert define().endswith(f":task-definition/{family}:3")


def test_task_definitions_by_boto3(ecs, family):
    tags = [{"key": "team", "value": "web"}]
    small = {"name": "web", "image": "nginx", "memory": 16}
    arns = []
    for _ in range(3):
        made = ecs.register_task_definition(family=family, containerDefinitions=[small], tags=tags)
        assert made["tags"] == tags
        arns.append(made["taskDefinition"]["taskDefinitionArn"])
    assert pages(ecs, "list_task_definitions", "taskDefinitionArns", familyPrefix=family) == arns
    others = [f"{family}-{number}" for number in range(2)]
    for other in others:
        ecs.register_task_definition(family=other, containerDefinitions=[small])
    assert pages(ecs, "list_task_definition_families", "families", familyPrefix=family) == [family, *others]
    described = ecs.describe_task_definition(taskDefinition=family)
    assert described["tags"] == [], "they are shown on request"
    assert described["taskDefinition"]["revision"] == 3
    assert ecs.describe_task_definition(taskDefinition=family, include=["TAGS"])["tags"] == tags
    assert ecs.list_tags_for_resource(resourceArn=arns[0])["tags"] == tags
    ecs.tag_resource(resourceArn=arns[0], tags=[{"key": "a", "value": "1"}])
    ecs.untag_resource(resourceArn=arns[0], tagKeys=["team"])
    assert ecs.list_tags_for_resource(resourceArn=arns[0])["tags"] == [{"key": "a", "value": "1"}]
    ecs.deregister_task_definition(taskDefinition=arns[2])
    assert ecs.describe_task_definition(taskDefinition=family)["taskDefinition"]["revision"] == 2
    deleted = ecs.delete_task_definitions(taskDefinitions=[arns[1], arns[2]])
    assert [one["taskDefinitionArn"] for one in deleted["taskDefinitions"]] == [arns[2]]
    assert deleted["taskDefinitions"][0]["deleteRequestedAt"]
    assert [one["arn"] for one in deleted["failures"]] == [arns[1]]
    refused("ClientException", ecs.describe_task_definition, taskDefinition="none")


def test_a_task_is_started_on_an_instance(aws, ecs, define, family, instance):
    definition = define()
    where = ["--cluster", "default", "--container-instances", instance]
    said = ["--started-by", family, "--tags", "key=team,value=web"]
    started = aws("start-task", *where, "--task-definition", definition, *said)
    assert started["failures"] == []
    task = started["tasks"][0]["taskArn"]
    assert started["tasks"][0]["containerInstanceArn"] == instance
    named = ["--cluster", "default", "--tasks", task]
    aws("wait", "tasks-running", *named)
    shown = aws("describe-tasks", *named, "--include", "TAGS")["tasks"][0]
    assert shown["tags"] == [{"key": "team", "value": "web"}] and shown["startedBy"] == family
    assert aws("describe-tasks", *named)["tasks"][0]["tags"] == []
    assert aws("list-tasks", "--cluster", "default", "--started-by", family)["taskArns"] == [task]
    assert aws("list-tasks", "--cluster", "default", "--family", family, "--page-size", "1")["taskArns"] == [task]
    protected = aws("update-task-protection", *named, "--protection-enabled")
    assert [one["reason"] for one in protected["failures"]] == ["TASK_NOT_VALID"]
    aws("stop-task", "--cluster", "default", "--task", task, "--reason", "enough")
    aws("wait", "tasks-stopped", *named)
    stopped = aws("describe-tasks", *named, "0" * 32)
    assert stopped["tasks"][0]["stoppedReason"] == "enough"
    assert [one["reason"] for one in stopped["failures"]] == ["MISSING"]
    missing = aws("start-task", "--cluster", "default", "--container-instances", "0" * 32, "--task-definition", definition)
    assert [one["reason"] for one in missing["failures"]] == ["MISSING"]


def test_a_task_is_started_and_reported_by_boto3(ecs, image, family, instance):
    ecs.register_task_definition(family=family, containerDefinitions=[container(image, SLEEP)])
    started = ecs.start_task(cluster="default", taskDefinition=family, containerInstances=[instance])
    again = ecs.start_task(cluster="default", taskDefinition=family, containerInstances=[instance])
    tasks = [one["tasks"][0]["taskArn"] for one in (started, again)]
    ecs.get_waiter("tasks_running").wait(cluster="default", tasks=tasks, WaiterConfig={"Delay": 1})
    assert sorted(pages(ecs, "list_tasks", "taskArns", cluster="default", family=family)) == sorted(tasks)
    shown = ecs.describe_tasks(cluster="default", tasks=tasks, include=["TAGS"])["tasks"]
    assert [one["connectivity"] for one in shown] == ["CONNECTED"] * 2
    # An administrator reports in place of the agent.
    name = shown[0]["containers"][0]["name"]
    told = ecs.submit_container_state_change(cluster="default", task=tasks[0], containerName=name, status="RUNNING", reason="slow")
    assert told["acknowledgment"]
    assert ecs.submit_task_state_change(cluster="default", task=tasks[0], status="RUNNING")["acknowledgment"]
    assert ecs.describe_tasks(cluster="default", tasks=tasks[:1])["tasks"][0]["containers"][0]["reason"] == "slow"
    attachment = {"attachmentArn": arn(f"attachment/{uuid.uuid4()}"), "status": "ATTACHED"}
    assert ecs.submit_attachment_state_changes(cluster="default", attachments=[attachment])["acknowledgment"]
    for task in tasks:
        ecs.stop_task(cluster="default", task=task)
    ecs.get_waiter("tasks_stopped").wait(cluster="default", tasks=tasks, WaiterConfig={"Delay": 1})


def test_agents_can_be_played_by_the_command_line(aws, ecs):
    name = f"played-{aws.name}"
    ecs.create_cluster(clusterName=name)
    registered = aws("register-container-instance", "--cluster", name, "--total-resources", json.dumps(RESOURCES))
    made = registered["containerInstance"]["containerInstanceArn"]
    polled = aws("discover-poll-endpoint", "--cluster", name, "--container-instance", made)
    assert polled["endpoint"].endswith("/acs") or polled["endpoint"].startswith("http")
    assert polled["telemetryEndpoint"].startswith("http")
    attachment = f"attachmentArn={arn(f'attachment/{uuid.uuid4()}')},status=ATTACHED"
    assert aws("submit-attachment-state-changes", "--cluster", name, "--attachments", attachment)["acknowledgment"]
    unknown = ["--cluster", name, "--task", "0" * 32, "--status", "RUNNING"]
    failed = aws.fails("submit-task-state-change", *unknown)
    assert "(InvalidParameterException)" in failed and "Could not find the task" in failed
    failed = aws.fails("submit-container-state-change", *unknown, "--container-name", "web")
    assert "(InvalidParameterException)" in failed
    failed = aws.fails("update-container-agent", "--cluster", name, "--container-instance", made)
    assert "This server does not support the operation UpdateContainerAgent" in failed


def test_a_service_and_the_protection_of_its_task(aws, define, family):
    definition = define()
    create = ["--cluster", "default", "--service-name", family, "--task-definition", definition, "--desired-count", "1"]
    aws("create-service", *create, "--tags", "key=team,value=web")
    aws("wait", "services-stable", *SERVICE, family)
    assert arn(f"service/default/{family}") in aws("list-services", "--cluster", "default", "--page-size", "1")["serviceArns"]
    assert aws("describe-services", *SERVICE, family, "--include", "TAGS")["services"][0]["tags"] == [{"key": "team", "value": "web"}]
    assert "tags" not in aws("describe-services", *SERVICE, family)["services"][0]
    [task] = aws("list-tasks", "--cluster", "default", "--service-name", family)["taskArns"]
    named = ["--cluster", "default", "--tasks", task]
    on = aws("update-task-protection", *named, "--protection-enabled", "--expires-in-minutes", "5")
    assert on["protectedTasks"][0]["protectionEnabled"] and on["protectedTasks"][0]["expirationDate"]
    assert aws("get-task-protection", *named)["protectedTasks"] == on["protectedTasks"]
    off = aws("update-task-protection", *named, "--no-protection-enabled")["protectedTasks"][0]
    assert off == {"taskArn": task, "protectionEnabled": False}
    failed = aws.fails("delete-service", "--cluster", "default", "--service", family)
    assert "The service cannot be stopped while it is scaled above 0." in failed
    assert aws("delete-service", "--cluster", "default", "--service", family, "--force")["service"]["status"] == "DRAINING"
    aws("wait", "services-inactive", *SERVICE, family)
    assert aws("describe-services", *SERVICE, family)["services"][0]["status"] == "INACTIVE"


def test_protection_and_listings_of_services_by_boto3(ecs, image, family, instance):
    ecs.register_task_definition(family=family, containerDefinitions=[container(image, SLEEP)])
    ecs.create_service(cluster="default", serviceName=family, taskDefinition=family, desiredCount=2)
    ecs.get_waiter("services_stable").wait(cluster="default", services=[family], WaiterConfig={"Delay": 1})
    assert arn(f"service/default/{family}") in pages(ecs, "list_services", "serviceArns", cluster="default")
    tasks = pages(ecs, "list_tasks", "taskArns", cluster="default", serviceName=family)
    assert len(tasks) == 2
    ecs.update_task_protection(cluster="default", tasks=tasks[:1], protectionEnabled=True, expiresInMinutes=5)
    found = ecs.get_task_protection(cluster="default", tasks=tasks)["protectedTasks"]
    assert {one["taskArn"]: one["protectionEnabled"] for one in found} == {tasks[0]: True, tasks[1]: False}
    ecs.update_service(cluster="default", service=family, desiredCount=1)
    ecs.get_waiter("tasks_stopped").wait(cluster="default", tasks=tasks[1:], WaiterConfig={"Delay": 1})
    assert pages(ecs, "list_tasks", "taskArns", cluster="default", serviceName=family) == tasks[:1]
    ecs.delete_service(cluster="default", service=family, force=True)
    ecs.get_waiter("services_inactive").wait(cluster="default", services=[family], WaiterConfig={"Delay": 1})


@pytest.mark.parametrize("aws", ["cli1"], indirect=True)
def test_service_deployments_and_revisions(aws, define, family):
    definition = define()
    create = ["--cluster", "default", "--service-name", family, "--task-definition", definition, "--desired-count", "1"]
    aws("create-service", *create)
    aws("wait", "services-stable", *SERVICE, family)
    list_ = ["list-service-deployments", "--cluster", "default", "--service", family]
    wait_until(lambda: aws(*list_)["serviceDeployments"][0]["status"] == "SUCCESSFUL", "the first deployment is over")
    broken = define("true", command=["/bin/nothing"])
    aws("update-service", "--cluster", "default", "--service", family, "--task-definition", broken)
    bad, good = aws(*list_)["serviceDeployments"]
    assert (bad["status"], good["status"]) == ("IN_PROGRESS", "SUCCESSFUL")
    assert aws(*list_, "--status", "SUCCESSFUL")["serviceDeployments"] == [good]
    describe = ["describe-service-deployments", "--service-deployment-arns", bad["serviceDeploymentArn"]]
    shown = aws(*describe)["serviceDeployments"][0]
    assert [one["arn"] for one in shown["sourceServiceRevisions"]] == [good["targetServiceRevisionArn"]]
    revisions = [bad["targetServiceRevisionArn"], good["targetServiceRevisionArn"], arn("service-revision/default/none/1")]
    found = aws("describe-service-revisions", "--service-revision-arns", *revisions)
    assert [one["taskDefinition"] for one in found["serviceRevisions"]] == [broken, definition]
    images = found["serviceRevisions"][1]["containerImages"]
    assert [one["containerName"] for one in images] == ["web"]
    assert images[0]["image"].endswith("busybox:latest") and images[0]["imageDigest"].startswith("sha256:")
    assert [one["reason"] for one in found["failures"]] == ["MISSING"]
    stop = ["stop-service-deployment", "--service-deployment-arn", bad["serviceDeploymentArn"]]
    assert aws(*stop, "--stop-type", "ROLLBACK")["serviceDeploymentArn"] == bad["serviceDeploymentArn"]
    wait_until(lambda: aws(*describe)["serviceDeployments"][0]["status"] == "ROLLBACK_SUCCESSFUL", "rolled back")
    aws("wait", "services-stable", *SERVICE, family)
    failed = aws.fails(*stop)
    assert "(ConflictException)" in failed


def test_capacity_providers_and_clusters_by_boto3(ecs):
    name = f"boto3-{uuid.uuid4().hex[:8]}"
    group = f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:autoScalingGroup:{uuid.uuid4()}:autoScalingGroupName/{name}"
    made = ecs.create_capacity_provider(name=name, autoScalingGroupProvider={"autoScalingGroupArn": group})["capacityProvider"]
    assert (made["status"], made["autoScalingGroupProvider"]["autoScalingGroupArn"]) == ("ACTIVE", group)
    scaling = {"managedScaling": {"status": "ENABLED", "targetCapacity": 50}}
    changed = ecs.update_capacity_provider(name=name, autoScalingGroupProvider=scaling)["capacityProvider"]
    assert changed["autoScalingGroupProvider"]["managedScaling"]["targetCapacity"] == 50
    ecs.create_cluster(clusterName=name)
    strategy = [{"capacityProvider": name, "weight": 1, "base": 0}]
    put = ecs.put_cluster_capacity_providers(cluster=name, capacityProviders=[name], defaultCapacityProviderStrategy=strategy)
    assert put["cluster"]["defaultCapacityProviderStrategy"] == strategy
    ecs.update_cluster(cluster=name, settings=[{"name": "containerInsights", "value": "enabled"}])
    ecs.update_cluster_settings(cluster=name, settings=[{"name": "containerInsights", "value": "disabled"}])
    shown = ecs.describe_clusters(clusters=[name], include=["SETTINGS", "TAGS"])["clusters"][0]
    assert shown["settings"] == [{"name": "containerInsights", "value": "disabled"}] and shown["tags"] == []
    kept = ecs.delete_capacity_provider(capacityProvider=name)["capacityProvider"]
    assert (kept["status"], kept["updateStatus"]) == ("ACTIVE", "DELETE_FAILED")
    ecs.put_cluster_capacity_providers(cluster=name, capacityProviders=[], defaultCapacityProviderStrategy=[])
    assert ecs.delete_capacity_provider(capacityProvider=name)["capacityProvider"]["status"] == "INACTIVE"
    described = ecs.describe_capacity_providers(capacityProviders=["FARGATE", "none"])
    assert [one["name"] for one in described["capacityProviders"]] == ["FARGATE"]
    assert [one["reason"] for one in described["failures"]] == ["MISSING"]
    assert ecs.delete_cluster(cluster=name)["cluster"]["status"] == "INACTIVE"


def test_account_settings_and_attributes_by_boto3(ecs):
    principal = f"arn:aws:iam::{ACCOUNT}:user/ann"
    put = ecs.put_account_setting(name="containerInsights", value="enabled", principalArn=principal)["setting"]
    assert (put["value"], put["principalArn"]) == ("enabled", principal)
    assert ecs.list_account_settings(name="containerInsights", principalArn=principal)["settings"] == [put]
    assert ecs.delete_account_setting(name="containerInsights", principalArn=principal)["setting"]["principalArn"] == principal
    default = ecs.put_account_setting_default(name="tagResourceAuthorization", value="on")["setting"]
    assert default["value"] == "on"
    name = f"attributes-{uuid.uuid4().hex[:8]}"
    ecs.create_cluster(clusterName=name)
    registered = ecs.register_container_instance(cluster=name, totalResources=RESOURCES)["containerInstance"]
    target = {"targetType": "container-instance", "targetId": registered["containerInstanceArn"]}
    ecs.put_attributes(cluster=name, attributes=[{"name": "disk", "value": "ssd", **target}])
    gone = ecs.delete_attributes(cluster=name, attributes=[{"name": "disk", **target}])["attributes"]
    assert [one["name"] for one in gone] == ["disk"]
    removed = ecs.deregister_container_instance(cluster=name, containerInstance=registered["containerInstanceArn"], force=True)
    assert removed["containerInstance"]["status"] == "INACTIVE"
