"""Podman's Docker socket of the tests' own: its images, its networks and its socket live in one temporary folder."""

import json
import pathlib
import resource
import shutil
import subprocess
import time

from .engine import free_network
from .leftovers import BRIDGES
from .process import RUN, Process, clean_environment, run, run_folder, temporary_folder, tool


class Podman:
    """`podman system service` on a socket of its own."""

    def __init__(self, name):
        # Podman refuses a run root of more than 50 characters.
        self.folder = temporary_folder("pod-")
        self.socket = self.folder / "podman.sock"
        self.log = run_folder(name) / "podman.log"
        self.process = None
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        # Its own defaults may be more than the tests may set.
        (self.folder / "containers.conf").write_text(
            f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", "nproc=1024:1024"]\n'
            f'[network]\nnetwork_config_dir = "{self.folder}/networks"\n'
            '[engine]\nevents_logger = "file"\n'
        )
        (self.folder / "registries.conf").write_text('[[registry]]\nlocation = "localhost"\ninsecure = true\n')
        # Its own one would be the same for parallel runs.
        default = free_network("10.202")
        network = {"name": "podman", "id": "0" * 64, "driver": "bridge", "network_interface": f"{RUN}p"}
        network["subnets"] = [{"subnet": f"{default}.0/24", "gateway": f"{default}.1"}]
        network.update({"created": "2026-01-01T00:00:00Z", "ipam_options": {"driver": "host-local"}})
        (self.folder / "networks").mkdir()
        (self.folder / "networks" / "podman.json").write_text(json.dumps(network))
        self.env = clean_environment(
            {
                "HOME": self.folder,
                "CONTAINERS_CONF": self.folder / "containers.conf",
                "CONTAINERS_REGISTRIES_CONF": self.folder / "registries.conf",
            }
        )

    @property
    def command(self):
        storage = ["--root", self.folder / "root", "--runroot", self.folder / "run", "--tmpdir", self.folder / "tmp"]
        return [tool("podman"), *storage, "--storage-driver=vfs", "--cgroup-manager=cgroupfs"]

    def start(self):
        self.process = Process([*self.command, "system", "service", "--time=0", f"unix://{self.socket}"], self.log, env=self.env)
        self.process.wait_until(self.socket.exists, 60, "podman")
        return self

    def podman(self, *words, check=True):
        """Runs the command line of this Podman; returns what it printed."""
        return run([*self.command, *words], env=self.env, check=check).stdout

    def stop(self):
        if self.process:
            # One that shares the network of another may be in the way of its removal.
            end = time.monotonic() + 60
            while self.podman("ps", "--all", "--quiet", check=False).split() and time.monotonic() < end:
                self.podman("rm", "--all", "--force", "--time=0", check=False)
            made = [json.loads(path.read_text()) for path in (self.folder / "networks").glob("*.json")]
            BRIDGES.update(network["network_interface"] for network in made)
            self.podman("network", "prune", "--force", check=False)
            self.process.stop(30)
        mounts = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
