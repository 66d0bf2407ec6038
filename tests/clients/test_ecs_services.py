"""ECS: services keep, roll, replace and give up real containers, as boto3, its waiters and both AWS CLIs see it.

Most services are made at once and live side by side: each test looks at what became of its own.
"""

import json
import re
import threading

import pytest
from harness.aws import cli_one, cli_two, refused
from harness.ecs import SLEEP, Agent, container, engine_with_network, instances, wait_until
from harness.process import clean_environment, run
from harness.server import Server

# A task without a health check counts as healthy after this time. ECS waits for 40 s.
HEALTHY_SECONDS = 2
BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
GUIDE = " For more information, see the Troubleshooting section of the Amazon ECS Developer Guide."


@pytest.fixture(scope="module")
def docker():
    with engine_with_network("ecs-services") as running:
        yield running


@pytest.fixture(scope="module")
def server(docker):
    settings = {
        "local_clusters": "default,cli1,cli2",
        "docker_host": f"unix://{docker.socket}",
        "task_cleanup_seconds": 600,
        "service_healthy_seconds": HEALTHY_SECONDS,
    }
    with Server.fresh("ecs-services", settings=settings) as running:
        yield running


class Services:
    """The services of a cluster."""

    def __init__(self, ecs, cluster):
        self.ecs, self.cluster = ecs, cluster

    def define(self, family, *containers):
        """Registers a revision; returns its ARN."""
        made = self.ecs.register_task_definition(family=family, containerDefinitions=list(containers))
        return made["taskDefinition"]["taskDefinitionArn"]

    def create(self, name, definition, count=None, **more):
        if count is not None:
            more["desiredCount"] = count
        return self.ecs.create_service(cluster=self.cluster, serviceName=name, taskDefinition=definition, **more)["service"]

    def update(self, name, **change):
        return self.ecs.update_service(cluster=self.cluster, service=name, **change)["service"]

    def describe(self, name):
        return self.ecs.describe_services(cluster=self.cluster, services=[name])["services"][0]

    def primary(self, name):
        return self.describe(name)["deployments"][0]

    def wait(self, name, look, what, seconds=60):
        """Waits until the service is as wanted, and describes it."""

        def found():
            service = self.describe(name)
            return service if look(service) else None

        return wait_until(found, f"{self.cluster}/{name}: {what}", seconds)

    def stable(self, *names):
        """Waits as boto3 does, and until the rollout is over."""
        waiter = self.ecs.get_waiter("services_stable")
        waiter.wait(cluster=self.cluster, services=list(names), WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        for name in names:
            self.wait(name, lambda service: service["deployments"][0]["rolloutState"] == "COMPLETED", "completed")

    def event(self, name, pattern):
        """Waits for an event; its text after the name of the service matches the pattern as a whole."""

        def found():
            messages = [event["message"] for event in self.describe(name)["events"]]
            matches = [re.fullmatch(rf"\(service {name}\) {pattern}", message) for message in messages]
            return next((match for match in matches if match), None)

        return wait_until(found, f"{self.cluster}/{name}: the event {pattern}")

    def messages(self, name):
        return [event["message"] for event in self.describe(name)["events"]]

    def tasks(self, name, status="RUNNING"):
        """The tasks of this desired status."""
        listed = self.ecs.list_tasks(cluster=self.cluster, serviceName=name, desiredStatus=status)["taskArns"]
        return self.ecs.describe_tasks(cluster=self.cluster, tasks=listed)["tasks"] if listed else []


def serving(docker, family):
    """How many containers of a family ran at each moment when one started or ended, from the first start on."""
    ids = docker.docker("ps", "--all", "--quiet", "--filter", f"label=com.amazonaws.ecs.task-definition-family={family}")
    changes = []
    for one in json.loads(docker.docker("inspect", *ids.split())):
        state = one["State"]
        changes.append((state["StartedAt"], 1))
        if not state["Running"]:
            changes.append((state["FinishedAt"], -1))
    counts, count = [], 0
    for _, change in sorted(changes):
        count += change
        counts.append(count)
    return counts


@pytest.fixture(scope="module")
def services(ecs, image, docker, server):
    """The services of the default cluster, which live side by side. The server made an instance there."""
    made = Services(ecs, "default")
    wait_until(lambda: instances(ecs, "default"), "an instance in the default cluster")
    sleeps = made.define("sleeps", container(image, SLEEP))
    made.create("scaled", sleeps, 3)
    made.create("deleted", sleeps, 2)
    broken = {**container(image, "true"), "command": ["/bin/nothing"]}
    made.create("unstartable", made.define("unstartable", broken), 1)
    made.create("given-up", made.define("given-up", broken), 1, deploymentConfiguration=BREAKER)
    made.create("loops", made.define("loops", container(image, "sleep 0.5; exit 1")), 1)
    web = container(image, SLEEP, portMappings=[{"containerPort": 80, "hostPort": 18095}])
    made.create("ports", made.define("ports", web), 3)
    made.create("large", made.define("large", container(image, SLEEP, memory=9_000_000)), 1)
    check = {"command": ["CMD", "/bin/busybox", "test", "-f", "/ready"], "interval": 5, "timeout": 2, "retries": 1}
    checked = container(image, f"/bin/busybox touch /ready; {SLEEP}", healthCheck=check)
    made.create("checked", made.define("checked", checked), 2)
    made.create("rolled-back", sleeps, 2, deploymentConfiguration=BREAKER)
    made.create("stopped", sleeps, 2)
    return made


class ReadMe(threading.Thread):
    """The commands of the README, by one of the CLIs in a cluster of its name."""

    def __init__(self, name, program, server, image, folder):
        super().__init__()
        self.name, self.program, self.image, self.folder = name, program, image, folder
        folder.mkdir()
        self.env = clean_environment({**server.client_environment(), "HOME": folder, "AWS_PAGER": ""})
        self.failure = None

    def aws(self, *words):
        said = run([*self.program, "ecs", *words], env=self.env, cwd=self.folder).stdout
        return json.loads(said) if said else None

    def run(self):
        try:
            self.roll()
        except BaseException as failure:
            self.failure = failure

    def roll(self):
        name, cluster = self.name, ["--cluster", self.name]
        definition = {"family": name, "containerDefinitions": [container(self.image, SLEEP)]}
        (self.folder / "web.json").write_text(json.dumps(definition))
        self.aws("create-cluster", "--cluster-name", name)
        register = ["register-task-definition", "--cli-input-json", "file://web.json"]
        self.aws(*register)
        create = ["create-service", *cluster, "--service-name", "web", "--task-definition", f"{name}:1", "--desired-count", "3"]
        service = self.aws(*create)["service"]
        assert (service["status"], service["desiredCount"], service["runningCount"]) == ("ACTIVE", 3, 0)
        self.aws("wait", "services-stable", *cluster, "--services", "web")
        first = self.aws("list-tasks", *cluster, "--service-name", "web")["taskArns"]
        assert len(first) == 3
        self.aws(*register)
        self.aws("update-service", *cluster, "--service", "web", "--task-definition", f"{name}:2")
        self.aws("wait", "services-stable", *cluster, "--services", "web")
        service = self.aws("describe-services", *cluster, "--services", "web")["services"][0]
        assert [one["taskDefinition"].rsplit("/")[-1] for one in service["deployments"]] == [f"{name}:2"]
        second = self.aws("list-tasks", *cluster, "--service-name", "web")["taskArns"]
        assert len(second) == 3 and not set(first) & set(second)
        self.aws("wait", "tasks-running", *cluster, "--tasks", *second)
        self.aws("wait", "tasks-stopped", *cluster, "--tasks", *first)


def test_the_command_lines_create_a_service_and_roll_it(server, image, docker, services, tmp_path):
    programs = {"cli1": cli_one(), "cli2": cli_two(server)}
    users = [ReadMe(name, program, server, image, tmp_path / name) for name, program in programs.items()]
    for user in users:
        user.start()
    for user in users:
        user.join()
    for user in users:
        if user.failure:
            raise user.failure
        counts = serving(docker, user.name)
        assert max(counts) <= 6, f"200 % of 3 is the most: {counts}"
        assert min(counts[2:]) >= 3, f"100 % of 3 is the least: {counts}"


def test_a_service_scales_and_replaces_a_container_that_is_killed(services, docker):
    services.stable("scaled")
    services.event("scaled", r"has started 3 tasks: (\(task [0-9a-f]{32}\) ?){3}\.")
    services.event("scaled", r"has reached a steady state\.")
    deployment = services.primary("scaled")["id"]
    before = services.tasks("scaled")
    assert {task["startedBy"] for task in before} == {deployment}
    assert {task["group"] for task in before} == {"service:scaled"}
    killed = before[0]
    docker.docker("kill", killed["containers"][0]["runtimeId"])
    gone = services.ecs.get_waiter("tasks_stopped")
    gone.wait(cluster="default", tasks=[killed["taskArn"]], WaiterConfig={"Delay": 1})
    services.stable("scaled")
    after = services.tasks("scaled")
    kept = {task["taskArn"] for task in before[1:]}
    assert len(after) == 3 and kept < {task["taskArn"] for task in after}
    stopped = {task["taskArn"]: task for task in services.tasks("scaled", "STOPPED")}
    assert stopped[killed["taskArn"]]["stopCode"] == "EssentialContainerExited"

    services.update("scaled", desiredCount=5)
    services.stable("scaled")
    assert len(services.tasks("scaled")) == 5
    services.update("scaled", desiredCount=1)
    services.stable("scaled")
    services.event("scaled", r"has stopped 4 running tasks: (\(task [0-9a-f]{32}\) ?){4}\.")
    last = services.tasks("scaled")
    assert len(last) == 1
    for task in services.tasks("scaled", "STOPPED"):
        if task["taskArn"] != killed["taskArn"]:
            assert task["stopCode"] == "ServiceSchedulerInitiated"
            assert task["stoppedReason"] == f"Scaling activity initiated by (deployment {deployment})"
    # A desired count alone makes no deployment.
    assert services.primary("scaled")["id"] == deployment
    listed = docker.docker("ps", "--quiet", "--no-trunc", "--filter", "label=com.amazonaws.ecs.task-definition-family=sleeps")
    assert last[0]["containers"][0]["runtimeId"] in listed.split()


def test_starts_that_fail_are_slowed_down(services):
    services.event("unstartable", rf"is unable to consistently start tasks successfully\.{GUIDE}")
    failed = services.tasks("unstartable", "STOPPED")
    assert {task["stopCode"] for task in failed} == {"TaskFailedToStart"}
    assert failed[0]["containers"][0]["reason"].startswith("CannotStartContainerError: Error response from daemon: ")
    # Three, then pauses of 10 s, 20 s, 40 s, each with up to three after it.
    assert len(failed) <= 12
    assert services.primary("unstartable")["rolloutState"] == "IN_PROGRESS"
    # A new deployment starts at once.
    services.update("unstartable", forceNewDeployment=True)
    deployment = services.primary("unstartable")["id"]
    stopped = lambda: services.tasks("unstartable", "STOPPED")  # noqa: E731
    wait_until(lambda: any(task["startedBy"] == deployment for task in stopped()), "another attempt", 8)
    services.update("unstartable", desiredCount=0)


def test_a_container_that_ends_again_and_again_is_replaced_each_time(services):
    look = lambda: len(services.tasks("loops", "STOPPED")) > 3  # noqa: E731
    wait_until(look, "it is replaced again and again")
    ended = services.tasks("loops", "STOPPED")
    assert {task["stopCode"] for task in ended} == {"EssentialContainerExited"}
    assert {task["containers"][0]["exitCode"] for task in ended} == {1}
    # These ran, so nothing slows them down.
    assert not any("unable to consistently start" in message for message in services.messages("loops"))
    services.update("loops", desiredCount=0)


def test_a_deployment_that_never_starts_is_given_up(services):
    reason = "ECS deployment circuit breaker: tasks failed to start."
    failed = services.wait("given-up", lambda service: service["deployments"][0]["rolloutState"] == "FAILED", "it fails")
    primary = failed["deployments"][0]
    assert (primary["rolloutStateReason"], primary["failedTasks"]) == (reason, 3)
    services.event("given-up", rf"\(deployment {primary['id']}\) deployment failed: tasks failed to start\.")
    # There is nothing to go back to, and nothing more is started.
    assert len(services.tasks("given-up", "STOPPED")) == 3
    assert not services.tasks("given-up")


def test_a_port_that_is_taken_keeps_tasks_from_starting(services, ecs):
    (instance,) = instances(ecs, "default")
    identity = instance["containerInstanceArn"].rsplit("/")[-1]
    why = "was unable to place a task because no container instance met all of its requirements\\."
    closest = rf"The closest matching \(container-instance {identity}\)"
    services.event("ports", rf"{why} {closest} is already using a port required by your task\.{GUIDE}")
    service = services.wait("ports", lambda service: service["runningCount"] == 1, "one runs")
    assert (service["desiredCount"], service["pendingCount"]) == (3, 0)
    services.event("large", rf"{why} {closest} has insufficient memory available\.{GUIDE}")
    assert not services.tasks("large")


def test_a_task_whose_health_check_fails_is_replaced(services, docker):
    services.stable("checked")
    sick, fit = services.tasks("checked")
    assert sick["healthStatus"] == fit["healthStatus"] == "HEALTHY"
    docker.docker("exec", sick["containers"][0]["runtimeId"], "/bin/busybox", "rm", "/ready")
    identity = sick["taskArn"].rsplit("/")[-1]
    services.event("checked", rf"\(task {identity}\) failed container health checks\.")
    services.ecs.get_waiter("tasks_stopped").wait(cluster="default", tasks=[sick["taskArn"]], WaiterConfig={"Delay": 1})
    services.stable("checked")
    stopped = {task["taskArn"]: task for task in services.tasks("checked", "STOPPED")}[sick["taskArn"]]
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    assert stopped["stoppedReason"] == "Task failed container health checks"
    after = services.tasks("checked")
    assert len(after) == 2 and fit["taskArn"] in [task["taskArn"] for task in after]
    # The other one has taken over before it went.
    assert min(serving(docker, "checked")[1:]) >= 2


def test_a_missing_image_is_rolled_back(services, server, image):
    services.stable("rolled-back")
    good = services.primary("rolled-back")
    missing = {**container(image, "true"), "image": f"{server.host}/busybox:missing"}
    services.update("rolled-back", taskDefinition=services.define("rolled-back", missing))
    bad = services.primary("rolled-back")
    assert bad["id"] != good["id"]
    back = rf"rolling back to deployment {good['id']}\."
    services.event("rolled-back", rf"\(deployment {bad['id']}\) deployment failed: tasks failed to start\.")
    services.event("rolled-back", back)
    services.stable("rolled-back")
    service = services.describe("rolled-back")
    assert service["taskDefinition"] == good["taskDefinition"]
    assert (service["runningCount"], len(service["deployments"])) == (2, 1)
    failed = [task for task in services.tasks("rolled-back", "STOPPED") if task["startedBy"] == bad["id"]]
    assert len(failed) >= 3
    for task in failed:
        assert task["stopCode"] in ("TaskFailedToStart", "ServiceSchedulerInitiated")
    reasons = [task["containers"][0].get("reason", "") for task in failed if task["stopCode"] == "TaskFailedToStart"]
    assert all(reason.startswith("CannotPullContainerError: ") for reason in reasons)
    listed = services.ecs.list_service_deployments(cluster="default", service="rolled-back")["serviceDeployments"]
    arns = [one["serviceDeploymentArn"] for one in listed]
    described = services.ecs.describe_service_deployments(serviceDeploymentArns=arns)
    assert not described["failures"]
    by_arn = {one["serviceDeploymentArn"]: one for one in described["serviceDeployments"]}
    # The rollback is part of the deployment that it undoes.
    undone, first = [by_arn[arn] for arn in arns]
    assert (undone["status"], first["status"]) == ("ROLLBACK_SUCCESSFUL", "SUCCESSFUL")
    breaker = undone["deploymentCircuitBreaker"]
    assert (breaker["status"], breaker["threshold"]) == ("TRIGGERED", 3) and breaker["failureCount"] >= 3
    assert undone["rollback"]["serviceRevisionArn"] == first["targetServiceRevision"]["arn"]


def test_a_service_deployment_is_described_and_stopped(services, image, ecs):
    services.stable("stopped")
    good = services.primary("stopped")
    # It starts, and is never known to be healthy.
    check = {"command": ["CMD", "/bin/busybox", "false"], "interval": 300, "timeout": 2, "retries": 10}
    services.update("stopped", taskDefinition=services.define("stopped", container(image, SLEEP, healthCheck=check)))
    services.wait("stopped", lambda service: service["deployments"][0]["runningCount"] == 2, "the new tasks run")
    (listed,) = ecs.list_service_deployments(cluster="default", service="stopped", status=["IN_PROGRESS"])["serviceDeployments"]
    arn = listed["serviceDeploymentArn"]
    describe = lambda: ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"][0]  # noqa: E731
    under_way = describe()
    counts = {"requestedTaskCount": 2, "runningTaskCount": 2, "pendingTaskCount": 0}
    assert under_way["targetServiceRevision"] == {"arn": listed["targetServiceRevisionArn"], **counts}
    (source,) = under_way["sourceServiceRevisions"]
    assert source == {"arn": source["arn"], **counts}
    revisions = [source["arn"], listed["targetServiceRevisionArn"]]
    revisions = ecs.describe_service_revisions(serviceRevisionArns=revisions)["serviceRevisions"]
    assert [one["taskDefinition"].rsplit("/")[-1] for one in revisions] == ["sleeps:1", "stopped:1"]
    assert ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")["serviceDeploymentArn"] == arn
    wait_until(lambda: describe()["status"] == "ROLLBACK_SUCCESSFUL", "the deployment is rolled back")
    services.stable("stopped")
    assert services.primary("stopped")["taskDefinition"] == good["taskDefinition"]
    refused("ConflictException", ecs.stop_service_deployment, serviceDeploymentArn=arn)


def test_a_service_is_deleted_with_its_tasks(services, ecs, docker):
    services.stable("deleted")
    tasks = services.tasks("deleted")
    said = refused("InvalidParameterException", ecs.delete_service, cluster="default", service="deleted")
    assert said == "The service cannot be stopped while it is scaled above 0."
    deleted = ecs.delete_service(cluster="default", service="deleted", force=True)["service"]
    assert (deleted["status"], deleted["desiredCount"]) == ("DRAINING", 0)
    ecs.get_waiter("services_inactive").wait(cluster="default", services=["deleted"], WaiterConfig={"Delay": 1})
    arns = [task["taskArn"] for task in tasks]
    ecs.get_waiter("tasks_stopped").wait(cluster="default", tasks=arns, WaiterConfig={"Delay": 1})
    for task in tasks:
        state = json.loads(docker.docker("inspect", task["containers"][0]["runtimeId"]))[0]["State"]
        assert not state["Running"]
    assert "deleted" not in str(ecs.list_services(cluster="default", maxResults=100)["serviceArns"])
    # The name is free again.
    services.create("deleted", "sleeps", 1)
    services.stable("deleted")


@pytest.fixture(scope="module")
def remote(ecs, server, docker, image):
    """The services of a cluster with two instances, which an agent of another process runs."""
    ecs.create_cluster(clusterName="remote")
    agent = Agent(server, docker, "remote", "--instances", "2", name="ecs-services-agent")
    agent.start()
    try:
        wait_until(lambda: len(instances(ecs, "remote")) == 2, "two instances")
        yield Services(ecs, "remote")
    finally:
        agent.stop()


def test_draining_moves_tasks_and_daemons_go_last(remote, ecs, image):
    definition = remote.define("moved", container(image, SLEEP))
    remote.create("moved", definition, 2)
    remote.create("daemon", remote.define("daemon", container(image, SLEEP)), schedulingStrategy="DAEMON")
    remote.stable("moved", "daemon")

    def places(service):
        return sorted(task["containerInstanceArn"] for task in remote.tasks(service))

    both = sorted(one["containerInstanceArn"] for one in instances(ecs, "remote"))
    assert places("daemon") == places("moved") == both
    drained, kept = both
    changed = ecs.update_container_instances_state(cluster="remote", containerInstances=[drained], status="DRAINING")
    assert changed["containerInstances"][0]["status"] == "DRAINING"
    wait_until(lambda: places("moved") == [kept, kept], "the tasks moved")
    wait_until(lambda: places("daemon") == [kept], "the daemon went")
    empty = ecs.describe_container_instances(cluster="remote", containerInstances=[drained])["containerInstances"][0]
    wait_until(lambda: not ecs.list_tasks(cluster="remote", containerInstance=drained)["taskArns"], "the instance is empty")
    assert empty["status"] == "DRAINING"
    remote.stable("moved", "daemon")
    assert remote.describe("daemon")["desiredCount"] == 1
    by_service = {name: remote.tasks(name, "STOPPED") for name in ("moved", "daemon")}
    (moved,), (daemon,) = by_service.values()
    assert moved["stoppedAt"] <= daemon["stoppingAt"]
    ecs.update_container_instances_state(cluster="remote", containerInstances=[drained], status="ACTIVE")
    wait_until(lambda: places("daemon") == both, "the daemon is back")
    # The instances are in different availability zones, and tasks are kept in balance between these.
    wait_until(lambda: places("moved") == both, "the zones are in balance")
    remote.event("moved", r"is not AZ balanced with .*\. AZ Rebalancing in progress\.")
