"""boto3: every ECR operation of the registry, with the responses and errors that AWS documents."""

import base64
import hashlib
import json
import time
import urllib.error
import urllib.request

import boto3
import botocore.config
import botocore.exceptions
import pytest
from harness import images
from harness.aws import make_client, refused

MISSING = "sha256:" + "0" * 64
# Layer parts other than the last are at least this long, as in ECR.
LEAST_PART = 5 * 1024 * 1024


@pytest.fixture(scope="module")
def ecr(server):
    return make_client(server, "ecr")


@pytest.fixture(scope="module")
def account(server):
    return make_client(server, "sts").get_caller_identity()["Account"]


def upload(ecr, repository, data, part=None):
    """Uploads a layer in parts and returns its digest."""
    begun = ecr.initiate_layer_upload(repositoryName=repository)
    assert begun["partSize"] >= LEAST_PART
    step = part or begun["partSize"]
    for first in range(0, len(data), step):
        piece = data[first : first + step]
        last = first + len(piece) - 1
        response = ecr.upload_layer_part(
            repositoryName=repository, uploadId=begun["uploadId"], partFirstByte=first, partLastByte=last, layerPartBlob=piece
        )
        assert response["lastByteReceived"] == last
    digest = images.digest(data)
    done = ecr.complete_layer_upload(repositoryName=repository, uploadId=begun["uploadId"], layerDigests=[digest])
    assert done["layerDigest"] == digest
    return digest


def put(ecr, repository, image, **more):
    """Uploads an image's blobs that are not there yet and puts its manifest."""
    digests = list(image.blobs)
    if digests:
        found = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=digests)["layers"]
        there = {layer["layerDigest"] for layer in found if layer["layerAvailability"] == "AVAILABLE"}
        for digest in set(digests) - there:
            upload(ecr, repository, image.blobs[digest])
    return ecr.put_image(repositoryName=repository, imageManifest=image.manifest.decode(), **more)["image"]


def small(text):
    return images.Image({"word": text.encode()})


def test_repository_life(ecr, server, account):
    made = ecr.create_repository(repositoryName="boto/life", tags=[{"Key": "team", "Value": "one"}])["repository"]
    assert made["repositoryArn"] == f"arn:aws:ecr:us-east-1:{account}:repository/boto/life"
    assert made["registryId"] == account
    assert made["repositoryUri"] == f"{server.host}/boto/life"
    assert made["imageTagMutability"] == "MUTABLE"
    assert made["imageScanningConfiguration"] == {"scanOnPush": False}
    assert made["encryptionConfiguration"] == {"encryptionType": "AES256"}
    message = refused("RepositoryAlreadyExistsException", ecr.create_repository, repositoryName="boto/life")
    assert message == f"The repository with name 'boto/life' already exists in the registry with id '{account}'"
    listed = ecr.describe_repositories(repositoryNames=["boto/life"])["repositories"]
    assert [repository["repositoryArn"] for repository in listed] == [made["repositoryArn"]]
    gone = ecr.delete_repository(repositoryName="boto/life")["repository"]
    assert gone["repositoryName"] == "boto/life"
    message = refused("RepositoryNotFoundException", ecr.describe_repositories, repositoryNames=["boto/life"])
    assert message == f"The repository with name 'boto/life' does not exist in the registry with id '{account}'"
    refused("RepositoryNotFoundException", ecr.delete_repository, repositoryName="boto/life")


# A name of one character is left out: botocore itself refuses it.
@pytest.mark.parametrize("name", ["UPPER", "a//b", "-a", "a/../b", "a" * 257, "with space"])
def test_malformed_names(ecr, name):
    message = refused("InvalidParameterException", ecr.create_repository, repositoryName=name)
    assert "repositoryName" in message


def test_repositories_in_pages(ecr):
    names = [f"boto/pages/{number:02}" for number in range(7)]
    for name in names:
        ecr.create_repository(repositoryName=name)
    found = []
    for page in ecr.get_paginator("describe_repositories").paginate(PaginationConfig={"PageSize": 3}):
        assert len(page["repositories"]) <= 3
        found += [repository["repositoryName"] for repository in page["repositories"]]
    assert found == sorted(found) and set(names) <= set(found) and len(found) == len(set(found))
    refused("InvalidParameterException", ecr.describe_repositories, nextToken="no token of ours")


def test_image_life(ecr, repository, account):
    image = small("life")
    kept = put(ecr, repository, image, imageTag="one")
    assert kept["imageId"] == {"imageDigest": image.digest, "imageTag": "one"}
    assert kept["imageManifest"].encode() == image.manifest
    put(ecr, repository, image, imageTag="two")
    detail = ecr.describe_images(repositoryName=repository)["imageDetails"][0]
    assert detail["imageDigest"] == image.digest and detail["registryId"] == account
    assert sorted(detail["imageTags"]) == ["one", "two"]
    assert detail["imageSizeInBytes"] == sum(len(data) for data in image.blobs.values())
    assert detail["imageManifestMediaType"] == images.MANIFEST
    assert detail["artifactMediaType"] == images.CONFIG
    assert detail["imagePushedAt"].timestamp() > 1_600_000_000
    listed = ecr.list_images(repositoryName=repository)["imageIds"]
    assert sorted(entry["imageTag"] for entry in listed) == ["one", "two"]
    got = ecr.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "two"}, {"imageTag": "absent"}])
    assert [found["imageManifest"].encode() for found in got["images"]] == [image.manifest]
    assert [failure["failureCode"] for failure in got["failures"]] == ["ImageNotFound"]
    removed = ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageTag": "one"}])
    assert removed["imageIds"] == [{"imageDigest": image.digest, "imageTag": "one"}]
    refused("RepositoryNotEmptyException", ecr.delete_repository, repositoryName=repository)
    removed = ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageDigest": image.digest}])
    assert removed["imageIds"] == [{"imageDigest": image.digest, "imageTag": "two"}]
    refused("ImageNotFoundException", ecr.describe_images, repositoryName=repository, imageIds=[{"imageTag": "two"}])
    ecr.delete_repository(repositoryName=repository)


def test_tag_that_moves_leaves_its_image_untagged(ecr, repository):
    first, second = small("first"), small("second")
    put(ecr, repository, first, imageTag="latest")
    put(ecr, repository, second, imageTag="latest")
    untagged = ecr.list_images(repositoryName=repository, filter={"tagStatus": "UNTAGGED"})["imageIds"]
    assert untagged == [{"imageDigest": first.digest}]
    tagged = ecr.list_images(repositoryName=repository, filter={"tagStatus": "TAGGED"})["imageIds"]
    assert tagged == [{"imageDigest": second.digest, "imageTag": "latest"}]


def test_images_in_pages(ecr, repository):
    image = small("paged")
    tags = [f"t{number:02}" for number in range(9)]
    for tag in tags:
        put(ecr, repository, image, imageTag=tag)
    found = []
    for page in ecr.get_paginator("list_images").paginate(repositoryName=repository, PaginationConfig={"PageSize": 4}):
        assert len(page["imageIds"]) <= 4
        found += [entry["imageTag"] for entry in page["imageIds"]]
    assert sorted(found) == tags
    for number in range(5):
        put(ecr, repository, small(f"paged {number}"))
    digests = []
    for page in ecr.get_paginator("describe_images").paginate(repositoryName=repository, PaginationConfig={"PageSize": 2}):
        digests += [detail["imageDigest"] for detail in page["imageDetails"]]
    assert len(digests) == len(set(digests)) == 6


def test_put_image_faults(ecr, repository):
    image = small("faults")
    message = refused("LayersNotFoundException", ecr.put_image, repositoryName=repository, imageManifest=image.manifest.decode())
    assert image.layer_digest in message
    put(ecr, repository, image, imageTag="one")
    whole = {"repositoryName": repository, "imageManifest": image.manifest.decode()}
    refused("ImageAlreadyExistsException", ecr.put_image, **whole, imageTag="one")
    refused("ImageDigestDoesNotMatchException", ecr.put_image, **whole, imageDigest=MISSING)
    refused("InvalidParameterException", ecr.put_image, repositoryName=repository, imageManifest="not json")
    refused("RepositoryNotFoundException", ecr.put_image, repositoryName="boto/absent", imageManifest=image.manifest.decode())


def test_index(ecr, repository):
    members = [images.Image({"word": name.encode()}, architecture=name) for name in ("amd64", "arm64")]
    index = images.Index(members)
    refused("ReferencedImagesNotFoundException", ecr.put_image, repositoryName=repository, imageManifest=index.manifest.decode())
    for member in members:
        put(ecr, repository, member)
    put(ecr, repository, index, imageTag="all")
    found = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": "all"}])["imageDetails"][0]
    assert found["imageManifestMediaType"] == images.INDEX
    assert found["imageSizeInBytes"] == max(sum(len(data) for data in member.blobs.values()) for member in members)
    response = ecr.batch_delete_image(repositoryName=repository, imageIds=[{"imageDigest": members[0].digest}])
    assert [failure["failureCode"] for failure in response["failures"]] == ["ImageReferencedByManifestList"]


def test_layers(ecr, repository):
    data = hashlib.shake_256(b"layer").digest(LEAST_PART + 1000)
    digest = upload(ecr, repository, data, part=LEAST_PART)
    absent = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=[digest, MISSING, "nonsense"])
    states = {layer["layerDigest"]: layer["layerAvailability"] for layer in absent["layers"]}
    assert states == {digest: "AVAILABLE", MISSING: "UNAVAILABLE"}
    assert [failure["failureCode"] for failure in absent["failures"]] == ["InvalidLayerDigest"]
    image = small("url")
    put(ecr, repository, image, imageTag="url")
    response = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=image.layer_digest)
    assert response["layerDigest"] == image.layer_digest
    # The URL carries its own permission: no header is sent.
    with urllib.request.urlopen(response["downloadUrl"], timeout=10) as response:
        assert images.digest(response.read()) == image.layer_digest
    refused("LayersNotFoundException", ecr.get_download_url_for_layer, repositoryName=repository, layerDigest=MISSING)


def test_layer_url_that_was_tampered_with(ecr, repository):
    image = small("tampered")
    put(ecr, repository, image, imageTag="one")
    url = ecr.get_download_url_for_layer(repositoryName=repository, layerDigest=image.layer_digest)["downloadUrl"]
    for wrong in (url[:-1] + ("A" if url[-1] != "A" else "B"), url.split("?")[0], url.replace(image.layer_digest[-8:], "0" * 8)):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(wrong, timeout=10)
        assert caught.value.code in (400, 401, 403, 404)


def test_upload_faults(ecr, repository):
    data = b"x" * LEAST_PART
    begin = lambda: ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]  # noqa: E731

    def part(upload_id, first, piece):
        last = first + len(piece) - 1
        return {
            "repositoryName": repository, "uploadId": upload_id, "partFirstByte": first, "partLastByte": last, "layerPartBlob": piece
        }  # fmt: skip

    def complete(upload_id, digest):
        return {"repositoryName": repository, "uploadId": upload_id, "layerDigests": [digest]}

    refused("EmptyUploadException", ecr.complete_layer_upload, **complete(begin(), images.digest(b"")))
    upload_id = begin()
    ecr.upload_layer_part(**part(upload_id, 0, data))
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        ecr.upload_layer_part(**part(upload_id, 3, b"gap"))
    assert caught.value.response["Error"]["Code"] == "InvalidLayerPartException"
    assert caught.value.response["lastValidByteReceived"] == len(data) - 1
    refused("InvalidLayerException", ecr.complete_layer_upload, **complete(upload_id, MISSING))
    small_part = begin()
    ecr.upload_layer_part(**part(small_part, 0, b"short"))
    ecr.upload_layer_part(**part(small_part, 5, b"last"))
    refused("LayerPartTooSmallException", ecr.complete_layer_upload, **complete(small_part, images.digest(b"shortlast")))
    other = "01234567-89ab-4def-8123-456789abcdef"
    refused("UploadNotFoundException", ecr.upload_layer_part, **part(other, 0, b"x"))
    refused("UploadNotFoundException", ecr.complete_layer_upload, **complete(other, MISSING))
    digest = upload(ecr, repository, b"twice")
    again = begin()
    ecr.upload_layer_part(**part(again, 0, b"twice"))
    refused("LayerAlreadyExistsException", ecr.complete_layer_upload, **complete(again, digest))
    refused("RepositoryNotFoundException", ecr.initiate_layer_upload, repositoryName="boto/absent")


def test_batch_failures(ecr, repository):
    response = ecr.batch_delete_image(
        repositoryName=repository, imageIds=[{}, {"imageDigest": "nonsense"}, {"imageTag": "absent"}, {"imageDigest": MISSING}]
    )
    codes = [failure["failureCode"] for failure in response["failures"]]
    assert codes == ["MissingDigestAndTag", "InvalidImageDigest", "ImageNotFound", "ImageNotFound"]


def test_authorization_token(ecr, server):
    data = ecr.get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    assert user == "AWS" and password
    assert data["proxyEndpoint"] == server.url
    left = data["expiresAt"].timestamp() - time.time()
    assert 11.9 * 3600 < left <= 12 * 3600 + 5


def test_repository_policy(ecr, repository):
    refused("RepositoryPolicyNotFoundException", ecr.get_repository_policy, repositoryName=repository)
    statement = {"Sid": "s", "Effect": "Allow", "Principal": "*", "Action": "ecr:BatchGetImage"}
    text = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    ecr.set_repository_policy(repositoryName=repository, policyText=text)
    assert json.loads(ecr.get_repository_policy(repositoryName=repository)["policyText"])["Statement"][0]["Sid"] == "s"
    for wrong in ["{}", "not json", json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Effect": "Maybe"}]})]:
        message = refused("InvalidParameterException", ecr.set_repository_policy, repositoryName=repository, policyText=wrong)
        assert "PolicyText" in message
    ecr.delete_repository_policy(repositoryName=repository)
    refused("RepositoryPolicyNotFoundException", ecr.delete_repository_policy, repositoryName=repository)


def test_regions_are_apart(server, account):
    other = make_client(server, "ecr", region="eu-west-1")
    made = other.create_repository(repositoryName="boto/region")["repository"]
    assert made["repositoryArn"] == f"arn:aws:ecr:eu-west-1:{account}:repository/boto/region"
    refused("RepositoryNotFoundException", make_client(server, "ecr").describe_repositories, repositoryNames=["boto/region"])


def test_read_only_user(server, ecr, repository, account):
    image = small("shared")
    put(ecr, repository, image, imageTag="one")
    reader = make_client(server, "ecr", server.add_user("boto-reader", "AmazonEC2ContainerRegistryReadOnly"))
    assert reader.batch_get_image(repositoryName=repository, imageIds=[{"imageTag": "one"}])["images"]
    message = refused("AccessDeniedException", reader.create_repository, repositoryName="boto/denied")
    assert message.startswith(f"User: arn:aws:iam::{account}:user/boto-reader is not authorized to perform: ecr:CreateRepository on resource:")
    assert "no identity-based policy allows the ecr:CreateRepository action" in message


def test_wrong_secret(server):
    wrong = make_client(server, "ecr", {"AWS_SECRET_ACCESS_KEY": "not-the-secret"})
    refused_code(wrong, {"InvalidSignatureException"})
    unknown = make_client(server, "ecr", {"AWS_ACCESS_KEY_ID": "AKIA0000000000000000"})
    refused_code(unknown, {"UnrecognizedClientException"})


def refused_code(client, codes):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        client.describe_repositories()
    assert caught.value.response["Error"]["Code"] in codes, caught.value.response["Error"]


def test_what_docker_pushed_is_described_at_once(server, ecr, repository, client, password, layout, hello):
    client("skopeo", "copy", "--dest-tls-verify=false", f"--dest-creds=AWS:{password}", f"oci:{layout}:latest", f"docker://{server.host}/{repository}:now")
    detail = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": "now"}])["imageDetails"][0]
    assert detail["imageDigest"] == hello.digest


def test_temporary_credentials(server, ecr, account):
    sts = make_client(server, "sts")
    issued = sts.get_session_token(DurationSeconds=900)["Credentials"]
    assert sts.get_access_key_info(AccessKeyId=issued["AccessKeyId"])["Account"] == account

    def session(service, token=issued["SessionToken"]):
        return boto3.client(
            service,
            endpoint_url=server.url,
            region_name=ecr.meta.region_name,
            aws_access_key_id=issued["AccessKeyId"],
            aws_secret_access_key=issued["SecretAccessKey"],
            aws_session_token=token,
            config=botocore.config.Config(retries={"total_max_attempts": 1}),
        )

    assert session("sts").get_caller_identity()["Arn"] == sts.get_caller_identity()["Arn"]
    password = session("ecr").get_authorization_token()["authorizationData"][0]
    assert password["expiresAt"] <= issued["Expiration"]
    refused("AccessDenied", session("sts").get_session_token, status=403)
    refused("UnrecognizedClientException", session("ecr", token=None).describe_repositories)
