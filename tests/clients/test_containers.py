"""podman, buildah and skopeo: the containers/image family, which sends what Docker does not."""

import json
import shutil

import pytest
from harness.process import temporary_folder

# Skopeo may take a layer that any client of this machine has compressed before, by its cache of them, instead of the one it is given.
SAME = "--preserve-digests"


@pytest.fixture
def short():
    """A folder with a short name: podman refuses a run root of more than 50 characters."""
    folder = temporary_folder("pod-")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def podman(client, short, server, password):
    """podman with a storage of its own, signed in."""
    storage = ["--root", short / "root", "--runroot", short / "run", "--storage-driver=vfs", "--cgroup-manager=cgroupfs"]

    def call(*words, **more):
        return client("podman", *storage, *words, **more)

    call("login", "--tls-verify=false", "-u", "AWS", "--password-stdin", server.host, input=password)
    return call


@pytest.fixture
def skopeo(client, server, password):
    """skopeo, signed in."""
    client("skopeo", "login", "--tls-verify=false", "-u", "AWS", "--password-stdin", server.host, input=password)
    return lambda *words, **more: client("skopeo", *words, **more)


def test_podman_push_pull(podman, target, layout, hello):
    loaded = podman("pull", f"oci:{layout}:latest").stdout.split()[-1]
    podman("push", "--tls-verify=false", loaded, f"{target}:podman")
    podman("rmi", "--all", "--force")
    podman("pull", "--tls-verify=false", f"{target}:podman")
    assert target in podman("images").stdout


def test_podman_search_lists_the_catalog(podman, server, repository):
    """`podman search` reads `_catalog`."""
    found = podman("search", "--tls-verify=false", "--limit=1000", f"{server.host}/").stdout
    assert repository in found


def test_podman_search_lists_tags(podman, target, layout, skopeo):
    skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{target}:one")
    found = podman("search", "--tls-verify=false", "--list-tags", target).stdout
    assert "one" in found


def test_podman_manifest_push(podman, target, index_layout, skopeo, both):
    """An index made and pushed by podman."""
    skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{index_layout}:latest", f"docker://{target}:source")
    podman("manifest", "create", "local")
    podman("manifest", "add", "--all", "--tls-verify=false", "local", f"docker://{target}:source")
    podman("manifest", "push", "--all", "--tls-verify=false", "local", f"docker://{target}:list")
    raw = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{target}:list").stdout)
    assert {member["platform"]["architecture"] for member in raw["manifests"]} == {"amd64", "arm64"}


def test_buildah_build_push(client, home, target, server, password, skopeo):
    storage = ["--root", home / "buildah", "--runroot", home / "buildah-run", "--storage-driver=vfs"]
    (home / "Containerfile").write_text("FROM scratch\nCOPY word /word\n")
    (home / "word").write_text("buildah")
    client("buildah", *storage, "bud", "-t", "built", "--isolation=chroot", ".")
    client("buildah", *storage, "push", "--tls-verify=false", f"--creds=AWS:{password}", "built", f"docker://{target}:buildah")
    inspected = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{target}:buildah").stdout)
    assert inspected["Os"] == "linux"
    client("buildah", *storage, "rmi", "--all", "--force")
    client("buildah", *storage, "pull", "--tls-verify=false", f"--creds=AWS:{password}", f"docker://{target}:buildah")


def test_skopeo_both_directions(skopeo, target, layout, tmp_path, hello):
    skopeo("copy", SAME, "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{target}:one")
    back = tmp_path / "back"
    skopeo("copy", SAME, "--src-tls-verify=false", f"docker://{target}:one", f"oci:{back}:one")
    assert (back / "blobs/sha256" / hello.digest.removeprefix("sha256:")).read_bytes() == hello.manifest


def test_skopeo_between_repositories(skopeo, server, repository, target, layout, hello):
    server.create_repository(f"{repository}-two")
    skopeo("copy", SAME, "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{target}:one")
    skopeo("copy", SAME, "--src-tls-verify=false", "--dest-tls-verify=false", f"docker://{target}:one", f"docker://{target}-two:one")
    inspected = json.loads(skopeo("inspect", "--tls-verify=false", f"docker://{target}-two:one").stdout)
    assert inspected["Digest"] == hello.digest


def test_skopeo_docker_media_types(skopeo, target, layout):
    """Converted to Docker's schema 2 on the way in, it is kept as that."""
    skopeo("copy", "--format=v2s2", "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{target}:docker")
    raw = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{target}:docker").stdout)
    assert raw["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"


def test_skopeo_lists_and_deletes(skopeo, target, layout):
    for tag in ("one", "two"):
        skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{target}:{tag}")
    listed = json.loads(skopeo("list-tags", "--tls-verify=false", f"docker://{target}").stdout)
    assert listed["Tags"] == ["one", "two"]
    # skopeo deletes by the digest that the tag names: both tags go.
    skopeo("delete", "--tls-verify=false", f"docker://{target}:one")
    gone = skopeo("inspect", "--tls-verify=false", f"docker://{target}:two", check=False)
    assert gone.returncode != 0


def test_skopeo_sync_of_an_index(skopeo, target, index_layout, tmp_path, both):
    skopeo("copy", "--all", "--dest-tls-verify=false", f"oci:{index_layout}:latest", f"docker://{target}:both")
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{target}:both").stdout
    assert raw.encode().rstrip(b"\n") == both.manifest
