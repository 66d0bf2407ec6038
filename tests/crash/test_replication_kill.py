"""`kill -9` in the middle of replications and backfills: every acknowledged push arrives, whole and once, under its tag.

REPLICATION_ROUNDS (default 12) and SEED steer it; a failure names both.
"""

import os
import random
import shutil
import threading
import time

from harness.aws import make_client
from harness.sample_requests import ACCOUNT
from harness.server import Server

from registry import Registry, digest
from test_kill import sweep

ROUNDS = int(os.environ.get("REPLICATION_ROUNDS", "12"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
AWAY = ("eu-west-1", "ap-south-1")
NAME = "crash/web"


def push(server, password, rng, images, prefix):
    """Pushes until the server dies, and notes what was acknowledged."""
    try:
        registry = Registry(server.port, password)
        for number in range(1_000):
            tag = f"{prefix}-{number}"
            images[tag] = registry.push_image(NAME, tag, [tag.encode(), b"shared"], rng)
    except Exception:  # noqa: BLE001, S110: the server was killed
        pass


def tags_at(server, region):
    """The digest of each tag in a region."""
    ecr = make_client(server, "ecr", region=region)
    pages = ecr.get_paginator("list_images").paginate(repositoryName=NAME, filter={"tagStatus": "TAGGED"})
    return {one["imageTag"]: one["imageDigest"] for page in pages for one in page["imageIds"]}


def arrived(server, images):
    """Waits until each region has every image, and no other tags than those that were pushed."""
    deadline = time.monotonic() + 60
    for region in AWAY:
        while not all(tags_at(server, region).get(tag) == digest(manifest) for tag, manifest in images.items()):
            assert time.monotonic() < deadline, f"SEED={SEED}: images are missing in {region}"
            time.sleep(0.2)
        # A push that was not acknowledged may have been stored.
        assert len(tags_at(server, region)) <= len(images) + ROUNDS * 2


def test_kill_nine_during_replications():
    print(f"SEED={SEED} REPLICATION_ROUNDS={ROUNDS}")
    rng = random.Random(SEED)
    server = Server.fresh("crash-replication")
    try:
        server.create_repository(NAME)
        ecr = make_client(server, "ecr")
        destinations = [{"region": region, "registryId": ACCOUNT} for region in AWAY]
        ecr.put_replication_configuration(replicationConfiguration={"rules": [{"destinations": destinations}]})
        password, images, backfills = server.password(), {}, []
        for number in range(ROUNDS):
            pushes = [
                threading.Thread(target=push, args=(server, password, random.Random(rng.random()), images, f"r{number}{which}"))
                for which in "ab"
            ]
            for one in pushes:
                one.start()
            if number in (3, 6):
                backfills.append(ecr.start_replication_backfill(destination=destinations[len(backfills)])["replicationBackfillId"])
            time.sleep(rng.uniform(0.05, 0.4))
            server.kill()
            for one in pushes:
                one.join()
            server.start()
            ecr = make_client(server, "ecr")
        arrived(server, images)
        for backfill in backfills:
            deadline = time.monotonic() + 60
            while (found := ecr.describe_replication_backfill_results(replicationBackfillId=backfill))["status"] != "COMPLETE":
                assert time.monotonic() < deadline, f"SEED={SEED}: {found}"
                time.sleep(0.2)
            assert found["progress"]["failedReplicationCount"] == 0
            assert found["progress"]["completedReplicationCount"] == found["progress"]["totalReplicationCount"] > 0
        print(f"{len(images)} images to {len(AWAY)} regions")
        sweep(server)
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)
