"""Scans of images by boto3 and both AWS CLIs: a push to findings, the waiter, the paginator, and how requests fail."""

import json
import shutil
import subprocess

import pytest
from harness import images
from harness.aws import make_client, refused

MISSING = "sha256:" + "0" * 64
DEBIAN = b'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n'
STATUS = (
    b"Package: libssl3\nStatus: install ok installed\nArchitecture: amd64\nSource: openssl\nVersion: 3.0.11-1\n\n"
    b"Package: zlib1g\nStatus: install ok installed\nArchitecture: amd64\nSource: zlib (1:1.2.13.dfsg-1)\nVersion: 1:1.2.13.dfsg-1\n"
)
VECTOR = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"


def advisory(name, ecosystem, package, fixed, **more):
    events = [{"introduced": "0"}, {"fixed": fixed}]
    affected = {"package": {"ecosystem": ecosystem, "name": package}, "ranges": [{"type": "ECOSYSTEM", "events": events}]}
    return {"id": name, "modified": "2024-01-01T00:00:00Z", "affected": [affected], **more}


@pytest.fixture(scope="module")
def ecr(server):
    return make_client(server, "ecr")


@pytest.fixture(scope="module")
def advisories(server, tmp_path_factory):
    """Advisories about two of the packages; the third is newer than its repair."""
    folder = tmp_path_factory.mktemp("advisories")
    severity = [{"type": "CVSS_V3", "score": VECTOR}]
    documents = [
        advisory("DSA-1", "Debian:12", "openssl", "3.0.14-1", upstream=["CVE-2024-1"], severity=severity),
        advisory("DSA-2", "Debian:12", "openssl", "3.0.12-1", database_specific={"severity": "LOW"}),
        advisory("DSA-3", "Debian:12", "zlib", "1:1.2.13.dfsg-1"),
        advisory("DSA-4", "Debian:11", "openssl", "9"),
    ]
    for document in documents:
        (folder / f"{document['id']}.json").write_text(json.dumps(document))
    server.admin("advisories", "import", folder, "--source", "clients")
    yield
    server.admin("advisories", "remove", "clients")


def push(ecr, repository, files, tag="v1"):
    image = images.Image(files)
    for digest, data in image.blobs.items():
        begun = ecr.initiate_layer_upload(repositoryName=repository)
        ecr.upload_layer_part(
            repositoryName=repository, uploadId=begun["uploadId"], partFirstByte=0, partLastByte=len(data) - 1, layerPartBlob=data
        )
        ecr.complete_layer_upload(repositoryName=repository, uploadId=begun["uploadId"], layerDigests=[digest])
    ecr.put_image(repositoryName=repository, imageManifest=image.manifest.decode(), imageTag=tag)
    return image


def wait(ecr, repository, tag="v1"):
    waiter = ecr.get_waiter("image_scan_complete")
    waiter.wait(repositoryName=repository, imageId={"imageTag": tag}, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


def test_boto3(ecr, repository, advisories):
    image = push(ecr, repository, {"etc/os-release": DEBIAN, "var/lib/dpkg/status": STATUS})
    one = {"repositoryName": repository, "imageId": {"imageTag": "v1"}}
    refused("ScanNotFoundException", ecr.describe_image_scan_findings, **one)
    started = ecr.start_image_scan(**one)
    assert started["imageScanStatus"]["status"] == "IN_PROGRESS"
    assert started["imageId"] == {"imageDigest": image.digest, "imageTag": "v1"}
    message = refused("LimitExceededException", ecr.start_image_scan, **one)
    assert message == "The scan quota per image has been exceeded. Wait and try again."
    wait(ecr, repository)
    found = []
    for page in ecr.get_paginator("describe_image_scan_findings").paginate(**one, PaginationConfig={"PageSize": 1}):
        found += page["imageScanFindings"]["findings"]
    assert [finding["name"] for finding in found] == ["CVE-2024-1", "DSA-2"]
    assert [finding["severity"] for finding in found] == ["CRITICAL", "LOW"]
    attributes = {entry["key"]: entry["value"] for entry in found[0]["attributes"]}
    assert attributes["package_name"] == "openssl" and attributes["package_version"] == "3.0.11-1"
    assert attributes["CVSS3_VECTOR"] == VECTOR and attributes["CVSS3_SCORE"] == "9.8"
    findings = ecr.describe_image_scan_findings(**one)["imageScanFindings"]
    assert findings["findingSeverityCounts"] == {"CRITICAL": 1, "LOW": 1}
    assert findings["imageScanCompletedAt"] >= findings["vulnerabilitySourceUpdatedAt"]
    detail = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": "v1"}])["imageDetails"][0]
    assert detail["imageScanStatus"]["status"] == "COMPLETE"
    assert detail["imageScanFindingsSummary"]["findingSeverityCounts"] == {"CRITICAL": 1, "LOW": 1}
    missing = {"repositoryName": repository, "imageId": {"imageDigest": MISSING}}
    for call in (ecr.start_image_scan, ecr.describe_image_scan_findings):
        refused("ImageNotFoundException", call, **missing)
        refused("RepositoryNotFoundException", call, repositoryName="nothing", imageId={"imageTag": "v1"})


def test_archived_images(ecr, repository, advisories):
    push(ecr, repository, {"etc/os-release": DEBIAN, "var/lib/dpkg/status": STATUS})
    one = {"repositoryName": repository, "imageId": {"imageTag": "v1"}}
    ecr.start_image_scan(**one)
    wait(ecr, repository)
    ecr.update_image_storage_class(**one, targetStorageClass="ARCHIVE")
    assert refused("ImageArchivedException", ecr.start_image_scan, **one) == "The specified image is archived and cannot be scanned."
    found = ecr.describe_image_scan_findings(**one)
    assert found["imageScanStatus"] == {"status": "IMAGE_ARCHIVED"} and "imageScanFindings" not in found
    ecr.update_image_storage_class(**one, targetStorageClass="STANDARD")
    found = ecr.describe_image_scan_findings(**one)
    assert found["imageScanStatus"]["status"] == "COMPLETE" and len(found["imageScanFindings"]["findings"]) == 2


def test_both_clis(aws, ecr, repository, advisories):
    ecr.put_image_scanning_configuration(repositoryName=repository, imageScanningConfiguration={"scanOnPush": True})
    push(ecr, repository, {"etc/os-release": DEBIAN, "var/lib/dpkg/status": STATUS})
    words = ("--repository-name", repository, "--image-id", "imageTag=v1")
    aws("ecr", "wait", "image-scan-complete", *words, plain=True)
    found = aws("ecr", "describe-image-scan-findings", *words)
    assert [finding["name"] for finding in found["imageScanFindings"]["findings"]] == ["CVE-2024-1", "DSA-2"]
    failed = aws("ecr", "start-image-scan", *words, check=False)
    assert failed.returncode != 0 and "LimitExceededException" in failed.stderr
    push(ecr, repository, {"etc/os-release": DEBIAN, "var/lib/dpkg/status": STATUS, "x": b"x"}, tag="v2")
    failed = aws("ecr", "describe-image-scan-findings", *words[:2], "--image-id", "imageTag=v3", check=False)
    assert failed.returncode != 0 and "ImageNotFoundException" in failed.stderr


def test_a_scan_is_started_by_both_clis(aws, ecr, repository):
    push(ecr, repository, {"etc/motd": b"hello"})
    words = ("--repository-name", repository, "--image-id", "imageTag=v1")
    assert aws("ecr", "start-image-scan", *words)["imageScanStatus"]["status"] == "IN_PROGRESS"
    assert aws("ecr", "start-image-scan", *words, check=False).returncode != 0


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="no dpkg")
def test_the_packages_of_this_machine(ecr, repository, advisories):
    """A database that dpkg itself has written: every installed package is in the document that is attached."""
    with open("/var/lib/dpkg/status", "rb") as file:
        status = file.read()
    push(ecr, repository, {"etc/os-release": DEBIAN, "var/lib/dpkg/status": status})
    one = {"repositoryName": repository, "imageId": {"imageTag": "v1"}}
    digest = ecr.start_image_scan(**one)["imageId"]["imageDigest"]
    wait(ecr, repository)
    referrers = ecr.list_image_referrers(repositoryName=repository, subjectId={"imageDigest": digest})["referrers"]
    kinds = {entry["artifactType"]: entry["digest"] for entry in referrers}
    assert sorted(kinds) == ["application/spdx+json", "application/vnd.cyclonedx+json"]
    wanted = kinds["application/vnd.cyclonedx+json"]
    manifest = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageDigest": wanted}])["images"][0]["imageManifest"]
    layer = json.loads(manifest)["layers"][0]
    # Every installed package has some 300 bytes in the document.
    listed = subprocess.run(
        ["dpkg-query", "-W", "-f", "${db:Status-Abbrev}${Package}\n"], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    installed = {line[3:] for line in listed if line.startswith("ii")}
    assert layer["mediaType"] == "application/vnd.cyclonedx+json" and layer["size"] > 200 * len(installed)
