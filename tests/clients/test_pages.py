"""The paginators and waiters of boto3 over everything that IAM lists."""

import json

import botocore
import botocore.exceptions
import pytest
from harness.aws import make_client
from harness.process import run
from harness.sample_requests import ALLOW, TRUST
from harness.server import Server, binary

NAMES = ["page-0", "page-1", "page-2"]
TAGS = [{"Key": name, "Value": ""} for name in NAMES]
USER, GROUP, ROLE = {"UserName": "page-0"}, {"GroupName": "page-0"}, {"RoleName": "page-0"}
PROFILE = {"InstanceProfileName": "page-0"}
# What they list; ARNs are filled in.
MEMBERS = {
    "GetAccountAuthorizationDetails": {"Filter": ["User", "Group"]},
    "GetGroup": GROUP,
    "ListAccessKeys": USER,
    "ListAttachedGroupPolicies": GROUP,
    "ListAttachedRolePolicies": ROLE,
    "ListAttachedUserPolicies": USER,
    "ListEntitiesForPolicy": {"PolicyArn": None},
    "ListGroupPolicies": GROUP,
    "ListGroupsForUser": USER,
    "ListInstanceProfileTags": PROFILE,
    "ListInstanceProfilesForRole": ROLE,
    "ListOpenIDConnectProviderTags": {"OpenIDConnectProviderArn": None},
    "ListPolicies": {"Scope": "Local"},
    "ListPolicyTags": {"PolicyArn": None},
    "ListPolicyVersions": {"PolicyArn": None},
    "ListRolePolicies": ROLE,
    "ListRoleTags": ROLE,
    "ListUserPolicies": USER,
    "ListUserTags": USER,
    "SimulateCustomPolicy": {"PolicyInputList": [ALLOW], "ActionNames": ["ecr:PutImage", "ecr:BatchGetImage", "iam:GetUser"]},
    "SimulatePrincipalPolicy": {"PolicySourceArn": None, "ActionNames": ["ecr:PutImage", "ecr:BatchGetImage", "iam:GetUser"]},
}
# Listings of what nobody has.
EMPTY = {"ListMFADevices", "ListSSHPublicKeys", "ListServiceSpecificCredentials", "ListSigningCertificates", "ListVirtualMFADevices"}


@pytest.fixture(scope="module")
def iam():
    with Server.fresh("pages") as server:
        yield make_client(server, "iam")


@pytest.fixture(scope="module")
def served():
    listed = json.loads(run([binary(), "operations", "--json"]).stdout)
    return [entry["operation"] for entry in listed if entry["service"] == "iam"]


@pytest.fixture(scope="module")
def arns(iam):
    """Makes three of everything, all of it belonging to the first, and returns the ARNs that listings need."""
    policies = [iam.create_policy(PolicyName=name, PolicyDocument=ALLOW)["Policy"]["Arn"] for name in NAMES]
    users = [iam.create_user(UserName=name)["User"]["Arn"] for name in NAMES]
    for name in NAMES:
        iam.create_group(GroupName=name)
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST)
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, **ROLE)
        iam.add_user_to_group(GroupName="page-0", UserName=name)
        if name != "page-0":
            iam.add_user_to_group(GroupName=name, **USER)
    for kind, owner in (("user", USER), ("group", GROUP), ("role", ROLE)):
        for name, policy in zip(NAMES, policies):
            getattr(iam, f"put_{kind}_policy")(**owner, PolicyName=name, PolicyDocument=ALLOW)
            getattr(iam, f"attach_{kind}_policy")(**owner, PolicyArn=policy)
    for name in NAMES[1:]:
        iam.attach_user_policy(UserName=name, PolicyArn=policies[0])
        iam.attach_role_policy(RoleName=name, PolicyArn=policies[0])
        iam.create_policy_version(PolicyArn=policies[0], PolicyDocument=ALLOW)
    provider = iam.create_open_id_connect_provider(Url="https://pages.example.com", Tags=TAGS)["OpenIDConnectProviderArn"]
    iam.tag_user(**USER, Tags=TAGS)
    iam.tag_role(**ROLE, Tags=TAGS)
    iam.tag_instance_profile(**PROFILE, Tags=TAGS)
    iam.tag_policy(PolicyArn=policies[0], Tags=TAGS)
    for _ in range(2):
        iam.create_access_key(**USER)
    iam.create_account_alias(AccountAlias="pages")
    return {"PolicyArn": policies[0], "OpenIDConnectProviderArn": provider, "PolicySourceArn": users[0]}


def test_every_listing_in_pages_of_one(iam, arns, served):
    """The pages together are what the listing returns at once, in the same order."""
    wrong = []
    for operation in served:
        method = botocore.xform_name(operation)
        if not iam.can_paginate(method):
            continue
        members = {name: arns.get(name, value) for name, value in MEMBERS.get(operation, {}).items()}
        paginator = iam.get_paginator(method)
        keys = [key.expression for key in paginator.result_keys]

        def entries(page):
            return [(key, entry) for key in keys for entry in page.get(key) or []]

        whole = entries(getattr(iam, method)(**members))
        pages = [entries(page) for page in paginator.paginate(**members, PaginationConfig={"PageSize": 1})]
        if sorted(map(str, whole)) != sorted(str(entry) for page in pages for entry in page):
            wrong.append(f"{operation}: {pages} instead of {whole}")
        if any(len(page) > 1 for page in pages):
            wrong.append(f"{operation}: a page of more than one entry")
        if len(whole) < 2 and operation != "ListAccountAliases" and operation not in EMPTY:
            wrong.append(f"{operation}: too little to make pages of: {whole}")
    assert not wrong, "\n".join(wrong)


def test_a_marker_that_is_not_one(iam, arns, served):
    wrong = []
    for operation in served:
        method = botocore.xform_name(operation)
        if not iam.can_paginate(method):
            continue
        members = {name: arns.get(name, value) for name, value in MEMBERS.get(operation, {}).items()}
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            getattr(iam, method)(**members, Marker="nothing")
        if caught.value.response["Error"]["Code"] != "ValidationError":
            wrong.append(f"{operation}: {caught.value}")
    assert not wrong, "\n".join(wrong)


def test_waiters(iam, arns):
    for waiter, exists in (
        ("user_exists", USER),
        ("role_exists", ROLE),
        ("instance_profile_exists", PROFILE),
        ("policy_exists", {"PolicyArn": arns["PolicyArn"]}),
    ):
        iam.get_waiter(waiter).wait(**exists)
        missing = {name: value.replace("page-0", "nobody") for name, value in exists.items()}
        with pytest.raises(botocore.exceptions.WaiterError) as caught:
            iam.get_waiter(waiter).wait(**missing, WaiterConfig={"Delay": 0, "MaxAttempts": 2})
        assert "Max attempts exceeded" in str(caught.value)
