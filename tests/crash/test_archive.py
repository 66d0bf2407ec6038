"""`kill -9` while images go to the archive and come back: what is active is whole, and index and stores agree after each restart.

One server with folders and SQLite, and two servers over PostgreSQL and S3. ARCHIVE_ROUNDS (default 5) and SEED steer it; a failure
names both.
"""

import os
import random
import shutil
import subprocess
import time

from harness.process import clean_environment, run_folder
from harness.server import Server, binary
from harness.stores import Minio, Postgres

from registry import Registry

ROUNDS = int(os.environ.get("ARCHIVE_ROUNDS", "5"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
IMAGES = 12
SETTLED_WITHIN_SECONDS = 180
SETTINGS = {"blob_lease_seconds": 1, "gc_load_percent": 100, "upload_expiry_seconds": 10}
BUCKET = "archive"


def text(number):
    """A layer that gets much smaller."""
    return b"".join(b"line %d of layer %d\n" % (line, number) for line in range(20_000 + 3_000 * number))


class Scene:
    """Servers over the same content. `blobs` and `archived` list what the stores hold."""

    def __init__(self, servers, blobs, archived, fsck, longest_round_seconds):
        self.servers, self.blobs, self.archived, self.fsck = servers, blobs, archived, fsck
        self.longest_round_seconds = longest_round_seconds
        self.rng = random.Random(SEED)
        servers[0].create_repository("archive/web")
        self.password = servers[0].password()
        registry = Registry(servers[0].port, self.password)
        # Neighbours share a layer.
        layers = [text(number) for number in range(IMAGES + 1)]
        self.manifests = {
            f"v{number}": registry.push_image("archive/web", f"v{number}", [layers[number], layers[number + 1]], self.rng)
            for number in range(IMAGES)
        }
        registry.close()
        self.sent_to_archive, self.most_archived = set(), 0

    def set_class(self, tag, target):
        request = {"repositoryName": "archive/web", "imageId": {"imageTag": tag}, "targetStorageClass": target}
        self.rng.choice(self.servers).call("UpdateImageStorageClass", request)

    def statuses(self):
        request = {"repositoryName": "archive/web", "filter": {"imageStatus": "ANY"}}
        found = self.servers[-1].call("DescribeImages", request)["imageDetails"]
        return {image["imageTags"][0]: image["imageStatus"] for image in found}

    def check(self):
        """By all bytes, beside the servers."""
        arguments, environment = self.fsck
        command = [binary(), "fsck", "--checksums", "--restart", *arguments]
        environment = clean_environment(environment)
        checked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert checked.returncode == 0, f"{checked.stdout}{checked.stderr}"

    def verify_active(self):
        """An image that is active is whole. Nothing else is archived meanwhile: what was sent there is not active any more."""
        registry = Registry(self.servers[0].port, self.password)
        for tag, status in self.statuses().items():
            if status == "ACTIVE":
                registry.verify("archive/web", tag, self.manifests[tag])
        registry.close()

    def round(self):
        for tag in self.rng.sample(sorted(self.manifests), IMAGES // 3):
            if tag in self.sent_to_archive:
                self.set_class(tag, "STANDARD")
                self.sent_to_archive.discard(tag)
            else:
                self.set_class(tag, "ARCHIVE")
                self.sent_to_archive.add(tag)
        # Some kills come while bytes are on their way, others before or after.
        time.sleep(self.rng.uniform(0.1, self.longest_round_seconds))
        killed = self.rng.sample(self.servers, self.rng.randint(1, len(self.servers)))
        for server in killed:
            server.kill()
        self.most_archived = max(self.most_archived, len(self.archived()))
        for server in killed:
            server.start()
        self.verify_active()
        self.check()

    def settle(self):
        """Restores everything, and waits until the stores hold that and nothing else."""
        for tag in sorted(self.sent_to_archive):
            self.set_class(tag, "STANDARD")
        deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
        # Two layers each, of which neighbours share one, and a config each.
        while set(self.statuses().values()) != {"ACTIVE"} or self.archived() or len(self.blobs()) != 2 * IMAGES + 1:
            assert time.monotonic() < deadline, f"{self.statuses()}, {self.archived()}, {self.blobs()}"
            time.sleep(0.5)
        self.verify_active()
        self.check()

    def play(self):
        print(f"SEED={SEED} ARCHIVE_ROUNDS={ROUNDS}")
        try:
            for _ in range(ROUNDS):
                self.round()
            assert self.most_archived > 0, "nothing was archived: the test proves little"
            self.settle()
        except AssertionError as error:
            raise AssertionError(f"SEED={SEED}: {error}") from error
        print(f"up to {self.most_archived} blobs were archived at once")


def files(folder):
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_kill_nine_while_archiving_and_restoring():
    archive = run_folder("crash-archive-slow")
    shutil.rmtree(archive, ignore_errors=True)
    server = Server.fresh("crash-archive", settings={**SETTINGS, "archive": archive})
    fsck = (["--data-dir", server.data, "--archive", archive], {})
    try:
        Scene([server], lambda: files(server.data / "blobs" / "blobs"), lambda: files(archive / "blobs"), fsck, 7).play()
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)
        shutil.rmtree(archive, ignore_errors=True)


def test_two_servers_archive_and_restore():
    postgres, minio, servers = Postgres("archive"), Minio("archive"), []
    folder = run_folder("crash-archive-shared")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        postgres.start()
        minio.start()
        database = postgres.database("archive")
        minio.bucket(BUCKET)
        endpoint = f"?endpoint=http://127.0.0.1:{minio.port}&region=us-east-1"
        stores = {"blobs": f"s3://{BUCKET}/registry{endpoint}", "archive": f"s3://{BUCKET}/slow{endpoint}"}
        settings = {"database": database, "key_file": folder / "key", **stores, **SETTINGS}
        for number in range(2):
            name = f"crash-archive-{number}"
            servers.append(Server.fresh(name, dev=True, settings=settings, environment=minio.environment()))

        def objects(prefix):
            return [key for key in minio.contents(BUCKET)[0] if key.startswith(f"{prefix}/blobs/")]

        arguments = ["--data-dir", folder / "fsck", "--database", database, "--key-file", folder / "key"]
        for name, store in stores.items():
            arguments += [f"--{name}", store]
        fsck = (arguments, minio.environment())
        # Another server takes the work of a dead one over after 20 seconds.
        Scene(servers, lambda: objects("registry"), lambda: objects("slow"), fsck, 40).play()
        parts = minio.contents(BUCKET)[1]
        assert not parts, f"SEED={SEED}: {parts}"
    finally:
        for server in servers:
            server.stop()
        minio.stop()
        postgres.stop()
        shutil.rmtree(folder, ignore_errors=True)
