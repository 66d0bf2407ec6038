"""The server under test: the release binary on a loopback port with a data folder of its own."""

import base64
import http.client
import json
import os
import pathlib
import re
import shutil
import ssl
import time

from . import sigv4
from .process import ROOT, Process, clean_environment, free_port, run, run_folder

# From launch to /readyz. The promise is 100 ms; this bound only says "never".
START_SECONDS = 20
EXPORT = re.compile(r"^export (AWS_[A-Z_]+)=(\S+)$", re.MULTILINE)


def binary():
    """The program to test: `WHARFINGER_BINARY`, else what `cargo build --release` made."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return pathlib.Path(os.environ.get("WHARFINGER_BINARY", target / "release" / "wharfinger"))


class Server:
    """One running server. `settings` are configuration keys; each reaches it as its `WHARFINGER_…` variable."""

    def __init__(self, name, dev=False, data=None, port=None, settings=None, environment=None, folder=None, tls=None, address=None):
        """`tls` is the certificate that clients of this server must trust; it speaks plain HTTP without one. It listens on
        `address`, by default on loopback."""
        self.name = name
        self.tls = tls
        self.address = address or "127.0.0.1"
        self.folder = pathlib.Path(folder or run_folder(name))
        self.data = pathlib.Path(data or self.folder / "data")
        self.dev = dev
        self.port = port or free_port()
        # Tests that run tasks say so: others must not find a cluster where there is a Docker Engine.
        self.settings = {"local_clusters": "none", **(settings or {})}
        self.environment = dict(environment or {})
        self.process = None
        self.credentials = {}

    @classmethod
    def fresh(cls, name, **options):
        """A server whose folder is emptied first, already started."""
        server = cls(name, **options)
        shutil.rmtree(server.folder, ignore_errors=True)
        return server.start()

    @property
    def host(self):
        return f"{'localhost' if self.address == '127.0.0.1' else self.address}:{self.port}"

    @property
    def url(self):
        return f"{'https' if self.tls else 'http'}://{self.host}"

    def connect(self, timeout=30):
        """A connection to it that is not open yet."""
        if not self.tls:
            return http.client.HTTPConnection(self.address, self.port, timeout=timeout)
        trust = ssl.create_default_context(cafile=self.tls)
        return http.client.HTTPSConnection("localhost", self.port, timeout=timeout, context=trust)

    def start(self):
        """Starts it and waits for /readyz. The first start on a data folder prints the root key, which is kept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [binary(), "serve", "--listen", f"{self.address}:{self.port}", "--data-dir", self.data]
        if self.dev:
            command.append("--dev")
        env = clean_environment({f"WHARFINGER_{key.upper()}": value for key, value in self.settings.items()})
        env.update({key: str(value) for key, value in self.environment.items()})
        said = self.folder / "stdout"
        with open(said, "wb") as stdout:
            self.process = Process(command, self.folder / "stderr", env=env, stdout=stdout)
        self.process.wait_until(self.ready, START_SECONDS, "wharfinger serve")
        self.credentials.update(EXPORT.findall(said.read_text()))
        return self

    def ready(self):
        connection = self.connect(timeout=2)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def stop(self):
        return self.process.stop() if self.process else None

    def kill(self):
        self.process.kill()

    def __enter__(self):
        return self if self.process else self.start()

    def __exit__(self, *_):
        self.stop()

    def memory_peak(self):
        """Peak resident memory so far, in KiB."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])

    def admin(self, *words, check=True):
        """Runs another subcommand of the binary on the same data folder."""
        env = clean_environment({f"WHARFINGER_{key.upper()}": value for key, value in self.settings.items()})
        env.update({key: str(value) for key, value in self.environment.items()})
        env["WHARFINGER_DATA_DIR"] = str(self.data)
        return run([binary(), *words], env=env, check=check)

    def add_user(self, name, *policies):
        """Makes a user with the named policies and returns the variables of its key."""
        words = [word for policy in policies for word in ("--policy", policy)]
        said = self.admin("user", "create", name, *words).stdout
        return self.client_environment(dict(EXPORT.findall(said)))

    def client_environment(self, credentials=None):
        """What an AWS client needs in its environment to talk to this server, as the `export` lines say it."""
        found = {**self.credentials, **(credentials or {})}
        found["AWS_ENDPOINT_URL"] = self.url
        found["AWS_EC2_METADATA_DISABLED"] = "true"
        found.setdefault("AWS_DEFAULT_REGION", "us-east-1")
        if self.dev:
            found.setdefault("AWS_ACCESS_KEY_ID", "test")
            found.setdefault("AWS_SECRET_ACCESS_KEY", "test")
        return found

    def call(self, operation, body=None, credentials=None, check=True):
        """One ECR operation, signed by our own small signer (boto3 is the foreign one)."""
        who = self.client_environment(credentials)
        payload = json.dumps(body or {}).encode()
        headers = sigv4.sign(
            who["AWS_ACCESS_KEY_ID"],
            who["AWS_SECRET_ACCESS_KEY"],
            who["AWS_DEFAULT_REGION"],
            "ecr",
            self.host,
            payload,
            {
                "content-type": "application/x-amz-json-1.1",
                "x-amz-target": f"AmazonEC2ContainerRegistry_V20150921.{operation}",
            },
        )
        connection = self.connect()
        try:
            connection.request("POST", "/", payload, headers)
            response = connection.getresponse()
            said = response.read()
        finally:
            connection.close()
        if check and response.status != 200:
            raise AssertionError(f"{operation} returned {response.status}: {said.decode(errors='replace')}")
        return json.loads(said or b"{}")

    def password(self, credentials=None):
        """The registry password of a key: what `aws ecr get-login-password` prints."""
        data = self.call("GetAuthorizationToken", credentials=credentials)
        token = data["authorizationData"][0]["authorizationToken"]
        user, _, password = base64.b64decode(token).decode().partition(":")
        assert user == "AWS", user
        return password

    def create_repository(self, *names):
        for name in names:
            self.call("CreateRepository", {"repositoryName": name})

    def wait_for_log(self, pattern, seconds=5):
        """Waits until the server's log matches."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if re.search(pattern, self.process.log.read_text(errors="replace")):
                return True
            time.sleep(0.02)
        return False
