"""Small images made from nothing: blobs, manifests and OCI layouts, so that no test needs anything from outside."""

import gzip
import hashlib
import io
import json
import pathlib
import shutil
import tarfile

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def digest(data, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def descriptor(media_type, data, **more):
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **more}


def to_json(document):
    return json.dumps(document, separators=(",", ":")).encode()


def busybox():
    """The static busybox of Debian: a whole userland in one file."""
    found = shutil.which("busybox") or "/bin/busybox"
    return pathlib.Path(found).read_bytes()


def tar(files):
    """A layer's tar: `files` maps paths to their bytes; everything is executable and owned by root, and time stands still."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path, data in files.items():
            member = tarfile.TarInfo(path)
            member.size, member.mode = len(data), 0o755
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


class Image:
    """One image: its blobs by digest, and its manifest's exact bytes."""

    def __init__(self, files, architecture="amd64", command=("/bin/busybox", "echo", "hello"), subject=None):
        plain = tar(files)
        layer = gzip.compress(plain, mtime=0)
        config = to_json(
            {
                "architecture": architecture,
                "os": "linux",
                "config": {"Cmd": list(command)},
                "rootfs": {"type": "layers", "diff_ids": [digest(plain)]},
            }
        )
        self.architecture = architecture
        self.layer_digest = digest(layer)
        self.layer_size = len(layer)
        self.blobs = {digest(layer): layer, digest(config): config}
        document = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, config),
            "layers": [descriptor(LAYER, layer)],
        }
        if subject:
            document["subject"] = subject
        self.media_type = MANIFEST
        self.manifest = to_json(document)
        self.digest = digest(self.manifest)
        self.members = []


class Index:
    """An index over images, one for each architecture."""

    def __init__(self, members):
        self.members = members
        self.media_type = INDEX
        self.blobs = {}
        self.manifest = to_json(
            {
                "schemaVersion": 2,
                "mediaType": INDEX,
                "manifests": [
                    descriptor(MANIFEST, member.manifest, platform={"os": "linux", "architecture": member.architecture})
                    for member in members
                ],
            }
        )
        self.digest = digest(self.manifest)


def write_layout(folder, image, tag="latest"):
    """Writes an OCI image layout that holds `image` under `tag`; returns the folder."""
    folder = pathlib.Path(folder)
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    contents = []
    for part in [image, *image.members]:
        contents += [part.manifest, *part.blobs.values()]
    for data in contents:
        (blobs / hashlib.sha256(data).hexdigest()).write_bytes(data)
    entry = descriptor(image.media_type, image.manifest, annotations={"org.opencontainers.image.ref.name": tag})
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_bytes(to_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}))
    return folder
