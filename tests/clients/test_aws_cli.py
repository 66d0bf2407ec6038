"""Both AWS CLIs do what the README shows: create, sign in, push by docker, describe, pull."""

import json
import shlex

from harness.process import run, tool


def login(aws, engine, home, server):
    """Signs docker in, the way each CLI's manual says."""
    env = engine.environment(home)
    if aws.name == "cli1":
        said = aws("ecr", "get-login", "--no-include-email", "--region", "us-east-1", plain=True).stdout
        words = shlex.split(said)
        assert words[:2] == ["docker", "login"], said
        run([tool("docker"), *words[1:]], env=env)
    else:
        secret = aws("ecr", "get-login-password", plain=True).stdout.strip()
        run([tool("docker"), "login", "-u", "AWS", "--password-stdin", server.host], env=env, input=secret)
    return env


def test_readme(aws, engine, home, server, tmp_path):
    name = f"readme-{aws.name}"
    made = aws("ecr", "create-repository", "--repository-name", name)["repository"]
    assert made["repositoryUri"] == f"{server.host}/{name}"
    assert made["repositoryArn"].endswith(f":repository/{name}")
    env = login(aws, engine, home, server)
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    uri = made["repositoryUri"]
    run([tool("docker"), "build", "-t", f"{name}:latest", context], env=env)
    run([tool("docker"), "tag", f"{name}:latest", f"{uri}:latest"], env=env)
    run([tool("docker"), "push", f"{uri}:latest"], env=env)
    listed = aws("ecr", "describe-repositories", "--region", "us-east-1")["repositories"]
    assert uri in [repository["repositoryUri"] for repository in listed]
    image = aws("ecr", "describe-images", "--repository-name", name, "--region", "us-east-1")["imageDetails"][0]
    assert image["imageTags"] == ["latest"] and image["imageSizeInBytes"] > 0
    run([tool("docker"), "image", "rm", f"{uri}:latest"], env=env)
    run([tool("docker"), "pull", f"{uri}:latest"], env=env)
    assert uri in run([tool("docker"), "image", "ls"], env=env).stdout
    aws("ecr", "batch-delete-image", "--repository-name", name, "--image-ids", "imageTag=latest")
    aws("ecr", "delete-repository", "--repository-name", name)


def test_who_am_i(aws):
    said = aws("sts", "get-caller-identity")
    assert said["Arn"] == f"arn:aws:iam::{said['Account']}:root"


def test_policies(aws, home):
    name = f"policy-{aws.name}"
    aws("ecr", "create-repository", "--repository-name", name)
    statement = {"Sid": "pull", "Effect": "Allow", "Principal": {"AWS": "111122223333"}, "Action": ["ecr:BatchGetImage"]}
    (home / "policy.json").write_text(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    aws("ecr", "set-repository-policy", "--repository-name", name, "--policy-text", "file://policy.json")
    kept = json.loads(aws("ecr", "get-repository-policy", "--repository-name", name)["policyText"])
    assert kept["Statement"][0]["Sid"] == "pull"
    aws("ecr", "delete-repository-policy", "--repository-name", name)
    gone = aws("ecr", "get-repository-policy", "--repository-name", name, check=False)
    assert "RepositoryPolicyNotFoundException" in gone.stderr


def test_a_fault_reads_as_in_aws(aws):
    gone = aws("ecr", "describe-images", "--repository-name", "no-such-repository", check=False)
    assert gone.returncode != 0
    assert "(RepositoryNotFoundException) when calling the DescribeImages operation" in gone.stderr
    assert "The repository with name 'no-such-repository' does not exist in the registry with id '" in gone.stderr


def test_pages(aws):
    names = [f"paged-{aws.name}/{number}" for number in range(5)]
    for name in names:
        aws("ecr", "create-repository", "--repository-name", name)
    listed = aws("ecr", "describe-repositories", "--page-size", "2")["repositories"]
    assert set(names) <= {repository["repositoryName"] for repository in listed}
