"""The file system that fails operations and forgets what was not synced (`tests/faultfs`), as a context manager."""

import os
import pathlib
import subprocess

from harness.process import ROOT, run


def binary():
    """`FAULTFS_BINARY`, else what `cargo build --release -p faultfs` made."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return pathlib.Path(os.environ.get("FAULTFS_BINARY", target / "release" / "faultfs"))


class FaultFs:
    """Mounted on `folder`, which is created. Needs root and /dev/fuse."""

    def __init__(self, folder, seed):
        self.folder, self.seed = pathlib.Path(folder), seed

    def __enter__(self):
        run(["umount", "-l", self.folder], check=False)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [str(binary()), str(self.folder), str(self.seed)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._acknowledged("mount")
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        run(["umount", "-l", self.folder], check=False)

    def _acknowledged(self, what):
        line = self.process.stdout.readline().strip()
        if not line:
            raise RuntimeError(f"faultfs ended with {self.process.wait()} after {what!r}")
        return line

    def _command(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._acknowledged(line)

    def faults(self, one_in):
        """One operation in so many fails from now on; none for 0. Returns how many have failed so far."""
        return int(self._command(f"faults {one_in}").split()[0])

    def fail(self, operation, name, error):
        """The next such operation on a name that contains `name` fails."""
        self._command(f"fail {operation} {name} {error}")

    def cut_power(self):
        """Forgets what was not synced. The server must have been killed before."""
        self._command("power-cut")
