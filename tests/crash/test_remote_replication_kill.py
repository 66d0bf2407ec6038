"""`kill -9` of a server while it sends images to another one: what was acknowledged arrives there, whole.

REMOTE_ROUNDS (default 3) and SEED steer it; a failure names both.
"""

import os
import random
import shutil
import time

from harness.aws import make_client
from harness.server import Server

from registry import Refused, Registry

ROUNDS = int(os.environ.get("REMOTE_ROUNDS", "3"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
OTHER, REGION, NAME = "210987654321", "eu-west-1", "crash/web"
# A claim of the server that was killed lasts 40 seconds.
SECONDS = 120


def test_kill_nine_while_images_are_sent():
    print(f"SEED={SEED} REMOTE_ROUNDS={ROUNDS}")
    rng = random.Random(SEED)
    target = Server.fresh("crash-remote-target")
    source = Server("crash-remote-source")
    shutil.rmtree(source.folder, ignore_errors=True)
    try:
        target.create_repository(NAME)
        source.folder.mkdir(parents=True)
        secret, config = source.folder / "password", source.folder / "server.toml"
        secret.write_text(target.password())
        config.write_text(
            f'[[replication_destinations]]\naccount = "{OTHER}"\nregion = "{REGION}"\nurl = "http://127.0.0.1:{target.port}"\n'
            f'username = "AWS"\npassword_file = "{secret}"\n'
        )
        source.environment["WHARFINGER_CONFIG"] = config
        source.start()
        source.create_repository(NAME)
        rule = {"destinations": [{"region": REGION, "registryId": OTHER}]}
        make_client(source, "ecr").put_replication_configuration(replicationConfiguration={"rules": [rule]})
        password, images = source.password(), {}
        for number in range(ROUNDS):
            tag = f"r{number}"
            layers = [rng.randbytes(rng.choice([1_000, 5_000_000, 20_000_000])) for _ in range(4)]
            images[tag] = Registry(source.port, password).push_image(NAME, tag, layers, rng)
            time.sleep(rng.uniform(0.0, 0.5))
            source.kill()
            source.start()
        registry, deadline = Registry(target.port, target.password()), time.monotonic() + SECONDS
        for tag, manifest in images.items():
            while True:
                try:
                    registry.verify(NAME, tag, manifest)
                    break
                except Refused:
                    assert time.monotonic() < deadline, f"SEED={SEED}: {tag} did not arrive"
                    time.sleep(0.5)
    finally:
        source.stop()
        target.stop()
        for server in (source, target):
            shutil.rmtree(server.folder, ignore_errors=True)
