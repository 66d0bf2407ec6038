"""The pull-through cache: its rules by boto3 and both AWS CLIs, and docker, which pulls through it from a second server."""

import json

import pytest
from botocore.exceptions import ClientError
from harness.aws import make_client
from harness.process import run, tool
from harness.server import Server
from test_docker import dockerfile

SECRET = "ecr-pullthroughcache/upstream"


@pytest.fixture(scope="module")
def upstream():
    with Server.fresh("upstream") as running:
        yield running


@pytest.fixture(scope="module")
def server(upstream):
    """The cache. It reaches the second server in place of quay.io, with a secret that boto3 made."""
    settings = {"upstreams": f"quay.io={upstream.url.replace('localhost', '127.0.0.1')}"}
    with Server.fresh("cache", settings=settings) as running:
        value = {"username": "AWS", "accessToken": upstream.password()}
        make_client(running, "secretsmanager").create_secret(Name=SECRET, SecretString=json.dumps(value))
        yield running


@pytest.fixture(scope="module")
def secret(server):
    return make_client(server, "secretsmanager").describe_secret(SecretId=SECRET)["ARN"]


@pytest.fixture(scope="module")
def password(server):
    return server.password()


def refused(code, call, **members):
    with pytest.raises(ClientError) as caught:
        call(**members)
    assert caught.value.response["Error"]["Code"] == code, caught.value
    return caught.value.response["Error"]["Message"]


def test_rules_by_boto3(server, secret):
    ecr = make_client(server, "ecr")
    made = ecr.create_pull_through_cache_rule(
        ecrRepositoryPrefix="boto", upstreamRegistryUrl="quay.io", upstreamRegistry="quay", credentialArn=secret
    )
    assert "upstreamRepositoryPrefix" not in made and made["createdAt"].year > 2000
    code = "PullThroughCacheRuleAlreadyExistsException"
    refused(code, ecr.create_pull_through_cache_rule, ecrRepositoryPrefix="boto", upstreamRegistryUrl="quay.io")
    code = "UnsupportedUpstreamRegistryException"
    refused(code, ecr.create_pull_through_cache_rule, ecrRepositoryPrefix="other", upstreamRegistryUrl="example.com")
    missing = secret.replace("upstream", "missing")
    refused("SecretNotFoundException", ecr.update_pull_through_cache_rule, ecrRepositoryPrefix="boto", credentialArn=missing)
    assert ecr.update_pull_through_cache_rule(ecrRepositoryPrefix="boto", credentialArn=secret)["credentialArn"] == secret
    checked = ecr.validate_pull_through_cache_rule(ecrRepositoryPrefix="boto")
    assert checked["isValid"] is True and "failure" not in checked
    pages = ecr.get_paginator("describe_pull_through_cache_rules").paginate(PaginationConfig={"PageSize": 1})
    assert "boto" in [rule["ecrRepositoryPrefix"] for page in pages for rule in page["pullThroughCacheRules"]]
    assert ecr.delete_pull_through_cache_rule(ecrRepositoryPrefix="boto")["ecrRepositoryPrefix"] == "boto"
    for call in (ecr.delete_pull_through_cache_rule, ecr.validate_pull_through_cache_rule):
        refused("PullThroughCacheRuleNotFoundException", call, ecrRepositoryPrefix="boto")
    refused("PullThroughCacheRuleNotFoundException", ecr.describe_pull_through_cache_rules, ecrRepositoryPrefixes=["boto"])


def test_rules_by_the_cli(aws, secret):
    """The second CLI is that of Debian 12, which is older than secrets of rules and knows three of the operations."""
    prefix = ("--ecr-repository-prefix", aws.name)
    made = aws("ecr", "create-pull-through-cache-rule", *prefix, "--upstream-registry-url", "quay.io")
    assert made["registryId"] == "123456789012"
    again = aws("ecr", "create-pull-through-cache-rule", *prefix, "--upstream-registry-url", "quay.io", check=False)
    assert again.returncode and "PullThroughCacheRuleAlreadyExistsException" in again.stderr
    listed = aws("ecr", "describe-pull-through-cache-rules")["pullThroughCacheRules"]
    assert aws.name in [rule["ecrRepositoryPrefix"] for rule in listed]
    if aws.name == "cli1":
        assert aws("ecr", "validate-pull-through-cache-rule", *prefix)["isValid"] is False
        aws("ecr", "update-pull-through-cache-rule", *prefix, "--credential-arn", secret)
        assert aws("ecr", "validate-pull-through-cache-rule", *prefix)["isValid"] is True
    aws("ecr", "delete-pull-through-cache-rule", *prefix)
    gone = aws("ecr", "delete-pull-through-cache-rule", *prefix, check=False)
    assert gone.returncode and "PullThroughCacheRuleNotFoundException" in gone.stderr


def test_docker_pulls_through_the_cache(server, upstream, secret, engine, home, password, tmp_path):
    env = engine.environment(home)

    def docker(*words, **options):
        return run([tool("docker"), *words], env=env, cwd=home, **options)

    upstream.create_repository("team/hello")
    docker("login", "-u", "AWS", "--password-stdin", upstream.host, input=upstream.password())
    source = f"{upstream.host}/team/hello:v1"
    docker("build", "-t", source, dockerfile(tmp_path, "through the cache"))
    docker("push", source)
    docker("image", "rm", source)
    ecr = make_client(server, "ecr")
    ecr.create_pull_through_cache_rule(ecrRepositoryPrefix="docker", upstreamRegistryUrl="quay.io", credentialArn=secret)
    docker("login", "-u", "AWS", "--password-stdin", server.host, input=password)
    target = f"{server.host}/docker/team/hello:v1"
    docker("pull", target)
    assert docker("run", "--rm", "--network=none", target).stdout == "from the registry\n"
    images = ecr.describe_images(repositoryName="docker/team/hello")["imageDetails"]
    assert [image["imageTags"] for image in images] == [["v1"]]
    docker("image", "rm", target)
    upstream.stop()
    try:
        docker("pull", target)
    finally:
        upstream.start()
    missing = docker("pull", f"{server.host}/docker/team/none:v1", check=False)
    assert missing.returncode and "not found" in missing.stderr, missing.stderr
