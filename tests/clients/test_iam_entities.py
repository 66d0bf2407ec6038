"""Roles, instance profiles and service-linked roles with boto3 and both AWS CLIs: every operation, its responses and its errors."""

import json
import uuid

import pytest
from harness.aws import make_client, refused

TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}
ALLOW = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]}
READ_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
ECS_ROLE = "AWSServiceRoleForECS"


@pytest.fixture(scope="module")
def iam(server):
    return make_client(server, "iam")


@pytest.fixture
def name():
    """A name that no other test uses."""
    return f"e-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def role(iam, name):
    made = iam.create_role(
        RoleName=name,
        Path="/ecs/",
        AssumeRolePolicyDocument=json.dumps(TRUST),
        Description="for hosts",
        MaxSessionDuration=7200,
        Tags=[{"Key": "team", "Value": "red"}],
    )["Role"]
    yield made
    iam.delete_role(RoleName=name)


def test_role(iam, role, name):
    iam.get_waiter("role_exists").wait(RoleName=name)
    shown = iam.get_role(RoleName=name)["Role"]
    assert shown["AssumeRolePolicyDocument"] == TRUST
    assert shown["RoleId"] == role["RoleId"] and shown["RoleId"].startswith("AROA")
    assert (shown["Path"], shown["Description"], shown["MaxSessionDuration"]) == ("/ecs/", "for hosts", 7200)
    assert shown["Tags"] == [{"Key": "team", "Value": "red"}]
    pages = iam.get_paginator("list_roles").paginate(PathPrefix="/ecs/", PaginationConfig={"PageSize": 1})
    listed = [one for page in pages for one in page["Roles"]]
    assert name in [one["RoleName"] for one in listed]
    iam.update_role(RoleName=name, MaxSessionDuration=3600)
    assert iam.update_role_description(RoleName=name, Description="new")["Role"]["MaxSessionDuration"] == 3600
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(TRUST))
    iam.tag_role(RoleName=name, Tags=[{"Key": "a", "Value": "1"}])
    iam.untag_role(RoleName=name, TagKeys=["team"])
    assert iam.list_role_tags(RoleName=name)["Tags"] == [{"Key": "a", "Value": "1"}]


def test_role_errors(iam, role, name):
    trust = json.dumps(TRUST)
    assert "already exists" in refused("EntityAlreadyExists", iam.create_role, 409, RoleName=name.upper(), AssumeRolePolicyDocument=trust)
    nobody = json.dumps({**TRUST, "Statement": [{**TRUST["Statement"][0], "Principal": {"AWS": role["Arn"] + "x"}}]})
    for call, members in [(iam.create_role, {"AssumeRolePolicyDocument": nobody}), (iam.update_assume_role_policy, {"PolicyDocument": nobody})]:
        assert "Invalid principal in policy" in refused("MalformedPolicyDocument", call, RoleName=name, **members)
    for call, members in [
        (iam.get_role, {}),
        (iam.delete_role, {}),
        (iam.update_role, {"Description": "x"}),
        (iam.update_role_description, {"Description": "x"}),
        (iam.list_role_policies, {}),
        (iam.list_attached_role_policies, {}),
        (iam.list_role_tags, {}),
        (iam.list_instance_profiles_for_role, {}),
        (iam.tag_role, {"Tags": [{"Key": "a", "Value": "b"}]}),
        (iam.untag_role, {"TagKeys": ["a"]}),
        (iam.delete_role_permissions_boundary, {}),
    ]:
        assert refused("NoSuchEntity", call, 404, RoleName="nobody", **members) == "The role with name nobody cannot be found."


def test_role_policies(iam, role, name):
    document = json.dumps(ALLOW)
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=document)
    assert iam.get_role_policy(RoleName=name, PolicyName="p")["PolicyDocument"] == ALLOW
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["p"]
    assert "must delete policies first" in refused("DeleteConflict", iam.delete_role, 409, RoleName=name)
    refused("NoSuchEntity", iam.get_role_policy, 404, RoleName=name, PolicyName="q")
    refused("MalformedPolicyDocument", iam.put_role_policy, RoleName=name, PolicyName="p", PolicyDocument="{}")
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    iam.attach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
    assert [one["PolicyArn"] for one in attached] == [READ_ONLY]
    users = iam.list_entities_for_policy(PolicyArn=READ_ONLY, EntityFilter="Role")["PolicyRoles"]
    assert {"RoleName": name, "RoleId": role["RoleId"]} in users
    iam.detach_role_policy(RoleName=name, PolicyArn=READ_ONLY)
    refused("NoSuchEntity", iam.detach_role_policy, 404, RoleName=name, PolicyArn=READ_ONLY)
    iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=READ_ONLY)
    assert iam.get_role(RoleName=name)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == READ_ONLY
    iam.delete_role_permissions_boundary(RoleName=name)


def test_instance_profile(iam, role, name):
    made = iam.create_instance_profile(InstanceProfileName=name, Path="/ecs/", Tags=[{"Key": "a", "Value": "1"}])["InstanceProfile"]
    assert made["InstanceProfileId"].startswith("AIPA") and made["Roles"] == []
    iam.get_waiter("instance_profile_exists").wait(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    message = refused("LimitExceeded", iam.add_role_to_instance_profile, 409, InstanceProfileName=name, RoleName=name)
    assert message == "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1"
    shown = iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    assert [one["Arn"] for one in shown["Roles"]] == [role["Arn"]]
    assert shown["Roles"][0]["AssumeRolePolicyDocument"] == TRUST
    profiles = iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"]
    assert [one["InstanceProfileName"] for one in profiles] == [name]
    pages = iam.get_paginator("list_instance_profiles").paginate(PathPrefix="/ecs/")
    assert name in [one["InstanceProfileName"] for page in pages for one in page["InstanceProfiles"]]
    first = "must remove roles from instance profile first"
    assert first in refused("DeleteConflict", iam.delete_instance_profile, 409, InstanceProfileName=name)
    assert first in refused("DeleteConflict", iam.delete_role, 409, RoleName=name)
    iam.tag_instance_profile(InstanceProfileName=name, Tags=[{"Key": "b", "Value": "2"}])
    iam.untag_instance_profile(InstanceProfileName=name, TagKeys=["a"])
    assert iam.list_instance_profile_tags(InstanceProfileName=name)["Tags"] == [{"Key": "b", "Value": "2"}]
    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=name)
    iam.delete_instance_profile(InstanceProfileName=name)
    assert refused("NoSuchEntity", iam.get_instance_profile, 404, InstanceProfileName=name) == f"Instance Profile {name} cannot be found."


def test_service_linked_role(iam):
    made = iam.create_service_linked_role(AWSServiceName="ecs.amazonaws.com")["Role"]
    assert made["Arn"].endswith(f":role/aws-service-role/ecs.amazonaws.com/{ECS_ROLE}")
    attached = iam.list_attached_role_policies(RoleName=ECS_ROLE)["AttachedPolicies"]
    assert [one["PolicyName"] for one in attached] == ["AmazonECSServiceRolePolicy"]
    refused("InvalidInput", iam.create_service_linked_role, AWSServiceName="ecs.amazonaws.com")
    refused("UnmodifiableEntity", iam.delete_role, RoleName=ECS_ROLE)
    refused("UnmodifiableEntity", iam.attach_role_policy, RoleName=ECS_ROLE, PolicyArn=READ_ONLY)
    task = iam.delete_service_linked_role(RoleName=ECS_ROLE)["DeletionTaskId"]
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"
    refused("NoSuchEntity", iam.delete_service_linked_role, 404, RoleName=ECS_ROLE)


def test_waiters(iam, name):
    iam.create_user(UserName=name)
    iam.get_waiter("user_exists").wait(UserName=name)
    iam.delete_user(UserName=name)
    arn = iam.create_policy(PolicyName=name, PolicyDocument=json.dumps(ALLOW))["Policy"]["Arn"]
    iam.get_waiter("policy_exists").wait(PolicyArn=arn)
    iam.delete_policy(PolicyArn=arn)


def test_cli(aws, name, tmp_path):
    """The steps of the README, and the errors as the CLIs print them."""

    def iam(*words):
        return aws("iam", *words, plain=True).stdout

    def fails(code, *words):
        done = aws("iam", *words, check=False)
        assert done.returncode != 0 and f"({code})" in done.stderr, done.stderr

    trust, allow = tmp_path / "trust.json", tmp_path / "allow.json"
    trust.write_text(json.dumps(TRUST))
    allow.write_text(json.dumps(ALLOW))
    role, profile = ("--role-name", name), ("--instance-profile-name", name)
    created = aws("iam", "create-role", *role, "--assume-role-policy-document", f"file://{trust}", "--tags", "Key=a,Value=1")
    assert created["Role"]["RoleName"] == name
    fails("EntityAlreadyExists", "create-role", *role, "--assume-role-policy-document", f"file://{trust}")
    assert aws("iam", "get-role", *role)["Role"]["AssumeRolePolicyDocument"] == TRUST
    assert name in [one["RoleName"] for one in aws("iam", "list-roles")["Roles"]]
    iam("update-role", *role, "--max-session-duration", "43200")
    aws("iam", "update-role-description", *role, "--description", "d")
    iam("update-assume-role-policy", *role, "--policy-document", f"file://{trust}")
    fails("MalformedPolicyDocument", "update-assume-role-policy", *role, "--policy-document", f"file://{allow}")
    iam("put-role-policy", *role, "--policy-name", "p", "--policy-document", f"file://{allow}")
    assert aws("iam", "get-role-policy", *role, "--policy-name", "p")["PolicyDocument"] == ALLOW
    assert aws("iam", "list-role-policies", *role)["PolicyNames"] == ["p"]
    iam("delete-role-policy", *role, "--policy-name", "p")
    fails("NoSuchEntity", "delete-role-policy", *role, "--policy-name", "p")
    iam("attach-role-policy", *role, "--policy-arn", READ_ONLY)
    assert aws("iam", "list-attached-role-policies", *role)["AttachedPolicies"][0]["PolicyArn"] == READ_ONLY
    fails("DeleteConflict", "delete-role", *role)
    iam("detach-role-policy", *role, "--policy-arn", READ_ONLY)
    iam("put-role-permissions-boundary", *role, "--permissions-boundary", READ_ONLY)
    iam("delete-role-permissions-boundary", *role)
    iam("tag-role", *role, "--tags", "Key=b,Value=2")
    iam("untag-role", *role, "--tag-keys", "a")
    assert aws("iam", "list-role-tags", *role)["Tags"] == [{"Key": "b", "Value": "2"}]
    aws("iam", "create-instance-profile", *profile)
    iam("wait", "instance-profile-exists", *profile)
    iam("add-role-to-instance-profile", *profile, *role)
    fails("LimitExceeded", "add-role-to-instance-profile", *profile, *role)
    shown = aws("iam", "get-instance-profile", *profile)["InstanceProfile"]
    assert shown["Roles"][0]["RoleName"] == name
    assert name in [one["InstanceProfileName"] for one in aws("iam", "list-instance-profiles")["InstanceProfiles"]]
    assert len(aws("iam", "list-instance-profiles-for-role", *role)["InstanceProfiles"]) == 1
    iam("tag-instance-profile", *profile, "--tags", "Key=b,Value=2")
    iam("untag-instance-profile", *profile, "--tag-keys", "b")
    assert aws("iam", "list-instance-profile-tags", *profile)["Tags"] == []
    iam("remove-role-from-instance-profile", *profile, *role)
    fails("NoSuchEntity", "remove-role-from-instance-profile", *profile, *role)
    iam("delete-instance-profile", *profile)
    iam("delete-role", *role)
    fails("NoSuchEntity", "get-role", *role)


def test_cli_service_linked_role(aws):
    made = aws("iam", "create-service-linked-role", "--aws-service-name", "replication.ecr.amazonaws.com")["Role"]
    role = ("--role-name", made["RoleName"])
    refusal = aws("iam", "delete-role", *role, check=False)
    assert "(UnmodifiableEntity)" in refusal.stderr, refusal.stderr
    task = aws("iam", "delete-service-linked-role", *role)["DeletionTaskId"]
    status = aws("iam", "get-service-linked-role-deletion-status", "--deletion-task-id", task)
    assert status["Status"] == "SUCCEEDED"
