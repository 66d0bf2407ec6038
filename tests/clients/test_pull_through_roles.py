"""The pull-through cache with an ECR registry of the same server as its upstream, in another region and in another account."""

import json

import pytest
from harness import images
from harness.aws import make_client
from harness.sample_requests import ACCOUNT
from harness.server import EXPORT, Server
from test_pull_through import refused
from test_remote_replication import check_image, read
from test_replication import push

OTHER, AWAY = "210987654321", "eu-west-1"
SERVICE = "pullthroughcache.ecr.amazonaws.com"
READS = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]


def host(account, region):
    return f"{account}.dkr.ecr.{region}.amazonaws.com"


def document(effect, **members):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": effect, **members}]})


@pytest.fixture(scope="module", params=[{}, {"domain": "registry.test"}], ids=["any domain", "a domain"])
def server(request):
    with Server.fresh("own-upstream", settings=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def role(server):
    """A role that the cache may assume."""
    iam = make_client(server, "iam")
    trust = document("Allow", Principal={"Service": SERVICE}, Action="sts:AssumeRole")
    made = iam.create_role(RoleName="cache", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    iam.put_role_policy(RoleName="cache", PolicyName="read", PolicyDocument=document("Allow", Action=READS, Resource="*"))
    return made


def test_a_registry_of_another_region(server, role):
    source, ecr, password = make_client(server, "ecr", region=AWAY), make_client(server, "ecr"), server.password()
    source.create_repository(repositoryName="team/web")
    image = push(source, "team/web", "away", "v1")
    made = ecr.create_pull_through_cache_rule(
        ecrRepositoryPrefix="away", upstreamRegistryUrl=host(ACCOUNT, AWAY), upstreamRegistry="ecr", customRoleArn=role
    )
    assert made["customRoleArn"] == role
    checked = ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix="away")
    assert checked["isValid"] and checked["customRoleArn"] == role, checked
    check_image(server.port, "away/team/web", "v1", image, password)
    assert read(server.port, "/v2/away/team/none/manifests/v1", password)[0] == 404
    assert ecr.describe_images(repositoryName="away/team/web")["imageDetails"][0]["imageTags"] == ["v1"]


def test_a_registry_of_another_account_must_allow_it(server, role):
    ecr, password = make_client(server, "ecr"), server.password()
    keys = dict(EXPORT.findall(server.admin("key", "create", f"--account={OTHER}").stdout))
    other = make_client(server, "ecr", credentials=keys)
    other.create_repository(repositoryName="team/web")
    image = push(other, "team/web", "other", "v1")
    ecr.create_pull_through_cache_rule(
        ecrRepositoryPrefix="other", upstreamRegistryUrl=host(OTHER, "us-east-1"), customRoleArn=role
    )
    path = "/v2/other/team/web/manifests/v1"
    assert read(server.port, path, password)[0] in (403, 404)
    policy = document("Allow", Principal={"AWS": role}, Action=READS)
    other.set_repository_policy(repositoryName="team/web", policyText=policy)
    # A refusal is remembered for ten seconds, so another reference is requested.
    check_image(server.port, "other/team/web", images.digest(image.manifest), image, password)


def test_roles_that_do_not_fit(server, role):
    ecr, iam = make_client(server, "ecr"), make_client(server, "iam")
    elsewhere = f"arn:aws:iam::{OTHER}:role/cache"

    def create(prefix, url, **more):
        return dict(ecrRepositoryPrefix=prefix, upstreamRegistryUrl=url, **more)

    code = "ValidationException"
    own = host(ACCOUNT, AWAY)
    said = refused(code, ecr.create_pull_through_cache_rule, **create("xx", own, customRoleArn=elsewhere))
    assert "is not a role in the account" in said
    refused(code, ecr.create_pull_through_cache_rule, **create("xx", "quay.io", customRoleArn=role))
    iam.create_role(
        RoleName="untrusting",
        AssumeRolePolicyDocument=document("Allow", Principal={"Service": "ec2.amazonaws.com"}, Action="sts:AssumeRole"),
    )
    for number, name in enumerate(["untrusting", "missing"]):
        arn = f"arn:aws:iam::{ACCOUNT}:role/{name}"
        ecr.create_pull_through_cache_rule(**create(f"x{number}", own, customRoleArn=arn))
        checked = ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix=f"x{number}")
        assert not checked["isValid"] and "cannot be assumed" in checked["failure"]
        assert read(server.port, f"/v2/x{number}/team/web/manifests/v1", server.password())[0] >= 400
        changed = ecr.update_pull_through_cache_rule(ecrRepositoryPrefix=f"x{number}", customRoleArn=role)
        assert changed["customRoleArn"] == role
        assert ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix=f"x{number}")["isValid"]


def test_a_rule_hands_its_role_over(server, role):
    """Who makes a rule needs `iam:PassRole` for its role."""
    allowed = document("Allow", Action="ecr:*", Resource="*")
    keys = server.folder / "policy.json"
    keys.write_text(allowed)
    said = server.admin("user", "create", "maker", f"--policy-file={keys}").stdout
    maker = make_client(server, "ecr", credentials=dict(EXPORT.findall(said)))
    members = dict(ecrRepositoryPrefix="handed", upstreamRegistryUrl=host(ACCOUNT, AWAY), customRoleArn=role)
    said = refused("AccessDeniedException", maker.create_pull_through_cache_rule, **members)
    assert "iam:PassRole" in said
