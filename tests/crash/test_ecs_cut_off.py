"""A host that is cut off and comes back: agents in network namespaces of their own, whose link to the server goes down for longer
than the heartbeat. Tasks go on, none is doubled, and no state moves back.
"""

import contextlib
import json
import os
import shutil
import subprocess

import pytest
from harness.aws import make_client
from harness.ecs import SLEEP, Agent, Tasks, container, instances, only, push_busybox, remove_groups, wait_until
from harness.engine import Engine
from harness.observer import Observer
from harness.process import RUN
from harness.server import Server

# Ends once, after the shortest period of a restart policy.
ENDS_ONCE = f"echo begun; if [ -f /again ]; then {SLEEP}; fi; echo > /again; sleep 61; exit 1"
# A connection on which nothing came counts as dead after 75 s, for either side.
SILENCE = 75
NUMBER = os.getpid() % 250


def ip(*words, check=True):
    subprocess.run(["ip", *words], check=check, capture_output=True)


class Link:
    """A network namespace, and the link that leads to it."""

    def __init__(self, number):
        self.name = f"{RUN}c{number}"
        self.network = f"10.{202 + number}.{NUMBER}"
        self.server = f"{self.network}.1"

    def start(self):
        ip("netns", "add", self.name)
        ip("link", "add", f"{self.name}h", "type", "veth", "peer", "name", "uplink", "netns", self.name)
        ip("address", "add", f"{self.server}/24", "dev", f"{self.name}h")
        ip("link", "set", f"{self.name}h", "up")
        ip("-n", self.name, "address", "add", f"{self.network}.2/24", "dev", "uplink")
        ip("-n", self.name, "link", "set", "lo", "up")
        self.set("up")

    def set(self, state):
        """Brings the link of the host up or down."""
        ip("-n", self.name, "link", "set", "uplink", state)
        if state == "up":
            ip("-n", self.name, "route", "replace", "default", "via", self.server)

    def enter(self, agent):
        """Lets an agent start inside. It sees the file system of the host, and so the Docker Engine."""
        agent.command = ["nsenter", f"--net=/run/netns/{self.name}", *agent.command]
        return agent

    def stop(self):
        ip("link", "delete", f"{self.name}h", check=False)
        ip("netns", "delete", self.name, check=False)


class World:
    """A server that listens on the link of one host; the other host reaches it through its own link."""

    def __init__(self, stack):
        self.links = [Link(0), Link(1)]
        for link in self.links:
            stack.callback(link.stop)
            link.start()
        stack.callback(remove_groups)
        address = self.links[0].server
        self.docker = Engine("ecs-cut-off", bridge=True, insecure=[f"{address}/32"])
        stack.callback(self.docker.stop)
        self.docker.start()
        self.server = stack.enter_context(Server.fresh("ecs-cut-off", address=address))
        stack.callback(shutil.rmtree, self.server.folder, ignore_errors=True)
        self.ecs = make_client(self.server, "ecs")
        self.ecs.create_cluster(clusterName="remote")
        for number, link in enumerate(self.links):
            words = ["--attribute", f"host={number}", "--task-cleanup-seconds", "600"]
            agent = link.enter(Agent(self.server, self.docker, "remote", *words, name=f"ecs-cut-off-{number}"))
            stack.callback(agent.stop)
            agent.start()
        wait_until(lambda: len(instances(self.ecs, "remote")) == 2, "an instance on each host")
        self.observer = Observer(self.server, ["remote"])
        stack.callback(self.observer.stop)
        self.observer.start()
        self.image = push_busybox(self.server)
        self.tasks = Tasks(self.ecs, "remote", "cut-off")

    def run(self, number, script=SLEEP, **more):
        """Runs a task of one container on a host."""
        there = [{"type": "memberOf", "expression": f"attribute:host == {number}"}]
        return self.tasks.running(container(self.image, script, **more), run={"placementConstraints": there})

    def is_connected(self, task):
        found = self.ecs.describe_container_instances(cluster="remote", containerInstances=[task["containerInstanceArn"]])
        return found["containerInstances"][0]["agentConnected"]

    def state(self, task):
        return json.loads(self.docker.docker("inspect", only(task)["runtimeId"]))[0]["State"]

    def containers(self):
        """How many containers were ever made for each task."""
        label = "com.amazonaws.ecs.task-arn"
        listed = self.docker.docker("ps", "--all", "--format", f'{{{{.Label "{label}"}}}}').split()
        return {arn: listed.count(arn) for arn in listed}


@pytest.fixture
def world():
    with contextlib.ExitStack() as stack:
        yield World(stack)


def test_a_host_that_is_cut_off_comes_back(world):
    again = world.run(0, ENDS_ONCE, restartPolicy={"enabled": True, "restartAttemptPeriod": 60})
    goes_on, ended, stopped = (world.run(0) for _ in range(3))
    other = world.run(1)
    world.links[0].set("down")
    # Meanwhile a container ends that nobody can report, and a task is to stop that nobody can tell.
    world.docker.docker("kill", only(ended)["runtimeId"])
    world.ecs.stop_task(cluster="remote", task=stopped["taskArn"])
    wait_until(lambda: not world.is_connected(goes_on), "the server notices", SILENCE + 30)
    assert world.is_connected(other)
    for task in (goes_on, ended):
        seen = world.tasks.describe(task["taskArn"])
        assert (seen["lastStatus"], seen["desiredStatus"], seen["connectivity"]) == ("RUNNING", "RUNNING", "DISCONNECTED")
    assert world.tasks.describe(stopped["taskArn"])["desiredStatus"] == "STOPPED"
    assert world.tasks.describe(other["taskArn"])["connectivity"] == "CONNECTED"
    assert world.state(stopped)["Running"]
    # New tasks go to the host that is left.
    new = world.tasks.running(container(world.image, SLEEP))
    assert new["containerInstanceArn"] == other["containerInstanceArn"]
    world.links[0].set("up")
    wait_until(lambda: world.is_connected(goes_on), "the host is back", SILENCE + 60)
    assert only(world.tasks.wait(ended["taskArn"], "STOPPED"))["exitCode"] == 137
    assert only(world.tasks.wait(stopped["taskArn"], "STOPPED"))["exitCode"] == 143
    wait_until(lambda: world.tasks.describe(goes_on["taskArn"])["connectivity"] == "CONNECTED", "its task is connected")
    seen = world.tasks.describe(goes_on["taskArn"])
    assert (seen["lastStatus"], only(seen)["runtimeId"]) == ("RUNNING", only(goes_on)["runtimeId"])
    assert world.state(goes_on)["Running"] and world.state(other)["Running"]
    assert world.containers() == {task["taskArn"]: 1 for task in (again, goes_on, ended, stopped, other, new)}
    # A container that has to be started again needs no server for that.
    wait_until(lambda: world.docker.docker("logs", only(again)["runtimeId"]) == "begun\nbegun\n", "the container starts again")
    seen = world.tasks.describe(again["taskArn"])
    assert (seen["lastStatus"], only(seen)["runtimeId"]) == ("RUNNING", only(again)["runtimeId"])
    assert world.state(again)["Running"]
    # The host takes orders and tasks again.
    assert only(world.tasks.stop(goes_on["taskArn"]))["exitCode"] == 143
    assert world.run(0)["containerInstanceArn"] == goes_on["containerInstanceArn"]
    assert world.observer.is_alive(), "nobody watches the tasks any more"
    assert not world.observer.faults, world.observer.faults
