"""Secrets Manager and the parameter store with boto3 and both AWS CLIs."""

import pytest
from harness.aws import make_client


def test_a_secret_of_boto3(server):
    secrets = make_client(server, "secretsmanager")
    made = secrets.create_secret(Name="boto3/db", SecretString="one", Tags=[{"Key": "team", "Value": "web"}])
    with pytest.raises(secrets.exceptions.ResourceExistsException):
        secrets.create_secret(Name="boto3/db")
    secrets.put_secret_value(SecretId=made["ARN"], SecretBinary=b"\x00\xff")
    read = secrets.get_secret_value(SecretId="boto3/db")
    assert read["SecretBinary"] == b"\x00\xff" and read["VersionStages"] == ["AWSCURRENT"]
    assert secrets.get_secret_value(SecretId="boto3/db", VersionStage="AWSPREVIOUS")["SecretString"] == "one"
    assert secrets.describe_secret(SecretId="boto3/db")["Tags"] == [{"Key": "team", "Value": "web"}]
    pages = secrets.get_paginator("list_secrets").paginate(PaginationConfig={"PageSize": 1})
    assert "boto3/db" in [secret["Name"] for page in pages for secret in page["SecretList"]]
    secrets.delete_secret(SecretId="boto3/db", RecoveryWindowInDays=7)
    with pytest.raises(secrets.exceptions.InvalidRequestException):
        secrets.get_secret_value(SecretId="boto3/db")
    secrets.restore_secret(SecretId="boto3/db")
    secrets.delete_secret(SecretId="boto3/db", ForceDeleteWithoutRecovery=True)
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.describe_secret(SecretId="boto3/db")


def test_parameters_of_boto3(server):
    parameters = make_client(server, "ssm")
    for name in ("a", "b", "deep/c"):
        parameters.put_parameter(Name=f"/boto3/{name}", Value=name, Type="SecureString")
    with pytest.raises(parameters.exceptions.ParameterAlreadyExists):
        parameters.put_parameter(Name="/boto3/a", Value="x", Type="String")
    pages = parameters.get_paginator("get_parameters_by_path").paginate(
        Path="/boto3", Recursive=True, WithDecryption=True, PaginationConfig={"PageSize": 2}
    )
    found = [(one["Name"], one["Value"]) for page in pages for one in page["Parameters"]]
    assert found == [("/boto3/a", "a"), ("/boto3/b", "b"), ("/boto3/deep/c", "deep/c")]
    several = parameters.get_parameters(Names=["/boto3/a", "/boto3/none"])
    assert several["InvalidParameters"] == ["/boto3/none"]
    parameters.delete_parameters(Names=["/boto3/a", "/boto3/b", "/boto3/deep/c"])
    with pytest.raises(parameters.exceptions.ParameterNotFound):
        parameters.get_parameter(Name="/boto3/a")


def test_the_clis_write_and_read(aws):
    made = aws("secretsmanager", "create-secret", "--name", "cli/db", "--secret-string", "value")
    read = aws("secretsmanager", "get-secret-value", "--secret-id", made["ARN"])
    assert read["SecretString"] == "value"
    aws("secretsmanager", "delete-secret", "--secret-id", "cli/db", "--force-delete-without-recovery")
    put = aws("ssm", "put-parameter", "--name", "/cli/key", "--value", "value", "--type", "String")
    assert put["Version"] == 1
    assert aws("ssm", "get-parameter", "--name", "/cli/key")["Parameter"]["Value"] == "value"
    assert aws("ssm", "describe-parameters")["Parameters"][0]["Name"] == "/cli/key"
    aws("ssm", "delete-parameter", "--name", "/cli/key", plain=True)
