"""ECS: what containers are given, what agents may do, and a server with TLS, on a Docker Engine of the tests' own.

The server has a certificate of its own authority, so that every pull and every agent here goes through TLS.
"""

import json
import pathlib

import pytest
from harness.aws import make_client
from harness.certificates import make_certificate
from harness.ecs import (
    SLEEP,
    container,
    engine_with_network,
    instances,
    make_role,
    only,
    push_busybox,
    tasks_of_test,
    wait_until,
)
from harness.server import Server

EXECUTION_POLICY = "service-role/AmazonECSTaskExecutionRolePolicy"
VPC = {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}}


@pytest.fixture(scope="module")
def docker():
    with engine_with_network("ecs-containers") as running:
        yield running


@pytest.fixture(scope="module")
def server(docker, tmp_path_factory):
    key, certificate = make_certificate(tmp_path_factory.mktemp("tls"), "own authority")
    settings = {"local_clusters": "default", "docker_host": f"unix://{docker.socket}", "task_cleanup_seconds": 2}
    settings.update({"tls_certificate": certificate, "tls_key": key})
    with Server.fresh("ecs-containers", settings=settings, tls=certificate) as running:
        yield running


@pytest.fixture(scope="module")
def ecs(server):
    return make_client(server, "ecs")


@pytest.fixture(scope="module")
def image(server):
    return push_busybox(server)


@pytest.fixture(scope="module")
def cluster(ecs):
    """The cluster that the server made for this host."""
    wait_until(lambda: instances(ecs, "default"), "an instance in the default cluster")
    return "default"


@pytest.fixture
def tasks(ecs, cluster, request):
    with tasks_of_test(ecs, cluster, request) as made:
        yield made


def by_name(task):
    return {one["name"]: one for one in task["containers"]}


def shell(docker, one, script):
    """Runs a script in a running container; returns what it printed."""
    return docker.docker("exec", one["runtimeId"], "/bin/busybox", "sh", "-c", script)


def seen(docker, one):
    """The lines `name value` that a container printed about itself, up to its line `end`."""

    def look():
        lines = docker.docker("logs", one["runtimeId"]).splitlines()
        return lines[:-1] if lines and lines[-1] == "end" else None

    lines = wait_until(look, "the container tells all that it sees")
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in lines)}


TELL = (
    "b=/bin/busybox; echo user $($b id -u):$($b id -g); echo soft $(ulimit -Sn); echo hard $(ulimit -Hn);"
    " echo capabilities $($b grep CapBnd /proc/self/status | $b cut -f 2);"
    " echo scratch $($b grep ' /scratch ' /proc/mounts); echo file $($b touch /file 2>&1 && echo made);"
    " echo kept $($b touch /scratch/file 2>&1 && echo made); echo end;"
)
CHOWN, NET_ADMIN, SYS_TIME, MKNOD = (1 << bit for bit in (0, 12, 25, 27))


def test_a_container_has_the_limits_and_rights_of_its_definition(tasks, image, docker):
    limited = container(
        image,
        TELL + SLEEP,
        "limited",
        user="1000:2000",
        ulimits=[{"name": "nofile", "softLimit": 1000, "hardLimit": 2000}],
        readonlyRootFilesystem=True,
        linuxParameters={
            "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
            "tmpfs": [{"containerPath": "/scratch", "size": 16, "mountOptions": ["noexec", "mode=1777"]}],
        },
    )
    changed = {"capabilities": {"drop": ["MKNOD"], "add": ["NET_ADMIN"]}}
    free = container(image, "/bin/busybox mkdir /scratch; " + TELL + SLEEP, "free", linuxParameters=changed)
    task = tasks.running(limited, free)
    found = seen(docker, by_name(task)["limited"])
    assert (found["user"], found["soft"], found["hard"]) == ("1000:2000", "1000", "2000")
    assert int(found["capabilities"], 16) == CHOWN
    kind, _, kept, options = found["scratch"].split()[:4]
    assert (kind, kept) == ("tmpfs", "tmpfs")
    assert {"noexec", "size=16384k"} <= set(options.split(","))
    assert found["file"].endswith("Read-only file system")
    assert found["kept"] == "made"
    found = seen(docker, by_name(task)["free"])
    assert (found["user"], found["scratch"]) == ("0:0", "")
    assert found["file"] == "made"
    capabilities = int(found["capabilities"], 16)
    assert capabilities & NET_ADMIN and capabilities & CHOWN
    assert not capabilities & (MKNOD | SYS_TIME)


def test_volumes_are_folders_of_the_host_or_shared_or_the_own_of_a_task(tasks, image, docker, tmp_path):
    shared = {"scope": "shared", "autoprovision": True, "driver": "local", "labels": {"kept": "yes"}}
    volumes = [
        {"name": "folder", "host": {"sourcePath": str(tmp_path)}},
        {"name": "kept", "dockerVolumeConfiguration": shared},
        {"name": "own", "dockerVolumeConfiguration": {"scope": "task"}},
    ]
    mounts = [{"sourceVolume": name, "containerPath": f"/{name}"} for name in ("folder", "kept", "own")]
    script = (
        "b=/bin/busybox; [ -f /own/file ] && exit 1; for name in folder kept own; do"
        " echo $(( $($b cat /$name/file 2>$b-none || echo 0) + 1 )) > /$name/file; done; exit $($b cat /kept/file)"
    ).replace("$b-none", "/dev/null")
    one, two = (tasks.stopped(container(image, script, mountPoints=mounts), volumes=volumes) for _ in range(2))
    assert (only(one)["exitCode"], only(two)["exitCode"]) == (1, 2)
    assert (tmp_path / "file").read_text() == "2\n"
    # Nothing may be written where a mount says so.
    mounts = [{"sourceVolume": "folder", "containerPath": "/folder", "readOnly": True}]
    script = "echo 3 2>/dev/null > /folder/file && exit 1; exit $(/bin/busybox cat /folder/file)"
    assert only(tasks.stopped(container(image, script, mountPoints=mounts), volumes=volumes[:1]))["exitCode"] == 2

    def names():
        return docker.docker("volume", "ls", "--format", "{{.Name}}").split()

    wait_until(lambda: names() == ["kept"], "only the shared volume is left")
    assert json.loads(docker.docker("volume", "inspect", "kept"))[0]["Labels"]["kept"] == "yes"
    # One that nobody made is not made by a task that does not say so.
    missing = [{"name": "missing", "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": False}}]
    mounts = [{"sourceVolume": "missing", "containerPath": "/missing"}]
    task = tasks.stopped(container(image, "exit 0", mountPoints=mounts), volumes=missing)
    assert task["stopCode"] == "TaskFailedToStart"
    assert only(task)["reason"] == "CannotCreateVolumeError: get missing: no such volume"


def test_a_task_on_fargate_has_its_size_and_no_instance(tasks, server, image, docker, ecs):
    execution = make_role(server, "fargate-execution", EXECUTION_POLICY)
    role = make_role(server, "fargate-task")
    sizes = {"cpu": "256", "memory": "512", "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc"}
    run = {"launchType": "FARGATE", **VPC}
    task = tasks.running(container(image, SLEEP), run=run, executionRoleArn=execution, taskRoleArn=role, **sizes)
    assert "containerInstanceArn" not in task
    assert (task["launchType"], task["platformVersion"], task["platformFamily"]) == ("FARGATE", "1.4.0", "Linux")
    assert (task["cpu"], task["memory"]) == ("256", "512")
    assert ecs.list_tasks(cluster="default", launchType="FARGATE", family=tasks.family)["taskArns"] == [task["taskArn"]]
    identity = task["taskArn"].rsplit("/")[-1]
    groups = pathlib.Path("/sys/fs/cgroup")
    if (groups / "cgroup.controllers").exists():
        assert (groups / "ecs" / identity / "memory.max").read_text().strip() == str(512 << 20)
        assert (groups / "ecs" / identity / "cpu.max").read_text().split() == ["25000", "100000"]
    else:
        assert (groups / "memory/ecs" / identity / "memory.limit_in_bytes").read_text().strip() == str(512 << 20)
        assert (groups / "cpu/ecs" / identity / "cpu.cfs_quota_us").read_text().strip() == "25000"
    web = only(task)
    said = shell(docker, web, "/bin/busybox wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/task; echo; echo $AWS_EXECUTION_ENV")
    document, environment = said.splitlines()
    assert environment == "AWS_ECS_FARGATE"
    assert json.loads(document)["LaunchType"] == "FARGATE"
    assert json.loads(document)["Limits"] == {"CPU": 0.25, "Memory": 512}
    # The task has the keys of its own role, and not those by which the agent pulls.
    own = json.loads(shell(docker, web, "/bin/busybox wget -q -O - http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"))
    assert own["RoleArn"] == role
    (record,) = (server.data / "agent").rglob(f"tasks/{identity}.json")
    stored = json.loads(record.read_text())["task"]
    assert stored["roleCredentials"]["roleArn"] == role
    hidden = stored["executionRoleCredentials"]
    assert hidden["roleArn"] == execution
    path = f"http://169.254.170.2/v2/credentials/{hidden['credentialsId']}"
    assert "404" in shell(docker, web, f"/bin/busybox wget -q -O - {path} 2>&1 || true")
    assert hidden["credentialsId"] not in shell(docker, web, "/bin/busybox env")


def test_an_execution_role_that_may_not_pull_is_told(tasks, server, image):
    assert only(tasks.stopped(container(image, "exit 0")))["exitCode"] == 0
    # Without a token of the registry.
    nothing = make_role(server, "pulls-nothing")
    task = tasks.stopped(container(image, "exit 0"), executionRoleArn=nothing)
    assert (task["stopCode"], task["stoppedReason"]) == ("TaskFailedToStart", "Task failed to start")
    reason = only(task)["reason"]
    assert reason.startswith("CannotPullECRContainerError: AccessDeniedException: ")
    assert "ecr:GetAuthorizationToken" in reason and "assumed-role/pulls-nothing/" in reason
    # With a token, but not for the repository: the image that lies there already does not help.
    token = make_role(server, "pulls-no-image", allowed=["ecr:GetAuthorizationToken"])
    task = tasks.stopped(container(image, "exit 0"), executionRoleArn=token)
    assert (task["stopCode"], task["stoppedReason"]) == ("TaskFailedToStart", "Task failed to start")
    reason = only(task)["reason"]
    assert reason.startswith("CannotPullContainerError: Error response from daemon: pull access denied for ")
    assert "ecr:BatchGetImage" in reason
