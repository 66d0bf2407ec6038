"""Garbage collection under load and `kill -9`: images that are pushed and deleted share layers, so that content dies and comes back.

Whatever got a 201 and was not deleted must be whole after each restart, on a disk with SQLite and on two servers over PostgreSQL
and S3 that both collect. In the end the store must hold the content of living images, and nothing else.

COLLECTION_ROUNDS (default 12), SOAK_SECONDS (default 20) and SEED steer it; a failure names the seed.
"""

import http.client
import json
import os
import random
import shutil
import threading
import time

import pytest
from harness.process import run_folder
from harness.server import Server
from harness.stores import Minio, Postgres

from registry import MANIFEST, Refused, Registry, descriptor, digest

ROUNDS = int(os.environ.get("COLLECTION_ROUNDS", "12"))
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "20"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
PUSHERS = 4
REPOSITORIES = ["collection/web", "collection/api"]
BUCKET = "collection"
# Half of it is longer than any push here takes from its first layer to its manifest.
LEASE_SECONDS = 10
# The lease, and the minute after which the work of a collector that died is taken over, or uploads that died are swept.
EVERYTHING_IS_OVER = LEASE_SECONDS + 110
# What an upload published before it died, and did not record, goes with the upload.
SETTINGS = {"blob_lease_seconds": LEASE_SECONDS, "gc_load_percent": 100, "upload_expiry_seconds": LEASE_SECONDS}
# Few, so that images share them, die with them, and need them again.
LAYERS = [random.Random(number).randbytes(10_000 * (number + 1)) for number in range(12)]


class Pusher(threading.Thread):
    """Pushes and deletes images until the server dies under it. Knows what lives, and what may or may not."""

    def __init__(self, server, password, name, repository):
        super().__init__()
        self.server, self.password, self.name, self.repository = server, password, name, repository
        self.rng = random.Random(f"{SEED}/{name}")
        self.living, self.doubtful, self.fault, self.deleted = {}, {}, None, 0

    def run(self):
        try:
            registry = Registry(self.server.port, self.password)
            for count in range(100_000):
                self.push(registry, f"{self.name}-{count}")
                if len(self.living) > 5:
                    self.delete(registry)
        except (OSError, http.client.HTTPException):
            pass
        except Refused as refused:
            self.fault = refused

    def push(self, registry, tag):
        layers = self.rng.sample(LAYERS, self.rng.randint(1, 3))
        config = json.dumps({"os": "linux", "architecture": "amd64", "tag": tag}).encode()
        for data in [config, *layers]:
            path = f"/v2/{self.repository}/blobs/{digest(data)}"
            if registry.send("HEAD", path, expect=(200, 404))[0] == 404:
                registry.push_blob(self.repository, data, self.rng.choice(["whole", "post", "parts"]))
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", data) for data in layers],
        }
        manifest = json.dumps(document).encode()
        self.doubtful[tag] = (self.repository, manifest)
        registry.send("PUT", f"/v2/{self.repository}/manifests/{tag}", manifest, {"Content-Type": MANIFEST})
        self.living[tag] = self.doubtful.pop(tag)

    def delete(self, registry):
        tag = self.rng.choice(sorted(self.living))
        self.doubtful[tag] = self.living.pop(tag)
        registry.send("DELETE", f"/v2/{self.repository}/manifests/{digest(self.doubtful[tag][1])}")
        del self.doubtful[tag]
        self.deleted += 1


class Scene:
    """Servers with the same content, and what lives in them."""

    def __init__(self, servers, contents):
        self.servers, self.contents = servers, contents
        self.rng = random.Random(SEED)
        self.living, self.doubtful, self.deleted = {}, {}, 0
        servers[0].create_repository(*REPOSITORIES)
        self.password = servers[0].password()

    def round(self, number):
        pushers = []
        for place in range(PUSHERS):
            server = self.servers[place % len(self.servers)]
            pushers.append(Pusher(server, self.password, f"r{number}-p{place}", REPOSITORIES[place // 2]))
        for pusher in pushers:
            pusher.start()
        time.sleep(self.rng.uniform(0.2, 1.5))
        for server in self.servers:
            server.kill()
        for pusher in pushers:
            pusher.join()
            assert pusher.fault is None, f"round {number}: {pusher.fault}"
            self.living.update(pusher.living)
            self.doubtful.update(pusher.doubtful)
            self.deleted += pusher.deleted
        for server in self.servers:
            server.start()
        self.verify(self.rng.sample(sorted(self.living), min(12, len(self.living))))
        # Images of earlier rounds die, too, so that their layers are collected in later ones.
        registry = Registry(self.servers[0].port, self.password)
        for tag in self.rng.sample(sorted(self.living), len(self.living) // 2):
            repository, manifest = self.living.pop(tag)
            registry.send("DELETE", f"/v2/{repository}/manifests/{digest(manifest)}")
            self.deleted += 1
        registry.close()

    def verify(self, tags):
        for server in self.servers:
            registry = Registry(server.port, self.password)
            for tag in tags:
                repository, manifest = self.living[tag]
                registry.verify(repository, tag, manifest)
            registry.close()

    def settle(self):
        """Verifies all that lives, learns about the doubtful, and waits until nothing else is stored."""
        registry = Registry(self.servers[0].port, self.password)
        for tag, (repository, manifest) in self.doubtful.items():
            status, _, _ = registry.send("GET", f"/v2/{repository}/manifests/{tag}", expect=(200, 404))
            if status == 200:
                self.living[tag] = (repository, manifest)
        registry.close()
        self.verify(self.living)
        documents = [json.loads(manifest) for _, manifest in self.living.values()]
        wanted = {part["digest"] for document in documents for part in [document["config"], *document["layers"]]}
        deadline = time.monotonic() + EVERYTHING_IS_OVER
        while (stored := self.contents()) != wanted and time.monotonic() < deadline:
            time.sleep(0.5)
        assert stored == wanted, f"missing: {sorted(wanted - stored)}; dead: {sorted(stored - wanted)}"
        self.verify(self.living)
        print(f"{len(self.living)} images live, {self.deleted} were deleted, {len(stored)} blobs are stored")
        assert self.deleted > ROUNDS, f"only {self.deleted} images were deleted: the test proves little"

    def play(self):
        print(f"SEED={SEED} COLLECTION_ROUNDS={ROUNDS}")
        try:
            for number in range(ROUNDS):
                self.round(number)
            self.settle()
        except AssertionError as error:
            raise AssertionError(f"SEED={SEED}: {error}") from error


def files(server):
    folder = server.data / "blobs" / "blobs"
    return {f"{path.parent.parent.name}:{path.name}" for path in folder.rglob("*") if path.is_file()}


def test_kill_nine_while_collecting():
    server = Server.fresh("crash-collection", settings=SETTINGS)
    try:
        Scene([server], lambda: files(server)).play()
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


def test_a_soak_ends_in_a_clean_store():
    """Pushes, pulls and deletes for a while beside a collector that looks every second, then a check of all bytes."""
    server = Server.fresh("crash-soak", settings={"blob_lease_seconds": 2, "gc_load_percent": 100})
    try:
        scene = Scene([server], lambda: files(server))
        pushers = [Pusher(server, scene.password, f"soak-p{place}", REPOSITORIES[place % 2]) for place in range(PUSHERS)]
        for pusher in pushers:
            pusher.start()
        time.sleep(SOAK_SECONDS)
        # This ends the pushers, too.
        server.stop()
        for pusher in pushers:
            pusher.join()
            assert pusher.fault is None, f"SEED={SEED}: {pusher.fault}"
            scene.living.update(pusher.living)
            scene.doubtful.update(pusher.doubtful)
            scene.deleted += pusher.deleted
        checked = server.admin("fsck", "--checksums", check=False)
        assert checked.returncode == 0, f"SEED={SEED}: {checked.stdout}{checked.stderr}"
        server.start()
        scene.settle()
        # The last deletions were collected by this start.
        removed = metric(server, "wharfinger_gc_blobs_removed_total")
        assert removed > 0 and metric(server, "wharfinger_gc_removed_bytes_total") > removed
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


def metric(server, name):
    """The value of a number without labels in `/metrics`."""
    connection = server.connect()
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    connection.close()
    values = [line.removeprefix(f"{name} ") for line in lines if line.startswith(f"{name} ")]
    assert len(values) == 1, f"{name}: {values}"
    return float(values[0])


def test_two_servers_collect():
    postgres, minio, servers = Postgres("collection"), Minio("collection"), []
    folder = run_folder("crash-collection-shared")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        postgres.start()
        minio.start()
        database = postgres.database("collection")
        minio.bucket(BUCKET)
        settings = {
            "database": database,
            "blobs": f"s3://{BUCKET}/registry?endpoint=http://127.0.0.1:{minio.port}&region=us-east-1",
            "key_file": folder / "key",
            **SETTINGS,
        }
        for number in range(2):
            name = f"crash-collection-{number}"
            servers.append(Server.fresh(name, dev=True, settings=settings, environment=minio.environment()))

        def contents():
            """The digests that the index has, once the bucket holds their objects and no others."""
            rows = postgres.query("collection", "SELECT location, encode(digest, 'hex') FROM blobs")
            objects = {key for key in minio.contents(BUCKET)[0] if key.startswith("registry/blobs/")}
            if objects != {f"registry/{row[0]}" for row in rows}:
                return set()
            # The first byte names the algorithm.
            return {f"sha256:{row[1][2:]}" for row in rows}

        Scene(servers, contents).play()
    finally:
        for server in servers:
            server.stop()
        minio.stop()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def quiet():
    """A server that does not collect by itself."""
    server = Server.fresh("crash-gc-command", settings={"blob_lease_seconds": 1, "gc_load_percent": 0})
    yield server
    server.stop()
    shutil.rmtree(server.folder, ignore_errors=True)


def shown(output):
    """The numbers that the command printed, by what they count."""
    return {words[0].strip(): int(words[1]) for line in output.splitlines() if (words := line.rsplit(maxsplit=1))}


def test_the_command_shows_and_collects_what_is_due(quiet):
    quiet.create_repository(REPOSITORIES[0])
    registry = Registry(quiet.port, quiet.password())
    registry.push_image(REPOSITORIES[0], "kept", [LAYERS[0]])
    registry.push_blob(REPOSITORIES[0], LAYERS[1], "whole")
    registry.close()
    time.sleep(1.1)
    dry = shown(quiet.admin("gc", "--dry-run").stdout)
    assert (dry["links to remove"], dry["blobs to remove"], dry["bytes to remove"]) == (1, 1, len(LAYERS[1])), dry
    assert len(files(quiet)) == 3
    refused = quiet.admin("gc", check=False)
    assert refused.returncode != 0 and "gc_load_percent" in refused.stderr, refused
    quiet.stop()
    collected = shown(quiet.admin("gc").stdout)
    assert collected == {"links removed": 1, "blobs removed": 1, "bytes removed": len(LAYERS[1])}, collected
    assert files(quiet) == {digest(data) for data in [LAYERS[0], *others(quiet)]}
    quiet.settings["gc_load_percent"] = 100
    quiet.start()
    assert "everything" in quiet.admin("gc").stdout


def others(server):
    """The configs in the store: what is no layer of ours."""
    folder = server.data / "blobs" / "blobs"
    stored = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return [data for data in stored if data not in LAYERS]
