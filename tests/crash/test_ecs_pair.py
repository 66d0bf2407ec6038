"""Two servers over one PostgreSQL database and one bucket, each with the agent of one host: what one of them began, the other
keeps up after `kill -9`, no container is doubled, and nothing moves when the first is back.
"""

import collections
import contextlib
import json
import os
import shutil
import time

import pytest
from harness.aws import make_client
from harness.ecs import SLEEP, Agent, container, engine_with_network, instances, push_busybox, wait_until
from harness.observer import Observer
from harness.server import Server
from harness.stores import Minio, Postgres

CLUSTER, SERVICE = "pair", "web"
# The tasks of a silent host are given up after three minutes.
LOST = 180
# What a container of `harness.ecs.container` takes.
TASK_MEMORY_MIB = 32
# What a move would take to be seen: some periods of the reconcilers.
QUIET = 12


class World:
    """The servers with their agents, and a client of each."""

    def __init__(self, stack):
        minio, postgres = Minio("ecs-pair"), Postgres("ecs-pair")
        for store in (minio, postgres):
            stack.callback(store.stop)
            store.start()
        self.docker = stack.enter_context(engine_with_network("ecs-pair"))
        settings = {"database": postgres.database("pair"), "blobs": minio.bucket("pair"), "service_healthy_seconds": 1}
        self.servers = []
        for number in range(2):
            if self.servers:
                settings["key_file"] = self.servers[0].data / "key"
            server = Server(f"ecs-pair-{number}", settings=dict(settings), environment=minio.environment())
            shutil.rmtree(server.folder, ignore_errors=True)
            stack.callback(shutil.rmtree, server.folder, ignore_errors=True)
            stack.callback(server.stop)
            if self.servers:
                server.credentials = self.servers[0].credentials
            self.servers.append(server.start())
        self.clients = [make_client(server, "ecs") for server in self.servers]
        self.clients[0].create_cluster(clusterName=CLUSTER)
        for number, server in enumerate(self.servers):
            words = ["--attribute", f"host={number}", "--task-cleanup-seconds", "5"]
            if number == 0:
                # The first host is full with two tasks. A task that was placed there just before its server died would only
                # start when the server is back.
                words += ["--reserved-memory", str(host_memory_mib() - 5 * TASK_MEMORY_MIB // 2)]
            agent = Agent(server, self.docker, CLUSTER, *words, name=f"ecs-pair-agent-{number}")
            stack.callback(agent.stop)
            agent.start()
        wait_until(lambda: len(instances(self.clients[1], CLUSTER)) == 2, "an instance on each host")
        self.observer = Observer(self.servers[1], [CLUSTER])
        stack.callback(self.observer.stop)
        self.observer.start()

    def containers(self):
        """The containers that run for tasks, each with its task. None may have two of one task."""
        listed = self.docker.docker("ps", "--no-trunc", "--format", '{{.ID}} {{.Label "com.amazonaws.ecs.task-arn"}}')
        found = dict(line.split() for line in listed.splitlines())
        doubled = [task for task, count in collections.Counter(found.values()).items() if count > 1]
        assert not doubled, doubled
        return found

    def settled(self, server, desired):
        """The containers if just the desired tasks run, in the eyes of this server and of the engine."""
        ecs = self.clients[server]
        service = ecs.describe_services(cluster=CLUSTER, services=[SERVICE])["services"][0]
        counts = service["desiredCount"], service["runningCount"], service["pendingCount"]
        tasks = ecs.list_tasks(cluster=CLUSTER, serviceName=SERVICE)["taskArns"]
        found = self.containers()
        return found if counts == (desired, desired, 0) and sorted(tasks) == sorted(found.values()) else None

    def settle(self, server, desired, seconds=60):
        return wait_until(lambda: self.settled(server, desired), f"{desired} tasks", seconds)

    def hosts(self, found):
        """The containers of each host by its number."""
        ecs = self.clients[1]
        by_instance = {}
        for one in ecs.describe_container_instances(cluster=CLUSTER, containerInstances=self.instances())["containerInstances"]:
            names = {attribute["name"]: attribute.get("value") for attribute in one["attributes"]}
            by_instance[one["containerInstanceArn"]] = int(names["host"])
        on = [set(), set()]
        for task in ecs.describe_tasks(cluster=CLUSTER, tasks=list(found.values()))["tasks"]:
            here = {name for name, arn in found.items() if arn == task["taskArn"]}
            on[by_instance[task["containerInstanceArn"]]] |= here
        return on

    def instances(self):
        return self.clients[1].list_container_instances(cluster=CLUSTER)["containerInstanceArns"]

    def back(self):
        """The first server starts again, and its agent connects."""
        self.servers[0].start()
        wait_until(lambda: len(instances(self.clients[1], CLUSTER)) == 2, "both agents are connected", LOST)


@pytest.fixture
def world():
    with contextlib.ExitStack() as stack:
        yield World(stack)


def test_a_server_keeps_up_what_another_began(world):
    first, second = world.clients
    push_busybox(world.servers[0])
    # Each agent takes it from its own server.
    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/busybox:latest"
    definition = container(image, SLEEP, stopTimeout=2)
    first.register_task_definition(family=SERVICE, containerDefinitions=[definition])
    first.create_service(cluster=CLUSTER, serviceName=SERVICE, taskDefinition=SERVICE, desiredCount=4)
    begun = world.settle(1, 4)
    on = world.hosts(begun)
    assert [len(host) for host in on] == [2, 2], on

    # A change that the first server was given just before its end is carried out by the second.
    first.update_service(cluster=CLUSTER, service=SERVICE, desiredCount=5)
    world.servers[0].kill()
    victim = sorted(on[1])[0]
    world.docker.docker("kill", victim)
    restored = world.settle(1, 5)
    assert begun.keys() - {victim} < restored.keys(), "the others stay"
    world.back()
    time.sleep(QUIET)
    assert world.settle(0, 5) == world.settle(1, 5) == restored, "nothing moves"

    # Down for so long that the tasks of its host are given up, although they run.
    world.servers[0].kill()
    on = world.hosts(restored)
    running = wait_until(lambda: only_running(world, 5), "the second host has all tasks", LOST + 120)
    assert on[1] <= running, "what was there stays"
    assert on[0] <= world.containers().keys(), "nobody can tell the first host"
    world.back()
    left = world.settle(1, 5)
    assert left.keys() == running, "the first host stops what was given up"
    time.sleep(QUIET)
    assert world.settle(0, 5) == left, "nothing moves"
    assert not world.observer.faults, json.dumps(world.observer.faults)


def host_memory_mib():
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20


def only_running(world, desired):
    """The containers of the service's tasks if these run as desired, whatever else runs that was given up."""
    found = world.containers()
    arns = world.clients[1].list_tasks(cluster=CLUSTER, serviceName=SERVICE)["taskArns"]
    tasks = world.clients[1].describe_tasks(cluster=CLUSTER, tasks=arns)["tasks"] if arns else []
    wanted = {name for name, arn in found.items() if arn in arns}
    instances_of = {task["containerInstanceArn"] for task in tasks}
    done = len(instances_of) == 1 and {task["lastStatus"] for task in tasks} == {"RUNNING"}
    return wanted if done and len(wanted) == len(tasks) == desired else None
