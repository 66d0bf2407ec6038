"""Backups of servers under load, with `kill -9` and Ctrl-C of backup and restore: SQLite and a folder, PostgreSQL and S3, and from one to the other.

Every image that got a 201 before a backup began, and was not deleted, must be whole after the restore, while pushes, deletions and
garbage collection go on; so must two images be that were archived, of which one is on its way back. BACKUP_ROUNDS (default 4) and SEED steer it; a failure names the seed.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import time

import pytest
from harness.process import clean_environment
from harness.server import Server, binary
from harness.stores import Minio, Postgres

from registry import Registry, digest
from test_collection import LAYERS, Pusher

ROUNDS = int(os.environ.get("BACKUP_ROUNDS", "4"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
REPOSITORIES = ["collection/web", "collection/api"]
ARCHIVED = ["archived", "returning"]
SETTLED_WITHIN_SECONDS = 90
SETTINGS = {"blob_lease_seconds": 10, "gc_load_percent": 100, "upload_expiry_seconds": 10}


def command(server, *words):
    """A command on the data of a server, as a process."""
    settings = {f"WHARFINGER_{key.upper()}": value for key, value in server.settings.items()}
    environment = clean_environment({**settings, **server.environment, "WHARFINGER_DATA_DIR": server.data})
    environment = {key: str(value) for key, value in environment.items()}
    # Where the tests run in the background of a shell, SIGINT is ignored, and so it would be by the command.
    words = [str(word) for word in ["env", "--default-signal=INT", binary(), *words]]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, f"SEED={SEED}: {errors}"
    return output


def killed(server, rng, *words):
    """Runs a command and kills or interrupts it some moments later, several times."""
    for _ in range(3):
        process = command(server, *words)
        time.sleep(rng.uniform(0.02, 0.6))
        process.send_signal(rng.choice([signal.SIGKILL, signal.SIGINT]))
        process.communicate(timeout=60)


def text(name):
    """A layer that the archive takes, since it gets much smaller."""
    return b"".join(b"line %d of %s\n" % (line, name.encode()) for line in range(20_000))


def set_class(server, tag, target):
    request = {"repositoryName": REPOSITORIES[0], "imageId": {"imageTag": tag}, "targetStorageClass": target}
    server.call("UpdateImageStorageClass", request)


def wait(registry, path, status):
    """Waits by GET: a HEAD of a blob would renew its lease, so that it never goes to the archive."""
    deadline = time.monotonic() + SETTLED_WITHIN_SECONDS
    while registry.send("GET", f"/v2/{REPOSITORIES[0]}/{path}", expect=(200, 404))[0] != status:
        assert time.monotonic() < deadline, f"SEED={SEED}: {path} is not {status}"
        time.sleep(0.5)


def living(pushers):
    """What was acknowledged until now and is not being deleted."""
    return {tag: image for pusher in pushers for tag, image in dict(pusher.living).items()}


def backed_up(server, target, rng):
    """Makes backups under load; returns what the last one must hold, and the server's root credentials."""
    server.create_repository(*REPOSITORIES)
    password = server.password()
    pushers = [Pusher(server, password, f"p{number}", REPOSITORIES[number % 2]) for number in range(3)]
    for pusher in pushers:
        pusher.start()
    registry, kept = Registry(server.port, password), {}
    try:
        for tag in ARCHIVED:
            kept[tag] = (REPOSITORIES[0], registry.push_image(REPOSITORIES[0], tag, [text(tag)]))
            set_class(server, tag, "ARCHIVE")
        time.sleep(3)
        for number in range(ROUNDS):
            if number % 2:
                killed(server, rng, "backup", target)
            # A backup may have waited a minute for the lock of one that was killed: longer than a connection rests.
            registry = Registry(server.port, password)
            # Content of its own, which only this image needs, and a part of what is pushed and deleted all the time.
            layers = [rng.randbytes(200_000), LAYERS[number % len(LAYERS)]]
            kept[f"kept-{number}"] = (REPOSITORIES[0], registry.push_image(REPOSITORIES[0], f"kept-{number}", layers))
            if number == ROUNDS - 1:
                for tag in ARCHIVED:
                    wait(registry, f"blobs/{digest(text(tag))}", 404)
                set_class(server, "returning", "STANDARD")
            before = living(pushers)
            finish(command(server, "backup", target))
            after = living(pushers)
            time.sleep(rng.uniform(0, 3))
        # What was deleted while the last backup ran may or may not be in it.
        promised = {**kept, **{tag: image for tag, image in before.items() if tag in after}}
        deleted = sum(pusher.deleted for pusher in pushers)
        assert deleted > 0, f"SEED={SEED}: nothing was deleted meanwhile"
    finally:
        faults = [pusher.fault for pusher in pushers if pusher.fault]
        server.kill()
        for pusher in pushers:
            pusher.join()
    errors = [line for line in server.process.log.read_text(errors="replace").splitlines() if " ERROR " in line or " WARN " in line]
    assert not faults, f"SEED={SEED}: {faults}\n" + "\n".join(errors[-20:])
    assert " 0 found" in finish(command(server, "backup", target, "--verify"))
    return promised


def restored(source, server, target, promised, rng):
    """Restores the newest backup under kills, and checks that all is there."""
    server.data.mkdir(parents=True)
    if "key_file" not in server.settings:
        shutil.copy(source.data / "key", server.data / "key")
    server.credentials = source.credentials
    killed(server, rng, "restore", target)
    last = command(server, "restore", target)
    _, errors = last.communicate(timeout=300)
    # One of those that were killed may have been done.
    assert last.returncode == 0 or "not empty" in errors, f"SEED={SEED}: {errors}"
    assert " 0 found" in finish(command(server, "fsck", "--checksums"))
    server.start()
    try:
        registry = Registry(server.port, server.password())
        set_class(server, "archived", "STANDARD")
        for tag in ARCHIVED:
            wait(registry, f"manifests/{tag}", 200)
        for tag, (repository, manifest) in promised.items():
            registry.verify(repository, tag, manifest)
        registry.push_image(REPOSITORIES[0], "afterwards", [b"new"])
        print(f"{len(promised)} images came back")
    finally:
        server.stop()
    assert " 0 found" in finish(command(server, "fsck", "--checksums"))


def test_a_folder_under_load_and_kills():
    print(f"SEED={SEED}")
    rng = random.Random(SEED)
    server = Server.fresh("crash-backup", settings=SETTINGS)
    target = server.folder / "backups"
    copy = Server("crash-backup-restored", settings=SETTINGS)
    shutil.rmtree(copy.folder, ignore_errors=True)
    try:
        promised = backed_up(server, target, rng)
        restored(server, copy, target, promised, rng)
        pruned = finish(command(copy, "backup", target, "--prune", "--keep", "1"))
        # Some of those that were to be killed may have been done before.
        removed = re.search(r"removed (\d+) backups", pruned)
        assert removed and int(removed[1]) >= ROUNDS - 1, f"SEED={SEED}: {pruned}"
        assert " 0 found" in finish(command(copy, "backup", target, "--verify"))
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)
        shutil.rmtree(copy.folder, ignore_errors=True)


@pytest.fixture
def stores():
    postgres, minio = Postgres("crash-backup"), Minio("crash-backup")
    try:
        postgres.start()
        minio.start()
        yield postgres, minio
    finally:
        minio.stop()
        postgres.stop()


def test_buckets_and_the_way_from_a_folder_to_them(stores):
    print(f"SEED={SEED}")
    rng = random.Random(SEED)
    postgres, minio = stores
    environment = minio.environment()

    def at(name):
        return {**SETTINGS, "database": postgres.database(name), "blobs": minio.bucket(f"blobs-{name}")}

    first = Server("crash-backup-first", settings=at("first"), environment=environment)
    second = Server("crash-backup-second", settings=at("second"), environment=environment)
    small = Server("crash-backup-small", settings=SETTINGS, environment=environment)
    third = Server("crash-backup-third", settings=at("third"), environment=environment)
    servers = [first, second, small, third]
    for server in servers:
        shutil.rmtree(server.folder, ignore_errors=True)
    try:
        # The prefix of a bucket as a target; a restored server has its backups in another one.
        target = minio.bucket("backups")
        promised = backed_up(first.start(), target, rng)
        restored(first, second, target, promised, rng)
        target = small.folder / "backups"
        promised = backed_up(small.start(), target, rng)
        restored(small, third, target, promised, rng)
    finally:
        for server in servers:
            server.stop()
            shutil.rmtree(server.folder, ignore_errors=True)
