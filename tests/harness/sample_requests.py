"""A valid request for every operation of IAM and STS, with the members that botocore's model requires."""

import functools
import json

import botocore.loaders
import botocore.model

ACCOUNT = "123456789012"
NAME = "sample"
READ_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
ALLOW = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}]})
TRUST = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}]}
)

# What names something that `make_world` makes.
OF_MEMBERS = {
    "AccountAlias": NAME,
    "AWSServiceName": "ecs.amazonaws.com",
    "ActionNames": ["ecr:PutImage"],
    "AssumeRolePolicyDocument": TRUST,
    "EncodedMessage": "nothing",
    "GroupName": NAME,
    "InstanceProfileName": NAME,
    "Name": NAME,
    "OpenIDConnectProviderArn": f"arn:aws:iam::{ACCOUNT}:oidc-provider/sample.example.com",
    "PermissionsBoundary": READ_ONLY,
    "PolicyArn": f"arn:aws:iam::{ACCOUNT}:policy/{NAME}",
    "PolicyInputList": [ALLOW],
    "PolicyName": NAME,
    "PolicySourceArn": f"arn:aws:iam::{ACCOUNT}:user/{NAME}",
    "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{NAME}",
    "RoleName": NAME,
    "RoleSessionName": NAME,
    "Status": "Inactive",
    "UserName": NAME,
    "VersionId": "v1",
}
# What every member of the shape may be.
OF_SHAPES = {
    "OpenIDConnectProviderUrlType": "https://new.example.com",
    "clientIDType": "new.example.com",
    "clientTokenType": "sample.web.token",
    "policyDocumentType": ALLOW,
    "roleDescriptionType": "changed",
    "tagKeyType": "team",
    "tagValueType": "changed",
    "thumbprintType": "f" * 40,
}
# So that a request that is wrongly permitted changes something.
OF_OPERATIONS = {
    "AttachGroupPolicy": {"PolicyArn": READ_ONLY},
    "AttachRolePolicy": {"PolicyArn": READ_ONLY},
    "AttachUserPolicy": {"PolicyArn": READ_ONLY},
    "CreateAccountAlias": {"AccountAlias": "new"},
    "CreateGroup": {"GroupName": "new"},
    "CreateInstanceProfile": {"InstanceProfileName": "new"},
    "CreatePolicy": {"PolicyName": "new"},
    "CreateRole": {"RoleName": "new"},
    "CreateUser": {"UserName": "new"},
    "DeletePolicyVersion": {"VersionId": "v2"},
    "DeleteServiceLinkedRole": {"RoleName": "AWSServiceRoleForECRReplication"},
    "PutGroupPolicy": {"PolicyName": "new"},
    "PutRolePolicy": {"PolicyName": "new"},
    "PutUserPolicy": {"PolicyName": "new"},
    "SetDefaultPolicyVersion": {"VersionId": "v2"},
    "UpdateGroup": {"NewGroupName": "new"},
    "UpdateRole": {"Description": "changed"},
    "UpdateUser": {"NewUserName": "new"},
}


@functools.cache
def service_model(service):
    description = botocore.loaders.Loader().load_service_model(service, "service-2")
    return botocore.model.ServiceModel(description, service)


class SampleRequests:
    """The requests. `more` are values of members that only the running server knows, such as access key ids."""

    def __init__(self, more):
        self.of_members = {**OF_MEMBERS, **more}

    def of(self, operation):
        """The members of a request. A member without a sample is an error that names the operation."""
        shape = operation.input_shape
        needed = self.members(operation, shape) if shape else {}
        return {**needed, **OF_OPERATIONS.get(operation.name, {})}

    def members(self, operation, shape):
        return {name: self.value(operation, name, shape.members[name]) for name in shape.required_members}

    def value(self, operation, name, shape):
        if name in self.of_members:
            return self.of_members[name]
        if shape.name in OF_SHAPES:
            return OF_SHAPES[shape.name]
        if shape.type_name == "structure":
            return self.members(operation, shape)
        if shape.type_name == "list":
            return [self.value(operation, name, shape.member)]
        raise AssertionError(f"{operation.name}: no sample for {name} of shape {shape.name}")


def make_world(iam):
    """Makes everything that the samples name, and returns the members that only the server knows. `iam` is the root's client."""
    iam.create_user(UserName=NAME, Tags=[{"Key": "team", "Value": "red"}], PermissionsBoundary=READ_ONLY)
    iam.create_group(GroupName=NAME)
    iam.add_user_to_group(GroupName=NAME, UserName=NAME)
    iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=TRUST, Tags=[{"Key": "team", "Value": "red"}], PermissionsBoundary=READ_ONLY)
    iam.create_instance_profile(InstanceProfileName=NAME, Tags=[{"Key": "team", "Value": "red"}])
    iam.add_role_to_instance_profile(InstanceProfileName=NAME, RoleName=NAME)
    policy = iam.create_policy(PolicyName=NAME, PolicyDocument=ALLOW, Tags=[{"Key": "team", "Value": "red"}])["Policy"]["Arn"]
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=ALLOW)
    for kind in ("user", "group", "role"):
        owner = {f"{kind.capitalize()}Name": NAME}
        getattr(iam, f"put_{kind}_policy")(**owner, PolicyName=NAME, PolicyDocument=ALLOW)
        getattr(iam, f"attach_{kind}_policy")(**owner, PolicyArn=policy)
    tags = [{"Key": "team", "Value": "red"}]
    clients, thumbprints = ["sts.example.com"], ["0" * 40]
    iam.create_open_id_connect_provider(Url="https://sample.example.com", ClientIDList=clients, ThumbprintList=thumbprints, Tags=tags)
    iam.create_account_alias(AccountAlias=NAME)
    iam.create_service_linked_role(AWSServiceName="replication.ecr.amazonaws.com")
    autoscaling = iam.create_service_linked_role(AWSServiceName="ecs.application-autoscaling.amazonaws.com")["Role"]["RoleName"]
    iam.generate_credential_report()
    return {
        "AccessKeyId": iam.create_access_key(UserName=NAME)["AccessKey"]["AccessKeyId"],
        "DeletionTaskId": iam.delete_service_linked_role(RoleName=autoscaling)["DeletionTaskId"],
    }
