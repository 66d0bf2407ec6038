"""A small registry client over plain HTTP: pushes in the ways real clients do, and checks what it pulls."""

import base64
import hashlib
import http.client
import json
import random
import urllib.parse

MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Refused(Exception):
    """A response that is no success."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body[:300]!r}")
        self.status, self.body = status, body


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Registry:
    """One connection to one server, signed in as `AWS` with a 12-hour password."""

    def __init__(self, port, password, timeout=20):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        self.headers = {"Authorization": "Basic " + base64.b64encode(f"AWS:{password}".encode()).decode()}

    def close(self):
        self.connection.close()

    def send(self, method, path, body=None, headers=None, expect=(200, 201, 202, 204)):
        """Returns (status, headers, body); raises Refused on another status and OSError when the server is gone."""
        self.connection.request(method, path, body, {**self.headers, **(headers or {})})
        response = self.connection.getresponse()
        said = response.read()
        if response.status not in expect:
            raise Refused(response.status, said)
        return response.status, {name.lower(): value for name, value in response.getheaders()}, said

    def push_blob(self, repository, data, way):
        """`way` is one of whole (POST then PUT), post (all in the POST), parts (several PATCHes)."""
        name = urllib.parse.quote(digest(data))
        octets = {"Content-Type": "application/octet-stream"}
        if way == "post":
            self.send("POST", f"/v2/{repository}/blobs/uploads/?digest={name}", data, octets)
            return
        _, headers, _ = self.send("POST", f"/v2/{repository}/blobs/uploads/", b"")
        location = headers["location"]
        if way == "parts":
            step = max(1, len(data) // 3)
            for start in range(0, len(data), step):
                part = data[start : start + step]
                span = {"Content-Range": f"{start}-{start + len(part) - 1}", **octets}
                _, headers, _ = self.send("PATCH", path_of(location), part, span)
                location = headers["location"]
            data = b""
        mark = "&" if "?" in location else "?"
        self.send("PUT", f"{path_of(location)}{mark}digest={name}", data, octets)

    def push_image(self, repository, tag, layers, rng=random):
        """Pushes layers, config and manifest; returns the manifest's bytes once the server said 201."""
        config = json.dumps({"os": "linux", "architecture": "amd64", "tag": tag}).encode()
        for data in [*layers, config]:
            self.push_blob(repository, data, rng.choice(["whole", "post", "parts"]))
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor("application/vnd.oci.image.config.v1+json", config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", data) for data in layers],
        }
        manifest = json.dumps(document).encode()
        self.send("PUT", f"/v2/{repository}/manifests/{tag}", manifest, {"Content-Type": MANIFEST})
        return manifest

    def verify(self, repository, tag, manifest):
        """Pulls the image by tag and checks every byte of it."""
        _, headers, said = self.send("GET", f"/v2/{repository}/manifests/{tag}")
        assert said == manifest, f"{repository}:{tag} has another manifest"
        assert headers["docker-content-digest"] == digest(manifest)
        document = json.loads(manifest)
        for part in [document["config"], *document["layers"]]:
            _, _, data = self.send("GET", f"/v2/{repository}/blobs/{part['digest']}")
            assert len(data) == part["size"] and digest(data) == part["digest"], f"{repository}:{tag} lost {part['digest']}"


def descriptor(media_type, data):
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def path_of(location):
    parts = urllib.parse.urlsplit(location)
    return parts.path + (f"?{parts.query}" if parts.query else "")
