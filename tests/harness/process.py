"""Child processes that are always ended by their own id, and ports nobody listens on."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
# The name of this run of tests on the machine. Names of interfaces have 15 characters at most.
RUN = f"wharf{os.getpid() % 100_000}"
# Its mark in the environment of everything that is started from now on: a number may come back.
RUN_MARK = f"{RUN}-{time.time_ns()}"
os.environ["TEST_RUN"] = RUN_MARK
# Temporary folders that this run made.
FOLDERS = []
# Folders below `build/run` that this run uses.
RUN_FOLDERS = set()
TOOLS = pathlib.Path(os.environ.get("WHARFINGER_TOOLS") or BUILD / "tools").resolve()


class MissingTool(Exception):
    """A program that the tests need is not installed; `tests/tools.sh` installs them all."""


def temporary_folder(prefix):
    """Makes a folder that whoever requests it removes."""
    FOLDERS.append(pathlib.Path(tempfile.mkdtemp(prefix=prefix)))
    return FOLDERS[-1]


def run_folder(name):
    """The folder of a server or a test, by its name, which stays there for a look after a failure. Each worker of a run that has
    several (pytest-xdist) has folders of its own."""
    folder = BUILD / "run" / os.environ.get("PYTEST_XDIST_WORKER", "") / name
    RUN_FOLDERS.add(folder)
    return folder


def end_in_order():
    """Makes SIGTERM end this process as an exception does, so that what it started is stopped too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def tool(name):
    """The path of a program: our own pinned one first, then whatever the system has."""
    for folder in (TOOLS / "bin", TOOLS / "venv" / "bin"):
        if (folder / name).exists():
            return str(folder / name)
    for folder in os.environ["PATH"].split(os.pathsep) + ["/usr/sbin", "/sbin"]:
        candidate = pathlib.Path(folder) / name
        if candidate.exists() and os.access(candidate, os.X_OK):
            return str(candidate)
    raise MissingTool(f"{name} is not installed: run `make tools`")


def free_port():
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def clean_environment(extra=None):
    """This process's environment without what would steer a client or the server from outside the test."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "WHARFINGER_", "OCI_", "OTEL_", "DOCKER_", "MINIO_", "PG"))
        and name.lower() not in ("http_proxy", "https_proxy", "all_proxy")
    }
    kept.update({name: str(value) for name, value in (extra or {}).items()})
    return kept


class Process:
    """A program in a session of its own, its output in a file; ended by its process group and nothing else."""

    def __init__(self, command, log, env=None, cwd=None, stdout=None):
        self.log = pathlib.Path(log)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.stderr = open(self.log, "ab")
        self.child = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=stdout or self.stderr,
            stderr=self.stderr,
            env=clean_environment() if env is None else env,
            cwd=cwd,
            start_new_session=True,
        )

    @property
    def pid(self):
        return self.child.pid

    def running(self):
        return self.child.poll() is None

    def wait_until(self, ready, seconds, what):
        """Polls `ready` until it is true; a program that ends or stays silent is an error that quotes its log."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self.running():
                raise RuntimeError(f"{what} ended with {self.child.returncode}:\n{self.tail()}")
            if ready():
                return
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"{what} did not get ready in {seconds} s:\n{self.tail()}")

    def tail(self, size=4000):
        return self.log.read_bytes()[-size:].decode(errors="replace")

    def signal(self, number):
        if self.running():
            try:
                os.killpg(self.child.pid, number)
            except ProcessLookupError:
                pass

    def stop(self, seconds=20):
        """Sends SIGTERM, then SIGKILL. Returns the exit code."""
        self.signal(signal.SIGTERM)
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.child.wait()
        self.stderr.close()
        return self.child.returncode

    def kill(self):
        """Ends at once, as a power cut would."""
        self.signal(signal.SIGKILL)
        self.child.wait()
        self.stderr.close()


def run(command, env=None, cwd=None, input=None, check=True, seconds=120):
    """Runs a program to its end and returns what it printed; a failure is an error that quotes both streams."""
    done = subprocess.run(
        [str(word) for word in command],
        env=clean_environment() if env is None else env,
        cwd=cwd,
        input=input,
        capture_output=True,
        text=True,
        timeout=seconds,
    )
    if check and done.returncode != 0:
        words = " ".join(str(word) for word in command)
        raise AssertionError(f"`{words}` ended with {done.returncode}\n--- stdout\n{done.stdout}\n--- stderr\n{done.stderr}")
    return done
