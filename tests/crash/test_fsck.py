"""`kill -9` of `fsck --repair`: whatever was put aside or taken out of the index, the next run goes on and ends with a whole store.

FSCK_ROUNDS (default 12) and SEED steer it; a failure names the seed.
"""

import os
import random
import shutil
import subprocess
import time

from harness.process import clean_environment
from harness.server import Server, binary

from registry import Registry, digest

ROUNDS = int(os.environ.get("FSCK_ROUNDS", "12"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
IMAGES = 40
REPOSITORY = "crash/web"


def start(server, *words):
    environment = clean_environment({"WHARFINGER_DATA_DIR": server.data})
    words = [str(word) for word in [binary(), "fsck", *words]]
    return subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def path_of(server, content):
    hexadecimal = digest(content).partition(":")[2]
    return server.data / "blobs" / "blobs" / "sha256" / hexadecimal[:2] / hexadecimal


def test_kills_of_a_repair():
    print(f"SEED={SEED}")
    rng = random.Random(SEED)
    server = Server.fresh("crash-fsck")
    try:
        server.create_repository(REPOSITORY)
        registry = Registry(server.port, server.password())
        layers = {f"v{number}": rng.randbytes(50_000) for number in range(IMAGES)}
        manifests = {tag: registry.push_image(REPOSITORY, tag, [layer]) for tag, layer in layers.items()}
        registry.close()
        for number in range(ROUNDS):
            server.stop()
            broken = rng.sample(sorted(layers), 12)
            for tag in broken[:6]:
                path_of(server, layers[tag]).unlink()
            for tag in broken[6:]:
                path_of(server, layers[tag]).write_bytes(b"damaged".ljust(len(layers[tag])))
            for _ in range(3):
                repair = start(server, "--repair", "--checksums")
                time.sleep(rng.uniform(0.01, 0.25))
                repair.kill()
                repair.communicate(timeout=60)
            repair = start(server, "--repair", "--checksums")
            output, errors = repair.communicate(timeout=120)
            assert repair.returncode in (0, 1) and not errors.count("ended early"), f"SEED={SEED} round {number}: {errors}{output}"

            server.start()
            registry = Registry(server.port, server.password())
            for tag in broken:
                # What was lost does not exist for a push, which brings it again.
                name = f"/v2/{REPOSITORY}/blobs/{digest(layers[tag])}"
                assert registry.send("HEAD", name, expect=(200, 404))[0] == 404, f"SEED={SEED} round {number}: {tag}"
                registry.push_blob(REPOSITORY, layers[tag], "whole")
            for tag, manifest in manifests.items():
                registry.verify(REPOSITORY, tag, manifest)
            registry.close()
        server.stop()
        check = start(server, "--checksums")
        output, errors = check.communicate(timeout=120)
        assert check.returncode == 0, f"SEED={SEED}: {output}{errors}"
    finally:
        server.stop()
        shutil.rmtree(server.folder, ignore_errors=True)
