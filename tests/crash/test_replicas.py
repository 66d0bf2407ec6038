"""Two and three servers over one PostgreSQL database and one S3 bucket, with faults of all of them, by a seed.

Clients push, continue, finish and cancel the same uploads and the same content on every server, while a proxy delays and
loses S3 requests and responses, servers are killed, the database and the S3 server are restarted, and claims on uploads run
out. Whatever got a 201 must be readable on every server with the right digest. In the end, once idle uploads have
been swept, the bucket must hold the objects that the index names, and nothing else.

REPLICA_SECONDS (default 60) and SEED steer it; a failure names the seed. The processes' timing is not part of the seed: a
failure may need several runs to be seen again.
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
from harness.stores import Minio, Postgres

from faulty_proxy import FaultyProxy
from registry import Refused, digest, path_of

SECONDS = float(os.environ.get("REPLICA_SECONDS", "60"))
SEED = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
CLIENTS = 6
REPOSITORY = "sim/web"
BUCKET = "replicas"
# Below, at and above one part of 16 MiB, of which two and more make a multipart upload.
SIZES = [0, 10, 300_000, 2_000_000, 17_000_000, 34_000_000]
# What a client may be told while servers and stores fail under it.
EXPECTED_FAILURES = {400, 404, 409, 416, 429, 500, 503}


class Client:
    """A connection to one server."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def request(self, method, path, body=None, headers=None):
        self.connection.request(method, path, body, headers or {})
        response = self.connection.getresponse()
        said = response.read()
        if response.status >= 400:
            if response.status not in EXPECTED_FAILURES:
                raise AssertionError(f"{method} {path} got {response.status}: {said[:300]!r}")
            raise Refused(response.status, said)
        return response.status, {name.lower(): value for name, value in response.getheaders()}, said

    def close(self):
        self.connection.close()


class Replicas:
    """Servers, each with its own proxy to the bucket, and what they have promised."""

    def __init__(self, name, servers, seed):
        self.rng = random.Random(seed)
        self.postgres, self.minio = Postgres(name), Minio(name)
        self.postgres.start()
        self.minio.start()
        database = self.postgres.database("replicas")
        self.minio.bucket(BUCKET)
        self.folder = run_folder(name)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.proxies = [FaultyProxy(self.minio.port, f"{seed}/{number}") for number in range(servers)]
        self.servers = []
        for number, proxy in enumerate(self.proxies):
            settings = {
                "database": database,
                "blobs": f"s3://{BUCKET}/registry?endpoint=http://127.0.0.1:{proxy.port}&region=us-east-1",
                "key_file": self.folder / "key",
                "stall_timeout_seconds": 5,
            }
            server = Server(f"{name}-{number}", dev=True, settings=settings, environment=self.minio.environment())
            shutil.rmtree(server.folder, ignore_errors=True)
            self.start_server(server)
            self.servers.append(server)
        self.servers[0].create_repository(REPOSITORY)
        self.contents = [self.rng.randbytes(size) for size in SIZES]
        self.lock = threading.Lock()
        self.promised, self.locations, self.outcomes = set(), [], {}
        self.stopped, self.fault = threading.Event(), None

    def start_server(self, server):
        """Starts it, again where a fault hit its start."""
        for attempt in range(10):
            try:
                return server.start()
            except RuntimeError:
                if attempt == 9:
                    raise
                time.sleep(0.2)

    def stop(self):
        for server in self.servers:
            server.stop()
        for proxy in self.proxies:
            proxy.stop()
        self.minio.stop()
        self.postgres.stop()

    # --- clients ---

    def client(self, seed):
        rng = random.Random(seed)
        while not self.stopped.is_set():
            client = Client(rng.choice(self.servers).port)
            try:
                for _ in range(rng.randint(1, 5)):
                    rng.choice([self.push, self.work_on_shared])(client, rng)
            except Refused as refused:
                self.count(refused.status)
            except (OSError, http.client.HTTPException):
                self.count("connection")
                time.sleep(0.05)
            except Exception as error:  # noqa: BLE001 - anything else is a finding, told by the main thread
                self.fault = self.fault or error
                self.stopped.set()
            finally:
                client.close()

    def count(self, outcome):
        with self.lock:
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1

    def promise(self, data):
        with self.lock:
            self.promised.add(digest(data))
        self.count(201)

    def content(self, rng):
        return rng.choices(self.contents, weights=[2, 8, 12, 6, 2, 1])[0]

    def push(self, client, rng):
        data = self.content(rng)
        uploads = f"/v2/{REPOSITORY}/blobs/uploads/"
        if rng.random() < 0.3:
            client.request("POST", f"{uploads}?digest={digest(data)}", data)
            return self.promise(data)
        location = path_of(client.request("POST", uploads, b"")[1]["location"])
        if rng.random() < 0.7:
            with self.lock:
                self.locations = [*self.locations[-7:], (location, data)]
        cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randint(0, 3)))
        for start, end in zip([0, *cuts], [*cuts, len(data)]):
            headers = {"Content-Range": f"{start}-{end - 1}"} if rng.random() < 0.5 and end > start else {}
            client.request("PATCH", location, data[start:end], headers)
        client.request("PUT", f"{location}?digest={digest(data)}", b"")
        self.promise(data)

    def work_on_shared(self, client, rng):
        """Continues, finishes or cancels an upload that other clients work on, too."""
        with self.lock:
            if not self.locations:
                return
            location, data = rng.choice(self.locations)
        deed = rng.choice(["patch", "patch", "put", "cancel", "status", "too long"])
        if deed == "cancel":
            client.request("DELETE", location)
        elif deed == "put":
            client.request("PUT", f"{location}?digest={digest(data)}", b"")
            self.promise(data)
        else:
            have = client.request("GET", location)[1]["range"]
            start = int(have.split("-")[1]) + 1 if have != "0-0" else 0
            part = data[start : start + rng.randint(1, len(data) + 1)]
            if deed == "patch" and part:
                client.request("PATCH", location, part, {"Content-Range": f"{start}-{start + len(part) - 1}"})
            elif deed == "too long" and len(part) > 1:
                # Chunked, so that only the Content-Range tells the length.
                pieces = iter([part[:1], part[1:]])
                client.request("PATCH", location, pieces, {"Content-Range": f"{start}-{start}", "Transfer-Encoding": "chunked"})

    # --- faults ---

    def strike(self, zombies):
        deed = self.rng.choice(["server", "server", "server", "minio", "postgres", "claims", "verify", "verify"])
        if deed == "server":
            killed = self.servers if self.rng.random() < 0.4 else [self.rng.choice(self.servers)]
            for server in killed:
                server.kill()
            if killed is self.servers or zombies:
                # What they sent has arrived by the time that their claims run out.
                for proxy in self.proxies if killed is self.servers else []:
                    proxy.drain()
                self.end_claims()
            for server in killed:
                self.start_server(server)
        elif deed in ("minio", "postgres"):
            store = getattr(self, deed)
            store.kill()
            time.sleep(self.rng.uniform(0, 1))
            store.launch() if deed == "postgres" else store.start()
        elif deed == "claims" and zombies:
            self.end_claims()
        elif deed == "verify":
            self.verify(self.rng.sample(sorted(self.promised), min(2, len(self.promised))))

    def end_claims(self):
        """Lets all claims run out early. A server that has one may be alive: then the version alone must keep it from harm."""
        self.postgres.query("replicas", "UPDATE uploads SET claimed_until = 1 WHERE claimed_until > 0")

    def verify(self, digests, patience=30):
        """Reads promised blobs, each from one server at least; a store that is starting again gets some time."""
        for name in digests:
            server = self.rng.choice(self.servers)
            self.read(server, name, patience)

    def read(self, server, name, patience):
        deadline = time.monotonic() + patience
        while True:
            client = Client(server.port)
            try:
                data = client.request("GET", f"/v2/{REPOSITORY}/blobs/{name}")[2]
                assert digest(data) == name, f"{server.name} sent other bytes for {name}"
                return
            except (OSError, http.client.HTTPException, Refused) as error:
                lost = isinstance(error, Refused) and error.status == 404
                assert not lost and time.monotonic() < deadline, f"{server.name} lost {name}: {error!r}"
                time.sleep(0.1)
            finally:
                client.close()

    # --- the end ---

    def settle(self):
        """Ends the faults, verifies everything everywhere, and sweeps."""
        for proxy in self.proxies:
            proxy.faults = False
        for server in self.servers:
            for name in sorted(self.promised):
                self.read(server, name, 30)

    def sweep(self, zombies):
        """Lets every open upload expire, starts the servers again so that they sweep, and compares bucket and index."""
        for server in self.servers:
            server.stop()
        for proxy in self.proxies:
            proxy.drain()
        self.postgres.query("replicas", "UPDATE uploads SET updated_at = 0, claimed_until = 0")
        for server in self.servers:
            self.start_server(server)
        deadline = time.monotonic() + 40
        while (left := self.postgres.query("replicas", "SELECT id, version FROM uploads")) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not left, f"uploads stay after their expiry: {left}"
        objects, multiparts = self.minio.contents(BUCKET)
        objects = {key for key in objects if key.startswith("registry/blobs/")}
        named = {f"registry/{row[0]}" for row in self.postgres.query("replicas", "SELECT location FROM blobs")}
        condemned = {f"registry/{row[0]}" for row in self.postgres.query("replicas", "SELECT location FROM blob_deletions")}
        assert named <= objects, f"missing: {sorted(named - objects)}"
        if zombies:
            # A server whose claim was taken from it may write after the upload's bytes were removed. Outside of this test it
            # stops before its claim runs out.
            return
        assert objects <= named | condemned, f"unknown: {sorted(objects - named - condemned)}"
        assert multiparts == 0, f"{multiparts} multipart uploads stay unfinished"


@pytest.mark.parametrize(("servers", "zombies"), [(2, False), (3, True)], ids=["two-servers", "three-servers-that-lose-claims"])
def test_replicas(servers, zombies):
    print(f"SEED={SEED} REPLICA_SECONDS={SECONDS}")
    replicas = Replicas(f"crash-replicas-{servers}", servers, f"{SEED}/{servers}")
    threads = [threading.Thread(target=replicas.client, args=(f"{SEED}/{servers}/{number}",)) for number in range(CLIENTS)]
    try:
        for thread in threads:
            thread.start()
        end = time.monotonic() + SECONDS / 2
        while time.monotonic() < end and not replicas.stopped.is_set():
            time.sleep(replicas.rng.uniform(0.2, 2))
            replicas.strike(zombies)
        replicas.stopped.set()
        for thread in threads:
            thread.join()
        assert replicas.fault is None, f"SEED={SEED}: {replicas.fault!r}"
        replicas.settle()
        replicas.sweep(zombies)
        replicas.settle()
        faults = {}
        for proxy in replicas.proxies:
            for (method, fault), count in proxy.counts.items():
                faults[f"{method} {fault}"] = faults.get(f"{method} {fault}", 0) + count
        print(f"outcomes: {replicas.outcomes}; S3 requests: {faults}")
        assert replicas.outcomes.get(201, 0) > SECONDS / 10, f"SEED={SEED}: few pushes succeeded: {replicas.outcomes}"
    except AssertionError as error:
        raise AssertionError(f"SEED={SEED}: {error}") from error
    finally:
        replicas.stopped.set()
        replicas.stop()
