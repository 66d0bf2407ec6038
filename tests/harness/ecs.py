"""What tests of ECS with real containers share: an image, container definitions, agents, and waiting."""

import contextlib
import pathlib
import shutil
import time

from . import images
from .aws import make_client
from .engine import Engine
from .process import BUILD, Process, clean_environment
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


class Agent:
    """`wharfinger agent` with a folder of its own."""

    def __init__(self, server, docker, cluster, *words, name="ecs-agent"):
        self.folder = BUILD / "run" / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.command = [binary(), "agent", "--endpoint", server.url, "--cluster", cluster]
        self.command += ["--data-dir", self.folder / "data", "--docker-host", f"unix://{docker.socket}", *words]
        self.env = clean_environment(server.client_environment())
        self.process = None

    def start(self):
        self.process = Process(self.command, self.folder / "stderr", env=self.env)

    def stop(self):
        if self.process:
            self.process.stop()
