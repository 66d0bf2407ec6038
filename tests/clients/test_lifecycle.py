"""Lifecycle policies and the archive by boto3, with its waiter and paginator, and by both AWS CLIs."""

import json

import pytest
from harness import images
from harness.aws import make_client, refused

KEEP = json.dumps(
    {
        "rules": [
            {
                "rulePriority": 10,
                "description": "keep one image",
                "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1},
                "action": {"type": "expire"},
            }
        ]
    }
)
ARCHIVE = json.dumps(
    {
        "rules": [
            {
                "rulePriority": 1,
                "selection": {"tagStatus": "tagged", "tagPatternList": ["v*"], "countType": "imageCountMoreThan", "countNumber": 1},
                "action": {"type": "transition", "targetStorageClass": "archive"},
            },
            {
                "rulePriority": 2,
                "selection": {
                    "tagStatus": "any",
                    "storageClass": "archive",
                    "countType": "sinceImageTransitioned",
                    "countUnit": "days",
                    "countNumber": 90,
                },
                "action": {"type": "expire"},
            },
        ]
    }
)


@pytest.fixture(scope="module")
def ecr(server):
    return make_client(server, "ecr")


def push(ecr, repository, tag):
    """Pushes a small image and returns its digest."""
    config, layer = b"{}", f"layer of {tag}".encode()
    found = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=[images.digest(config)])["layers"]
    for data in [layer] if found[0]["layerAvailability"] == "AVAILABLE" else [config, layer]:
        upload = ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
        ecr.upload_layer_part(
            repositoryName=repository, uploadId=upload, partFirstByte=0, partLastByte=len(data) - 1, layerPartBlob=data
        )
        ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[images.digest(data)])
    manifest = images.to_json(
        {
            "schemaVersion": 2,
            "mediaType": images.MANIFEST,
            "config": images.descriptor(images.CONFIG, config),
            "layers": [images.descriptor("application/vnd.oci.image.layer.v1.tar", layer)],
        }
    )
    ecr.put_image(repositoryName=repository, imageManifest=manifest.decode(), imageTag=tag)
    return images.digest(manifest)


@pytest.fixture(scope="module")
def repository(ecr):
    ecr.create_repository(repositoryName="lifecycle")
    for tag in ["v1", "v2", "v3"]:
        push(ecr, "lifecycle", tag)
    return "lifecycle"


def test_policy(ecr, repository):
    message = refused("LifecyclePolicyNotFoundException", ecr.get_lifecycle_policy, repositoryName=repository)
    assert message.startswith(f"Lifecycle policy does not exist for the repository with name '{repository}' in the registry")
    refused("LifecyclePolicyNotFoundException", ecr.delete_lifecycle_policy, repositoryName=repository)
    assert ecr.put_lifecycle_policy(repositoryName=repository, lifecyclePolicyText=KEEP)["lifecyclePolicyText"] == KEEP
    stored = ecr.get_lifecycle_policy(repositoryName=repository)
    assert stored["lifecyclePolicyText"] == KEEP and "lastEvaluatedAt" not in stored
    message = refused(
        "InvalidParameterException",
        ecr.put_lifecycle_policy,
        repositoryName=repository,
        lifecyclePolicyText=KEEP.replace("imageCountMoreThan", "imageCountLessThan"),
    )
    assert message == (
        "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: 'Lifecycle policy validation failure: "
        "instance failed to match exactly one schema (matched 0 out of 4)'"
    )
    refused("RepositoryNotFoundException", ecr.put_lifecycle_policy, repositoryName="none", lifecyclePolicyText=KEEP)
    assert ecr.delete_lifecycle_policy(repositoryName=repository)["lifecyclePolicyText"] == KEEP


def test_preview(ecr, repository):
    refused("LifecyclePolicyNotFoundException", ecr.start_lifecycle_policy_preview, repositoryName=repository)
    refused("LifecyclePolicyPreviewNotFoundException", ecr.get_lifecycle_policy_preview, repositoryName=repository)
    started = ecr.start_lifecycle_policy_preview(repositoryName=repository, lifecyclePolicyText=ARCHIVE)
    assert started["status"] == "IN_PROGRESS" and started["lifecyclePolicyText"] == ARCHIVE
    ecr.get_waiter("lifecycle_policy_preview_complete").wait(repositoryName=repository, WaiterConfig={"Delay": 1})
    paginator = ecr.get_paginator("get_lifecycle_policy_preview")
    pages = list(paginator.paginate(repositoryName=repository, PaginationConfig={"PageSize": 1}))
    results = [result for page in pages for result in page["previewResults"]]
    assert [result["imageTags"] for result in results] == [["v2"], ["v1"]]
    for result in results:
        assert result["action"] == {"type": "TRANSITION", "targetStorageClass": "ARCHIVE"}
        assert result["appliedRulePriority"] == 1 and result["storageClass"] == "STANDARD"
    assert pages[0]["summary"] == {
        "expiringImageTotalCount": 0,
        "transitioningImageTotalCounts": [{"targetStorageClass": "ARCHIVE", "imageTotalCount": 2}],
    }


def test_archive(ecr, repository):
    digest = push(ecr, repository, "archived")
    identifier = {"imageTag": "archived"}
    done = ecr.update_image_storage_class(repositoryName=repository, imageId=identifier, targetStorageClass="ARCHIVE")
    assert done["imageStatus"] == "ARCHIVED" and done["imageId"] == {"imageDigest": digest, "imageTag": "archived"}
    listed = ecr.list_images(repositoryName=repository, filter={"imageStatus": "ARCHIVED"})["imageIds"]
    assert [found["imageDigest"] for found in listed] == [digest]
    assert digest not in [found["imageDigest"] for found in ecr.list_images(repositoryName=repository)["imageIds"]]
    detail = ecr.describe_images(repositoryName=repository, imageIds=[identifier])["imageDetails"][0]
    assert detail["imageStatus"] == "ARCHIVED" and "lastArchivedAt" in detail and "lastActivatedAt" not in detail
    failure = ecr.batch_get_image(repositoryName=repository, imageIds=[identifier])["failures"][0]
    assert failure["failureCode"] == "ImageInaccessible"
    layer = images.digest(b"layer of archived")
    checked = ecr.batch_check_layer_availability(repositoryName=repository, layerDigests=[layer])["layers"][0]
    assert checked["layerAvailability"] == "ARCHIVED"
    refused("LayerInaccessibleException", ecr.get_download_url_for_layer, repositoryName=repository, layerDigest=layer)
    done = ecr.update_image_storage_class(repositoryName=repository, imageId=identifier, targetStorageClass="STANDARD")
    assert done["imageStatus"] == "ACTIVE"
    assert ecr.batch_get_image(repositoryName=repository, imageIds=[identifier])["images"]
    refused(
        "ImageNotFoundException",
        ecr.update_image_storage_class,
        repositoryName=repository,
        imageId={"imageTag": "none"},
        targetStorageClass="ARCHIVE",
    )


def test_command_lines(aws, ecr):
    name = f"lifecycle-{aws.name}"
    ecr.create_repository(repositoryName=name)
    for tag in ["one", "two"]:
        push(ecr, name, tag)
    of = ["--repository-name", name]

    def fails(code, *words):
        failed = aws("ecr", *words, *of, check=False)
        assert failed.returncode and f"({code})" in failed.stderr, failed.stderr

    fails("LifecyclePolicyNotFoundException", "get-lifecycle-policy")
    fails("LifecyclePolicyNotFoundException", "delete-lifecycle-policy")
    fails("LifecyclePolicyNotFoundException", "start-lifecycle-policy-preview")
    fails("LifecyclePolicyPreviewNotFoundException", "get-lifecycle-policy-preview")
    fails("InvalidParameterException", "put-lifecycle-policy", "--lifecycle-policy-text", "{" + " " * 100)
    assert aws("ecr", "put-lifecycle-policy", *of, "--lifecycle-policy-text", KEEP)["lifecyclePolicyText"] == KEEP
    assert aws("ecr", "get-lifecycle-policy", *of)["lifecyclePolicyText"] == KEEP
    assert aws("ecr", "start-lifecycle-policy-preview", *of)["status"] == "IN_PROGRESS"
    aws("ecr", "wait", "lifecycle-policy-preview-complete", *of, plain=True)
    preview = aws("ecr", "get-lifecycle-policy-preview", *of)
    assert [result["imageTags"] for result in preview["previewResults"]] == [["one"]]
    assert aws("ecr", "delete-lifecycle-policy", *of)["lifecyclePolicyText"] == KEEP
    update = ["update-image-storage-class", "--target-storage-class", "ARCHIVE", "--image-id"]
    known = aws("ecr", *update, "imageTag=one", *of, check=False)
    # Old versions do not know the operation.
    if "Invalid choice" not in known.stderr:
        assert json.loads(known.stdout)["imageStatus"] == "ARCHIVED"
        fails("ImageNotFoundException", *update, "imageTag=none")
