"""Runs the crash tests in two runs at once, since most of their time is waiting: run.py [OPTION OF PYTEST ...]

Those of ECS need a Docker Engine each and share the machine with the others. A run whose options select no test passes, if the other
one has tests.
"""

import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
NO_TESTS = 5


def main(options):
    files = sorted(HERE.glob("test_*.py"))
    of_ecs = [file for file in files if file.name.startswith("test_ecs_")]
    command = [sys.executable, "-m", "pytest", *options]
    log = HERE.parents[1] / "build" / "crash-ecs.log"
    log.parent.mkdir(exist_ok=True)
    with log.open("w+") as output:
        beside = subprocess.Popen([*command, *of_ecs], stdout=output, stderr=subprocess.STDOUT)
        try:
            first = subprocess.run([*command, *(file for file in files if file not in of_ecs)], check=False).returncode
            second = beside.wait()
        finally:
            beside.terminate()
            beside.wait()
        output.seek(0)
        print(output.read())
    codes = {first, second}
    if codes == {NO_TESTS}:
        return NO_TESTS
    return max(codes - {NO_TESTS})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
