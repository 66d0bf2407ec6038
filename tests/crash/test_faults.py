"""Failed writes, fsyncs and renames, and power cuts that forget what was not synced, under blobs and index: what was acknowledged with 201 is
there afterwards with the right digest, and the server starts.

SEEDS (default 4) is how many seeds are tried, each with 40 rounds on a new file system; SEED names one of them. A failure prints it.
"""

import http.client
import os
import random
import shutil
import threading
import time

import pytest
from harness.process import run_folder
from harness.server import Server

from faultfs import FaultFs
from registry import Refused, Registry, digest, path_of

SEEDS = [int(os.environ["SEED"])] if "SEED" in os.environ else list(range(1, int(os.environ.get("SEEDS", "4")) + 1))
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "40"))
PUSHERS = 3
# One operation in so many fails: from none to so many that hardly a push succeeds.
RATES = [0, 0, 1000, 300, 100, 30]
SIZES = [0, 10, 4_000, 20_000, 200_000]


class Pusher(threading.Thread):
    """Pushes blobs and images until the server dies, whatever it responds; remembers what it was promised."""

    def __init__(self, server, password, name, rng):
        super().__init__()
        self.server, self.password, self.name_, self.rng = server, password, name, rng
        self.images, self.blobs, self.unfinished, self.refused = {}, {}, [], []

    def run(self):
        registry = Registry(self.server.port, self.password)
        for count in range(10_000):
            try:
                self.push(registry, f"{self.name_}-{count}")
            except Refused as refused:
                self.refused.append(refused)
            except (OSError, http.client.HTTPException):
                if not self.server.process.running():
                    return
                registry = Registry(self.server.port, self.password)

    def push(self, registry, tag):
        kind = self.rng.choice(["image", "blob", "again", "unfinished"])
        if kind == "image":
            layers = [self.data() for _ in range(self.rng.randint(1, 2))]
            self.images[tag] = registry.push_image("crash/web", tag, layers, self.rng)
        elif kind == "unfinished":
            self.leave_unfinished(registry)
        else:
            data = self.rng.choice(list(self.blobs.values())) if kind == "again" and self.blobs else self.data()
            way = self.rng.choice(["whole", "post", "parts"])
            registry.push_blob("crash/web", data, way)
            self.blobs[digest(data)] = data

    def leave_unfinished(self, registry):
        """Uploads half of a blob; some later round goes on with it."""
        data = self.data()
        _, headers, _ = registry.send("POST", "/v2/crash/web/blobs/uploads/", b"")
        path = path_of(headers["location"])
        half = len(data) // 2
        if half:
            registry.send("PATCH", path, data[:half], {"Content-Range": f"0-{half - 1}", "Content-Type": "application/octet-stream"})
        self.unfinished.append((path, data))

    def data(self):
        return self.rng.randbytes(self.rng.choice(SIZES))


def go_on(registry, unfinished):
    """Ends uploads that earlier rounds left, as far as the server still has them. Returns the blobs it acknowledged."""
    done = {}
    for path, data in unfinished:
        try:
            _, headers, _ = registry.send("GET", path)
            start = int(headers["range"].partition("-")[2]) + 1 if data[: len(data) // 2] else 0
            registry.send("PUT", f"{path}?digest={digest(data)}", data[start:], {"Content-Type": "application/octet-stream"})
            done[digest(data)] = data
        except (Refused, OSError, http.client.HTTPException):
            registry.close()
    return done


def verify(registry, images, blobs):
    for tag, manifest in images.items():
        registry.verify("crash/web", tag, manifest)
    for name, data in blobs.items():
        assert registry.send("GET", f"/v2/crash/web/blobs/{name}")[2] == data, f"{name} has other bytes"


def sample(rng, promised, count):
    return {key: promised[key] for key in rng.sample(list(promised), min(count, len(promised)))}


class Run:
    """One seed: a file system, a server on it, and what the server has acknowledged."""

    def __init__(self, seed, fs, server):
        self.rng, self.seed, self.fs, self.server = random.Random(seed), seed, fs, server
        self.images, self.blobs, self.unfinished, self.acknowledged = {}, {}, [], 0
        server.start()
        server.create_repository("crash/web")
        self.password = server.password()

    def round(self, number):
        rng = self.rng
        self.fs.faults(rng.choice(RATES))
        pushers = [Pusher(self.server, self.password, f"r{number}-p{each}", random.Random(f"{self.seed}/{number}/{each}")) for each in range(PUSHERS)]
        for pusher in pushers:
            pusher.start()
        carried, self.unfinished = self.unfinished, []
        self.blobs.update(go_on(Registry(self.server.port, self.password), carried))
        time.sleep(rng.uniform(0.05, 0.3))
        if rng.random() < 0.2:
            self.fs.faults(0)
        self.server.kill()
        images, blobs = {}, {}
        for pusher in pushers:
            pusher.join()
            images.update(pusher.images)
            blobs.update(pusher.blobs)
            self.unfinished += pusher.unfinished[-2:]
        self.acknowledged += len(images) + len(blobs)
        if rng.random() < 0.7:
            self.fs.cut_power()
        self.restart()
        registry = Registry(self.server.port, self.password)
        verify(registry, {**images, **sample(rng, self.images, 3)}, {**blobs, **sample(rng, self.blobs, 10)})
        self.images.update(images)
        self.blobs.update(blobs)

    def restart(self):
        """Sometimes under faults, where it may fail; without faults it must succeed."""
        if self.rng.random() < 0.3:
            self.fs.faults(10)
            try:
                self.server.start()
            except RuntimeError:
                pass
            finally:
                self.fs.faults(0)
            if self.server.process.running():
                self.server.kill()
            if self.rng.random() < 0.5:
                self.fs.cut_power()
        self.fs.faults(0)
        self.server.start()


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_acknowledged_is_lost(seed):
    folder = run_folder(f"crash-faults-{seed}")
    with FaultFs(folder / "disk", seed) as fs:
        server = Server(f"crash-faults-{seed}", data=folder / "disk" / "data", folder=folder)
        try:
            run = Run(seed, fs, server)
            for number in range(ROUNDS):
                try:
                    run.round(number)
                except Exception as error:
                    raise AssertionError(f"SEED={seed}, round {number}: {error}") from error
            verify(Registry(server.port, run.password), run.images, run.blobs)
            struck = fs.faults(0)
            print(f"SEED={seed}: {run.acknowledged} pushes were acknowledged in {ROUNDS} rounds with {struck} faults, all whole")
            assert run.acknowledged > ROUNDS and struck > ROUNDS, "the test proves little"
        finally:
            server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def server_on_faulty_disk():
    folder = run_folder("crash-failed-sync")
    with FaultFs(folder / "disk", 1) as fs:
        server = Server("crash-failed-sync", data=folder / "disk" / "data", folder=folder)
        try:
            server.start()
            server.create_repository("crash/web")
            yield fs, server
        finally:
            server.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("error, status", [("EIO", 500), ("ENOSPC", 507)])
@pytest.mark.parametrize("operation", ["sync", "write-back"])
def test_a_failed_fsync_is_not_tried_again(server_on_faulty_disk, operation, error, status):
    """The PUT that repeats it must not succeed: the kernel has dropped the bytes. The client starts again."""
    fs, server = server_on_faulty_disk
    registry = Registry(server.port, server.password())
    data = random.Random(f"{operation}{error}").randbytes(200_000)
    _, headers, _ = registry.send("POST", "/v2/crash/web/blobs/uploads/", b"")
    path = path_of(headers["location"])
    identifier = path.rsplit("/", 1)[1].partition("?")[0]
    span = {"Content-Range": f"0-{len(data) - 1}", "Content-Type": "application/octet-stream"}
    if operation == "write-back":
        # The failure of the kernel's own write is reported to the fsync that follows, as EIO.
        fs.fail(operation, identifier, error)
        status = 500
    registry.send("PATCH", path, data, span)
    if operation == "sync":
        fs.fail(operation, identifier, error)
    finish = f"{path}?digest={digest(data)}"
    with pytest.raises(Refused) as failed:
        registry.send("PUT", finish, b"")
    assert failed.value.status == status
    with pytest.raises(Refused) as again:
        registry.send("PUT", finish, b"")
    assert again.value.status == 404
    registry.push_blob("crash/web", data, "parts")
    server.kill()
    fs.cut_power()
    server.start()
    verify(Registry(server.port, server.password()), {}, {digest(data): data})


def test_lost_bytes_are_found_after_a_restart(server_on_faulty_disk):
    """A process that did not see the failed write reads the bytes back from the device before it makes them a blob."""
    fs, server = server_on_faulty_disk
    registry = Registry(server.port, server.password())
    data = random.Random(3).randbytes(200_000)
    _, headers, _ = registry.send("POST", "/v2/crash/web/blobs/uploads/", b"")
    path = path_of(headers["location"])
    identifier = path.rsplit("/", 1)[1].partition("?")[0]
    fs.fail("write-back", identifier, "EIO")
    span = {"Content-Range": f"0-{len(data) - 1}", "Content-Type": "application/octet-stream"}
    registry.send("PATCH", path, data, span)
    server.kill()
    server.start()
    registry = Registry(server.port, server.password())
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            registry.send("PUT", f"{path}?digest={digest(data)}", b"")
        assert refused.value.status in (404, 500)


def test_a_blob_folder_that_the_server_made_survives_a_power_cut():
    """No other file that the server syncs is beside this one, so its own name, and its parent's, must be synced."""
    folder = run_folder("crash-blob-folder")
    with FaultFs(folder / "disk", 1) as fs:
        settings = {"blobs": folder / "disk" / "store" / "blobs"}
        server = Server("crash-blob-folder", data=folder / "disk" / "data", folder=folder, settings=settings)
        try:
            server.start()
            server.create_repository("crash/web")
            data = random.Random(4).randbytes(200_000)
            Registry(server.port, server.password()).push_blob("crash/web", data, "whole")
            server.kill()
            fs.cut_power()
            server.start()
            verify(Registry(server.port, server.password()), {}, {digest(data): data})
        finally:
            server.stop()
    shutil.rmtree(folder, ignore_errors=True)
