"""A server and clients in the past: the program has no clock that a test could set, so one is put under it.

Debian's faketime would do the same, but the server does not start with it: it waits for a lock that faketime holds.
"""

import json
import pathlib

from .aws import cli_one
from .process import clean_environment, run, run_folder, tool
from .server import Server

SOURCE = pathlib.Path(__file__).with_suffix(".c")


def earlier_clock(seconds):
    """The variables that make the clock of a program show a time that many seconds ago."""
    library = run_folder("earlier-clock") / f"earlier_clock_{seconds}.so"
    library.parent.mkdir(parents=True, exist_ok=True)
    # The linker of Rust needs a C compiler, too.
    run([tool("cc"), "-shared", "-fPIC", f"-DSECONDS_BACK={seconds}", "-o", library, SOURCE])
    return {"LD_PRELOAD": str(library)}


def data_with_expired_session(name):
    """A stopped server, whose data folder and root key a test goes on with, and credentials of the root that expired an hour ago."""
    past = earlier_clock(seconds=7200)
    with Server.fresh(name, environment=past) as server:
        env = clean_environment({**server.client_environment(), **past})
        words = ["sts", "get-session-token", "--duration-seconds", "3600", "--endpoint-url", server.url, "--output", "json"]
        return server, json.loads(run([*cli_one(), *words], env=env).stdout)["Credentials"]
