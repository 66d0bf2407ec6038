"""Our table of operations against the public service model: names, members, which are required."""

import json
import pathlib

import botocore
import botocore.auth
import botocore.awsrequest
import botocore.credentials
import botocore.httpsession
import pytest
from harness.aws import make_client, refused
from harness.command_line import CommandLine
from harness.process import run
from harness.sample_requests import service_model as model
from harness.server import binary

# What is known to differ, as data: {"ecr": {"missing": ["…"]}}.
GAPS = json.loads((pathlib.Path(__file__).parent / "model_gaps.json").read_text())


@pytest.fixture(scope="module")
def ours():
    """`wharfinger operations` prints what the server supports: service, operation, members."""
    listed = json.loads(run([binary(), "operations", "--json"]).stdout)
    return {(entry["service"], entry["operation"]): entry for entry in listed}


@pytest.mark.parametrize("service", ["ecr", "ecs", "iam", "sts", "secretsmanager", "ssm"])
def test_operations_exist_in_the_model(ours, service):
    known = set(model(service).operation_names)
    invented = {operation for found, operation in ours if found == service} - known
    assert not invented


@pytest.mark.parametrize("service", ["ecr", "ecs", "iam", "sts"])
def test_the_gap_list_is_exact(ours, service):
    """An operation that is new here leaves the list of those that are missing; one that is new in AWS enters it."""
    supported = {operation for found, operation in ours if found == service}
    missing = set(model(service).operation_names) - supported
    assert sorted(missing) == sorted(GAPS[service]["missing"])


@pytest.mark.parametrize("service", ["ecr", "ecs", "iam", "sts", "secretsmanager", "ssm"])
def test_members(ours, service):
    wrong = []
    for (found, operation), entry in ours.items():
        if found != service:
            continue
        shape = model(service).operation_model(operation).input_shape
        members = set(shape.members) if shape else set()
        required = set(shape.required_members) if shape else set()
        if set(entry["members"]) != members:
            wrong.append(f"{operation}: members {sorted(set(entry['members']) ^ members)} differ")
        if set(entry["required"]) != required:
            wrong.append(f"{operation}: required members {sorted(set(entry['required']) ^ required)} differ")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("service", ["iam", "sts"])
def test_what_is_missing_says_so(server, service):
    """NotImplemented, whatever the request holds: 501, so that no client tries again."""
    wrong = []
    for operation in GAPS[service]["missing"]:
        status, said = send(server, service, {"Action": operation, "Version": model(service).api_version})
        message = f"<Code>NotImplemented</Code><Message>This server does not support the operation {operation}</Message>"
        if status != 501 or message not in said:
            wrong.append(f"{operation}: {status} {said}")
    assert not wrong, "\n".join(wrong)


def test_what_is_missing_of_ecs_says_so(server):
    ecs = make_client(server, "ecs", parameter_validation=False)
    for operation in GAPS["ecs"]["missing"]:
        said = refused("NotImplemented", getattr(ecs, botocore.xform_name(operation)), status=501)
        assert said == f"This server does not support the operation {operation}"


def send(server, service, form):
    """Sends a form that the root signs, without botocore's checks of its members: HTTP status and body."""
    request = botocore.awsrequest.AWSRequest("POST", server.url + "/", data=form)
    key = botocore.credentials.Credentials(server.credentials["AWS_ACCESS_KEY_ID"], server.credentials["AWS_SECRET_ACCESS_KEY"])
    botocore.auth.SigV4Auth(key, service, "us-east-1").add_auth(request)
    response = botocore.httpsession.URLLib3Session().send(request.prepare())
    return response.status_code, response.text


@pytest.mark.parametrize("program", ["cli1", "cli2"])
def test_the_clis_show_what_is_missing(server, home, program):
    line = CommandLine(program, server, home)
    for operation in ("ListSAMLProviders", "GetAccountPasswordPolicy", "ListServerCertificates"):
        code, _, said = line.run("iam", botocore.xform_name(operation, "-"))
        assert code != 0 and "(NotImplemented)" in said, said
        assert f"This server does not support the operation {operation}" in said
    line.stop()
