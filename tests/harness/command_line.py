"""An AWS CLI that runs many commands in one process: starting it anew for each costs half a second."""

import json
import pathlib
import subprocess

from .aws import cli_one, cli_two
from .process import clean_environment

LOOP = pathlib.Path(__file__).with_name("command_loop.py")


class CommandLine:
    """One of the CLIs, `cli1` or `cli2`, with the root's key of a server, or other variables of credentials."""

    def __init__(self, name, server, home, credentials=None):
        self.endpoint = ["--endpoint-url", server.url, "--output", "json"]
        program = cli_one()[0] if name == "cli1" else cli_two(server)[0]
        with open(program) as script:
            # The CLI's own interpreter has its packages.
            interpreter = script.readline().removeprefix("#!").strip()
        env = clean_environment({**server.client_environment(credentials), "HOME": home, "AWS_PAGER": "", "AWS_MAX_ATTEMPTS": "1"})
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.child = subprocess.Popen([interpreter, str(LOOP)], env=env, cwd=home, **pipes)

    def run(self, *words):
        """Runs one command: its exit code, and what it printed to either stream."""
        self.child.stdin.write(json.dumps([*self.endpoint, *words]) + "\n")
        self.child.stdin.flush()
        return json.loads(self.child.stdout.readline())

    def stop(self):
        self.child.stdin.close()
        self.child.wait(10)
        self.child.stdout.close()
