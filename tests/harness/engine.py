"""A Docker Engine of the tests' own: its data, its socket and its containerd live in one temporary folder."""

import os
import pathlib
import shutil
import subprocess

from .leftovers import BRIDGES
from .process import RUN, Process, clean_environment, run, run_folder, temporary_folder, tool


def free_network(prefix):
    """The first three numbers of a network of 256 addresses that no interface has: a run that was killed may have left its own."""
    used = run(["ip", "-4", "route"]).stdout
    for number in range(os.getpid(), os.getpid() + 250):
        network = f"{prefix}.{number % 250}"
        if f"{network}.0/24" not in used:
            return network
    raise AssertionError(f"all networks of {prefix} are in use")


class Engine:
    """dockerd on a socket of its own. It makes no firewall rules, and no bridge unless it is told to: then containers have a
    network, and ports are published by a proxy on the host."""

    def __init__(self, name, bridge=False, insecure=()):
        """`insecure` are networks, other than loopback, whose registries need no TLS."""
        # Not under the project: a socket's path may have 108 bytes at most.
        self.folder = temporary_folder("wharf-docker-")
        self.socket = self.folder / "docker.sock"
        self.log = run_folder(name) / "dockerd.log"
        self.process = None
        self.insecure = ["127.0.0.0/8", *insecure]
        # Networks of parallel runs must differ.
        self.bridge = RUN if bridge else None

    @property
    def containerd(self):
        """The socket of the containerd that this engine runs."""
        return self.folder / "exec" / "containerd" / "containerd.sock"

    def start(self):
        command = [tool("dockerd"), "--data-root", self.folder / "data", "--exec-root", self.folder / "exec"]
        command += ["--pidfile", self.folder / "pid", "--host", f"unix://{self.socket}", "--iptables=false"]
        command += [f"--bridge={self.make_bridge() or 'none'}"]
        command += ["--ip-forward=false"]
        for network in self.insecure:
            command += ["--insecure-registry", network]
        self.process = Process(command, self.log)
        self.process.wait_until(self.ready, 60, "dockerd")
        return self

    def make_bridge(self):
        if self.bridge:
            network = free_network("10.201")
            subprocess.run(["ip", "link", "add", self.bridge, "type", "bridge"], check=True)
            subprocess.run(["ip", "address", "add", f"{network}.1/24", "dev", self.bridge], check=True)
            subprocess.run(["ip", "link", "set", self.bridge, "up"], check=True)
        return self.bridge

    def docker(self, *words, check=True):
        """Runs the command line of this engine; returns what it printed."""
        return run([tool("docker"), *words], env=self.environment(self.folder), check=check).stdout

    def environment(self, home):
        """What a `docker` command needs: this engine, and a home of its own for its sign-ins."""
        return clean_environment(
            {
                "DOCKER_HOST": f"unix://{self.socket}",
                "DOCKER_CONFIG": pathlib.Path(home) / ".docker",
                "DOCKER_BUILDKIT": "0",
                "DOCKER_CLI_EXPERIMENTAL": "enabled",
                "HOME": home,
            }
        )

    def ready(self):
        if not self.socket.exists():
            return False
        return run([tool("docker"), "info"], env=self.environment(self.folder), check=False).returncode == 0

    def stop(self):
        if self.process:
            if self.process.running():
                self.remove_all()
            self.process.stop(30)
        if self.bridge:
            subprocess.run(["ip", "link", "delete", self.bridge], check=False)
        # Mounts that a container left behind keep the folder from being removed.
        mounts = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_all(self):
        """Removes all containers, and networks, whose interfaces would live longer than the engine."""
        containers = self.docker("ps", "--all", "--quiet", check=False).split()
        if containers:
            self.docker("rm", "--force", "--volumes", *containers, check=False)
        networks = self.docker("network", "ls", "--quiet", "--filter", "driver=bridge", check=False).split()
        BRIDGES.update(f"br-{network}" for network in networks)
        self.docker("network", "prune", "--force", check=False)
