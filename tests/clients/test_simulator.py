"""The policy simulator as boto3 and both AWS CLIs use it."""

import json

import boto3
import botocore.exceptions
import pytest
from harness.process import TOOLS, clean_environment, run

PROGRAMS = {"cli1": str(TOOLS / "venv" / "bin" / "aws"), "cli2": "/usr/bin/aws"}
WEB = "arn:aws:ecr:us-east-1:123456789012:repository/web"
PUSH = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "ecr:PutImage", "Resource": WEB},
            {
                "Effect": "Allow",
                "Action": "ecr:ListImages",
                "Resource": "*",
                "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
            },
        ],
    }
)


@pytest.fixture(scope="module")
def iam(server):
    return boto3.client(
        "iam",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=server.credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=server.credentials["AWS_SECRET_ACCESS_KEY"],
    )


def test_boto3_reads_every_member_of_a_result(iam):
    names = ["ecr:PutImage", "ecr:ListImages", "ecr:DeleteRepository"]
    pages = iam.get_paginator("simulate_custom_policy").paginate(
        PolicyInputList=[PUSH], ActionNames=names, ResourceArns=[WEB], PaginationConfig={"PageSize": 1}
    )
    results = [result for page in pages for result in page["EvaluationResults"]]
    assert [(result["EvalActionName"], result["EvalDecision"]) for result in results] == [
        ("ecr:PutImage", "allowed"),
        ("ecr:ListImages", "implicitDeny"),
        ("ecr:DeleteRepository", "implicitDeny"),
    ]
    [statement] = results[0]["MatchedStatements"]
    assert statement["SourcePolicyId"] == "PolicyInputList.1"
    assert statement["StartPosition"]["Line"] == statement["EndPosition"]["Line"] == 1
    assert statement["StartPosition"]["Column"] < statement["EndPosition"]["Column"]
    [missing] = results[1]["ResourceSpecificResults"]
    assert missing["MissingContextValues"] == ["aws:SourceIp"]
    entry = {"ContextKeyName": "aws:SourceIp", "ContextKeyValues": ["10.1.1.1"], "ContextKeyType": "ip"}
    found = iam.simulate_custom_policy(PolicyInputList=[PUSH], ActionNames=names[1:2], ContextEntries=[entry])
    assert found["EvaluationResults"][0]["EvalDecision"] == "allowed"
    assert iam.get_context_keys_for_custom_policy(PolicyInputList=[PUSH])["ContextKeyNames"] == ["aws:SourceIp"]


def test_a_request_to_another_account_has_the_decision_of_each_type_of_policy(iam):
    def simulated(resources, **members):
        found = iam.simulate_custom_policy(
            PolicyInputList=[PUSH], ActionNames=["ecr:PutImage"], ResourceArns=resources, **members
        )
        return found["EvaluationResults"][0]

    assert simulated([WEB])["EvalDecisionDetails"] == {}
    assert "EvalDecisionDetails" not in simulated(["*"])
    theirs = WEB.replace("123456789012", "210987654321")
    allowing = {"Effect": "Allow", "Principal": "*", "Action": "ecr:*", "Resource": "*"}
    members = {
        "ResourcePolicy": json.dumps({"Version": "2012-10-17", "Statement": [allowing]}),
        "CallerArn": "arn:aws:iam::123456789012:user/ann",
    }
    result = simulated([theirs], **members)
    assert result["EvalDecision"] == "implicitDeny"
    expected = {"IAM Policy": "implicitDeny", "Resource Policy": "allowed"}
    assert result["EvalDecisionDetails"] == expected
    assert result["ResourceSpecificResults"][0]["EvalDecisionDetails"] == expected


def test_boto3_simulates_a_user_and_is_told_what_is_wrong(iam):
    iam.create_user(UserName="simulated")
    iam.put_user_policy(UserName="simulated", PolicyName="push", PolicyDocument=PUSH)
    arn = "arn:aws:iam::123456789012:user/simulated"
    found = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["ecr:PutImage"], ResourceArns=[WEB])
    [result] = found["EvaluationResults"]
    assert result["EvalDecision"] == "allowed"
    assert result["MatchedStatements"][0]["SourcePolicyId"] == "push"
    assert result["MatchedStatements"][0]["SourcePolicyType"] == "user"
    assert iam.get_context_keys_for_principal_policy(PolicySourceArn=arn)["ContextKeyNames"] == ["aws:SourceIp"]
    for code, members in {
        "NoSuchEntity": {"PolicySourceArn": arn + "2", "ActionNames": ["ecr:PutImage"]},
        "InvalidInput": {"PolicySourceArn": arn, "ActionNames": ["ecr:Put*"]},
    }.items():
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            iam.simulate_principal_policy(**members)
        assert caught.value.response["Error"]["Code"] == code


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_aws_clis_simulate_a_policy(server, program):
    environment = clean_environment(server.credentials)
    command = [PROGRAMS[program], "iam", "simulate-custom-policy", "--policy-input-list", PUSH]
    command += ["--action-names", "ecr:PutImage", "--resource-arns", WEB, "--output", "json"]
    command += ["--endpoint-url", server.url]
    found = json.loads(run(command, env=environment).stdout)
    assert found["EvaluationResults"][0]["EvalDecision"] == "allowed"
