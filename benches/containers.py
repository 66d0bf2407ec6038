"""Measures real containers beside the Docker Engine itself: `make bench-containers`.

- Memory and processor time of the server with its agent, with no task and with 50 that run.
- A task from RunTask to RUNNING, beside `docker run --detach` of the same image, in turns.
- A service of 50 replicas, beside a service of Docker Swarm on the same engine: from its creation until all run, from the death of a
  container until all run again, and a rolling update that replaces half of the replicas at a time.

Both services are watched in the same way: by the containers that the engine lists. Needs root.
"""

import contextlib
import os
import pathlib
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests"))

from harness.aws import make_client  # noqa: E402
from harness.ecs import SLEEP, container, engine_with_network, instances, push_busybox, wait_until  # noqa: E402
from harness.server import Server  # noqa: E402

REPLICAS = 50
IDLE_SECONDS = 30
STARTS = 15
SECONDS = 180


def measured(action, look, what):
    """Seconds from an action until `look` returns something true."""
    begun = time.monotonic()
    action()
    while not look():
        assert time.monotonic() - begun < SECONDS, f"{what}: not within {SECONDS} s"
        time.sleep(0.05)
    return time.monotonic() - begun


def print_idle(server, what):
    """Prints what the server, with its agent, takes while nothing changes."""

    process = pathlib.Path(f"/proc/{server.process.pid}")

    def processor_seconds():
        fields = (process / "stat").read_text().rsplit(")")[-1].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    time.sleep(5)
    before = processor_seconds()
    time.sleep(IDLE_SECONDS)
    share = (processor_seconds() - before) / IDLE_SECONDS
    pages = int((process / "statm").read_text().split()[1])
    megabytes = pages * os.sysconf("SC_PAGE_SIZE") / 1_000_000
    print(f"idle with {what}: {megabytes:.1f} MB, {share:.2%} of a core", flush=True)


class Watched:
    """The running containers with a label, and those of a version of the service."""

    def __init__(self, docker, label):
        self.docker, self.label = docker, label

    def ids(self, version=None):
        words = ["ps", "--quiet", "--no-trunc", "--filter", "status=running", "--filter", f"label={self.label}"]
        if version:
            words += ["--filter", f"label=version={version}"]
        return set(self.docker.docker(*words).split())

    def all_run(self):
        return len(self.ids()) == REPLICAS

    def replaced(self, gone):
        return lambda: gone not in (ids := self.ids()) and len(ids) == REPLICAS

    def updated(self):
        return len(self.ids("two")) == REPLICAS == len(self.ids())


def compare_starts(ecs, docker, image):
    """Milliseconds of a start by the engine alone and as a task."""
    made = ecs.register_task_definition(family="start", containerDefinitions=[container(image, SLEEP)])
    definition = made["taskDefinition"]["taskDefinitionArn"]
    command = container(image, SLEEP)["command"]
    alone, tasks = [], []
    for _ in range(STARTS):
        begun = time.monotonic()
        docker.docker("run", "--detach", "--memory", "32m", image, *command)
        alone.append((time.monotonic() - begun) * 1000)
        begun = time.monotonic()
        (task,) = ecs.run_task(cluster="default", taskDefinition=definition)["tasks"]
        arn = task["taskArn"]
        while ecs.describe_tasks(cluster="default", tasks=[arn])["tasks"][0]["lastStatus"] != "RUNNING":
            assert time.monotonic() - begun < SECONDS
            time.sleep(0.01)
        tasks.append((time.monotonic() - begun) * 1000)
        ecs.stop_task(cluster="default", task=arn)
        time.sleep(0.5)
    return statistics.median(alone), statistics.median(tasks)


def with_ecs(server, ecs, docker, image):
    """Seconds of creation, replacement and update as a service of ECS."""
    versions = []
    for version in ("one", "two"):
        one = container(image, SLEEP, dockerLabels={"version": version})
        made = ecs.register_task_definition(family="bench", containerDefinitions=[one])
        versions.append(made["taskDefinition"]["taskDefinitionArn"])
    watched = Watched(docker, "com.amazonaws.ecs.task-definition-family=bench")
    bounds = {"minimumHealthyPercent": 50, "maximumPercent": 100}
    service = {"cluster": "default", "serviceName": "bench", "desiredCount": REPLICAS, "deploymentConfiguration": bounds}
    times = [measured(lambda: ecs.create_service(taskDefinition=versions[0], **service), watched.all_run, "created")]
    print_idle(server, f"{REPLICAS} tasks")
    victim = sorted(watched.ids())[0]
    times.append(measured(lambda: docker.docker("kill", victim), watched.replaced(victim), "replaced"))
    time.sleep(3)
    update = {"cluster": "default", "service": "bench", "taskDefinition": versions[1]}
    times.append(measured(lambda: ecs.update_service(**update), watched.updated, "updated"))
    ecs.delete_service(cluster="default", service="bench", force=True)
    wait_until(lambda: not watched.ids(), "the service is gone", SECONDS)
    return times


def with_swarm(docker, image):
    """The same as a service of Docker Swarm."""
    docker.docker("swarm", "init", "--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:0")
    watched = Watched(docker, "com.docker.swarm.service.name=bench")
    command = container(image, SLEEP)["command"]
    create = ["service", "create", "--detach", "--name", "bench", "--replicas", str(REPLICAS), "--limit-memory", "32m"]
    create += ["--no-resolve-image", "--stop-grace-period", "5s", "--container-label", "version=one"]
    create += ["--update-parallelism", str(REPLICAS // 2), image, *command]
    try:
        times = [measured(lambda: docker.docker(*create), watched.all_run, "created")]
        time.sleep(3)
        victim = sorted(watched.ids())[0]
        times.append(measured(lambda: docker.docker("kill", victim), watched.replaced(victim), "replaced"))
        time.sleep(3)
        update = ["service", "update", "--detach", "--no-resolve-image", "--container-label-add", "version=two", "bench"]
        times.append(measured(lambda: docker.docker(*update), watched.updated, "updated"))
        docker.docker("service", "rm", "bench")
        wait_until(lambda: not watched.ids(), "the service is gone", SECONDS)
        return times
    finally:
        docker.docker("swarm", "leave", "--force", check=False)


def main():
    with contextlib.ExitStack() as stack:
        docker = stack.enter_context(engine_with_network("bench-containers"))
        settings = {
            "docker_host": f"unix://{docker.socket}",
            "local_clusters": "default",
            "task_cleanup_seconds": 60,
            # As in ECS, a task without a health check counts as healthy after 40 s. Swarm does not wait.
            "service_healthy_seconds": 1,
        }
        server = stack.enter_context(Server.fresh("bench-containers", settings=settings))
        ecs = make_client(server, "ecs")
        wait_until(lambda: instances(ecs, "default"), "an instance")
        image = push_busybox(server)
        docker.docker("login", "--username", "AWS", "--password", server.password(), server.host)
        docker.docker("pull", image)
        print_idle(server, "no task")
        alone, task = compare_starts(ecs, docker, image)
        print(f"start, median of {STARTS}: docker run {alone:.0f} ms, task {task:.0f} ms, {task - alone:.0f} ms more", flush=True)
        ours, theirs = with_ecs(server, ecs, docker, image), with_swarm(docker, image)
        print(f"| {REPLICAS} replicas, seconds | Wharfinger | Docker Swarm | ratio |\n|---|---|---|---|")
        for name, one, other in zip(("create", "replace one", "update by halves"), ours, theirs, strict=True):
            print(f"| {name} | {one:.2f} | {other:.2f} | {one / other:.2f} |")


if __name__ == "__main__":
    main()
