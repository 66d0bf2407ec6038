"""Every operation of ECR by boto3 and both AWS CLIs: each fails once, and each succeeds once, here or in the file of its subject. What
boto3 gets is compared with the service model: no member that it does not know, and each that it knows is seen."""

import hashlib
import json

import pytest
from harness import images
from harness.aws import make_client
from harness.command_line import CommandLine
from harness.operation_calls import Boto, Calls, Cli, Failed, Unknown
from harness.process import run
from harness.sample_requests import ACCOUNT, service_model
from harness.server import binary

NOBODY = "every/nobody"
ARN = f"arn:aws:ecr:us-east-1:{ACCOUNT}:repository"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/every"
PROFILE = f"arn:aws:signer:us-east-1:{ACCOUNT}:/signing-profiles/every"
DIGEST = "sha256:" + "0" * 64
IMAGE = {"imageTag": "one"}
TAGS = [{"Key": "team", "Value": "red"}]
EMPTY_INDEX = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []}
LIFECYCLE = json.dumps(
    {
        "rules": [
            {
                "rulePriority": 1,
                "selection": {"tagStatus": "untagged", "countType": "imageCountMoreThan", "countNumber": 100},
                "action": {"type": "expire"},
            }
        ]
    }
)


def policy(resource=None):
    statement = {"Sid": "one", "Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "ecr:ListImages"}
    return json.dumps({"Version": "2012-10-17", "Statement": [{**statement, **({"Resource": resource} if resource else {})}]})


# Values of the members that requests need, about a repository that does not exist.
OF_NOBODY = {
    "repositoryName": NOBODY,
    "appliedFor": ["REPLICATION"],
    "destination": {"region": "eu-west-1", "registryId": ACCOUNT},
    "ecrRepositoryPrefix": "nobody",
    "imageId": IMAGE,
    "imageIds": [IMAGE],
    "imageManifest": "{}",
    "imageScanningConfiguration": {"scanOnPush": True},
    "imageTagMutability": "MUTABLE",
    "layerDigest": DIGEST,
    "layerDigests": [DIGEST],
    "layerPartBlob": b"a",
    "lifecyclePolicyText": LIFECYCLE,
    "name": "BLOB_MOUNTING",
    "partFirstByte": 0,
    "partLastByte": 0,
    "policyText": policy(),
    "prefix": "nobody",
    "principalArn": ROLE,
    "replicationBackfillId": "01234567-89ab-4def-8123-456789abcdef",
    "replicationConfiguration": {"rules": []},
    "resourceArn": f"{ARN}/{NOBODY}",
    "signingConfiguration": {"rules": [{"signingProfileArn": "every"}]},
    "subjectId": {"imageDigest": DIGEST},
    "tagKeys": ["team"],
    "tags": TAGS,
    "targetStorageClass": "STANDARD",
    "uploadId": "01234567-89ab-4def-8123-456789abcdef",
    "upstreamRegistryUrl": "public.ecr.aws",
    "value": "SOMETIMES",
}
INVALID = "InvalidParameterException"
TOKEN = {"nextToken": "nothing"}
# How operations fail that do not fail with RepositoryNotFoundException when a request is about nobody.
FAULTS = {
    "BatchGetRepositoryScanningConfiguration": (INVALID, {"repositoryNames": ["Not Valid"]}),
    "CreatePullThroughCacheRule": (INVALID, {"ecrRepositoryPrefix": "Not Valid"}),
    "CreateRepository": (INVALID, {"repositoryName": "Not Valid"}),
    "CreateRepositoryCreationTemplate": (INVALID, {"prefix": "Not Valid"}),
    "DeletePullThroughCacheRule": ("PullThroughCacheRuleNotFoundException", {}),
    "DeleteRepositoryCreationTemplate": ("TemplateNotFoundException", {}),
    "DeregisterPullTimeUpdateExclusion": ("ExclusionNotFoundException", {}),
    "DescribePullThroughCacheRules": ("PullThroughCacheRuleNotFoundException", {"ecrRepositoryPrefixes": ["nobody"]}),
    "DescribeReplicationBackfillResults": ("ReplicationBackfillNotFoundException", {}),
    "DescribeRepositories": ("RepositoryNotFoundException", {"repositoryNames": [NOBODY]}),
    "DescribeRepositoryCreationTemplates": (INVALID, TOKEN),
    "GetAccountSetting": (INVALID, {"name": "NOTHING"}),
    "GetAuthorizationToken": (INVALID, {"registryIds": ["nobody"]}),
    "ListPullTimeUpdateExclusions": (INVALID, TOKEN),
    "ListReplicationBackfills": (INVALID, TOKEN),
    "PutAccountSetting": (INVALID, {}),
    "PutRegistryPolicy": (INVALID, {}),
    "PutRegistryScanningConfiguration": (INVALID, {"scanType": "NOTHING"}),
    "PutReplicationConfiguration": (
        INVALID,
        {"replicationConfiguration": {"rules": [{"destinations": [{"region": "Nowhere", "registryId": ACCOUNT}]}]}},
    ),
    "PutSigningConfiguration": (INVALID, {}),
    "RegisterPullTimeUpdateExclusion": (INVALID, {"principalArn": "nobody"}),
    "StopReplicationBackfill": ("ReplicationBackfillNotFoundException", {}),
    "UpdatePullThroughCacheRule": ("PullThroughCacheRuleNotFoundException", {"credentialArn": f"arn:aws:secretsmanager:us-east-1:{ACCOUNT}:secret:ecr-pullthroughcache/nobody-AbCdEf"}),
    "UpdateRepositoryCreationTemplate": ("TemplateNotFoundException", {}),
    "ValidatePullThroughCacheRule": ("PullThroughCacheRuleNotFoundException", {}),
}
# Their failures need what the files of their subjects set up.
FAIL_ELSEWHERE = {"StartReplicationBackfill", "CreatePullThroughCacheRule", "UpdatePullThroughCacheRule"}
# Their successes are in the files of their subjects: lifecycle policies, archive, pull through cache, replication, scanning.
SUCCEED_ELSEWHERE = {
    "CreatePullThroughCacheRule",
    "DeleteLifecyclePolicy",
    "DeletePullThroughCacheRule",
    "DescribeImageReplicationStatus",
    "DescribeImageScanFindings",
    "DescribePullThroughCacheRules",
    "DescribeReplicationBackfillResults",
    "GetLifecyclePolicy",
    "GetLifecyclePolicyPreview",
    "ListReplicationBackfills",
    "PutLifecyclePolicy",
    "PutReplicationConfiguration",
    "StartImageScan",
    "StartLifecyclePolicyPreview",
    "StartReplicationBackfill",
    "StopReplicationBackfill",
    "UpdateImageStorageClass",
    "UpdatePullThroughCacheRule",
    "ValidatePullThroughCacheRule",
}
# AWS CLI 1 brings a model of its own, which is older than these.
OLDER = {
    "DescribeReplicationBackfillResults",
    "ListReplicationBackfills",
    "StartReplicationBackfill",
    "StopReplicationBackfill",
}
# Members that no output here has, and the file that has them: test_pages.py, or those of archive and scanning.
UNSEEN = {
    "ImageDetail": {"imageScanStatus", "imageScanFindingsSummary", "lastActivatedAt", "lastArchivedAt", "lastRecordedPullTime"},
    "RepositoryCreationTemplate": {"lifecyclePolicy"},
}


class Observed:
    """The members that responses had, by shape, and those that the model does not know."""

    def __init__(self):
        self.seen, self.known, self.unknown = {}, {}, set()

    def note(self, model, document):
        if model.output_shape:
            self.compare(model.output_shape, document)

    def compare(self, shape, value):
        if shape.type_name == "structure":
            self.known[shape.name] = set(shape.members)
            seen = self.seen.setdefault(shape.name, set())
            for name, inner in value.items():
                if name in shape.members:
                    seen.add(name)
                    self.compare(shape.members[name], inner)
                else:
                    self.unknown.add(f"{shape.name}.{name}")
        elif shape.type_name == "list":
            for inner in value:
                self.compare(shape.member, inner)

    def missing(self):
        """Members that nothing had, of shapes that something had."""
        missing = {name: members - self.seen[name] for name, members in self.known.items()}
        return {name: members for name, members in missing.items() if members}


@pytest.fixture(scope="module")
def served():
    """The service of each operation."""
    listed = json.loads(run([binary(), "operations", "--json"]).stdout)
    return {entry["operation"]: entry["service"] for entry in listed if entry["service"] == "ecr"}


@pytest.fixture(scope="module")
def observed():
    return Observed()


@pytest.fixture(scope="module", params=["boto3", "cli1", "cli2"])
def calls(request, server, served, observed, tmp_path_factory):
    name, unknown = f"every-{request.param}", {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}
    if request.param == "boto3":
        yield Calls(name, Boto(server, ["ecr"], observe=observed.note), Boto(server, ["ecr"], unknown), served)
        return
    home = tmp_path_factory.mktemp("home")
    lines = [CommandLine(request.param, server, home, credentials) for credentials in (None, unknown)]
    yield Calls(name, *(Cli(line, home) for line in lines), served)
    for line in lines:
        line.stop()


def may_be_unknown(calls):
    """Debian's CLI 2 is of 2023."""
    return calls.name.endswith("cli2")


def test_every_operation_fails(calls):
    wrong, unknown = [], set()
    for operation in calls.served:
        shape = service_model("ecr").operation_model(operation).input_shape
        call = calls.call
        if shape is None or not shape.members:
            call, expected, members = calls.stranger, "UnrecognizedClientException", {}
        else:
            expected, more = FAULTS.get(operation, ("RepositoryNotFoundException", {}))
            members = {name: OF_NOBODY[name] for name in shape.required_members if name not in more} | more
        try:
            call("ecr", operation, members)
            wrong.append(f"{operation} succeeded with {members}")
        except Unknown:
            unknown.add(operation)
        except Failed as failed:
            if failed.code != expected and operation not in FAIL_ELSEWHERE:
                wrong.append(f"{operation}: {failed} instead of {expected}")
    assert not wrong, "\n".join(wrong)
    assert unknown <= (OLDER if calls.name.endswith("cli1") else set()) or may_be_unknown(calls), unknown


def test_every_operation_succeeds(calls, observed):
    name = {"repositoryName": calls.name}
    unknown = set()
    for part in (repositories, layers_and_images, policies, registry, templates, exclusions, signing):
        try:
            part(calls, name)
        except Unknown:
            assert may_be_unknown(calls)
            unknown.add(part.__name__)
    calls.ok("DeleteRepository", **name, force=True)
    if may_be_unknown(calls):
        assert unknown <= {"layers_and_images", "registry", "templates", "exclusions", "signing"}
    else:
        assert not unknown
        assert set(calls.served) - calls.succeeded <= SUCCEED_ELSEWHERE
    if calls.name.endswith("boto3"):
        assert not observed.unknown
        missing = {shape: members - UNSEEN.get(shape, set()) - {"nextToken"} for shape, members in observed.missing().items()}
        assert not {shape: members for shape, members in missing.items() if members}


def repositories(calls, name):
    ok = calls.ok
    made = ok("CreateRepository", **name, tags=TAGS)["repository"]
    assert made["repositoryArn"] == f"{ARN}/{calls.name}" and made["encryptionConfiguration"] == {"encryptionType": "AES256"}
    assert ok("DescribeRepositories", repositoryNames=[calls.name])["repositories"] == [made]
    resource = {"resourceArn": made["repositoryArn"]}
    ok("TagResource", **resource, tags=[{"Key": "a", "Value": "1"}])
    ok("UntagResource", **resource, tagKeys=["a"])
    assert ok("ListTagsForResource", **resource)["tags"] == TAGS
    assert ok("PutImageTagMutability", **name, imageTagMutability="IMMUTABLE")["imageTagMutability"] == "IMMUTABLE"
    ok("PutImageTagMutability", **name, imageTagMutability="MUTABLE")
    if not may_be_unknown(calls):
        filters = [{"filterType": "WILDCARD", "filter": "dev-*"}]
        key = {"encryptionType": "KMS", "kmsKey": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/every"}
        other = {"repositoryName": f"{calls.name}/other"}
        exclusion = {"imageTagMutability": "IMMUTABLE_WITH_EXCLUSION", "imageTagMutabilityExclusionFilters": filters}
        made = ok("CreateRepository", **other, **exclusion, encryptionConfiguration=key)["repository"]
        assert made["imageTagMutabilityExclusionFilters"] == filters and made["encryptionConfiguration"] == key
        assert ok("PutImageTagMutability", **other, **exclusion)["imageTagMutabilityExclusionFilters"] == filters
        ok("DeleteRepository", **other)
    scanning = {"imageScanningConfiguration": {"scanOnPush": True}}
    assert ok("PutImageScanningConfiguration", **name, **scanning)["imageScanningConfiguration"] == {"scanOnPush": True}
    assert ok("GetAuthorizationToken")["authorizationData"][0]["proxyEndpoint"].startswith("http")


def upload(calls, name, content):
    ok = calls.ok
    upload = {"uploadId": ok("InitiateLayerUpload", **name)["uploadId"]}
    part = {"partFirstByte": 0, "partLastByte": len(content) - 1, "layerPartBlob": content}
    if not calls.name.endswith("boto3"):
        part = {key: value if isinstance(value, bytes) else str(value) for key, value in part.items()}
    assert ok("UploadLayerPart", **name, **upload, **part)["lastByteReceived"] == len(content) - 1
    digest = "sha256:" + hashlib.sha256(content).hexdigest()
    assert ok("CompleteLayerUpload", **name, **upload, layerDigests=[digest])["layerDigest"] == digest


def layers_and_images(calls, name):
    ok, image = calls.ok, images.Image({"word": calls.name.encode()})
    for content in image.blobs.values():
        upload(calls, name, content)
    digests = [*image.blobs, "nothing"]
    checked = ok("BatchCheckLayerAvailability", **name, layerDigests=digests)
    assert {one["layerDigest"] for one in checked["layers"] if one["layerAvailability"] == "AVAILABLE"} == set(image.blobs)
    assert [one["failureCode"] for one in checked["failures"]] == ["InvalidLayerDigest"]
    put = ok("PutImage", **name, imageManifest=image.manifest.decode(), imageTag="one")["image"]
    assert put["imageId"] == {"imageDigest": image.digest, "imageTag": "one"}
    layer = next(iter(image.blobs))
    checked = ok("BatchCheckLayerAvailability", **name, layerDigests=[layer])["layers"]
    assert checked[0]["layerSize"] == len(image.blobs[layer])
    assert layer in ok("GetDownloadUrlForLayer", **name, layerDigest=layer)["downloadUrl"]
    got = ok("BatchGetImage", **name, imageIds=[IMAGE, {"imageTag": "two"}])
    assert got["images"][0]["imageManifest"] == image.manifest.decode()
    assert [one["failureCode"] for one in got["failures"]] == ["ImageNotFound"]
    assert ok("ListImages", **name)["imageIds"] == [put["imageId"]]
    signature = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/x.every",
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": layer, "size": len(image.blobs[layer])},
        "layers": [],
        "subject": {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": image.digest, "size": len(image.manifest)},
        "annotations": {"every": "one"},
    }
    ok("PutImage", **name, imageManifest=json.dumps(signature))
    described = ok("DescribeImages", **name)["imageDetails"]
    subjects = sorted(one.get("subjectManifestDigest", "") for one in described)
    assert subjects == (["", ""] if may_be_unknown(calls) else ["", image.digest])
    deleted = ok("BatchDeleteImage", **name, imageIds=[{"imageTag": "none"}])
    assert [one["failureCode"] for one in deleted["failures"]] == ["ImageNotFound"]
    referrers = ok("ListImageReferrers", **name, subjectId={"imageDigest": image.digest})["referrers"]
    assert [(one["artifactType"], one["annotations"]) for one in referrers] == [("application/x.every", {"every": "one"})]


def policies(calls, name):
    ok = calls.ok
    assert ok("SetRepositoryPolicy", **name, policyText=policy(), force=True)["policyText"] == policy()
    assert ok("GetRepositoryPolicy", **name)["policyText"] == policy()
    assert ok("DeleteRepositoryPolicy", **name)["policyText"] == policy()
    assert ok("PutRegistryPolicy", policyText=policy("*"))["policyText"] == policy("*")
    assert ok("GetRegistryPolicy")["policyText"] == policy("*")
    assert ok("DeleteRegistryPolicy")["policyText"] == policy("*")


def registry(calls, name):
    ok = calls.ok
    assert ok("DescribeRegistry")["registryId"] == ACCOUNT
    rules = [{"scanFrequency": "SCAN_ON_PUSH", "repositoryFilters": [{"filter": f"{calls.name}*", "filterType": "WILDCARD"}]}]
    put = ok("PutRegistryScanningConfiguration", scanType="BASIC", rules=rules)["registryScanningConfiguration"]
    assert put == {"scanType": "BASIC", "rules": rules}
    assert ok("GetRegistryScanningConfiguration")["scanningConfiguration"] == put
    got = ok("BatchGetRepositoryScanningConfiguration", repositoryNames=[calls.name, NOBODY])
    assert got["scanningConfigurations"][0]["appliedScanFilters"] == rules[0]["repositoryFilters"]
    assert [one["failureCode"] for one in got["failures"]] == ["REPOSITORY_NOT_FOUND"]
    ok("PutRegistryScanningConfiguration", scanType="BASIC", rules=[])
    setting = {"name": "BLOB_MOUNTING", "value": "ENABLED"}
    put = ok("PutAccountSetting", **setting)
    assert {key: put[key] for key in setting} == setting
    got = ok("GetAccountSetting", name="BLOB_MOUNTING")
    assert {key: got[key] for key in setting} == setting


def templates(calls, _):
    ok, prefix = calls.ok, {"prefix": calls.name}
    filters = [{"filterType": "WILDCARD", "filter": "dev-*"}]
    made = ok(
        "CreateRepositoryCreationTemplate",
        **prefix,
        appliedFor=["CREATE_ON_PUSH"],
        description="d",
        customRoleArn=ROLE,
        resourceTags=TAGS,
        repositoryPolicy=policy(),
        imageTagMutability="IMMUTABLE_WITH_EXCLUSION",
        imageTagMutabilityExclusionFilters=filters,
        encryptionConfiguration={"encryptionType": "KMS", "kmsKey": f"arn:aws:kms:us-east-1:{ACCOUNT}:key/every"},
    )["repositoryCreationTemplate"]
    assert made["resourceTags"] == TAGS and made["imageTagMutabilityExclusionFilters"] == filters
    changed = ok("UpdateRepositoryCreationTemplate", **prefix, description="e")["repositoryCreationTemplate"]
    assert changed["description"] == "e" and changed["customRoleArn"] == ROLE
    found = ok("DescribeRepositoryCreationTemplates", prefixes=[calls.name])["repositoryCreationTemplates"]
    assert found == [changed]
    assert ok("DeleteRepositoryCreationTemplate", **prefix)["repositoryCreationTemplate"] == changed


def exclusions(calls, _):
    ok, principal = calls.ok, {"principalArn": f"{ROLE}/{calls.name}"}
    assert ok("RegisterPullTimeUpdateExclusion", **principal)["principalArn"] == principal["principalArn"]
    assert principal["principalArn"] in ok("ListPullTimeUpdateExclusions")["pullTimeUpdateExclusions"]
    ok("DeregisterPullTimeUpdateExclusion", **principal)


def signing(calls, name):
    ok = calls.ok
    filters = [{"filter": "every/*", "filterType": "WILDCARD_MATCH"}]
    configuration = {"rules": [{"signingProfileArn": PROFILE, "repositoryFilters": filters}]}
    assert ok("PutSigningConfiguration", signingConfiguration=configuration)["signingConfiguration"] == configuration
    assert ok("GetSigningConfiguration")["signingConfiguration"] == configuration
    assert ok("DeleteSigningConfiguration")["signingConfiguration"] == configuration
    assert ok("DescribeImageSigningStatus", **name, imageId=IMAGE)["signingStatuses"] == []


def test_pages(server):
    """The paginators of boto3 over what a registry and a repository have."""
    ecr, names = make_client(server, "ecr"), [f"every-page-{number}" for number in range(3)]
    for name in names:
        ecr.create_repository(repositoryName=name)
        ecr.create_repository_creation_template(prefix=name, appliedFor=["REPLICATION"])
    target = {"repositoryName": names[0]}
    for tag in names:
        manifest = json.dumps({**EMPTY_INDEX, "annotations": {"tag": tag}})
        ecr.put_image(**target, imageManifest=manifest, imageTag=tag)
    for operation, members, result, key in (
        ("describe_repositories", {}, "repositories", lambda one: one["repositoryName"]),
        ("describe_repository_creation_templates", {}, "repositoryCreationTemplates", lambda one: one["prefix"]),
        ("list_images", target, "imageIds", lambda one: one["imageTag"]),
        ("describe_images", target, "imageDetails", lambda one: one["imageTags"][0]),
    ):
        pages = list(ecr.get_paginator(operation).paginate(**members, PaginationConfig={"PageSize": 2}))
        found = [key(one) for page in pages for one in page[result]]
        assert len(pages) > 1 and all(len(page[result]) <= 2 for page in pages), operation
        assert len(found) == len(set(found)) and set(names) <= set(found), operation
    for name in names:
        ecr.delete_repository(repositoryName=name, force=True)
        ecr.delete_repository_creation_template(prefix=name)
