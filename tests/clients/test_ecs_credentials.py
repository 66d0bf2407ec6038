"""Every operation of ECS with credentials that are missing, wrong or not permitted.

The codes are those of the ECS API reference, "Common Errors".
"""

import json

import boto3
import botocore
import botocore.config
import botocore.exceptions
import pytest
from harness.process import run
from harness.sample_requests import ACCOUNT, service_model
from harness.server import Server, binary

ID = "0" * 32
CLUSTER = f"arn:aws:ecs:us-east-1:{ACCOUNT}:cluster/default"
# A value for each member that some operation requires.
SAMPLES = {
    "attachment": ID,
    "attachmentArn": ID,
    "attributes": [{"name": "stack", "value": "blue", "targetType": "container-instance", "targetId": ID}],
    "capacityProvider": "web",
    "capacityProviders": [],
    "cluster": "default",
    "containerDefinitions": [{"name": "web", "image": "web", "memory": 64}],
    "containerInstance": ID,
    "containerInstances": [ID],
    "defaultCapacityProviderStrategy": [],
    "family": "web",
    "name": "web",
    "protectionEnabled": True,
    "resourceArn": CLUSTER,
    "service": "web",
    "serviceDeploymentArn": f"arn:aws:ecs:us-east-1:{ACCOUNT}:service-deployment/default/web/{ID[:20]}a",
    "serviceDeploymentArns": [f"arn:aws:ecs:us-east-1:{ACCOUNT}:service-deployment/default/web/{ID[:20]}a"],
    "serviceName": "web",
    "serviceRevisionArns": [f"arn:aws:ecs:us-east-1:{ACCOUNT}:service-revision/default/web/1234567890123456789"],
    "services": ["web"],
    "settings": [{"name": "containerInsights", "value": "enabled"}],
    "status": "ACTIVE",
    "tagKeys": ["a"],
    "tags": [{"key": "a", "value": "b"}],
    "targetType": "container-instance",
    "task": ID,
    "taskDefinition": "web:1",
    "taskDefinitions": ["web:1"],
    "tasks": [ID],
    "value": "enabled",
}
OF_OPERATIONS = {
    "CreateService": {"taskDefinition": "web:1", "desiredCount": 0},
    "DiscoverPollEndpoint": {"cluster": "default"},
    "GetTaskProtection": {"cluster": "default", "tasks": [ID]},
    "ListAccountSettings": {"name": "containerInsights"},
    "PutAccountSetting": {"name": "containerInsights"},
    "PutAccountSettingDefault": {"name": "containerInsights"},
    "DeleteAccountSetting": {"name": "containerInsights"},
    "SubmitAttachmentStateChanges": {"attachments": [{"attachmentArn": ID, "status": "ATTACHED"}]},
    "SubmitContainerStateChange": {"task": ID, "containerName": "web", "status": "STOPPED"},
    "SubmitTaskStateChange": {"task": ID, "status": "STOPPED"},
}


def request(operation):
    shape, own = operation.input_shape, OF_OPERATIONS.get(operation.name, {})
    required = shape.required_members if shape else []
    return {**{name: SAMPLES[name] for name in required if name not in own}, **own}


class World:
    """A server with a cluster, and every operation that it serves."""

    def __init__(self, server):
        self.server = server
        model = service_model("ecs")
        listed = json.loads(run([binary(), "operations", "--json"]).stdout)
        served = [entry["operation"] for entry in listed if entry["service"] == "ecs"]
        self.operations = [model.operation_model(name) for name in served]
        self.client("ecs").create_cluster()

    def client(self, service, key=None, **config):
        known = self.server.credentials
        known = key or {"AccessKeyId": known["AWS_ACCESS_KEY_ID"], "SecretAccessKey": known["AWS_SECRET_ACCESS_KEY"]}
        return boto3.client(
            service,
            endpoint_url=self.server.url,
            region_name="us-east-1",
            aws_access_key_id=known["AccessKeyId"],
            aws_secret_access_key=known["SecretAccessKey"],
            config=botocore.config.Config(retries={"total_max_attempts": 1}, parameter_validation=False, **config),
        )

    def user(self, name, *allowed):
        """The key of a user who may do these actions on everything."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        if allowed:
            statement = {"Effect": "Allow", "Action": list(allowed), "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            iam.put_user_policy(UserName=name, PolicyName="allowed", PolicyDocument=policy)
        return iam.create_access_key(UserName=name)["AccessKey"]

    def outcomes(self, key=None, **config):
        """Sends every request: the code of its error, or an empty text, by operation."""
        ecs = self.client("ecs", key, **config)
        outcomes = {}
        for operation in self.operations:
            try:
                getattr(ecs, botocore.xform_name(operation.name))(**request(operation))
                outcomes[operation.name] = ""
            except botocore.exceptions.ClientError as error:
                outcomes[operation.name] = error.response["Error"]["Code"]
        return outcomes

    def check(self, expected, key=None, **config):
        wrong = {name: code for name, code in self.outcomes(key, **config).items() if code != expected}
        assert not wrong


@pytest.fixture(scope="module")
def world():
    with Server.fresh("ecs-credentials") as server:
        yield World(server)


def test_no_credentials(world):
    world.check("MissingAuthenticationTokenException", signature_version=botocore.UNSIGNED)


def test_an_unknown_key(world):
    world.check("UnrecognizedClientException", {"AccessKeyId": "AKIAAAAAAAAAAAAAAAAA", "SecretAccessKey": "A" * 40})


def test_a_wrong_secret(world):
    key = world.user("wrong")
    world.check("InvalidSignatureException", {**key, "SecretAccessKey": "A" * 40})


def test_a_user_without_policies(world):
    """No response tells whether what a request names exists."""
    world.check("AccessDeniedException", world.user("nobody"))


def test_a_user_who_may_only_read(world):
    key = world.user("reader", "ecs:Describe*", "ecs:List*", "ecs:Get*")
    reading = ("Describe", "List", "Get")
    for name, code in world.outcomes(key).items():
        assert (code == "AccessDeniedException") != name.startswith(reading), (name, code)


def test_one_who_may_do_everything_is_never_denied(world):
    """The samples above get as far as a decision: with permission they fail for other reasons, or succeed."""
    key = world.user("everything", "ecs:*", "iam:PassRole")
    denied = {name for name, code in world.outcomes(key).items() if code == "AccessDeniedException"}
    # Agents report only for instances that they registered.
    assert denied <= {"SubmitTaskStateChange", "SubmitContainerStateChange", "SubmitAttachmentStateChanges"}
