"""Podman's Docker socket of the tests' own: its images, its networks and its socket live in one temporary folder."""

import pathlib
import resource
import shutil
import subprocess
import tempfile

from .process import BUILD, Process, clean_environment, run, tool


class Podman:
    """`podman system service` on a socket of its own."""

    def __init__(self, name):
        # Podman refuses a run root of more than 50 characters.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="pod-"))
        self.socket = self.folder / "podman.sock"
        self.log = BUILD / "run" / name / "podman.log"
        self.process = None
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        # Its own defaults may be more than the tests may set.
        (self.folder / "containers.conf").write_text(
            f'[containers]\ndefault_ulimits = ["nofile={files}:{files}", "nproc=1024:1024"]\n'
            f'[network]\nnetwork_config_dir = "{self.folder}/networks"\n'
            '[engine]\nevents_logger = "file"\n'
        )
        (self.folder / "registries.conf").write_text('[[registry]]\nlocation = "localhost"\ninsecure = true\n')
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
            self.podman("rm", "--all", "--force", "--time=0", check=False)
            self.podman("network", "prune", "--force", check=False)
            self.process.stop(30)
        mounts = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
