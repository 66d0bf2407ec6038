"""Every operation of IAM and STS with credentials that are missing, wrong, expired, revoked or not permitted.

The codes are those of the IAM API reference, "Common Errors", and of the STS API reference.
"""

import json

import boto3
import botocore
import botocore.config
import botocore.exceptions
import pytest
from harness.earlier_clock import data_with_expired_session
from harness.process import run
from harness.sample_requests import ACCOUNT, TRUST, SampleRequests, make_world, service_model
from harness.server import Server, binary

SERVICES = ("iam", "sts")
# What these need no signature for, the web-identity token proves: (code, HTTP status) of the sample's token.
UNSIGNED = {"AssumeRoleWithWebIdentity": ("InvalidIdentityToken", 400)}
# No permission is needed (STS API reference, GetCallerIdentity; IAM user guide, "Permissions for GetSessionToken").
FREE = {"GetCallerIdentity", "GetSessionToken"}
# The managed policy IAMReadOnlyAccess: "iam:Get*", "iam:List*" and these.
READING = {"GenerateCredentialReport", "GenerateServiceLastAccessedDetails", "SimulateCustomPolicy", "SimulatePrincipalPolicy"}
# Without a name they are about the user who calls.
NEEDS_USER = {
    *("CreateAccessKey", "DeleteAccessKey", "DeleteLoginProfile", "GetLoginProfile", "GetUser", "ListAccessKeys", "ListMFADevices"),
    *("ListSSHPublicKeys", "ListServiceSpecificCredentials", "ListSigningCertificates", "UpdateAccessKey"),
}
# Nobody has a password: who may read gets this of it.
NO_PASSWORD = {"GetLoginProfile": ("NoSuchEntity", 404)}
# Responses that differ from call to call though nothing was changed.
VARYING = {"GetAccessKeyLastUsed", "GetSessionToken"}


class World:
    """A server with one of everything, credentials that have expired, and the requests to send."""

    def __init__(self, server, expired):
        self.server, self.expired = server, expired
        self.samples = SampleRequests(make_world(self.client("iam")))
        listed = json.loads(run([binary(), "operations", "--json"]).stdout)
        models = {service: service_model(service) for service in SERVICES}
        served = [entry for entry in listed if entry["service"] in models]
        self.operations = [models[entry["service"]].operation_model(entry["operation"]) for entry in served]

    def client(self, service, credentials=None, **config):
        """The root's client, or one with the credentials as responses hold them, or one with other settings."""
        known = self.server.credentials
        known = credentials or {"AccessKeyId": known["AWS_ACCESS_KEY_ID"], "SecretAccessKey": known["AWS_SECRET_ACCESS_KEY"]}
        return boto3.client(
            service,
            endpoint_url=self.server.url,
            region_name="us-east-1",
            aws_access_key_id=known["AccessKeyId"],
            aws_secret_access_key=known["SecretAccessKey"],
            aws_session_token=known.get("SessionToken"),
            config=botocore.config.Config(retries={"total_max_attempts": 1}, **config),
        )

    def user(self, name, *policies):
        """A user with these managed policies of AWS, and its key."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        for policy in policies:
            iam.attach_user_policy(UserName=name, PolicyArn=f"arn:aws:iam::aws:policy/{policy}")
        return iam.create_access_key(UserName=name)["AccessKey"]

    def outcomes(self, credentials=None, **config):
        """Sends every request: pairs of operation and (code, HTTP status), ("", 200) for a success."""
        clients = {service: self.client(service, credentials, **config) for service in SERVICES}
        return [(operation, self.outcome(clients, operation)[0]) for operation in self.operations]

    def outcome(self, clients, operation):
        """The outcome of one request, and the response."""
        call = getattr(clients[operation.service_model.service_name], botocore.xform_name(operation.name))
        try:
            response = call(**self.samples.of(operation))
            return ("", 200), response
        except botocore.exceptions.ClientError as error:
            response = error.response
            return (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]), response

    def check(self, expected, credentials=None, **config):
        """Checks the outcome of every operation; `expected` is one, or a function of the operation's name."""
        wrong = []
        for operation, got in self.outcomes(credentials, **config):
            wanted = UNSIGNED.get(operation.name) or (expected(operation) if callable(expected) else expected)
            if got != wanted:
                wrong.append(f"{operation.name}: {got} instead of {wanted}")
        assert not wrong, "\n".join(wrong)

    def state(self):
        """What the root reads of everything."""
        clients = {service: self.client(service) for service in SERVICES}
        state = {}
        for operation in self.operations:
            if is_read_only(operation) and operation.name not in VARYING | NO_PASSWORD.keys():
                outcome, response = self.outcome(clients, operation)
                assert outcome == ("", 200), (operation.name, response)
                state[operation.name] = without_varying(response)
        return state


def without_varying(value):
    """A response without its id, and without when roles were used."""
    if isinstance(value, list):
        return [without_varying(entry) for entry in value]
    if isinstance(value, dict):
        return {name: without_varying(entry) for name, entry in value.items() if name not in ("ResponseMetadata", "RoleLastUsed")}
    return value


def is_read_only(operation):
    """Whether IAMReadOnlyAccess allows the operation, by the text of that policy."""
    is_iam = operation.service_model.service_name == "iam"
    return is_iam and (operation.name.startswith(("Get", "List")) or operation.name in READING)


@pytest.fixture(scope="module")
def world():
    past, expired = data_with_expired_session("credentials")
    server = Server("credentials", data=past.data)
    server.credentials = past.credentials
    with server:
        yield World(server, expired)


@pytest.fixture(scope="module")
def nobody(world):
    """The key of a user without any policy."""
    return world.user("nobody")


def test_no_credentials(world):
    world.check(("MissingAuthenticationToken", 403), signature_version=botocore.UNSIGNED)


def test_an_unknown_key(world, nobody):
    world.check(("InvalidClientTokenId", 403), {**nobody, "AccessKeyId": "AKIAAAAAAAAAAAAAAAAA"})


def test_a_wrong_secret(world, nobody):
    world.check(("SignatureDoesNotMatch", 403), {**nobody, "SecretAccessKey": "A" * 40})


def test_a_key_that_is_inactive(world):
    key = world.user("inactive", "AdministratorAccess")
    world.client("iam").update_access_key(UserName="inactive", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    world.check(("InvalidClientTokenId", 403), key)


def test_an_expired_session(world):
    world.check(("ExpiredToken", 403), world.expired)


def test_a_session_token_that_was_changed(world):
    session = world.client("sts").get_session_token()["Credentials"]
    token = session["SessionToken"]
    changed = token[:-9] + ("A" if token[-9] != "A" else "B") + token[-8:]
    for wrong in (changed, world.expired["SessionToken"]):
        world.check(("InvalidClientTokenId", 403), {**session, "SessionToken": wrong})


def test_a_session_whose_user_is_gone(world):
    key = world.user("gone")
    session = world.client("sts", key).get_session_token()["Credentials"]
    iam = world.client("iam")
    iam.delete_access_key(UserName="gone", AccessKeyId=key["AccessKeyId"])
    iam.delete_user(UserName="gone")
    world.check(("InvalidClientTokenId", 403), session)


def test_a_user_without_policies(world, nobody):
    before = world.state()
    world.check(lambda operation: ("", 200) if operation.name in FREE else ("AccessDenied", 403), nobody)
    assert world.state() == before


def test_a_user_who_may_only_read(world):
    reader = world.user("reader", "IAMReadOnlyAccess")
    before = world.state()

    def expected(operation):
        allowed = is_read_only(operation) or operation.name in FREE
        return NO_PASSWORD.get(operation.name, ("", 200)) if allowed else ("AccessDenied", 403)

    world.check(expected, reader)
    assert world.state() == before


def test_a_session_of_a_role_that_may_only_read(world):
    """The policies of the role decide, not those of who assumed it."""
    iam = world.client("iam")
    iam.create_role(RoleName="reader", AssumeRolePolicyDocument=TRUST)
    iam.attach_role_policy(RoleName="reader", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    key = world.user("assumes", "AdministratorAccess")
    session = world.client("sts", key).assume_role(RoleArn=f"arn:aws:iam::{ACCOUNT}:role/reader", RoleSessionName="run")["Credentials"]
    before = world.state()

    def expected(operation):
        name = operation.name
        if name in NEEDS_USER:
            return ("ValidationError", 400)
        if name == "GetSessionToken":
            # STS API reference: "You cannot call any STS API except AssumeRole or GetCallerIdentity" with such a session.
            return ("AccessDenied", 403)
        return ("", 200) if is_read_only(operation) or name == "GetCallerIdentity" else ("AccessDenied", 403)

    world.check(expected, session)
    assert world.state() == before
