"""Docker: sign in, build, push, pull, run, and what its users do next."""

import json
import pathlib

import pytest
from harness.process import run, tool


@pytest.fixture
def docker(engine, home, server, password):
    """Runs `docker` against the tests' own engine, signed in."""
    env = engine.environment(home)

    def call(*words, input=None, check=True):
        return run([tool("docker"), *words], env=env, cwd=home, input=input, check=check)

    call("login", "-u", "AWS", "--password-stdin", server.host, input=password)
    return call


def dockerfile(folder, text="hello", command='["/bin/busybox", "echo", "from the registry"]'):
    """A build context whose image is busybox and one file."""
    folder = pathlib.Path(folder) / "context"
    folder.mkdir(exist_ok=True)
    (folder / "busybox").write_bytes(pathlib.Path(tool("busybox")).read_bytes())
    (folder / "busybox").chmod(0o755)
    (folder / "word").write_text(text)
    (folder / "Dockerfile").write_text(f"FROM scratch\nCOPY busybox /bin/busybox\nCOPY word /word\nCMD {command}\n")
    return folder


def test_build_push_pull_run(docker, target, tmp_path, server, repository):
    docker("build", "-t", f"{target}:latest", dockerfile(tmp_path))
    pushed = docker("push", f"{target}:latest").stdout
    details = server.call("DescribeImages", {"repositoryName": repository})["imageDetails"]
    assert [detail["imageTags"] for detail in details] == [["latest"]]
    assert details[0]["imageDigest"] in pushed
    docker("image", "rm", f"{target}:latest")
    docker("pull", f"{target}:latest")
    assert repository in docker("image", "ls").stdout
    assert docker("run", "--rm", "--network=none", f"{target}:latest").stdout == "from the registry\n"


def test_pull_by_digest(docker, target, tmp_path, server, repository):
    docker("build", "-t", f"{target}:v1", dockerfile(tmp_path, "by digest"))
    docker("push", f"{target}:v1")
    digest = server.call("DescribeImages", {"repositoryName": repository})["imageDetails"][0]["imageDigest"]
    docker("image", "rm", f"{target}:v1")
    docker("pull", f"{target}@{digest}")
    assert json.loads(docker("image", "inspect", f"{target}@{digest}").stdout)[0]["RepoDigests"] == [f"{target}@{digest}"]


def test_push_again_sends_nothing(docker, target, tmp_path):
    docker("build", "-t", f"{target}:again", dockerfile(tmp_path, "again"))
    docker("push", f"{target}:again")
    said = docker("push", f"{target}:again").stdout
    assert "Layer already exists" in said and "Pushed" not in said, said


def test_push_moves_a_tag(docker, target, tmp_path, server, repository):
    for word in ("one", "two"):
        docker("build", "-t", f"{target}:moving", dockerfile(tmp_path, word))
        docker("push", f"{target}:moving")
    details = server.call("DescribeImages", {"repositoryName": repository})["imageDetails"]
    assert sorted(detail.get("imageTags", []) for detail in details) == [[], ["moving"]]


def test_push_to_another_repository_mounts(docker, target, tmp_path, server, repository):
    server.create_repository(f"{repository}-other")
    docker("build", "-t", f"{target}:one", dockerfile(tmp_path, "mounted"))
    docker("push", f"{target}:one")
    docker("tag", f"{target}:one", f"{target}-other:one")
    assert "Mounted from" in docker("push", f"{target}-other:one").stdout


def test_imported_image(docker, target, hello, tmp_path):
    archive = tmp_path / "rootfs.tar"
    from harness.images import busybox, tar

    archive.write_bytes(tar({"bin/busybox": busybox(), "imported": b"yes"}))
    docker("import", archive, f"{target}:imported")
    docker("push", f"{target}:imported")
    docker("image", "rm", f"{target}:imported")
    said = docker("run", "--rm", "--network=none", f"{target}:imported", "/bin/busybox", "cat", "/imported")
    assert said.stdout == "yes"


def test_manifest_list(docker, target, tmp_path):
    for architecture in ("amd64", "arm64"):
        docker("build", "-t", f"{target}:{architecture}", dockerfile(tmp_path, architecture))
        docker("push", f"{target}:{architecture}")
    members = [f"{target}:amd64", f"{target}:arm64"]
    docker("manifest", "create", "--insecure", f"{target}:all", *members)
    docker("manifest", "annotate", "--arch", "arm64", f"{target}:all", f"{target}:arm64")
    docker("manifest", "push", "--insecure", f"{target}:all")
    found = json.loads(docker("manifest", "inspect", "--insecure", f"{target}:all").stdout)
    assert [member["platform"]["architecture"] for member in found["manifests"]] == ["amd64", "arm64"]
    docker("pull", f"{target}:all")


def test_no_repository_no_push(docker, server, tmp_path):
    """As in ECR, a push makes no repository by itself, and docker's user reads why."""
    missing = f"{server.host}/clients/never-created"
    docker("build", "-t", f"{missing}:latest", dockerfile(tmp_path, "nowhere"))
    refused = docker("push", f"{missing}:latest", check=False)
    assert refused.returncode != 0
    assert "does not exist" in refused.stdout + refused.stderr


def test_wrong_password(engine, home, server):
    refused = run(
        [tool("docker"), "login", "-u", "AWS", "--password-stdin", server.host],
        env=engine.environment(home),
        input="not the password",
        check=False,
    )
    assert refused.returncode != 0
    assert "401" in refused.stderr or "unauthorized" in refused.stderr.lower(), refused.stderr


def test_no_sign_in_no_pull(docker, server, target, engine, tmp_path):
    docker("build", "-t", f"{target}:secret", dockerfile(tmp_path, "secret"))
    docker("push", f"{target}:secret")
    docker("image", "rm", f"{target}:secret")
    stranger = tmp_path / "stranger"
    stranger.mkdir()
    refused = run([tool("docker"), "pull", f"{target}:secret"], env=engine.environment(stranger), check=False)
    assert refused.returncode != 0


def test_read_only_user(docker, server, target, engine, tmp_path):
    """A user with AmazonEC2ContainerRegistryReadOnly pulls and cannot push."""
    docker("build", "-t", f"{target}:shared", dockerfile(tmp_path, "shared"))
    docker("push", f"{target}:shared")
    reader = server.add_user("docker-reader", "AmazonEC2ContainerRegistryReadOnly")
    home = tmp_path / "reader"
    home.mkdir()
    env = engine.environment(home)
    run([tool("docker"), "login", "-u", "AWS", "--password-stdin", server.host], env=env, input=server.password(reader))
    run([tool("docker"), "pull", f"{target}:shared"], env=env)
    run([tool("docker"), "tag", f"{target}:shared", f"{target}:mine"], env=env)
    refused = run([tool("docker"), "push", f"{target}:mine"], env=env, check=False)
    assert refused.returncode != 0
    assert "denied" in refused.stderr.lower() or "not authorized" in refused.stderr, refused.stderr
