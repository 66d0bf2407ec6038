"""`kill -9` at random points of concurrent pushes: what was acknowledged with 201 is complete after the restart, and staging holds no orphan.

ROUNDS (default 200) and SEED steer it; a failure names both.
"""

import http.client
import os
import random
import shutil
import threading
import time

from harness.server import Server

from registry import Refused, Registry, digest

ROUNDS = int(os.environ.get("ROUNDS", "200"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
PUSHERS = 4
EXPIRY_SECONDS = 3600


class Pusher(threading.Thread):
    """Pushes images until the server dies under it; remembers what it was promised."""

    def __init__(self, server, password, number, round_number):
        super().__init__()
        self.server, self.password, self.number = server, password, number
        self.rng = random.Random(f"{SEED}/{round_number}/{number}")
        self.tag = f"r{round_number}-p{number}"
        self.promised, self.fault = {}, None

    def run(self):
        try:
            registry = Registry(self.server.port, self.password)
            for count in range(1000):
                layers = [self.rng.randbytes(self.rng.choice([10, 5_000, 300_000, 1_500_000])) for _ in range(self.rng.randint(1, 3))]
                tag = f"{self.tag}-{count}"
                self.promised[tag] = registry.push_image("crash/web", tag, layers, self.rng)
        except (OSError, http.client.HTTPException):
            pass
        except Refused as refused:
            self.fault = refused


def staged(server):
    folder = server.data / "blobs" / "uploads"
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def verify(server, password, promised, tags):
    registry = Registry(server.port, password)
    for tag in tags:
        registry.verify("crash/web", tag, promised[tag])
    registry.close()


def test_kill_nine():
    print(f"SEED={SEED} ROUNDS={ROUNDS}")
    rng = random.Random(SEED)
    server = Server.fresh("crash-kill")
    server.create_repository("crash/web")
    password, promised, total = server.password(), {}, 0
    try:
        for round_number in range(ROUNDS):
            pushers = [Pusher(server, password, number, round_number) for number in range(PUSHERS)]
            for pusher in pushers:
                pusher.start()
            time.sleep(rng.uniform(0.01, 0.5))
            server.kill()
            for pusher in pushers:
                pusher.join()
                assert pusher.fault is None, f"SEED={SEED} round {round_number}: {pusher.fault}"
            fresh = {tag: manifest for pusher in pushers for tag, manifest in pusher.promised.items()}
            promised.update(fresh)
            total += len(fresh)
            server.start()
            # All of the newest, and a sample of the rest: what was safe once must stay so.
            older = [tag for tag in promised if tag not in fresh]
            verify(server, password, promised, [*fresh, *rng.sample(older, min(10, len(older)))])
        assert total > ROUNDS / 4, f"only {total} pushes were acknowledged in {ROUNDS} rounds: the test proves little"
        verify(server, password, promised, promised)
        blobs = sum(1 for path in (server.data / "blobs" / "blobs").rglob("*") if path.is_file())
        print(f"{total} images were acknowledged in {ROUNDS} rounds, all whole; {blobs} blobs, {len(staged(server))} staged files")
        sweep(server)
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)


def sweep(server):
    """With an expiry of one second, what crashes left in staging is gone soon after a start."""
    server.stop()
    server.settings["upload_expiry_seconds"] = "1"
    # The sweep looks at once after a start and then once a minute; what no session knows goes at twice the expiry.
    time.sleep(3)
    server.start()
    deadline = time.monotonic() + 20
    while staged(server) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not staged(server), f"{len(staged(server))} staged files remain after their expiry"


def test_an_upload_goes_on_after_a_kill():
    """A session that was acknowledged with 202 exists after `kill -9` with the acknowledged bytes, and can be completed."""
    data = random.Random(SEED).randbytes(3_000_000)
    server = Server.fresh("crash-resume")
    try:
        server.create_repository("crash/web")
        password = server.password()
        registry = Registry(server.port, password)
        _, headers, _ = registry.send("POST", "/v2/crash/web/blobs/uploads/", b"")
        location = headers["location"].split("localhost", 1)[-1]
        path = location if location.startswith("/") else "/" + location.split("/", 1)[1]
        for start in range(0, len(data), 1_000_000):
            part = data[start : start + 1_000_000]
            registry.send("PATCH", path, part, {"Content-Range": f"{start}-{start + len(part) - 1}"})
            server.kill()
            server.start()
            registry = Registry(server.port, password)
            _, headers, _ = registry.send("GET", path)
            assert headers["range"] == f"0-{start + len(part) - 1}"
        registry.send("PUT", f"{path}?digest={digest(data)}", b"")
        assert registry.send("GET", f"/v2/crash/web/blobs/{digest(data)}")[2] == data
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)
