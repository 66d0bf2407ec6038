"""`kill -9` of a pull-through cache while it imports: what it serves afterwards is whole, and staging is swept.

IMPORT_ROUNDS (default 30) and SEED steer it; a failure names both.
"""

import http.client
import json
import os
import random
import shutil
import threading
import time

from harness.aws import make_client
from harness.server import Server

from registry import Refused, Registry
from test_kill import sweep

ROUNDS = int(os.environ.get("IMPORT_ROUNDS", "30"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)


def pull(server, password, tag, manifest):
    """Pulls until the server dies."""
    try:
        Registry(server.port, password).verify("quay/crash/web", tag, manifest)
    except (OSError, http.client.HTTPException, Refused):
        pass


def test_kill_nine_during_imports():
    print(f"SEED={SEED} IMPORT_ROUNDS={ROUNDS}")
    rng = random.Random(SEED)
    upstream = Server.fresh("crash-upstream")
    cache = Server.fresh("crash-cache", settings={"upstreams": f"quay.io=http://127.0.0.1:{upstream.port}"})
    try:
        upstream.create_repository("crash/web")
        source = Registry(upstream.port, upstream.password())
        value = json.dumps({"username": "AWS", "accessToken": upstream.password()})
        secret = make_client(cache, "secretsmanager").create_secret(Name="ecr-pullthroughcache/upstream", SecretString=value)
        rule = {"ecrRepositoryPrefix": "quay", "upstreamRegistryUrl": "quay.io", "credentialArn": secret["ARN"]}
        cache.call("CreatePullThroughCacheRule", rule)
        password, images = cache.password(), {}
        for number in range(ROUNDS):
            tag = f"r{number}"
            layers = [rng.randbytes(rng.choice([1_000, 500_000, 4_000_000])) for _ in range(3)]
            images[tag] = source.push_image("crash/web", tag, layers, rng)
            pulls = [threading.Thread(target=pull, args=(cache, password, tag, images[tag])) for _ in range(3)]
            for one in pulls:
                one.start()
            time.sleep(rng.uniform(0.01, 0.4))
            cache.kill()
            for one in pulls:
                one.join()
            cache.start()
            Registry(cache.port, password).verify("quay/crash/web", tag, images[tag])
        # All of them come from the cache alone.
        upstream.stop()
        for tag, manifest in images.items():
            Registry(cache.port, password).verify("quay/crash/web", tag, manifest)
        sweep(cache)
    finally:
        cache.stop()
        upstream.stop()
        for server in (cache, upstream):
            shutil.rmtree(server.folder, ignore_errors=True)
