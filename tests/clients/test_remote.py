"""Two servers over one PostgreSQL and one bucket: each serves what the other stored; and pulls that are redirected to the bucket."""

import base64
import http.client
import time
import urllib.parse

import pytest
from harness import images
from harness.server import Server
from harness.stores import Minio, Postgres


@pytest.fixture(scope="module")
def stores():
    minio, postgres = Minio("remote"), Postgres("remote")
    try:
        yield minio.start(), postgres.start()
    finally:
        minio.stop()
        postgres.stop()


@pytest.fixture(scope="module")
def pair(stores):
    """Two servers with one index, one bucket and one key file between them."""
    minio, postgres = stores
    settings = {"database": postgres.database("pair"), "blobs": minio.bucket("pair"), "presigned_redirects": "true"}
    first = Server.fresh("remote-first", settings=settings, environment=minio.environment())
    second = Server(
        "remote-second", settings={**settings, "key_file": first.data / "key"}, environment=minio.environment()
    )  # fmt: skip
    second.credentials = first.credentials
    try:
        yield first, second.start()
    finally:
        first.stop()
        second.stop()


def request(server, method, path, body=b"", password="", headers=None):
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    token = base64.b64encode(f"AWS:{password}".encode()).decode()
    connection.request(method, path, body, {"Authorization": f"Basic {token}", **(headers or {})})
    response = connection.getresponse()
    data = response.read()
    connection.close()
    return response, data


def test_an_upload_goes_on_at_another_server(pair):
    first, second = pair
    first.create_repository("remote/upload")
    password = first.password()
    data = bytes(range(256)) * 40_000
    begun, _ = request(first, "POST", "/v2/remote/upload/blobs/uploads/", password=password)
    assert begun.status == 202
    location, half = urllib.parse.urlsplit(begun.headers["Location"]).path, len(data) // 2
    for server, piece in ((second, data[:half]), (first, data[half:])):
        part, said = request(server, "PATCH", location, piece, password, {"Content-Type": "application/octet-stream"})
        assert part.status == 202, said
    done, said = request(second, "PUT", f"{location}?digest={images.digest(data)}", password=password)
    assert done.status == 201, said
    moved, _ = request(first, "GET", f"/v2/remote/upload/blobs/{images.digest(data)}", password=password)
    # The bucket sends the blob, by a URL that is valid for a limited time and for this blob only.
    assert moved.status == 307
    target = urllib.parse.urlsplit(moved.headers["Location"])
    connection = http.client.HTTPConnection(target.hostname, target.port, timeout=30)
    connection.request("GET", f"{target.path}?{target.query}")
    assert images.digest(connection.getresponse().read()) == images.digest(data)
    connection.close()


def test_a_user_made_at_one_is_known_at_the_other_within_a_second(pair):
    first, second = pair
    first.create_repository("remote/users")
    key = first.add_user("remote-reader", "AmazonEC2ContainerRegistryReadOnly")
    time.sleep(1)
    listed = second.call("DescribeRepositories", {}, credentials={**key, "AWS_ENDPOINT_URL": second.url})
    assert "remote/users" in [repository["repositoryName"] for repository in listed["repositories"]]


def test_clients_follow_the_redirect(pair, client, layout, hello, tmp_path):
    first, second = pair
    first.create_repository("remote/redirect")
    password = first.password()
    # By number: crane refuses to be sent from a public name (it takes `localhost` for one) to a private address.
    hosts = [f"127.0.0.1:{server.port}" for server in (first, second)]
    for host in hosts:
        client("crane", "auth", "login", host, "-u", "AWS", "--password-stdin", input=password)
    client("crane", "push", "--insecure", layout, f"{hosts[0]}/remote/redirect:hello")
    source = f"{hosts[1]}/remote/redirect:hello"
    client("crane", "pull", "--insecure", "--format=oci", source, tmp_path / "crane")
    creds = f"--src-creds=AWS:{password}"
    client("skopeo", "copy", "--preserve-digests", "--src-tls-verify=false", creds, f"docker://{source}", f"oci:{tmp_path}/skopeo:hello")
    for folder in ("crane", "skopeo"):
        stored = tmp_path / folder / "blobs/sha256" / hello.layer_digest.removeprefix("sha256:")
        assert stored.stat().st_size == hello.layer_size
