"""The heavier sides of the two stores: a PostgreSQL server and an S3 server (MinIO), both on loopback and thrown away."""

import glob
import hashlib
import http.client
import os
import pathlib
import pwd
import shutil
import signal
import subprocess

from . import sigv4
from .process import MissingTool, Process, clean_environment, free_port, run, run_folder, temporary_folder, tool

KEY_ID = "harness"
SECRET = "harness-secret"


class Postgres:
    """A PostgreSQL cluster in a temporary folder, run by the `postgres` user since it refuses root."""

    def __init__(self, name, durable=False):
        self.durable = durable
        self.port = free_port()
        self.folder = temporary_folder("wharfinger-pg-")
        self.log = run_folder(name) / "postgres.log"
        self.process = None

    def start(self):
        programs = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))
        if not programs:
            raise MissingTool("postgresql is not installed: run `make tools`")
        self.programs = programs[-1]
        owner = pwd.getpwnam("postgres")
        os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        data = self.folder / "data"
        run([*self.as_postgres(), self.programs / "initdb", "-D", data, "--locale=C", "-E", "UTF8", "-A", "trust", "-N"])
        return self.launch()

    def launch(self):
        """Starts the server on its data, the first time or after `kill`."""
        # The data is thrown away with a test; its fsync would only measure this machine's disk.
        fsync = "on" if self.durable else "off"
        settings = ["-c", f"fsync={fsync}", "-c", f"port={self.port}", "-c", "listen_addresses=127.0.0.1", "-c", "max_connections=400"]
        self.process = Process(
            [*self.as_postgres(), self.programs / "postgres", "-D", self.folder / "data", "-k", self.folder, *settings], self.log
        )
        self.process.wait_until(self.ready, 30, "postgres")
        return self

    def as_postgres(self):
        return ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []

    def ready(self):
        words = [self.programs / "pg_isready", "-q", "-h", "127.0.0.1", "-p", self.port]
        return subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL).returncode == 0

    def kill(self):
        """An immediate shutdown: nothing is written, the next start recovers as after a crash."""
        os.kill(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
        self.process.child.wait(30)

    def query(self, database, sql):
        """Runs a statement and returns its rows, each a list of texts."""
        words = ["psql", "-q", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres", "-d", database, "-At", "-F", "\t", "-c", sql]
        return [line.split("\t") for line in run(words).stdout.splitlines()]

    def database(self, name, options=""):
        """Makes an empty database and returns its URL."""
        words = ["psql", "-q", "-h", "127.0.0.1", "-p", self.port, "-U", "postgres", "-d", "postgres"]
        run([*words, "-c", f'DROP DATABASE IF EXISTS "{name}"', "-c", f'CREATE DATABASE "{name}" {options}'])
        return f"postgres://postgres@127.0.0.1:{self.port}/{name}"

    def stop(self):
        if self.process:
            self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


class Minio:
    """A MinIO server on a temporary folder."""

    def __init__(self, name):
        self.port = free_port()
        self.folder = temporary_folder("wharfinger-s3-")
        self.log = run_folder(name) / "minio.log"
        self.process = None

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        """Starts the server on its data, the first time or after `kill`."""
        env = clean_environment(
            {"MINIO_ROOT_USER": KEY_ID, "MINIO_ROOT_PASSWORD": SECRET, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off", "HOME": self.folder}
        )
        address = f"127.0.0.1:{self.port}"
        self.process = Process([tool("minio"), "server", "--quiet", "--address", address, self.folder / "data"], self.log, env=env)
        self.process.wait_until(self.ready, 30, "minio")
        return self

    def kill(self):
        self.process.kill()

    def contents(self, bucket):
        """What the bucket holds, read from the server's folder: the keys of objects, and the number of unfinished multipart uploads."""
        data = self.folder / "data"
        # Unlike `Path.rglob`, this passes over folders that go while it reads: objects are removed at the same time.
        objects = {os.path.dirname(found) for found in glob.glob("**/xl.meta", root_dir=data / bucket, recursive=True)}
        uploads = sum(1 for _ in (data / ".minio.sys" / "multipart").glob("*/*/xl.meta"))
        return objects, uploads

    def ready(self):
        """Whether it serves signed requests: its own readiness check says so some moments earlier."""
        try:
            return self.request("GET", "/", timeout=2)[0] == 200
        except OSError:
            return False

    def bucket(self, name):
        """Makes a bucket and returns the `--blobs` URL of a prefix in it."""
        status, body = self.request("PUT", f"/{name}", timeout=10)
        if status != 200:
            raise RuntimeError(f"MinIO refused the bucket: {status} {body}")
        return f"s3://{name}/registry?endpoint={self.url}&region=us-east-1"

    def request(self, method, path, timeout):
        """Sends a signed request without a body; returns the status and the body of the response."""
        nothing = {"x-amz-content-sha256": hashlib.sha256(b"").hexdigest()}
        host = f"127.0.0.1:{self.port}"
        headers = sigv4.sign(KEY_ID, SECRET, "us-east-1", "s3", host, b"", nothing, method=method, path=path)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def environment(self):
        """The keys, as the server wants them."""
        return {"WHARFINGER_S3_ACCESS_KEY_ID": KEY_ID, "WHARFINGER_S3_SECRET_ACCESS_KEY": SECRET}

    def stop(self):
        if self.process:
            self.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
