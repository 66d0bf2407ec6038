"""Commits whose server does not learn of them, since its connection to PostgreSQL breaks: they come late, or never. No bytes are removed
that such a commit names, and what was acknowledged stays.

DOUBT_SECONDS (default 45) and SEED steer it; a failure names both.
"""

import http.client
import json
import os
import random
import shutil
import subprocess
import threading
import time

from harness.process import clean_environment, run_folder
from harness.server import Server, binary
from harness.stores import Postgres

from late_commits import LateCommits
from registry import Refused, Registry, digest

SECONDS = int(os.environ.get("DOUBT_SECONDS", "45"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
WORKERS = 6
REPOSITORY = "doubt/web"
SETTINGS = {"blob_lease_seconds": 1, "gc_load_percent": 100, "upload_expiry_seconds": 60}
# Few, so that images share them, die with them, and need them again. They get smaller in the archive.
LAYERS = [b"".join(b"line %d of layer %d\n" % (line, number) for line in range(3_000)) for number in range(20)]
# A transaction in doubt may hold locks that others wait for.
PATIENCE_SECONDS = 120


class Worker(threading.Thread):
    """Pushes, pulls, archives, restores and deletes images of its own, and requests again what failed."""

    def __init__(self, server, name, stop):
        super().__init__()
        self.server, self.name, self.stop = server, name, stop
        self.password = server.password()
        self.rng = random.Random(f"{SEED}/{name}")
        # By tag: the manifest, and whether the image was sent to the archive.
        self.images, self.count, self.failed, self.error = {}, 0, 0, None

    def run(self):
        try:
            while not self.stop.is_set():
                self.step()
        except Exception as error:  # noqa: BLE001: told by the test
            self.error = error

    def step(self):
        draw = self.rng.random()
        if draw < 0.4 or not self.images:
            self.push()
        elif draw < 0.5:
            self.verify(self.rng.choice(sorted(self.images)))
        elif draw < 0.6:
            tag = self.rng.choice(sorted(self.images))
            self.archive(tag, not self.images[tag][1])
        elif len(self.images) > 1:
            self.delete(self.rng.choice(sorted(self.images)))

    def again(self, work):
        """Does it with a connection of its own until it succeeds."""
        end = time.monotonic() + PATIENCE_SECONDS
        while True:
            registry = Registry(self.server.port, self.password, timeout=60)
            try:
                return work(registry)
            except (OSError, http.client.HTTPException) as error:
                fault = error
            except Refused as error:
                # Collected between its push and the manifest: the lease here is short.
                if error.status != 503 and b"BLOB_UNKNOWN" not in error.body:
                    raise
                fault = error
            finally:
                registry.close()
            self.failed += 1
            assert time.monotonic() < end, f"{self.name}: {fault}"
            time.sleep(0.1)

    def push(self):
        tag = f"{self.name}-{self.count}"
        self.count += 1
        layers = self.rng.sample(LAYERS, self.rng.randint(1, 2))
        self.images[tag] = (self.again(lambda registry: registry.push_image(REPOSITORY, tag, layers, self.rng)), False)

    def verify(self, tag):
        manifest, archived = self.images[tag]
        if not archived:
            self.again(lambda registry: registry.verify(REPOSITORY, tag, manifest))

    def archive(self, tag, archived):
        manifest, _ = self.images.pop(tag)
        self.set_class(tag, "ARCHIVE" if archived else "STANDARD")
        if not archived:
            self.wait_until_active(tag)
        self.images[tag] = (manifest, archived)

    def set_class(self, tag, target):
        request = {"repositoryName": REPOSITORY, "imageId": {"imageTag": tag}, "targetStorageClass": target}
        self.call("UpdateImageStorageClass", request)

    def wait_until_active(self, tag):
        request = {"repositoryName": REPOSITORY, "imageIds": [{"imageTag": tag}], "filter": {"imageStatus": "ANY"}}
        end = time.monotonic() + PATIENCE_SECONDS
        while (status := self.call("DescribeImages", request)["imageDetails"][0]["imageStatus"]) != "ACTIVE":
            assert time.monotonic() < end, f"{tag} stays {status}"
            time.sleep(0.2)

    def call(self, operation, request):
        def attempt(_):
            found = self.server.call(operation, request, check=False)
            if "__type" in found:
                raise Refused(503 if found["__type"].startswith("Serv") else 400, json.dumps(found).encode())
            return found

        return self.again(attempt)

    def delete(self, tag):
        manifest, _ = self.images.pop(tag)
        path = f"/v2/{REPOSITORY}/manifests/{digest(manifest)}"
        self.again(lambda registry: registry.send("DELETE", path, expect=(202, 404)))


def check(server, archive, database):
    """By all bytes."""
    command = [binary(), "fsck", "--checksums", "--restart", "--data-dir", server.data, "--archive", archive, "--database", database]
    checked = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, timeout=300, check=False)
    assert checked.returncode == 0, f"{checked.stdout}{checked.stderr}"


def test_commits_that_come_late_or_never_lose_nothing():
    postgres, archive, proxy, server = Postgres("in-doubt"), run_folder("in-doubt-archive"), None, None
    shutil.rmtree(archive, ignore_errors=True)
    print(f"SEED={SEED} DOUBT_SECONDS={SECONDS}")
    try:
        postgres.start()
        database = postgres.database("doubt")
        proxy = LateCommits(postgres.port, SEED)
        own = database.replace(f":{postgres.port}/", f":{proxy.port}/")
        server = Server.fresh("in-doubt", settings={**SETTINGS, "database": own, "archive": archive})
        server.create_repository(REPOSITORY)
        stop = threading.Event()
        workers = [Worker(server, f"w{number}", stop) for number in range(WORKERS)]
        proxy.faults = True
        for worker in workers:
            worker.start()
        time.sleep(SECONDS)
        stop.set()
        for worker in workers:
            worker.join(2 * PATIENCE_SECONDS)
        proxy.faults = False
        proxy.drain()
        for worker in workers:
            assert worker.error is None, worker.error
            for tag, (_, archived) in sorted(worker.images.items()):
                if archived:
                    worker.archive(tag, False)
                worker.verify(tag)
        check(server, archive, database)
    except AssertionError as error:
        raise AssertionError(f"SEED={SEED}: {error}") from error
    finally:
        for running in (server, proxy, postgres):
            if running:
                running.stop()
    pushed, failed = sum(worker.count for worker in workers), sum(worker.failed for worker in workers)
    print(f"{pushed} pushes, {failed} requests again, {proxy.late} commits came late and {proxy.lost} never")
    assert proxy.late > 10 and proxy.lost > 5, "hardly a commit was in doubt: the test proves little"
