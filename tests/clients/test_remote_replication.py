"""Replication to registries of other servers: another Wharfinger, the Distribution project's registry, and one that limits requests."""

import base64
import http.client
import http.server
import json
import re
import shutil
import threading
import time

import pytest
from harness import images
from harness.aws import make_client
from harness.process import Process, clean_environment, free_port, tool
from harness.server import Server
from test_replication import push, rules, settled, until

OTHER, REGION = "210987654321", "eu-west-1"


def table(url, **keys):
    """The configuration of one destination."""
    keys = {"account": OTHER, "region": REGION, "url": url, **keys}
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "[[replication_destinations]]\n" + "\n".join(lines) + "\n"


def source_of(name, *tables):
    """A running server that replicates everything to the destination."""
    server = Server(name)
    shutil.rmtree(server.folder, ignore_errors=True)
    server.folder.mkdir(parents=True)
    config = server.folder / "server.toml"
    config.write_text("".join(tables))
    server.environment["WHARFINGER_CONFIG"] = config
    server.start()
    make_client(server, "ecr").put_replication_configuration(replicationConfiguration=rules((REGION, OTHER), deleteReplication={"enabled": True}))
    return server


def loopback(port):
    return f"http://127.0.0.1:{port}"


def read(port, path, password=None, method="GET"):
    """Status and body of a request to a registry."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    pair = base64.b64encode(f"AWS:{password}".encode()).decode()
    accept = f"{images.INDEX}, {images.MANIFEST}"
    headers = {"Accept": accept, **({"Authorization": f"Basic {pair}"} if password else {})}
    try:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def check_image(port, name, reference, image, password=None):
    """The registry has the whole image, byte for byte."""
    status, found = read(port, f"/v2/{name}/manifests/{reference}", password)
    assert (status, found) == (200, image.manifest)
    for digest, data in image.blobs.items():
        assert read(port, f"/v2/{name}/blobs/{digest}", password) == (200, data)


def put_index(ecr, member):
    """Pushes an index of one image, under the tag `all`."""
    index = images.Index([member])
    text = index.manifest.decode()
    ecr.put_image(repositoryName="team/web", imageManifest=text, imageManifestMediaType=images.INDEX, imageTag="all")
    return index


def put_blobs(ecr, repository, image):
    for digest, data in image.blobs.items():
        upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
        last = len(data) - 1
        ecr.upload_layer_part(repositoryName=repository, uploadId=upload, partFirstByte=0, partLastByte=last, layerPartBlob=data)
        ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[digest])


@pytest.fixture
def target():
    """The other Wharfinger, whose administrator has made the repositories."""
    with Server.fresh("remote-target") as running:
        running.create_repository("mirror/team/web", "mirror/team/api")
        yield running


@pytest.fixture
def source(target, request):
    """A server whose destination is the other one, by a password file that a test may change."""
    target.secret = target.folder / "password"
    target.secret.write_text(target.password() + "\n")
    keys = {"username": "AWS", "password_file": str(target.secret), "repository_prefix": "mirror", "delete": True}
    server = source_of("remote-source", table(loopback(target.port), **keys))
    server.create_repository("team/web", "team/api")
    yield server
    server.stop()


def test_another_server_gets_images_indexes_and_referrers(source, target):
    ecr, password = make_client(source, "ecr"), target.password()
    image = push(ecr, "team/web", "first", "v1")
    assert settled(ecr, "team/web", "v1")[REGION, OTHER]["status"] == "COMPLETE"
    check_image(target.port, "mirror/team/web", "v1", image, password)
    # The same layers in another repository.
    push(ecr, "team/api", "first", "v1")
    settled(ecr, "team/api", "v1")
    check_image(target.port, "mirror/team/api", "v1", image, password)
    member = push(ecr, "team/web", "member", "member")
    index = put_index(ecr, member)
    # What refers to an image, as signatures do.
    signature = images.Image({"signature": b"of it"}, subject=images.descriptor(images.MANIFEST, image.manifest))
    put_blobs(ecr, "team/web", signature)
    ecr.put_image(repositoryName="team/web", imageManifest=signature.manifest.decode())
    settled(ecr, "team/web", "all")
    assert read(target.port, "/v2/mirror/team/web/manifests/all", password) == (200, index.manifest)
    check_image(target.port, "mirror/team/web", member.digest, member, password)

    def referrers():
        _, found = read(target.port, f"/v2/mirror/team/web/referrers/{image.digest}", password)
        return json.loads(found)["manifests"]

    assert len(until(referrers, "the referrer")) == 1
    # Deletions are passed on, as the configuration says.
    deleted = ecr.batch_delete_image(repositoryName="team/api", imageIds=[{"imageTag": "v1"}])
    assert not deleted["failures"]
    until(lambda: read(target.port, "/v2/mirror/team/api/manifests/v1", password)[0] == 404, "the deletion")
    check_image(target.port, "mirror/team/web", "v1", image, password)


def test_a_destination_that_is_down_gets_its_images_later(source, target):
    ecr, password = make_client(source, "ecr"), target.password()
    target.stop()
    image = push(ecr, "team/web", "later", "v1")
    assert source.wait_for_log("a replication was not accepted")
    got = ecr.describe_image_replication_status(repositoryName="team/web", imageId={"imageTag": "v1"})
    assert [one["status"] for one in got["replicationStatuses"]] == ["IN_PROGRESS"]
    target.start()
    assert settled(ecr, "team/web", "v1")[REGION, OTHER]["status"] == "COMPLETE"
    check_image(target.port, "mirror/team/web", "v1", image, password)


def test_a_wrong_password_fails_and_is_not_logged(source, target):
    ecr, password = make_client(source, "ecr"), target.secret.read_text()
    wrong = password.strip()[:-6] + "abcdef"
    target.secret.write_text(wrong)
    push(ecr, "team/web", "denied", "v1")
    status = settled(ecr, "team/web", "v1")[REGION, OTHER]
    assert (status["status"], status["failureCode"]) == ("FAILED", "AccessDenied")
    log = source.process.log.read_text()
    assert re.search("a replication was not accepted.*210987654321 in eu-west-1", log), log
    assert "denies access" in log
    for word in (wrong, base64.b64encode(f"AWS:{wrong}".encode()).decode()):
        assert word not in log
    # The password is read again after a refusal.
    target.secret.write_text(password)
    push(ecr, "team/web", "allowed", "v2")
    assert settled(ecr, "team/web", "v2")[REGION, OTHER]["status"] == "COMPLETE"


def test_the_registry_of_the_distribution_project(tmp_path):
    port = free_port()
    config = tmp_path / "config.yml"
    config.write_text(
        f"version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {tmp_path}/blobs\n  delete:\n    enabled: true\n"
        f"http:\n  addr: 127.0.0.1:{port}\n"
    )
    running = Process([tool("registry"), "serve", config], tmp_path / "log", env=clean_environment())
    source = None
    try:
        running.wait_until(lambda: ready(port), 20, "registry serve")
        source = source_of("remote-distribution", table(loopback(port), delete=True))
        source.create_repository("team/web")
        ecr = make_client(source, "ecr")
        image = push(ecr, "team/web", "outside", "v1")
        assert settled(ecr, "team/web", "v1")[REGION, OTHER]["status"] == "COMPLETE"
        check_image(port, "team/web", "v1", image)
        member = push(ecr, "team/web", "member", "member")
        index = put_index(ecr, member)
        settled(ecr, "team/web", "all")
        assert read(port, "/v2/team/web/manifests/all") == (200, index.manifest)
        ecr.batch_delete_image(repositoryName="team/web", imageIds=[{"imageTag": "v1"}])
        until(lambda: read(port, "/v2/team/web/manifests/v1")[0] == 404, "the deletion")
    finally:
        running.stop()
        if source:
            source.stop()


def ready(port):
    try:
        return read(port, "/v2/")[0] == 200
    except OSError:
        return False


class Limited(http.server.BaseHTTPRequestHandler):
    """Has every blob. Refuses the first request, with a time to wait."""

    def respond(self, status, **headers):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def do_HEAD(self):
        self.server.times.append(time.monotonic())
        if len(self.server.times) == 1:
            return self.respond(429, Retry_After="8")
        return self.respond(200 if "/blobs/" in self.path else 404)

    def do_PUT(self):
        self.server.times.append(time.monotonic())
        self.respond(201)

    def log_message(self, *_):
        pass


def test_a_registry_that_limits_requests_gets_none_until_it_may():
    limited = http.server.ThreadingHTTPServer(("127.0.0.1", free_port()), Limited)
    limited.daemon_threads, limited.times = True, []
    threading.Thread(target=limited.serve_forever, daemon=True).start()
    source = source_of("remote-limited", table(loopback(limited.server_address[1])))
    try:
        source.create_repository("team/web")
        ecr = make_client(source, "ecr")
        push(ecr, "team/web", "limited", "v1")
        assert settled(ecr, "team/web", "v1")[REGION, OTHER]["status"] == "COMPLETE"
        assert limited.times[1] - limited.times[0] >= 7.9, limited.times
    finally:
        source.stop()
        limited.shutdown()


def test_what_is_wrong_is_said_by_check_and_at_the_start(tmp_path):
    server = Server("remote-check")
    shutil.rmtree(server.folder, ignore_errors=True)
    server.folder.mkdir(parents=True)
    config = server.folder / "server.toml"
    server.environment["WHARFINGER_CONFIG"] = config
    secret = tmp_path / "password"
    good = table("https://registry.example.com", username="me", password_file=str(secret))
    config.write_text(good)
    missing = server.admin("check", check=False)
    assert missing.returncode and "password file of the replication destination 210987654321" in missing.stdout
    with pytest.raises(RuntimeError, match="password file"):
        server.start()
    secret.write_text("hunter2")
    assert server.admin("check").stdout == "ok\n"
    config.write_text(good.replace("https://", "https://me:hunter2@"))
    wrong = server.admin("check", check=False)
    assert wrong.returncode and "http://HOST" in wrong.stdout and "hunter2" not in wrong.stdout
