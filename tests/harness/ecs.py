"""What tests of ECS with real containers share: an image, container definitions, agents, and waiting."""

import contextlib
import json
import pathlib
import re
import shutil
import time

from . import images
from .aws import make_client
from .engine import Engine
from .process import Process, clean_environment, run_folder
from .server import binary

# From a request to what it brings about. That takes far less; this bound only says "never".
PATIENCE = 60
# A script that ends at once when it is told to: the first process of a container ignores signals that it does not handle.
SLEEP = "trap 'exit 143' TERM; while true; do sleep 0.2; done"


def wait_until(look, what, seconds=PATIENCE):
    """Requests again and again until `look` returns something true, and returns that."""
    end = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"{what}: not within {seconds} s"
        time.sleep(0.1)


def push_busybox(server):
    """Puts a busybox into the registry; returns its name."""
    ecr = make_client(server, "ecr")
    ecr.create_repository(repositoryName="busybox")
    made = images.Image({"bin/busybox": images.busybox(), "bin/sh": images.busybox()}, command=("/bin/busybox", "true"))
    for digest, data in made.blobs.items():
        upload = {"repositoryName": "busybox", "uploadId": ecr.initiate_layer_upload(repositoryName="busybox")["uploadId"]}
        ecr.upload_layer_part(**upload, partFirstByte=0, partLastByte=len(data) - 1, layerPartBlob=data)
        ecr.complete_layer_upload(**upload, layerDigests=[digest])
    ecr.put_image(repositoryName="busybox", imageManifest=made.manifest.decode(), imageTag="latest")
    return f"{server.host}/busybox:latest"


def container(image, script, name="web", **more):
    """A container definition of a shell script."""
    command = ["/bin/busybox", "sh", "-c", f"alias sleep='/bin/busybox sleep'; {script}"]
    # Most scripts here do not wait for the kill.
    return {"name": name, "image": image, "command": command, "memory": 32, "essential": True, "stopTimeout": 5, **more}


def instances(ecs, cluster):
    """The connected instances of a cluster, which a server that has just started may not have made yet."""
    try:
        arns = ecs.list_container_instances(cluster=cluster)["containerInstanceArns"]
    except ecs.exceptions.ClusterNotFoundException:
        return []
    if not arns:
        return []
    found = ecs.describe_container_instances(cluster=cluster, containerInstances=arns)["containerInstances"]
    return [one for one in found if one["status"] == "ACTIVE" and one["agentConnected"]]


def remove_groups():
    """Removes the control groups of tasks whose agent ended before it removed them."""
    for group in pathlib.Path("/sys/fs/cgroup").glob("**/ecs/" + "[0-9a-f]" * 32):
        with contextlib.suppress(OSError):
            group.rmdir()


@contextlib.contextmanager
def engine_with_network(name):
    """A Docker Engine whose containers have a network. What tasks leave on the host is removed with it."""
    made = Engine(name, bridge=True)
    try:
        yield made.start()
    finally:
        made.stop()
        remove_groups()


class Tasks:
    """Registers definitions under a family of the test's own, runs tasks, and stops them at its end."""

    def __init__(self, ecs, cluster, family):
        self.ecs, self.cluster, self.family = ecs, cluster, family
        self.arns = []

    def register(self, *containers, **more):
        definition = self.ecs.register_task_definition(family=self.family, containerDefinitions=list(containers), **more)
        return definition["taskDefinition"]["taskDefinitionArn"]

    def run(self, *containers, run=None, **more):
        definition = self.register(*containers, **more)
        started = self.ecs.run_task(cluster=self.cluster, taskDefinition=definition, **(run or {}))
        assert not started["failures"], started["failures"]
        self.arns += [task["taskArn"] for task in started["tasks"]]
        return started["tasks"][0]["taskArn"]

    def describe(self, arn):
        return self.ecs.describe_tasks(cluster=self.cluster, tasks=[arn])["tasks"][0]

    def wait(self, arn, status):
        """Waits until the task has this status, and describes it."""

        def look():
            task = self.describe(arn)
            assert status == "STOPPED" or task["lastStatus"] != "STOPPED", task
            return task if task["lastStatus"] == status else None

        return wait_until(look, f"{arn} {status}")

    def running(self, *containers, **more):
        return self.wait(self.run(*containers, **more), "RUNNING")

    def stopped(self, *containers, **more):
        return self.wait(self.run(*containers, **more), "STOPPED")

    def stop(self, arn):
        self.ecs.stop_task(cluster=self.cluster, task=arn)
        return self.wait(arn, "STOPPED")

    def close(self):
        for arn in self.arns:
            with contextlib.suppress(Exception):
                self.ecs.stop_task(cluster=self.cluster, task=arn)
        for arn in self.arns:
            self.wait(arn, "STOPPED")


def make_role(server, name, *managed, allowed=()):
    """A role for tasks with these policies of AWS and these actions on everything; returns its ARN."""
    iam = make_client(server, "iam")
    trusted = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    for policy in managed:
        iam.attach_role_policy(RoleName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
    if allowed:
        statement = {"Effect": "Allow", "Action": list(allowed), "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_role_policy(RoleName=name, PolicyName="allowed", PolicyDocument=policy)
    return role


@contextlib.contextmanager
def tasks_of_test(ecs, cluster, request):
    """Tasks whose family is named after the test that requests them."""
    made = Tasks(ecs, cluster, re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()))
    yield made
    made.close()


def only(task):
    """The one container of a task."""
    assert len(task["containers"]) == 1
    return task["containers"][0]


class Agent:
    """`wharfinger agent` with a folder of its own."""

    def __init__(self, server, docker, cluster, *words, name="ecs-agent", environment=None):
        self.folder = run_folder(name)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.command = [binary(), "agent", "--endpoint", server.url, "--cluster", cluster]
        self.command += ["--data-dir", self.folder / "data", "--docker-host", f"unix://{docker.socket}", *words]
        self.env = clean_environment({**server.client_environment(), **(environment or {})})
        self.process = None

    def start(self):
        self.process = Process(self.command, self.folder / "stderr", env=self.env)

    def stop(self):
        if self.process:
            self.process.stop()
