"""crane, oras, regctl, cosign and helm: what pipelines use."""

import json

import pytest
from harness.aws import make_client
from harness.ecs import wait_until


@pytest.fixture
def signed_in(client, server, password):
    """Every one of these reads Docker's own sign-in."""
    client("crane", "auth", "login", server.host, "-u", "AWS", "--password-stdin", input=password)
    return client


@pytest.fixture
def pushed(signed_in, layout, target):
    """`hello`, pushed by crane; returns its reference by tag."""
    signed_in("crane", "push", "--insecure", layout, f"{target}:hello")
    return f"{target}:hello"


def test_crane_push_pull(signed_in, pushed, hello, tmp_path):
    assert signed_in("crane", "digest", "--insecure", pushed).stdout.strip() == hello.digest
    assert signed_in("crane", "manifest", "--insecure", pushed).stdout.encode().rstrip(b"\n") == hello.manifest
    signed_in("crane", "pull", "--insecure", "--format=oci", pushed, tmp_path / "pulled")
    stored = tmp_path / "pulled/blobs/sha256" / hello.layer_digest.removeprefix("sha256:")
    assert stored.stat().st_size == hello.layer_size
    signed_in("crane", "validate", "--insecure", "--remote", pushed)


def test_crane_index_tags_and_catalog(signed_in, index_layout, target, both, repository, server):
    signed_in("crane", "push", "--insecure", "--index", index_layout, f"{target}:both")
    inner = json.loads(signed_in("crane", "manifest", "--insecure", f"{target}:both").stdout)
    assert inner["mediaType"] == "application/vnd.oci.image.index.v1+json"
    for number in range(12):
        signed_in("crane", "tag", "--insecure", f"{target}:both", f"t{number:02}")
    listed = signed_in("crane", "ls", "--insecure", target).stdout.split()
    assert listed == sorted(["both", *(f"t{number:02}" for number in range(12))])
    assert repository in signed_in("crane", "catalog", "--insecure", server.host).stdout.split()


def test_crane_copies_between_repositories(signed_in, pushed, target, repository, server, hello):
    server.create_repository(f"{repository}-copy")
    signed_in("crane", "copy", "--insecure", pushed, f"{target}-copy:hello")
    assert signed_in("crane", "digest", "--insecure", f"{target}-copy:hello").stdout.strip() == hello.digest


def test_crane_deletes(signed_in, pushed, target, hello):
    signed_in("crane", "delete", "--insecure", f"{target}@{hello.digest}")
    gone = signed_in("crane", "digest", "--insecure", pushed, check=False)
    assert gone.returncode != 0 and "MANIFEST_UNKNOWN" in gone.stderr + gone.stdout, gone.stderr


def test_oras_attach_and_discover(signed_in, pushed, target, hello, home):
    (home / "bill.json").write_text('{"materials":[]}')
    signed_in("oras", "attach", "--plain-http", "--artifact-type", "application/vnd.example.sbom", pushed, "bill.json:application/json")
    (home / "note.txt").write_text("a note")
    signed_in("oras", "attach", "--plain-http", "--artifact-type", "application/vnd.example.note", pushed, "note.txt:text/plain")
    found = json.loads(signed_in("oras", "discover", "--plain-http", "--format=json", pushed).stdout)
    types = sorted(referrer["artifactType"] for referrer in found["referrers"])
    assert types == ["application/vnd.example.note", "application/vnd.example.sbom"]
    one = signed_in("oras", "discover", "--plain-http", "--format=json", "--artifact-type", "application/vnd.example.note", pushed)
    assert len(json.loads(one.stdout)["referrers"]) == 1
    # The referrers API is supported: no fallback tag was written.
    assert signed_in("oras", "repo", "tags", "--plain-http", target).stdout.split() == ["hello"]


def test_oras_push_pull_resolve(signed_in, target, home):
    (home / "file.txt").write_text("content")
    signed_in("oras", "push", "--plain-http", f"{target}:files", "file.txt:text/plain")
    (home / "file.txt").unlink()
    signed_in("oras", "pull", "--plain-http", f"{target}:files")
    assert (home / "file.txt").read_text() == "content"
    digest = signed_in("oras", "resolve", "--plain-http", f"{target}:files").stdout.strip()
    signed_in("oras", "manifest", "delete", "--plain-http", "--force", f"{target}@{digest}")
    assert signed_in("oras", "resolve", "--plain-http", f"{target}:files", check=False).returncode != 0


@pytest.fixture
def regctl(client, server, password):
    client("regctl", "registry", "set", "--skip-check", "--tls", "disabled", server.host)
    client("regctl", "registry", "login", server.host, "-u", "AWS", "--pass-stdin", input=password)
    return lambda *words, **more: client("regctl", *words, **more)


def test_regctl_copies_and_deletes(regctl, target, index_layout, both, home):
    regctl("image", "copy", f"ocidir://{index_layout}:latest", f"{target}:both")
    assert regctl("image", "digest", f"{target}:both").stdout.strip() == both.digest
    regctl("image", "copy", f"{target}:both", f"ocidir://{home}/back:both")
    regctl("image", "copy", f"{target}:both", f"{target}:second")
    assert regctl("tag", "ls", target).stdout.split() == ["both", "second"]
    regctl("tag", "delete", f"{target}:second")
    assert regctl("tag", "ls", target).stdout.split() == ["both"]
    regctl("manifest", "delete", f"{target}@{both.digest}")
    assert regctl("image", "digest", f"{target}:both", check=False).returncode != 0


def test_regctl_referrers_and_artifacts(regctl, target, layout, hello):
    regctl("image", "copy", f"ocidir://{layout}:latest", f"{target}:hello")
    regctl("artifact", "put", "--artifact-type", "application/vnd.example.note", "--subject", f"{target}:hello", input="a note")
    found = json.loads(regctl("artifact", "list", f"{target}:hello", "--format", "{{json .}}").stdout)
    assert [entry["artifactType"] for entry in found["descriptors"]] == ["application/vnd.example.note"]


def test_cosign_signs_and_verifies(signed_in, pushed, target, hello):
    """A local key, no transparency log (there is no network): the signature is found by the referrers API."""
    quiet = {"COSIGN_PASSWORD": "secret", "COSIGN_YES": "true"}
    signed_in("cosign", "generate-key-pair", env_more=quiet)
    reference = f"{target}@{hello.digest}"
    sign = ["cosign", "sign", "--key", "cosign.key", "--allow-insecure-registry", "--allow-http-registry"]
    signed_in(*sign, "--use-signing-config=false", "--tlog-upload=false", "--new-bundle-format=true", reference, env_more=quiet)
    verify = ["cosign", "verify", "--key", "cosign.pub", "--allow-insecure-registry", "--allow-http-registry"]
    said = signed_in(*verify, "--insecure-ignore-tlog=true", "--new-bundle-format=true", reference, env_more=quiet)
    assert hello.digest in said.stdout
    found = json.loads(signed_in("oras", "discover", "--plain-http", "--format=json", reference).stdout)
    assert len(found["referrers"]) == 1
    assert signed_in("crane", "ls", "--insecure", target).stdout.split() == ["hello"]


def test_cosign_old_form(signed_in, pushed, target, hello):
    """The signature as an ordinary tag, which older cosign and most policies in the field still use."""
    quiet = {"COSIGN_PASSWORD": "secret", "COSIGN_YES": "true"}
    signed_in("cosign", "generate-key-pair", env_more=quiet)
    reference = f"{target}@{hello.digest}"
    sign = ["cosign", "sign", "--key", "cosign.key", "--allow-insecure-registry", "--allow-http-registry"]
    signed_in(*sign, "--use-signing-config=false", "--tlog-upload=false", "--new-bundle-format=false", reference, env_more=quiet)
    verify = ["cosign", "verify", "--key", "cosign.pub", "--allow-insecure-registry", "--allow-http-registry"]
    signed_in(*verify, "--insecure-ignore-tlog=true", "--new-bundle-format=false", reference, env_more=quiet)
    tag = hello.digest.replace(":", "-") + ".sig"
    assert tag in signed_in("crane", "ls", "--insecure", target).stdout.split()


def test_cosign_verifies_what_the_registry_signed(signed_in, server, layout, target, repository, hello, home):
    """A signing configuration with a key of the registry's own: the signature of a push is a referrer of the image."""
    shown = server.admin("signing-key", "create", "release").stdout
    profile = shown.splitlines()[0]
    assert server.admin("signing-key", "show", "release").stdout == shown
    (home / "release.pub").write_text(shown)
    ecr = make_client(server, "ecr")
    filters = [{"filter": repository, "filterType": "WILDCARD_MATCH"}]
    ecr.put_signing_configuration(signingConfiguration={"rules": [{"signingProfileArn": profile, "repositoryFilters": filters}]})
    try:
        signed_in("crane", "push", "--insecure", layout, f"{target}:hello")
        status = {"repositoryName": repository, "imageId": {"imageTag": "hello"}}

        def signed():
            return ecr.describe_image_signing_status(**status)["signingStatuses"] == [{"signingProfileArn": profile, "status": "COMPLETE"}]

        wait_until(signed, "the image is signed")
    finally:
        ecr.delete_signing_configuration()
    verify = ["cosign", "verify", "--key", "release.pub", "--allow-insecure-registry", "--allow-http-registry", "--insecure-ignore-tlog=true"]
    said = signed_in(*verify, f"{target}@{hello.digest}")
    assert hello.digest in said.stdout
    other = signed_in("cosign", "generate-key-pair", env_more={"COSIGN_PASSWORD": "secret", "COSIGN_YES": "true"})
    assert other.returncode == 0
    refused = signed_in("cosign", "verify", "--key", "cosign.pub", *verify[4:], f"{target}@{hello.digest}", check=False)
    assert refused.returncode != 0
    assert signed_in("crane", "ls", "--insecure", target).stdout.split() == ["hello"]


def test_helm_push_pull(client, server, password, repository, home):
    """A chart lands in `REPOSITORY/CHART`, which must exist, as in ECR."""
    server.create_repository(f"{repository}/chart")
    client("helm", "registry", "login", server.host, "-u", "AWS", "--password-stdin", "--plain-http", input=password)
    (home / "chart").mkdir()
    (home / "pulled").mkdir()
    (home / "chart" / "Chart.yaml").write_text("apiVersion: v2\nname: chart\nversion: 1.2.3\n")
    client("helm", "package", "chart")
    client("helm", "push", "chart-1.2.3.tgz", f"oci://{server.host}/{repository}", "--plain-http")
    client("helm", "pull", f"oci://{server.host}/{repository}/chart", "--version", "1.2.3", "--plain-http", "-d", "pulled")
    assert (home / "pulled/chart-1.2.3.tgz").read_bytes() == (home / "chart-1.2.3.tgz").read_bytes()
    assert "1.2.3" in client("helm", "show", "chart", f"oci://{server.host}/{repository}/chart", "--plain-http").stdout
    images = server.call("DescribeImages", {"repositoryName": f"{repository}/chart"})["imageDetails"]
    assert images[0]["artifactMediaType"] == "application/vnd.cncf.helm.config.v1+json"
