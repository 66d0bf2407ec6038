"""A full disk: clear errors, nothing corrupted, and normal service when there is space again. The data folder is a small tmpfs (needs root)."""

import http.client
import random
import shutil
import time

import pytest
from harness.process import run, run_folder
from harness.server import Server

from registry import Refused, Registry

SIZE_MIB = 48
# What becomes free again. Much less would go to the write-ahead log before its pages can be copied into the index.
FREED_MIB = 2


@pytest.fixture
def small_disk():
    folder = run_folder("crash-full")
    run(["umount", folder / "data"], check=False)
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "data").mkdir(parents=True)
    run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", folder / "data"])
    yield folder
    run(["umount", "-l", folder / "data"])
    shutil.rmtree(folder, ignore_errors=True)


def fill(ballast):
    """Takes all space that is left but for a few KiB."""
    with open(ballast, "ab", buffering=0) as file:
        for size in (1 << 20, 1 << 14, 1 << 12):
            try:
                while file.write(b"\0" * size) == size:
                    pass
            except OSError:
                pass
    return ballast


def pushes_until_refused(registry, rng, promised, prefix):
    for count in range(10_000):
        tag = f"{prefix}-{count}"
        try:
            promised[tag] = registry.push_image("crash/web", tag, [rng.randbytes(700_000)], rng)
        except Refused as refused:
            return refused
        except (OSError, http.client.HTTPException) as error:
            pytest.fail(f"the server returned no clear error on a full disk: {error!r}")
    pytest.fail("the disk did not fill")


def test_a_full_disk_is_said_clearly_and_survived(small_disk):
    rng = random.Random(7)
    server = Server("crash-full", data=small_disk / "data", folder=small_disk).start()
    try:
        server.create_repository("crash/web")
        password, promised = server.password(), {}
        registry = Registry(server.port, password)
        ballast = small_disk / "data" / "ballast"
        ballast.write_bytes(bytes(FREED_MIB << 20))
        # By content: the disk fills with blobs.
        refused = pushes_until_refused(registry, rng, promised, "blobs")
        assert refused.status in (500, 503, 507), refused
        # By everything else: not even the index can grow.
        fill(ballast)
        registry = Registry(server.port, password)
        refused = pushes_until_refused(registry, rng, promised, "index")
        assert refused.status in (500, 503, 507), refused
        for tag, manifest in promised.items():
            registry.verify("crash/web", tag, manifest)
        ballast.unlink()
        # Service returns by itself.
        deadline = time.monotonic() + 20
        while True:
            try:
                promised["after"] = Registry(server.port, password).push_image("crash/web", "after", [b"small"], rng)
                break
            except Refused:
                assert time.monotonic() < deadline, "service did not return with the space"
                time.sleep(0.5)
        # And the same is true after a crash and a restart on what the full disk left behind.
        server.kill()
        server.start()
        registry = Registry(server.port, password)
        for tag, manifest in promised.items():
            registry.verify("crash/web", tag, manifest)
    finally:
        server.stop()
