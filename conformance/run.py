#!/usr/bin/env python3
"""Runs the official OCI conformance suite against the release binary and requires a full pass.

    conformance/run.py                      every run below on both sides
    conformance/run.py --side disk          only disk + SQLite (or `remote`: MinIO + PostgreSQL)
    conformance/run.py --run bearer         only the named run, on each side
    conformance/run.py --address HOST:PORT  another registry that is already running: prints the counts only

Its exit code is 0 even when it skips checks or cannot read its settings, so the counts are compared. A failing check changes the
total, therefore the total is compared, too. Reports (every request and response) stay in build/conformance.
"""

import argparse
import dataclasses
import pathlib
import re
import shutil
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests"))

from harness.process import BUILD, clean_environment, end_in_order, run, tool  # noqa: E402
from harness.server import Server  # noqa: E402
from harness.stores import Minio, Postgres  # noqa: E402

RESULTS = BUILD / "conformance"
COUNT = re.compile(r"^  (Disabled|Skip|Pass|FAIL|Error|Total)\.+: +(\d+)$", re.MULTILINE)
COLUMNS = ["Total", "Pass", "FAIL", "Error", "Skip", "Disabled"]


@dataclasses.dataclass(frozen=True)
class Run:
    """One run: how the server is started, the variables of the program, and the counts of a full pass."""

    name: str
    passed: int
    disabled: int
    variables: dict
    dev: bool = False
    settings: dict = dataclasses.field(default_factory=dict)


EVERYTHING = {"OCI_VERSION": "dev", "OCI_DATA_SPARSE": "true"}
# Manifests that name missing blobs are refused by default, as in ECR; the SPARSE group of checks pushes such manifests.
SPARSE = {"accept_missing_references": "true"}
RUNS = [
    Run("dev", 1032, 0, EVERYTHING, dev=True, settings=SPARSE),
    Run("basic", 1032, 0, EVERYTHING, settings={**SPARSE, "auth_challenge": "basic"}),
    Run("bearer", 1032, 0, EVERYTHING, settings={**SPARSE, "auth_challenge": "bearer"}),
    Run("default", 986, 0, {"OCI_VERSION": "dev"}),
    Run("stable", 860, 2, {"OCI_VERSION": "1.1"}),
]
REPOSITORIES = ["conformance/one", "conformance/two"]


class Disk:
    """SQLite and a folder: what a server has when nothing is said."""

    name = "disk"

    def settings(self, _run):
        return {}, {}

    def stop(self):
        pass


class Remote:
    """PostgreSQL and S3, a database and a bucket of its own for each run."""

    name = "remote"

    def __init__(self):
        self.minio = Minio("conformance").start()
        self.postgres = Postgres("conformance").start()

    def settings(self, run_):
        settings = {"database": self.postgres.database(run_.name), "blobs": self.minio.bucket(run_.name)}
        return settings, self.minio.environment()

    def stop(self):
        self.minio.stop()
        self.postgres.stop()


def run_checks(label, address, variables):
    """Runs all checks once. Returns the counts and the seconds it took."""
    folder = RESULTS / label
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    env = clean_environment(
        {
            "OCI_REGISTRY": address,
            "OCI_TLS": "disabled",
            "OCI_REPO1": REPOSITORIES[0],
            "OCI_REPO2": REPOSITORIES[1],
            "OCI_RESULTS_DIR": folder,
            "OCI_LOG": "error",
            **variables,
        }
    )
    began = time.monotonic()
    done = run([tool("conformance")], env=env, cwd=folder, check=False, seconds=600)
    took = time.monotonic() - began
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    counts = {name: int(count) for name, count in COUNT.findall(done.stdout)}
    return {name: counts.get(name, -1) for name in COLUMNS}, took


def one(side, run_):
    """Starts a fresh server, runs all checks, and returns whether all of them passed."""
    label = f"{side.name}-{run_.name}"
    settings, environment = side.settings(run_)
    with Server.fresh(
        f"conformance-{label}", dev=run_.dev, settings={**settings, **run_.settings}, environment=environment
    ) as server:
        variables = dict(run_.variables)
        if not run_.dev:
            server.create_repository(*REPOSITORIES)
            variables.update({"OCI_USERNAME": "AWS", "OCI_PASSWORD": server.password()})
        counts, took = run_checks(label, server.host, variables)
    wanted = {
        "Total": run_.passed + run_.disabled, "Pass": run_.passed, "FAIL": 0, "Error": 0, "Skip": 0, "Disabled": run_.disabled
    }  # fmt: skip
    passed = counts == wanted
    print_row(label, counts, took, "ok" if passed else "FAILED")
    if not passed:
        print_failures(label)
    return passed


def print_row(label, counts, took, verdict):
    print(f"{label:<16}" + "".join(f"{counts[name]:>10}" for name in COLUMNS) + f"{took:>9.1f} s  {verdict}", flush=True)


def print_failures(label, most=40):
    """Prints the failed checks of the report, each with its reason."""
    lines = (RESULTS / label / "stdout").read_text().splitlines()
    shown = 0
    for number, line in enumerate(lines):
        if not re.search(r": (FAIL|Error|Skip)$", line):
            continue
        why = lines[number + 1] if number + 1 < len(lines) else ""
        if " - " in why:
            shown += 1
            if shown <= most:
                print(f"    {line.strip()}\n      {why.strip()[:300]}")
    if shown > most:
        print(f"    … {shown - most} more: {RESULTS / label / 'stdout'}")
    print((RESULTS / label / "stderr").read_text()[-1000:], file=sys.stderr)


def main():
    end_in_order()
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--side", choices=["disk", "remote"])
    words.add_argument("--run", choices=[run_.name for run_ in RUNS])
    words.add_argument("--address")
    arguments = words.parse_args()
    print(f"{'run':<16}" + "".join(f"{name:>10}" for name in COLUMNS) + f"{'took':>11}")
    if arguments.address:
        for run_ in RUNS:
            if arguments.run in (None, run_.name):
                counts, took = run_checks(f"other-{run_.name}", arguments.address, run_.variables)
                print_row(run_.name, counts, took, "")
        return 0
    failed = 0
    passed = 0
    for make in (Disk, Remote):
        if arguments.side not in (None, make.name):
            continue
        side = make()
        try:
            for run_ in RUNS:
                if arguments.run in (None, run_.name):
                    good = one(side, run_)
                    passed, failed = passed + good, failed + (not good)
        finally:
            side.stop()
    print(f"conformance: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
