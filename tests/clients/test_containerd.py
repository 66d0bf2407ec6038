"""containerd's `ctr`: push and pull with a namespace of its own in the engine's containerd."""

import pytest
from harness import images
from harness.process import run, tool


@pytest.fixture
def ctr(engine, server, password):
    """Runs `ctr`; remote commands carry the sign-in."""

    def call(*words, check=True):
        return run([tool("ctr"), "--address", engine.containerd, "--namespace", "clients", *words], check=check)

    return call


def remote(password):
    return ["--plain-http", "--user", f"AWS:{password}"]


@pytest.fixture
def archive(tmp_path, layout):
    """The layout as one tar, which `ctr images import` takes."""
    path = tmp_path / "layout.tar"
    run(["tar", "-C", layout, "-cf", path, "."])
    return path


def test_push_and_pull(ctr, archive, target, password, hello):
    ctr("images", "import", "--no-unpack", "--base-name", target, "--digests=false", archive)
    ctr("images", "push", *remote(password), f"{target}:latest")
    ctr("images", "remove", "--sync", f"{target}:latest")
    ctr("images", "pull", *remote(password), f"{target}:latest")
    assert hello.digest in ctr("images", "ls", f"name=={target}:latest").stdout
    ctr("content", "fetch-object", *remote(password), f"{target}:latest", hello.layer_digest, check=False)
    ctr("images", "remove", "--sync", f"{target}:latest")


def test_pull_of_every_platform(ctr, client, server, target, password, both, index_layout):
    client("skopeo", "copy", "--all", "--dest-tls-verify=false", f"--dest-creds=AWS:{password}", f"oci:{index_layout}:latest", f"docker://{target}:both")
    ctr("images", "pull", *remote(password), "--all-platforms", f"{target}:both")
    listed = ctr("content", "ls", "-q").stdout
    assert both.digest in listed
    for member in both.members:
        assert member.digest in listed
    ctr("images", "remove", "--sync", f"{target}:both")


def test_wrong_password(ctr, target):
    refused = ctr("images", "pull", "--plain-http", "--user", "AWS:wrong", f"{target}:latest", check=False)
    assert refused.returncode != 0
    assert images.MANIFEST not in refused.stdout
