"""One server with everything at its default, one Docker Engine, and for each test a repository and a home of its own. Files about ECS
have a server of their own, which takes the place of the first in all that is here.

pytest, and not Rust: half of these clients are Python themselves (both AWS CLIs, boto3, the service model), the rest are processes.
"""

import json
import pathlib
import re
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness import images  # noqa: E402
from harness.aws import cli_one, cli_two, make_client  # noqa: E402
from harness.ecs import instances, push_busybox, tasks_of_test, wait_until  # noqa: E402
from harness.engine import Engine  # noqa: E402
from harness.leftovers import pytest_sessionfinish, pytest_sessionstart, pytest_testnodedown  # noqa: E402, F401
from harness.process import clean_environment, end_in_order, run, tool  # noqa: E402
from harness.server import Server  # noqa: E402

end_in_order()


@pytest.fixture(scope="session")
def server():
    with Server.fresh("clients") as running:
        yield running


@pytest.fixture(scope="session")
def engine():
    running = Engine("clients").start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def password(server):
    """The 12-hour registry password of the root user."""
    return server.password()


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder


@pytest.fixture(params=["cli1", "cli2"])
def aws(request, server, home):
    """Runs one of the two CLIs with just the four variables that the server printed."""
    program = cli_one() if request.param == "cli1" else cli_two(server)
    env = clean_environment({**server.client_environment(), "HOME": home, "AWS_PAGER": ""})

    def call(*words, check=True, plain=False):
        done = run([*program, *words], env=env, cwd=home, check=check)
        return done if plain or not check else json.loads(done.stdout)

    call.name = request.param
    return call


@pytest.fixture
def repository(server, request):
    """A repository named after the test, made by the API as a user would."""
    whole = f"{request.node.module.__name__.removeprefix('test_')}/{request.node.name.removeprefix('test_')}"
    name = re.sub(r"[^a-z0-9/]+", "-", whole.lower()).strip("-")
    server.create_repository(name)
    return name


@pytest.fixture
def target(server, repository):
    """That repository as a reference for clients."""
    return f"{server.host}/{repository}"


@pytest.fixture
def client(home, server, password):
    """Runs a program with a home of its own, signed in where Docker's clients keep their sign-ins."""
    env = clean_environment({"HOME": home, "DOCKER_CONFIG": home / ".docker", "REGISTRY_AUTH_FILE": home / "auth.json"})

    def call(*words, input=None, check=True, env_more=None):
        return run([tool(words[0]), *words[1:]], env={**env, **(env_more or {})}, cwd=home, input=input, check=check)

    return call


@pytest.fixture(scope="session")
def hello():
    """An image that says hello."""
    return images.Image({"bin/busybox": images.busybox()})


@pytest.fixture(scope="session")
def both():
    """An index over two architectures."""
    return images.Index([images.Image({"word": name.encode()}, architecture=name) for name in ("amd64", "arm64")])


@pytest.fixture
def layout(tmp_path, hello):
    """An OCI layout of `hello`."""
    return images.write_layout(tmp_path / "layout", hello)


@pytest.fixture
def index_layout(tmp_path, both):
    """An OCI layout of `both`."""
    return images.write_layout(tmp_path / "index-layout", both)


@pytest.fixture(scope="module")
def ecs(server):
    return make_client(server, "ecs")


@pytest.fixture(scope="module")
def image(server):
    """A busybox in the registry, by its name."""
    return push_busybox(server)


@pytest.fixture(scope="module")
def cluster(ecs):
    """The cluster that the server made for this host."""
    wait_until(lambda: instances(ecs, "default"), "an instance in the default cluster")
    return "default"


@pytest.fixture
def tasks(ecs, cluster, request):
    with tasks_of_test(ecs, cluster, request) as made:
        yield made
