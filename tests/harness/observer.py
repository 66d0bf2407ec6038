"""Watches the tasks of clusters while something dies or is cut off, and notes which move back."""

import contextlib
import threading

import botocore.exceptions

from .aws import make_client

ORDER = ["PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"]
UNREACHABLE = (OSError, botocore.exceptions.HTTPClientError, botocore.exceptions.ConnectionError)


class Observer(threading.Thread):
    """Looks at all tasks again and again, whoever is dead, and notes which moved back."""

    def __init__(self, server, clusters):
        super().__init__(daemon=True)
        self.ecs, self.clusters = make_client(server, "ecs"), clusters
        self.last, self.faults = {}, []
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.1):
            for cluster in self.clusters:
                with contextlib.suppress(UNREACHABLE):
                    self.look(cluster)

    def look(self, cluster):
        for status in ("RUNNING", "STOPPED"):
            arns = self.ecs.list_tasks(cluster=cluster, desiredStatus=status, maxResults=100)["taskArns"]
            tasks = self.ecs.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
            for task in tasks:
                self.note(task)

    def note(self, task):
        states = [(task["taskArn"], task["lastStatus"]), (task["taskArn"] + " desired", task["desiredStatus"])]
        states += [(one["containerArn"], one["lastStatus"]) for one in task["containers"]]
        for name, state in states:
            before = self.last.get(name, state)
            if ORDER.index(state) < ORDER.index(before):
                self.faults.append(f"{name} went from {before} to {state}")
            self.last[name] = state

    def stop(self):
        self.ended.set()
        self.join()
