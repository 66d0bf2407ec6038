"""`kill -9` of agents, of the control plane and of containers at random moments while services change: each time the desired
count is restored, no container is doubled or orphaned, and no task moves back.

ROUNDS (an eighth of it, at least five) or ECS_ROUNDS and SEED steer it; a failure names them.
"""

import collections
import json
import os
import random
import shutil
import time

from harness.aws import make_client
from harness.ecs import SLEEP, Agent, container, instances, push_busybox, remove_groups, wait_until
from harness.engine import Engine
from harness.observer import Observer
from harness.server import Server

ROUNDS = int(os.environ.get("ECS_ROUNDS", "0")) or max(5, int(os.environ.get("ROUNDS", "40")) // 8)
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
# From the last kill to the desired state. Nearly always it takes less than 10 s.
PATIENCE = 60
MOST_DESIRED = 4


class World:
    """A server whose own agent serves one cluster, and the two agents of another process, which serve another."""

    def __init__(self, rng):
        self.rng = rng
        self.docker = Engine("ecs-kill", bridge=True)
        self.server = self.agent = self.observer = None

    def start(self):
        self.docker.start()
        settings = {
            "local_clusters": "default",
            "docker_host": f"unix://{self.docker.socket}",
            "task_cleanup_seconds": 5,
            "service_healthy_seconds": 1,
        }
        self.server = Server.fresh("ecs-kill", settings=settings)
        self.ecs = make_client(self.server, "ecs")
        self.ecs.create_cluster(clusterName="remote")
        words = ["--instances", "2", "--task-cleanup-seconds", "5"]
        self.agent = Agent(self.server, self.docker, "remote", *words, name="ecs-kill-agent")
        self.agent.start()
        for cluster, count in (("default", 1), ("remote", 2)):
            wait_until(lambda: len(instances(self.ecs, cluster)) == count, f"{count} instances of {cluster}")  # noqa: B023
        self.define(push_busybox(self.server))
        self.observer = Observer(self.server, ["default", "remote"])
        self.observer.start()

    def define(self, image):
        """Registers what the services run, and makes these."""
        web = container(image, SLEEP, stopTimeout=2)
        after = [{"containerName": "web", "condition": "START"}]
        side = container(image, SLEEP, "side", stopTimeout=2, dependsOn=after)
        network = {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}
        self.services = []
        for cluster, name, containers, more, options in [
            ("default", "single", [web], {}, {}),
            ("remote", "double", [web, side], {}, {}),
            ("remote", "vpc", [web], {"networkMode": "awsvpc"}, {"networkConfiguration": network}),
        ]:
            for _ in range(2):
                self.ecs.register_task_definition(family=name, containerDefinitions=containers, **more)
            self.ecs.create_service(cluster=cluster, serviceName=name, taskDefinition=f"{name}:1", desiredCount=2, **options)
            self.services.append((cluster, name))

    def stop(self):
        if self.observer:
            self.observer.stop()
        for process in (self.agent, self.server, self.docker):
            if process:
                process.stop()
        remove_groups()

    def change(self):
        """Changes some services, so that tasks are on their way when something dies."""
        for cluster, name in self.services:
            change = {}
            if self.rng.random() < 0.5:
                change["desiredCount"] = self.rng.randint(1, MOST_DESIRED)
            if self.rng.random() < 0.4:
                change["taskDefinition"] = f"{name}:{self.rng.randint(1, 2)}"
            if change:
                self.ecs.update_service(cluster=cluster, service=name, **change)

    def kill(self):
        """Kills some of what runs, one after the other, and starts the processes again; says what it did."""
        victims = self.rng.sample(["agent", "server", "containers"], self.rng.randint(1, 3))
        for victim in victims:
            time.sleep(self.rng.choice([0, 0.05, 0.2, 0.5, 1.5]) * self.rng.random())
            if victim == "agent":
                self.agent.process.kill()
            elif victim == "server":
                self.server.kill()
            else:
                running = self.docker.docker("ps", "--quiet").split()
                chosen = self.rng.sample(running, self.rng.randint(0, len(running)))
                if chosen:
                    self.docker.docker("kill", *chosen, check=False)
        time.sleep(self.rng.choice([0, 0, 1]) * self.rng.random())
        for victim in victims:
            if victim == "agent":
                self.agent.start()
            elif victim == "server":
                self.server.start()
        return victims

    def containers(self):
        """The containers that run for tasks: how many of each task and name, without those that hold a network."""
        listed = self.docker.docker("ps", "--no-trunc", "--format", "{{json .Labels}}").splitlines()
        found = collections.Counter()
        for line in listed:
            labels = dict(pair.split("=", 1) for pair in json.loads(line).split(",") if "=" in pair)
            task, name = (labels.get(f"com.amazonaws.ecs.{key}") for key in ("task-arn", "container-name"))
            found[(task, name)] += 1
        doubled = {key: count for key, count in found.items() if count > 1}
        assert not doubled, f"containers run twice: {doubled}"
        return found

    def expected(self):
        """What must run as the API tells it, or why the services are not settled."""
        found = collections.Counter()
        for cluster, name in self.services:
            service = self.ecs.describe_services(cluster=cluster, services=[name])["services"][0]
            counts = (len(service["deployments"]), service["runningCount"], service["pendingCount"])
            if counts != (1, service["desiredCount"], 0) or service["deployments"][0]["rolloutState"] != "COMPLETED":
                return None, f"{name}: {counts} of {service['desiredCount']}, {service['events'][:3]}"
            arns = self.ecs.list_tasks(cluster=cluster, serviceName=name)["taskArns"]
            # The last one may have stopped since the service was described.
            tasks = self.ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
            states = {(one["lastStatus"], one["desiredStatus"]) for one in tasks}
            if len(tasks) != service["desiredCount"] or states != {("RUNNING", "RUNNING")}:
                return None, f"{name}: {len(tasks)} tasks, {states}"
            found.update((task["taskArn"], one["name"]) for task in tasks for one in task["containers"])
            if name == "vpc":
                found.update((task["taskArn"], None) for task in tasks)
        return found, None

    def settle(self):
        """Waits until exactly the desired tasks run, in the API's eyes and in the engine's. Returns the seconds that it took."""
        begin = time.monotonic()
        while True:
            expected, why = self.expected()
            running = self.containers()
            if expected == running:
                return time.monotonic() - begin
            if expected is not None:
                why = f"missing {expected - running}, orphaned {running - expected}"
            assert time.monotonic() < begin + PATIENCE, f"not settled after {PATIENCE} s: {why}"
            time.sleep(0.2)


def test_services_are_restored_after_kills():
    print(f"SEED={SEED} ECS_ROUNDS={ROUNDS}")
    rng = random.Random(SEED)
    world = World(rng)
    slowest, killed = 0, collections.Counter()
    try:
        world.start()
        world.settle()
        for number in range(ROUNDS):
            world.change()
            victims = world.kill()
            try:
                slowest = max(slowest, world.settle())
                killed.update(victims)
            except AssertionError as failure:
                raise AssertionError(f"SEED={SEED}, round {number}, {victims}: {failure}") from failure
            assert world.observer.is_alive(), "nobody watches the tasks any more"
            assert not world.observer.faults, f"SEED={SEED}, round {number}, {victims}: {world.observer.faults}"
        assert world.observer.last, "no task was seen"
        print(f"{ROUNDS} rounds with kills of {dict(killed)}; the slowest was settled after {slowest:.1f} s")
        print(f"{len(world.observer.last)} states were followed")
    finally:
        world.stop()
    shutil.rmtree(world.server.folder, ignore_errors=True)
