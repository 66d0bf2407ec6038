"""A lost index is made anew from the blob store: after kills of the server while it wrote the journal, and of the rebuild itself.

SEED steers it; a failure names it.
"""

import json
import os
import random
import shutil
import subprocess
import time

from harness.process import clean_environment
from harness.server import Server, binary

from registry import Registry
from test_kill import Pusher

SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
# A pass of the journal comes every five seconds.
QUIET_SECONDS = 11
WRITTEN_WITHIN_SECONDS = 120


def segments(server):
    return {(path.name, path.stat().st_size) for path in (server.data / "blobs" / "records" / "journal").glob("*")}


def wait_for_journal(server):
    """Returns when the journal has been left alone for two passes."""
    deadline = time.monotonic() + WRITTEN_WITHIN_SECONDS
    known, since = segments(server), time.monotonic()
    while time.monotonic() - since < QUIET_SECONDS:
        assert time.monotonic() < deadline, f"SEED={SEED}: the journal is written without end"
        time.sleep(0.5)
        if segments(server) != known:
            known, since = segments(server), time.monotonic()
    assert known, f"SEED={SEED}: there is no journal"


def described(server):
    """All images with all that describes them."""
    images, page = [], {}
    while True:
        found = server.call("DescribeImages", {"repositoryName": "crash/web", "maxResults": 1000, **page})
        images += found["imageDetails"]
        if "nextToken" not in found:
            return sorted(images, key=lambda image: image["imageDigest"])
        page = {"nextToken": found["nextToken"]}


LIFECYCLE_POLICY = json.dumps(
    {
        "rules": [
            {
                "rulePriority": 1,
                "selection": {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 300},
                "action": {"type": "expire"},
            }
        ]
    }
)


def settings_of(server):
    """What is set for the registry and for a repository, beside its images."""
    templates = server.call("DescribeRepositoryCreationTemplates")["repositoryCreationTemplates"]
    return {
        "lifecycle": server.call("GetLifecyclePolicy", {"repositoryName": "crash/empty"})["lifecyclePolicyText"],
        "account": server.call("GetAccountSetting", {"name": "BASIC_SCAN_TYPE_VERSION"}),
        "templates": templates,
    }


def configure(server):
    server.call("PutLifecyclePolicy", {"repositoryName": "crash/empty", "lifecyclePolicyText": LIFECYCLE_POLICY})
    server.call("PutAccountSetting", {"name": "BASIC_SCAN_TYPE_VERSION", "value": "AWS_NATIVE"})
    server.call("CreateRepositoryCreationTemplate", {"prefix": "team", "appliedFor": ["PULL_THROUGH_CACHE"]})


def test_a_lost_index_is_made_anew():
    print(f"SEED={SEED}")
    rng = random.Random(SEED)
    server = Server.fresh("crash-rebuild")
    try:
        server.create_repository("crash/web", "crash/empty")
        policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"ecr:PutImage"}]}'
        server.call("SetRepositoryPolicy", {"repositoryName": "crash/empty", "policyText": policy})
        configure(server)
        promised = {}
        for round_number in range(8):
            pushers = [Pusher(server, server.password(), number, round_number) for number in range(2)]
            for pusher in pushers:
                pusher.start()
            # The first kill may come before the journal has a segment; later ones meet its passes.
            time.sleep(rng.uniform(0.2, 2))
            server.kill()
            for pusher in pushers:
                pusher.join()
                assert pusher.fault is None, f"SEED={SEED} round {round_number}: {pusher.fault}"
                promised.update(pusher.promised)
            server.start()
        gone = rng.sample(sorted(promised), len(promised) // 4)
        for tag in gone:
            server.call("BatchDeleteImage", {"repositoryName": "crash/web", "imageIds": [{"imageTag": tag}]})
        wait_for_journal(server)
        expected, settings = described(server), settings_of(server)
        server.stop()

        for path in server.data.glob("index.sqlite*"):
            path.unlink()
        command = [binary(), "rebuild-index", "--data-dir", server.data]
        environment = clean_environment({})
        for _ in range(5):
            rebuild = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.uniform(0.01, 0.3))
            rebuild.kill()
            rebuild.wait(timeout=20)
        last = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        # One of those that were killed may have been done.
        assert last.returncode == 0 or "only an empty one" in last.stderr, f"SEED={SEED}: {last.stderr}"

        # The users are lost with the index: the server prints another key.
        server.start()
        assert described(server) == expected, f"SEED={SEED}"
        assert settings_of(server) == settings, f"SEED={SEED}"
        assert server.call("GetRepositoryPolicy", {"repositoryName": "crash/empty"})["policyText"] == policy
        registry = Registry(server.port, server.password())
        for tag in set(promised) - set(gone):
            registry.verify("crash/web", tag, promised[tag])
        registry.push_image("crash/web", "afterwards", [b"new"])
        print(f"{len(expected)} images came back, of {len(promised)} that were pushed")
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)
