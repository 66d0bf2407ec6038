"""Our table of operations against the public service model: names, members, which are required."""

import json
import pathlib

import botocore.loaders
import botocore.model
import pytest
from harness.process import run
from harness.server import binary

# What is known to differ, as data: {"ecr": {"missing": ["…"]}}.
GAPS = json.loads((pathlib.Path(__file__).parent / "model_gaps.json").read_text())


@pytest.fixture(scope="module")
def ours():
    """`wharfinger operations` prints what the server supports: service, operation, members."""
    listed = json.loads(run([binary(), "operations", "--json"]).stdout)
    return {(entry["service"], entry["operation"]): entry for entry in listed}


def model(service):
    description = botocore.loaders.Loader().load_service_model(service, "service-2")
    return botocore.model.ServiceModel(description, service)


@pytest.mark.parametrize("service", ["ecr", "iam", "sts"])
def test_operations_exist_in_the_model(ours, service):
    known = set(model(service).operation_names)
    invented = {operation for found, operation in ours if found == service} - known
    assert not invented


@pytest.mark.parametrize("service", ["ecr", "iam", "sts"])
def test_the_gap_list_is_exact(ours, service):
    """An operation that is new here leaves the list of those that are missing; one that is new in AWS enters it."""
    supported = {operation for found, operation in ours if found == service}
    missing = set(model(service).operation_names) - supported
    assert sorted(missing) == sorted(GAPS[service]["missing"])


@pytest.mark.parametrize("service", ["ecr", "iam", "sts"])
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
