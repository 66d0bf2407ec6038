"""A Docker Engine of the tests' own: its data, its socket and its containerd live in one temporary folder."""

import pathlib
import shutil
import subprocess
import tempfile

from .process import BUILD, Process, clean_environment, run, tool


class Engine:
    """dockerd on a socket of its own. It makes no bridge and no firewall rules, so it does not touch the machine's network."""

    def __init__(self, name):
        # Not under the project: a socket's path may have 108 bytes at most.
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="wharf-docker-"))
        self.socket = self.folder / "docker.sock"
        self.log = BUILD / "run" / name / "dockerd.log"
        self.process = None

    @property
    def containerd(self):
        """The socket of the containerd that this engine runs."""
        return self.folder / "exec" / "containerd" / "containerd.sock"

    def start(self):
        command = [tool("dockerd"), "--data-root", self.folder / "data", "--exec-root", self.folder / "exec"]
        command += ["--pidfile", self.folder / "pid", "--host", f"unix://{self.socket}", "--bridge=none", "--iptables=false"]
        command += ["--ip-forward=false", "--insecure-registry", "127.0.0.0/8"]
        self.process = Process(command, self.log)
        self.process.wait_until(self.ready, 60, "dockerd")
        return self

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
            self.process.stop(30)
        # Mounts that a container left behind keep the folder from being removed.
        mounts = [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]
        for mount in reversed([mount for mount in mounts if mount.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "-l", mount], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)
