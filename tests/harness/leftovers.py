"""Fails a run of tests that leaves something of its own on the machine: processes, mounts, network namespaces or interfaces.

Other runs may be at work on the same machine, so that only what is known to be of this one counts: a process has the mark of the run
in its environment or works in one of its folders, a mount is in one of these folders, and namespaces, bridges and links bear the
name of the run or are those of networks of its engines. Each worker of pytest-xdist is a run, and tells the one that started it.

A `conftest.py` takes part by importing the three functions of pytest.
"""

import contextlib
import os
import pathlib
import time

import pytest

from .process import FOLDERS, RUN, RUN_FOLDERS, RUN_MARK

# Networks of Docker Engines by the names of their bridges.
BRIDGES = set()
# What a process that was told to end may need to be gone.
PATIENCE = 15
# What workers left, a line each.
OF_WORKERS = []


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    OF_WORKERS.extend(getattr(node, "workeroutput", {}).get("leftovers", []))


def pytest_sessionstart(session):
    session.stash["mounts"] = set(mounts())


# Last: pytest ends what is left of a run that was interrupted in its own function of this name.
@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    end = time.monotonic() + PATIENCE
    while (found := leftovers(session.stash["mounts"])) and time.monotonic() < end:
        time.sleep(0.2)
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["leftovers"] = found
        return
    found += OF_WORKERS
    if found:
        print("\n\nThe tests left something on the machine:", *found, sep="\n  ")
        session.exitstatus = session.exitstatus or 1


def leftovers(mounted_before):
    """What is there of this run, each in a line."""
    folders = [str(folder) for folder in FOLDERS]
    found = [f"process {line}" for line in processes(folders)]
    inside = tuple(f"{folder}/" for folder in [*folders, *RUN_FOLDERS])
    found += [f"mount {mount}" for mount in sorted(set(mounts()) - mounted_before) if mount.startswith(inside)]
    with contextlib.suppress(FileNotFoundError):
        found += [f"network namespace {name}" for name in os.listdir("/run/netns") if is_of_run(name)]
    found += [f"interface {name}" for name in os.listdir("/sys/class/net") if is_of_run(name) or name in BRIDGES]
    return found


def is_of_run(name):
    """Whether a namespace or interface bears the name of this run: `wharf`, its number, and what follows with a letter."""
    return name.startswith(RUN) and not name.removeprefix(RUN)[:1].isdigit()


def mounts():
    return [line.split()[1] for line in pathlib.Path("/proc/mounts").read_text().splitlines()]


def processes(folders):
    """The processes of this run, without this one."""
    own = os.readlink("/proc/self/ns/mnt")
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        if folder.name == str(os.getpid()):
            continue
        # A process may end at any moment, and the kernel's own have nothing to show.
        with contextlib.suppress(OSError):
            known = (folder / "environ").read_bytes().split(b"\0")
            texts = [os.readlink(folder / "cwd"), (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")]
            # The root of a container is a mount of its engine's folder.
            if os.readlink(folder / "ns" / "mnt") != own:
                texts.append((folder / "mountinfo").read_text(errors="replace"))
            if f"TEST_RUN={RUN_MARK}".encode() in known or any(name in text for name in folders for text in texts):
                yield f"{folder.name}: {texts[1].strip()[:200] or (folder / 'comm').read_text().strip()}"
