"""Every operation of IAM and STS by boto3 and both AWS CLIs: each succeeds once and fails once.

test_roles.py assumes roles with each of them: the root may not, and web identities need a provider.
"""

import json

import botocore
import botocore.exceptions
import pytest
from harness.aws import make_client
from harness.command_line import CommandLine
from harness.operation_calls import Boto, Calls, Cli, Failed
from harness.process import run
from harness.sample_requests import ACCOUNT, ALLOW, READ_ONLY, TRUST, SampleRequests, service_model
from harness.server import binary

SUCCEED_ELSEWHERE = {"AssumeRole", "AssumeRoleWithWebIdentity"}
# Nobody has a password here.
NEVER_SUCCEED = {"DeleteLoginProfile", "GetLoginProfile"}
ECS = "arn:aws:iam::aws:policy/AmazonECS_FullAccess"
TAGS = [{"Key": "team", "Value": "red"}]
SCALING = "ecs.application-autoscaling.amazonaws.com"


# Names that nothing has.
NOBODY = {
    "AccessKeyId": "AKIAIOSFODNN7EXAMPLE",
    "AccountAlias": "nobody",
    "DeletionTaskId": f"task/aws-service-role/{SCALING}/nobody/01234567-89ab-4def-8123-456789abcdef",
    "GroupName": "nobody",
    "InstanceProfileName": "nobody",
    "OpenIDConnectProviderArn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/nobody.example.com",
    "PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/nobody",
    "PolicySourceArn": f"arn:aws:iam::{ACCOUNT}:user/nobody",
    "RoleName": "nobody",
    "UserName": "nobody",
}
# How operations fail that do not fail with NoSuchEntity when a request is about nobody.
FAULTS = {
    "AssumeRole": ("AccessDenied", {}),
    "AssumeRoleWithWebIdentity": ("InvalidIdentityToken", {}),
    "CreateAccessKey": ("NoSuchEntity", {"UserName": "nobody"}),
    "CreateAccountAlias": ("ValidationError", {"AccountAlias": "no-"}),
    "CreateGroup": ("ValidationError", {"GroupName": "not valid"}),
    "CreateInstanceProfile": ("ValidationError", {"InstanceProfileName": "not valid"}),
    "CreateOpenIDConnectProvider": ("ValidationError", {"Url": "http://nobody.example.com", "ThumbprintList": ["0" * 40]}),
    "CreatePolicy": ("MalformedPolicyDocument", {"PolicyDocument": "{}"}),
    "CreateRole": ("MalformedPolicyDocument", {"AssumeRolePolicyDocument": "{}"}),
    "CreateServiceLinkedRole": ("InvalidInput", {"AWSServiceName": "nobody.amazonaws.com"}),
    "CreateUser": ("ValidationError", {"UserName": "not valid"}),
    # It succeeds for a provider that does not exist (IAM API reference).
    "DeleteOpenIDConnectProvider": ("ValidationError", {"OpenIDConnectProviderArn": f"arn:aws:iam::{ACCOUNT}:user/nobody"}),
    "DecodeAuthorizationMessage": ("InvalidAuthorizationMessageException", {}),
    "DeleteLoginProfile": ("NoSuchEntity", {"UserName": "nobody"}),
    "DeleteServiceLinkedRole": ("NoSuchEntity", {"RoleName": "nobody"}),
    "GetAccessKeyInfo": ("ValidationError", {}),
    "GetAccountAuthorizationDetails": ("ValidationError", {"Filter": ["Nobody"]}),
    "GetContextKeysForCustomPolicy": ("InvalidInput", {"PolicyInputList": ["{}"]}),
    "GetFederationToken": ("MalformedPolicyDocument", {"Policy": "{}"}),
    "GetLoginProfile": ("NoSuchEntity", {"UserName": "nobody"}),
    "GetSessionToken": ("AccessDenied", {"SerialNumber": f"arn:aws:iam::{ACCOUNT}:mfa/nobody", "TokenCode": "123456"}),
    "GetUser": ("NoSuchEntity", {"UserName": "nobody"}),
    "ListAccessKeys": ("NoSuchEntity", {"UserName": "nobody"}),
    "ListAccountAliases": ("ValidationError", {"Marker": "nothing"}),
    "ListGroups": ("ValidationError", {"PathPrefix": "nothing"}),
    "ListInstanceProfiles": ("ValidationError", {"PathPrefix": "nothing"}),
    "ListMFADevices": ("NoSuchEntity", {"UserName": "nobody"}),
    "ListPolicies": ("ValidationError", {"PathPrefix": "nothing"}),
    "ListRoles": ("ValidationError", {"PathPrefix": "nothing"}),
    "ListSSHPublicKeys": ("NoSuchEntity", {"UserName": "nobody"}),
    "ListServiceSpecificCredentials": ("NoSuchEntity", {"UserName": "nobody"}),
    "ListSigningCertificates": ("NoSuchEntity", {"UserName": "nobody"}),
    "ListUsers": ("ValidationError", {"PathPrefix": "nothing"}),
    "ListVirtualMFADevices": ("ValidationError", {"AssignmentStatus": "Nobody"}),
    "SimulateCustomPolicy": ("InvalidInput", {"PolicyInputList": ["{}"]}),
}


@pytest.fixture(scope="module")
def served():
    """The service of each operation."""
    listed = json.loads(run([binary(), "operations", "--json"]).stdout)
    return {entry["operation"]: entry["service"] for entry in listed if entry["service"] in ("iam", "sts")}


@pytest.fixture(scope="module", params=["boto3", "cli1", "cli2"])
def calls(request, server, served, tmp_path_factory):
    name, unknown = f"every-{request.param}", {"AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE"}
    if request.param == "boto3":
        services = ("iam", "sts")
        yield Calls(name, Boto(server, services), Boto(server, services, unknown), served)
        return
    home = tmp_path_factory.mktemp("home")
    lines = [CommandLine(request.param, server, home, credentials) for credentials in (None, unknown)]
    yield Calls(name, *map(Cli, lines), served)
    for line in lines:
        line.stop()


def test_every_operation_fails(calls):
    """A request about nobody, or one that is not valid. What has neither gets an unknown key."""
    samples, wrong = SampleRequests(NOBODY), []
    models = {service: service_model(service) for service in ("iam", "sts")}
    for operation, service in calls.served.items():
        model = models[service].operation_model(operation)
        call = calls.call
        if model.input_shape is None or not model.input_shape.members:
            call, expected, members = calls.stranger, "InvalidClientTokenId", {}
        else:
            expected, members = FAULTS.get(operation, ("NoSuchEntity", {}))
            members = {**samples.of(model), **members}
        try:
            call(service, operation, members)
            wrong.append(f"{operation} succeeded with {members}")
        except Failed as failed:
            if failed.code != expected:
                wrong.append(f"{operation}: {failed} instead of {expected}")
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def encoded_message(server):
    """What the server tells of a denial to a user who may decode it, in a header that the CLIs do not show."""
    iam = make_client(server, "iam")
    iam.create_user(UserName="every-denied")
    document = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "sts:*", "Resource": "*"}]})
    iam.put_user_policy(UserName="every-denied", PolicyName="sts", PolicyDocument=document)
    key = iam.create_access_key(UserName="every-denied")["AccessKey"]
    credentials = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        make_client(server, "iam", credentials).list_users()
    return caught.value.response["ResponseMetadata"]["HTTPHeaders"].get("x-wharfinger-authorization-message")


def test_every_operation_succeeds(calls, encoded_message):
    users_and_groups(calls)
    managed_policies(calls)
    roles(calls)
    providers(calls)
    account(calls)
    simulators(calls)
    decoded = calls.ok("DecodeAuthorizationMessage", EncodedMessage=encoded_message)["DecodedMessage"]
    assert json.loads(decoded)["context"]["action"] == "iam:ListUsers"
    assert set(calls.served) - calls.succeeded == SUCCEED_ELSEWHERE | NEVER_SUCCEED


def users_and_groups(calls):
    ok, name = calls.ok, calls.name
    user, group = {"UserName": name}, {"GroupName": name}
    made = ok("CreateUser", **user, Path="/every/", Tags=TAGS)["User"]
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:user/every/{name}" and made["UserId"].startswith("AIDA")
    assert ok("GetUser", **user)["User"]["UserId"] == made["UserId"]
    assert name in [one["UserName"] for one in ok("ListUsers", PathPrefix="/every/")["Users"]]
    ok("TagUser", **user, Tags=[{"Key": "a", "Value": "1"}])
    ok("UntagUser", **user, TagKeys=["a"])
    assert ok("ListUserTags", **user)["Tags"] == TAGS
    ok("CreateGroup", **group)
    ok("AddUserToGroup", **user, **group)
    assert [one["UserName"] for one in ok("GetGroup", **group)["Users"]] == [name]
    assert [one["GroupName"] for one in ok("ListGroupsForUser", **user)["Groups"]] == [name]
    assert name in [one["GroupName"] for one in ok("ListGroups")["Groups"]]
    for kind, owner in (("User", user), ("Group", group)):
        policies_of(calls, kind, owner)
    boundary(calls, "User", user)
    access_keys(calls, user)
    other_credentials(calls, user)
    ok("RemoveUserFromGroup", **user, **group)
    ok("UpdateGroup", **group, NewPath="/every/")
    assert ok("GetGroup", **group)["Group"]["Path"] == "/every/"
    ok("DeleteGroup", **group)
    ok("UpdateUser", **user, NewUserName=f"{name}-2")
    ok("DeleteUser", UserName=f"{name}-2")


def policies_of(calls, kind, owner):
    """Inline and attached policies."""
    ok = calls.ok
    policy = {**owner, "PolicyName": "p"}
    ok(f"Put{kind}Policy", **policy, PolicyDocument=ALLOW)
    assert ok(f"Get{kind}Policy", **policy)["PolicyDocument"] == json.loads(ALLOW)
    assert ok(f"List{kind}Policies", **owner)["PolicyNames"] == ["p"]
    ok(f"Delete{kind}Policy", **policy)
    ok(f"Attach{kind}Policy", **owner, PolicyArn=ECS)
    attached = ok(f"ListAttached{kind}Policies", **owner)["AttachedPolicies"]
    assert attached == [{"PolicyName": "AmazonECS_FullAccess", "PolicyArn": ECS}]
    found = ok("ListEntitiesForPolicy", PolicyArn=ECS, EntityFilter=kind)
    assert owner[f"{kind}Name"] in [one[f"{kind}Name"] for one in found[f"Policy{kind}s"]]
    ok(f"Detach{kind}Policy", **owner, PolicyArn=ECS)


def boundary(calls, kind, owner):
    calls.ok(f"Put{kind}PermissionsBoundary", **owner, PermissionsBoundary=READ_ONLY)
    shown = calls.ok(f"Get{kind}", **owner)[kind]["PermissionsBoundary"]
    assert shown == {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": READ_ONLY}
    calls.ok(f"Delete{kind}PermissionsBoundary", **owner)


def access_keys(calls, user):
    ok = calls.ok
    key = ok("CreateAccessKey", **user)["AccessKey"]
    assert key["AccessKeyId"].startswith("AKIA") and len(key["SecretAccessKey"]) == 40
    named = {"AccessKeyId": key["AccessKeyId"]}
    ok("UpdateAccessKey", **user, **named, Status="Inactive")
    listed = ok("ListAccessKeys", **user)["AccessKeyMetadata"]
    assert [(one["AccessKeyId"], one["Status"]) for one in listed] == [(key["AccessKeyId"], "Inactive")]
    assert ok("GetAccessKeyLastUsed", **named)["UserName"] == user["UserName"]
    assert ok("GetAccessKeyInfo", **named)["Account"] == ACCOUNT
    ok("DeleteAccessKey", **user, **named)


def other_credentials(calls, user):
    """What Terraform deletes before a user with force_destroy: there is never any."""
    for operation, member in (
        ("ListMFADevices", "MFADevices"),
        ("ListSSHPublicKeys", "SSHPublicKeys"),
        ("ListServiceSpecificCredentials", "ServiceSpecificCredentials"),
        ("ListSigningCertificates", "Certificates"),
    ):
        assert calls.ok(operation, **user)[member] == []
    assert calls.ok("ListVirtualMFADevices", AssignmentStatus="Assigned")["VirtualMFADevices"] == []
    for operation in NEVER_SUCCEED:
        with pytest.raises(Failed, match=f"Login Profile for User {calls.name} cannot be found"):
            calls.call("iam", operation, user)


def managed_policies(calls):
    ok, name = calls.ok, calls.name
    policy = {"PolicyArn": ok("CreatePolicy", PolicyName=name, PolicyDocument=ALLOW, Description="d")["Policy"]["Arn"]}
    assert policy["PolicyArn"] == f"arn:aws:iam::{ACCOUNT}:policy/{name}"
    assert name in [one["PolicyName"] for one in ok("ListPolicies", Scope="Local")["Policies"]]
    assert ok("CreatePolicyVersion", **policy, PolicyDocument=ALLOW, SetAsDefault=True)["PolicyVersion"]["VersionId"] == "v2"
    assert ok("GetPolicyVersion", **policy, VersionId="v1")["PolicyVersion"]["Document"] == json.loads(ALLOW)
    assert [one["VersionId"] for one in ok("ListPolicyVersions", **policy)["Versions"]] == ["v2", "v1"]
    ok("SetDefaultPolicyVersion", **policy, VersionId="v1")
    ok("DeletePolicyVersion", **policy, VersionId="v2")
    assert ok("GetPolicy", **policy)["Policy"]["DefaultVersionId"] == "v1"
    ok("TagPolicy", **policy, Tags=TAGS)
    assert ok("ListPolicyTags", **policy)["Tags"] == TAGS
    ok("UntagPolicy", **policy, TagKeys=["team"])
    ok("DeletePolicy", **policy)


def roles(calls):
    ok, name = calls.ok, calls.name
    role, profile = {"RoleName": name}, {"InstanceProfileName": name}
    made = ok("CreateRole", **role, AssumeRolePolicyDocument=TRUST, Tags=TAGS)["Role"]
    assert made["RoleId"].startswith("AROA") and ok("GetRole", **role)["Role"]["AssumeRolePolicyDocument"] == json.loads(TRUST)
    assert name in [one["RoleName"] for one in ok("ListRoles")["Roles"]]
    ok("UpdateRole", **role, MaxSessionDuration=7200)
    assert ok("UpdateRoleDescription", **role, Description="d")["Role"]["MaxSessionDuration"] == 7200
    ok("UpdateAssumeRolePolicy", **role, PolicyDocument=TRUST)
    ok("TagRole", **role, Tags=TAGS)
    assert ok("ListRoleTags", **role)["Tags"] == TAGS
    ok("UntagRole", **role, TagKeys=["team"])
    policies_of(calls, "Role", role)
    boundary(calls, "Role", role)
    ok("CreateInstanceProfile", **profile)
    ok("AddRoleToInstanceProfile", **profile, **role)
    assert [one["RoleName"] for one in ok("GetInstanceProfile", **profile)["InstanceProfile"]["Roles"]] == [name]
    assert len(ok("ListInstanceProfilesForRole", **role)["InstanceProfiles"]) == 1
    assert name in [one["InstanceProfileName"] for one in ok("ListInstanceProfiles")["InstanceProfiles"]]
    ok("TagInstanceProfile", **profile, Tags=TAGS)
    assert ok("ListInstanceProfileTags", **profile)["Tags"] == TAGS
    ok("UntagInstanceProfile", **profile, TagKeys=["team"])
    ok("RemoveRoleFromInstanceProfile", **profile, **role)
    ok("DeleteInstanceProfile", **profile)
    ok("DeleteRole", **role)
    linked = ok("CreateServiceLinkedRole", AWSServiceName=SCALING)["Role"]["RoleName"]
    task = ok("DeleteServiceLinkedRole", RoleName=linked)["DeletionTaskId"]
    assert ok("GetServiceLinkedRoleDeletionStatus", DeletionTaskId=task)["Status"] == "SUCCEEDED"


def providers(calls):
    ok = calls.ok
    url = f"https://{calls.name}.example.com"
    arn = ok("CreateOpenIDConnectProvider", Url=url, ClientIDList=["one"], ThumbprintList=["0" * 40])["OpenIDConnectProviderArn"]
    provider = {"OpenIDConnectProviderArn": arn}
    assert arn in [one["Arn"] for one in ok("ListOpenIDConnectProviders")["OpenIDConnectProviderList"]]
    ok("AddClientIDToOpenIDConnectProvider", **provider, ClientID="two")
    ok("RemoveClientIDFromOpenIDConnectProvider", **provider, ClientID="one")
    ok("UpdateOpenIDConnectProviderThumbprint", **provider, ThumbprintList=["f" * 40])
    shown = ok("GetOpenIDConnectProvider", **provider)
    assert (shown["ClientIDList"], shown["ThumbprintList"]) == (["two"], ["f" * 40])
    ok("TagOpenIDConnectProvider", **provider, Tags=TAGS)
    assert ok("ListOpenIDConnectProviderTags", **provider)["Tags"] == TAGS
    ok("UntagOpenIDConnectProvider", **provider, TagKeys=["team"])
    ok("DeleteOpenIDConnectProvider", **provider)


def account(calls):
    ok = calls.ok
    ok("CreateAccountAlias", AccountAlias=calls.name)
    assert ok("ListAccountAliases")["AccountAliases"] == [calls.name]
    ok("DeleteAccountAlias", AccountAlias=calls.name)
    assert ok("GetAccountSummary")["SummaryMap"]["AccessKeysPerUserQuota"] == 2
    assert "RoleDetailList" in ok("GetAccountAuthorizationDetails", Filter=["Role"])
    assert ok("GenerateCredentialReport")["State"] == "COMPLETE"
    assert ok("GetCredentialReport")["ReportFormat"] == "text/csv"
    assert ok("GetCallerIdentity")["Arn"] == f"arn:aws:iam::{ACCOUNT}:root"
    assert ok("GetFederationToken", Name="bob")["FederatedUser"]["FederatedUserId"] == f"{ACCOUNT}:bob"
    assert ok("GetSessionToken", DurationSeconds=900)["Credentials"]["AccessKeyId"].startswith("ASIA")


def simulators(calls):
    ok, name = calls.ok, calls.name
    source = {"PolicySourceArn": ok("CreateUser", UserName=name)["User"]["Arn"]}
    actions = {"ActionNames": ["ecr:PutImage"]}
    for operation, members, decision in (
        ("SimulateCustomPolicy", {"PolicyInputList": [ALLOW]}, "allowed"),
        ("SimulatePrincipalPolicy", source, "implicitDeny"),
    ):
        results = ok(operation, **members, **actions)["EvaluationResults"]
        assert [(one["EvalActionName"], one["EvalDecision"]) for one in results] == [("ecr:PutImage", decision)]
    keyed = json.loads(ALLOW)
    keyed["Statement"][0]["Condition"] = {"StringEquals": {"aws:username": "ann"}}
    assert ok("GetContextKeysForCustomPolicy", PolicyInputList=[json.dumps(keyed)])["ContextKeyNames"] == ["aws:username"]
    assert ok("GetContextKeysForPrincipalPolicy", **source)["ContextKeyNames"] == []
    ok("DeleteUser", UserName=name)
