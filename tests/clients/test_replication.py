"""Replication by boto3 and both AWS CLIs: the configuration, what becomes of images, backfills, and how requests fail."""

import json
import time

import pytest
from harness import images
from harness.aws import make_client, refused
from harness.sample_requests import ACCOUNT
from harness.server import Server

AWAY = "eu-west-1"
OTHER = "210987654321"
NOTHING = "01234567-89ab-4def-8123-456789abcdef"
MISSING = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def server():
    """A server of their own: a configuration is the whole registry's."""
    with Server.fresh("replication") as running:
        yield running


@pytest.fixture(scope="module")
def ecr(server):
    return make_client(server, "ecr")


@pytest.fixture(scope="module")
def away(server):
    return make_client(server, "ecr", region=AWAY)


def rules(*destinations, **more):
    """A configuration of one rule."""
    places = [{"region": region, "registryId": account} for region, account in destinations]
    return {"rules": [{"destinations": places, **more}]}


def push(ecr, repository, word, tag):
    image = images.Image({"word": word.encode()})
    for digest, data in image.blobs.items():
        begun = ecr.initiate_layer_upload(repositoryName=repository)
        ecr.upload_layer_part(
            repositoryName=repository, uploadId=begun["uploadId"], partFirstByte=0, partLastByte=len(data) - 1, layerPartBlob=data
        )
        ecr.complete_layer_upload(repositoryName=repository, uploadId=begun["uploadId"], layerDigests=[digest])
    ecr.put_image(repositoryName=repository, imageManifest=image.manifest.decode(), imageTag=tag)
    return image


def until(look, what):
    """What `look` returns once it is true, within 20 seconds."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"{what} did not come")


def settled(ecr, repository, tag):
    """The statuses of an image, by region and account, once none is in progress."""

    def look():
        got = ecr.describe_image_replication_status(repositoryName=repository, imageId={"imageTag": tag})
        found = got["replicationStatuses"]
        return found if found and all(one["status"] != "IN_PROGRESS" for one in found) else None

    return {(one["region"], one["registryId"]): one for one in until(look, "the end of a replication")}


def ended(ecr, backfill):
    def look():
        got = ecr.describe_replication_backfill_results(replicationBackfillId=backfill)
        return got if got["status"] in ("COMPLETE", "FAILED", "STOPPED") else None

    return until(look, "the end of a backfill")


def test_an_image_arrives_and_its_removal_too(ecr, away):
    ecr.create_repository(repositoryName="boto/web")
    filters = [{"filter": "boto/", "filterType": "PREFIX_MATCH"}]
    configuration = rules((AWAY, ACCOUNT), ("us-east-1", OTHER), repositoryFilters=filters, deleteReplication={"enabled": True})
    put = ecr.put_replication_configuration(replicationConfiguration=configuration)
    assert put["replicationConfiguration"] == configuration
    assert ecr.describe_registry()["replicationConfiguration"] == configuration
    image = push(ecr, "boto/web", "boto", "v1")
    statuses = settled(ecr, "boto/web", "v1")
    assert statuses[AWAY, ACCOUNT]["status"] == "COMPLETE" and "failureCode" not in statuses[AWAY, ACCOUNT]
    assert statuses["us-east-1", OTHER]["status"] == "FAILED"
    assert statuses["us-east-1", OTHER]["failureCode"] == "AccessDenied"
    got = away.batch_get_image(repositoryName="boto/web", imageIds=[{"imageTag": "v1"}])["images"][0]
    assert got["imageManifest"] == image.manifest.decode() and got["imageId"]["imageDigest"] == image.digest
    layer = next(iter(image.blobs))
    assert layer in away.get_download_url_for_layer(repositoryName="boto/web", layerDigest=layer)["downloadUrl"]

    ecr.batch_delete_image(repositoryName="boto/web", imageIds=[{"imageDigest": image.digest}])
    until(lambda: not away.list_images(repositoryName="boto/web")["imageIds"], "the removal")
    one = {"repositoryName": "boto/web", "imageId": {"imageTag": "v1"}}
    refused("ImageNotFoundException", ecr.describe_image_replication_status, **one)
    refused("RepositoryNotFoundException", ecr.describe_image_replication_status, **{**one, "repositoryName": "nothing"})
    refused("InvalidParameterException", ecr.describe_image_replication_status, **{**one, "imageId": {}})


def test_configurations_that_are_refused(ecr):
    def put(configuration):
        return refused("InvalidParameterException", ecr.put_replication_configuration, replicationConfiguration=configuration)

    message = put(rules(("us-east-1", ACCOUNT)))
    assert "Replication destination cannot be the same as the source registry" in message
    put(rules(*((f"eu-west-{number}", ACCOUNT) for number in range(26))))
    put(rules((AWAY, ACCOUNT), repositoryFilters=[{"filter": "web", "filterType": "WILDCARD"}]))
    put(rules((AWAY, ACCOUNT), repositoryFilters=[{"filter": "Web", "filterType": "PREFIX_MATCH"}]))
    put(rules((AWAY, "12")))
    put({"rules": rules((AWAY, ACCOUNT))["rules"] * 26})


def test_a_backfill_by_boto3(ecr, away):
    ecr.create_repository(repositoryName="old/web")
    ecr.put_replication_configuration(replicationConfiguration={"rules": []})
    image = push(ecr, "old/web", "old", "v1")
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []})
    ecr.put_image(repositoryName="old/web", imageManifest=manifest)
    destination = {"region": AWAY, "registryId": ACCOUNT}
    message = refused("ValidationException", ecr.start_replication_backfill, destination=destination)
    assert AWAY in message
    filters = [{"filter": "old", "filterType": "PREFIX_MATCH"}]
    ecr.put_replication_configuration(replicationConfiguration=rules((AWAY, ACCOUNT), repositoryFilters=filters))
    started = ecr.start_replication_backfill(destination=destination)
    assert started["status"] == "PREPARING" and started["destination"] == destination and started["registryId"] == ACCOUNT
    backfill = started["replicationBackfillId"]
    done = ended(ecr, backfill)
    assert done["status"] == "COMPLETE" and done["endedAt"] >= done["startedAt"]
    counts = {"totalReplicationCount": 2, "completedReplicationCount": 2, "failedReplicationCount": 0, "failureCodes": []}
    assert done["progress"] == counts
    pages = ecr.get_paginator("describe_replication_backfill_results").paginate(
        replicationBackfillId=backfill, resultStatusFilter="COMPLETE", PaginationConfig={"PageSize": 1}
    )
    results = [one for page in pages for one in page["results"]]
    assert {"imageDigest": image.digest, "imageTag": "v1"} in [one["imageId"] for one in results]
    assert len(results) == 2 and all(one["status"] == "COMPLETE" and one["repositoryName"] == "old/web" for one in results)
    assert away.list_images(repositoryName="old/web", filter={"tagStatus": "TAGGED"})["imageIds"][0]["imageTag"] == "v1"
    assert settled(ecr, "old/web", "v1")[AWAY, ACCOUNT]["status"] == "COMPLETE"
    failed = ecr.describe_replication_backfill_results(replicationBackfillId=backfill, resultStatusFilter="FAILED")
    assert failed["results"] == []

    again = ecr.start_replication_backfill(destination=destination)["replicationBackfillId"]
    ended(ecr, again)
    pages = ecr.get_paginator("list_replication_backfills").paginate(PaginationConfig={"PageSize": 1})
    listed = [one["replicationBackfillId"] for page in pages for one in page["backfills"]]
    assert listed == [again, backfill]
    refused("ReplicationBackfillInvalidStatusException", ecr.stop_replication_backfill, replicationBackfillId=backfill)
    for call in (ecr.stop_replication_backfill, ecr.describe_replication_backfill_results):
        refused("ReplicationBackfillNotFoundException", call, replicationBackfillId=NOTHING)
    refused("InvalidParameterException", ecr.stop_replication_backfill, replicationBackfillId="nothing")
    refused("InvalidParameterException", ecr.list_replication_backfills, nextToken="nothing")


def test_a_backfill_that_is_stopped(ecr):
    """Each is stopped at once: it may have come to its end already."""
    ecr.put_replication_configuration(replicationConfiguration=rules((AWAY, ACCOUNT)))
    destination = {"region": AWAY, "registryId": ACCOUNT}
    for _ in range(20):
        started = ecr.start_replication_backfill(destination=destination)["replicationBackfillId"]
        try:
            stopped = ecr.stop_replication_backfill(replicationBackfillId=started)
        except ecr.exceptions.ReplicationBackfillInvalidStatusException:
            continue
        assert stopped["status"] in ("STOPPING", "STOPPED") and stopped["replicationBackfillId"] == started
        assert ended(ecr, started)["status"] == "STOPPED"
        return
    raise AssertionError("no backfill was stopped")


def test_both_clis(aws, ecr, repository):
    """The CLIs of these versions are older than backfills; one that knows them goes through their operations as well."""
    configuration = json.dumps(rules((AWAY, ACCOUNT)))
    put = aws("ecr", "put-replication-configuration", "--replication-configuration", configuration)
    assert put["replicationConfiguration"] == json.loads(configuration)
    assert aws("ecr", "describe-registry")["replicationConfiguration"] == json.loads(configuration)
    push(ecr, repository, aws.name, "v1")
    words = ("--repository-name", repository, "--image-id", "imageTag=v1")
    settled(ecr, repository, "v1")
    got = aws("ecr", "describe-image-replication-status", *words)
    assert got["replicationStatuses"] == [{"region": AWAY, "registryId": ACCOUNT, "status": "COMPLETE"}]
    failed = aws("ecr", "describe-image-replication-status", *words[:3], f"imageDigest={MISSING}", check=False)
    assert failed.returncode and "ImageNotFoundException" in failed.stderr
    own = json.dumps(rules(("us-east-1", ACCOUNT)))
    failed = aws("ecr", "put-replication-configuration", "--replication-configuration", own, check=False)
    assert failed.returncode and "InvalidParameterException" in failed.stderr
    destination = ("--destination", f"region={AWAY},registryId={ACCOUNT}")
    begun = aws("ecr", "start-replication-backfill", *destination, check=False)
    if "nvalid choice" in begun.stderr:
        return
    started = json.loads(begun.stdout)["replicationBackfillId"]
    one = ("--replication-backfill-id", started)
    assert ended(ecr, started)["status"] == "COMPLETE"
    assert aws("ecr", "describe-replication-backfill-results", *one)["status"] == "COMPLETE"
    listed = aws("ecr", "list-replication-backfills")["backfills"]
    assert started in [one["replicationBackfillId"] for one in listed]
    failed = aws("ecr", "stop-replication-backfill", *one, check=False)
    assert failed.returncode and "ReplicationBackfillInvalidStatusException" in failed.stderr
    nowhere = ("--destination", f"region=us-gov-west-1,registryId={ACCOUNT}")
    failed = aws("ecr", "start-replication-backfill", *nowhere, check=False)
    assert failed.returncode and "ValidationException" in failed.stderr
    nothing = ("--replication-backfill-id", NOTHING)
    for operation in ("stop-replication-backfill", "describe-replication-backfill-results"):
        failed = aws("ecr", operation, *nothing, check=False)
        assert failed.returncode and "ReplicationBackfillNotFoundException" in failed.stderr
    failed = aws("ecr", "list-replication-backfills", "--next-token", "nothing", check=False)
    assert failed.returncode and "InvalidParameterException" in failed.stderr
