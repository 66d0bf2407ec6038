"""boto3 and both AWS CLIs against a server, and how their calls fail."""

import pathlib

import boto3
import botocore.config
import botocore.exceptions
import pytest

from .process import TOOLS, MissingTool


def make_client(server, service, credentials=None, region=None, **config):
    """A client of boto3 that tries once; `config` are settings of botocore."""
    who = server.client_environment(credentials)
    return boto3.client(
        service,
        endpoint_url=server.url,
        verify=str(server.tls) if server.tls else None,
        region_name=region or who["AWS_DEFAULT_REGION"],
        aws_access_key_id=who["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=who["AWS_SECRET_ACCESS_KEY"],
        config=botocore.config.Config(retries={"total_max_attempts": 1}, **config),
    )


def refused(code, call, status=400, **members):
    """The call fails with that code and HTTP status; returns the message."""
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert caught.value.response["ResponseMetadata"]["RequestId"]
    return error["Message"]


def cli_one():
    """AWS CLI 1, from PyPI."""
    return [str(TOOLS / "venv" / "bin" / "aws")]


def cli_two(server):
    """AWS CLI 2 of Debian, old enough to need `--endpoint-url`."""
    program = pathlib.Path("/usr/bin/aws")
    if not program.exists():
        raise MissingTool("awscli (2.x of Debian) is not installed: run `make tools`")
    return [str(program), "--endpoint-url", server.url]
