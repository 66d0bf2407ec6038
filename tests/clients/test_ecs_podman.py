"""ECS on Podman's Docker socket: the same agent, in every network mode."""

import json
import urllib.request

import pytest
from harness.aws import make_client
from harness.ecs import SLEEP, container, make_role, only, remove_groups, wait_until
from harness.podman import Podman
from harness.server import Server

VPC = {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}}
TELL = "/bin/busybox wget -q -O - {}"
KEYS = TELL.format("http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")


@pytest.fixture(scope="module")
def podman():
    made = Podman("ecs-podman")
    try:
        yield made.start()
    finally:
        made.stop()
        remove_groups()


@pytest.fixture(scope="module")
def server(podman):
    settings = {"local_clusters": "default", "docker_host": f"unix://{podman.socket}", "task_cleanup_seconds": 2}
    with Server.fresh("ecs-podman", settings=settings) as running:
        yield running


def shell(podman, one, script):
    """Runs a script in a running container; returns what it printed."""
    return podman.podman("exec", one["runtimeId"], "/bin/busybox", "sh", "-c", script)


def test_a_task_runs_is_read_and_stops(tasks, server, image, podman):
    ecr, logs = make_client(server, "ecr"), make_client(server, "logs")
    logs.create_log_group(logGroupName="/ecs/podman")
    options = {"awslogs-group": "/ecs/podman", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "app"}
    log = {"logDriver": "awslogs", "options": options}
    script = "echo one; echo two >&2; echo three; " + SLEEP
    task = tasks.running(container(image, script, logConfiguration=log))
    web = only(task)
    (found,) = ecr.describe_images(repositoryName="busybox", imageIds=[{"imageTag": "latest"}])["imageDetails"]
    assert (web["image"], web["imageDigest"]) == (image, found["imageDigest"])
    stream = f"app/web/{task['taskArn'].rsplit('/')[-1]}"

    def shipped():
        events = logs.get_log_events(logGroupName="/ecs/podman", logStreamName=stream, startFromHead=True)["events"]
        return sorted(event["message"] for event in events) == ["one", "three", "two"]

    wait_until(shipped, "the output is in the group")
    ended = tasks.stop(task["taskArn"])
    assert (only(ended)["exitCode"], ended["stopCode"]) == (143, "UserInitiated")

    def left():
        return podman.podman("ps", "--all", "--quiet").split()

    wait_until(lambda: not left(), "the container is removed")


def test_a_task_that_ends_has_its_exit_code(tasks, image):
    task = tasks.stopped(container(image, "exit 7"))
    assert (only(task).get("exitCode"), task["stoppedReason"]) == (7, "Essential container in task exited"), only(task).get("reason")
    missing = image.replace("busybox", "missing")
    task = tasks.stopped(container(missing, "exit 0"))
    assert task["stopCode"] == "TaskFailedToStart"
    assert only(task)["reason"].startswith("CannotPullContainerError: Error response from daemon: ")


def test_a_port_is_published(tasks, image):
    script = "/bin/busybox mkdir /www; echo hello > /www/index.html; exec /bin/busybox httpd -f -p 80 -h /www"
    task = tasks.running(container(image, script, portMappings=[{"containerPort": 80}]))
    (binding,) = only(task)["networkBindings"]
    with urllib.request.urlopen(f"http://{binding['bindIP']}:{binding['hostPort']}/", timeout=10) as response:
        assert response.read() == b"hello\n"


@pytest.mark.parametrize("mode", ["bridge", "awsvpc", "host", "none"])
def test_a_task_has_its_role_and_metadata_in_each_network(tasks, server, image, podman, mode):
    role = make_role(server, f"podman-{mode}")
    first, second = (container(image, SLEEP, name) for name in ("first", "second"))
    run = VPC if mode == "awsvpc" else {}
    task = tasks.running(first, second, run=run, networkMode=mode, taskRoleArn=role)
    one = task["containers"][0]
    keys = TELL.format("$AWS_CONTAINER_CREDENTIALS_FULL_URI") if mode == "host" else KEYS
    assert json.loads(shell(podman, one, keys))["RoleArn"] == role
    document = json.loads(shell(podman, one, TELL.format("$ECS_CONTAINER_METADATA_URI_V4/task")))
    assert document["TaskARN"] == task["taskArn"]
    if mode == "awsvpc":
        addresses = [shell(podman, one, "/bin/busybox ip -4 address show dev eth0") for one in task["containers"]]
        (attachment,) = task["attachments"]
        details = {pair["name"]: pair["value"] for pair in attachment["details"]}
        assert all(details["privateIPv4Address"] in address for address in addresses)
