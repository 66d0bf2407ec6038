"""Roles as clients assume them: with keys, in profiles, and with the tokens of an OIDC provider; and docker's clients with what they get."""

import json
import pathlib
import time

import boto3
import botocore.config
import botocore.exceptions
import pytest
from harness.issuer import Issuer
from harness.process import TOOLS, clean_environment, run
from harness.server import Server

ACCOUNT = "123456789012"
FULL_ACCESS = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryFullAccess"
READ_ONLY = "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryReadOnly"
PROGRAMS = {"cli1": str(TOOLS / "venv" / "bin" / "aws"), "cli2": "/usr/bin/aws"}


def connect(server, service, credentials=None, **config):
    """A client of boto3 with the root's key, or with the credentials of a session."""
    known = {
        "aws_access_key_id": server.credentials["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": server.credentials["AWS_SECRET_ACCESS_KEY"],
    }
    if credentials:
        known = {
            "aws_access_key_id": credentials["AccessKeyId"],
            "aws_secret_access_key": credentials["SecretAccessKey"],
            "aws_session_token": credentials["SessionToken"],
        }
    config = botocore.config.Config(retries={"total_max_attempts": 1}, **config)
    return boto3.client(service, endpoint_url=server.url, region_name="us-east-1", config=config, **known)


def variables(credentials):
    return {
        "AWS_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": credentials["SecretAccessKey"],
        "AWS_SESSION_TOKEN": credentials["SessionToken"],
    }


def trust(principal, action="sts:AssumeRole", **condition):
    statement = {"Effect": "Allow", "Principal": principal, "Action": [action, "sts:TagSession"], "Condition": condition}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def refused(code, call, status=400, **members):
    with pytest.raises(botocore.exceptions.ClientError) as caught:
        call(**members)
    error = caught.value.response["Error"]
    assert error["Code"] == code, error
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    return error["Message"]


@pytest.fixture(scope="module")
def ann(server):
    """The key of a user who may assume roles, as a response holds credentials."""
    iam = connect(server, "iam")
    iam.create_user(UserName="roles-ann")
    statement = {"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.put_user_policy(UserName="roles-ann", PolicyName="assume", PolicyDocument=document)
    return iam.create_access_key(UserName="roles-ann")["AccessKey"]


@pytest.fixture(scope="module")
def role(server, ann):
    """A role of the account that may do everything with images."""
    iam = connect(server, "iam")
    made = iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=trust({"AWS": ACCOUNT}))["Role"]
    iam.attach_role_policy(RoleName="deploy", PolicyArn=FULL_ACCESS)
    return made["Arn"]


@pytest.fixture(scope="module")
def user(server, ann):
    """STS by the user's key."""
    keys = {"aws_access_key_id": ann["AccessKeyId"], "aws_secret_access_key": ann["SecretAccessKey"]}
    return boto3.client("sts", endpoint_url=server.url, region_name="us-east-1", **keys)


@pytest.fixture
def aws(server, home):
    """Runs one of the two CLIs with these variables."""

    def call(program, *words, environment=None, check=True):
        known = {"AWS_ENDPOINT_URL": server.url, "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}
        env = clean_environment({**known, "HOME": home, "AWS_PAGER": "", **(environment or {})})
        # The older of the two does not know the variable.
        endpoint = ["--endpoint-url", server.url] if program == "cli2" else []
        return run([PROGRAMS[program], *endpoint, *words], env=env, cwd=home, check=check)

    return call


def test_boto3_assumes_a_role(server, user, role):
    assumed = user.assume_role(
        RoleArn=role,
        RoleSessionName="boto",
        DurationSeconds=900,
        PolicyArns=[{"arn": READ_ONLY}],
        Tags=[{"Key": "team", "Value": "red"}],
    )
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/boto"
    assert assumed["AssumedRoleUser"]["Arn"] == arn
    assert 0 < assumed["PackedPolicySize"] < 20
    credentials = assumed["Credentials"]
    assert 880 < credentials["Expiration"].timestamp() - time.time() <= 900
    assert connect(server, "sts", credentials).get_caller_identity()["Arn"] == arn
    ecr = connect(server, "ecr", credentials)
    ecr.describe_repositories()
    message = refused("AccessDeniedException", ecr.create_repository, repositoryName="roles/no")
    assert message.endswith("because no session policy allows the ecr:CreateRepository action")


def test_who_may_not_assume_a_role(server, user, role):
    message = refused("AccessDenied", connect(server, "sts").assume_role, 403, RoleArn=role, RoleSessionName="root")
    assert message == "Roles may not be assumed by root accounts."
    other = f"arn:aws:iam::{ACCOUNT}:role/nobody"
    message = refused("AccessDenied", user.assume_role, 403, RoleArn=other, RoleSessionName="run")
    assert f"is not authorized to perform: sts:AssumeRole on resource: {other}" in message
    refused("ValidationError", user.assume_role, RoleArn=role, RoleSessionName="run", DurationSeconds=3601)
    refused("MalformedPolicyDocument", user.assume_role, RoleArn=role, RoleSessionName="run", Policy="{}")
    tags = [{"Key": f"key-{at}", "Value": "v" * 256} for at in range(50)]
    refused("PackedPolicyTooLarge", user.assume_role, RoleArn=role, RoleSessionName="run", Tags=tags)


def test_changed_credentials_are_refused(server, user, role):
    assume = lambda: user.assume_role(RoleArn=role, RoleSessionName="run")["Credentials"]
    good, other = assume(), assume()
    token = good["SessionToken"]
    middle = len(token) // 2
    changed = token[:middle] + ("A" if token[middle] != "A" else "B") + token[middle + 1 :]
    for wrong in ({"SessionToken": changed}, {"SessionToken": other["SessionToken"]}, {"AccessKeyId": other["AccessKeyId"]}):
        refused("InvalidClientTokenId", connect(server, "sts", {**good, **wrong}).get_caller_identity, 403)
        refused("UnrecognizedClientException", connect(server, "ecr", {**good, **wrong}).describe_repositories)
    wrong = {**good, "SecretAccessKey": other["SecretAccessKey"]}
    refused("SignatureDoesNotMatch", connect(server, "sts", wrong).get_caller_identity, 403)


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_role_pushes_images(server, ann, role, aws, client, layout, hello, program):
    key = {"AWS_ACCESS_KEY_ID": ann["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": ann["SecretAccessKey"]}
    words = ["sts", "assume-role", "--role-arn", role, "--role-session-name", program]
    credentials = json.loads(aws(program, *words, environment=key).stdout)["Credentials"]
    session = variables(credentials)
    repository = f"roles/{program}"
    aws(program, "ecr", "create-repository", "--repository-name", repository, environment=session)
    password = aws(program, "ecr", "get-login-password", environment=session).stdout.strip()
    client("crane", "auth", "login", server.host, "-u", "AWS", "--password-stdin", input=password)
    client("crane", "push", "--insecure", layout, f"{server.host}/{repository}:one")
    assert client("crane", "digest", "--insecure", f"{server.host}/{repository}:one").stdout.strip() == hello.digest


def test_docker_signs_in_with_a_session(server, user, role, aws, engine, home, tmp_path):
    connect(server, "ecr").create_repository(repositoryName="roles/docker")
    credentials = user.assume_role(RoleArn=role, RoleSessionName="docker", PolicyArns=[{"arn": READ_ONLY}])["Credentials"]
    password = aws("cli1", "ecr", "get-login-password", environment=variables(credentials)).stdout.strip()
    env = engine.environment(home)
    run(["docker", "login", "-u", "AWS", "--password-stdin", server.host], env=env, input=password)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    target = f"{server.host}/roles/docker:one"
    run(["docker", "build", "-t", target, tmp_path], env=env)
    denied = run(["docker", "push", target], env=env, check=False)
    assert denied.returncode != 0 and "denied" in denied.stderr + denied.stdout, denied.stderr


def test_a_profile_assumes_a_role(ann, role, aws, home):
    folder = pathlib.Path(home) / ".aws"
    folder.mkdir()
    (folder / "config").write_text(
        f"[profile base]\naws_access_key_id={ann['AccessKeyId']}\naws_secret_access_key={ann['SecretAccessKey']}\n"
        f"[profile deploy]\nrole_arn={role}\nsource_profile=base\nrole_session_name=profile\n"
    )
    said = json.loads(aws("cli1", "--profile", "deploy", "sts", "get-caller-identity").stdout)
    assert said["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/deploy/profile"


# --- web identities ---


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    running = Issuer(tmp_path_factory.mktemp("issuer"))
    yield running
    running.stop()


@pytest.fixture(scope="module")
def keys(issuer):
    return [issuer.add_key("rsa", "RS256"), issuer.add_key("ec", "ES256")]


@pytest.fixture(scope="module")
def provider(server, issuer, keys):
    made = connect(server, "iam").create_open_id_connect_provider(
        Url=issuer.url, ClientIDList=["sts.example.com"], ThumbprintList=[issuer.thumbprint]
    )
    return made["OpenIDConnectProviderArn"]


@pytest.fixture(scope="module")
def job(server, issuer, provider):
    """A role for jobs of one team."""
    name = issuer.url.removeprefix("https://")
    document = trust(
        {"Federated": provider},
        "sts:AssumeRoleWithWebIdentity",
        StringEquals={f"{name}:aud": "sts.example.com"},
        StringLike={f"{name}:sub": "repo:team/*"},
    )
    iam = connect(server, "iam")
    made = iam.create_role(RoleName="job", AssumeRolePolicyDocument=document)["Role"]
    iam.attach_role_policy(RoleName="job", PolicyArn=FULL_ACCESS)
    own = {"Effect": "Allow", "Action": "ecr:DeleteRepository", "Resource": "*"}
    own["Condition"] = {"StringEquals": {"aws:FederatedProvider": provider, f"{name}:sub": "repo:team/web"}}
    document = json.dumps({"Version": "2012-10-17", "Statement": own})
    iam.put_role_policy(RoleName="job", PolicyName="own", PolicyDocument=document)
    return made["Arn"]


@pytest.fixture
def unsigned(server):
    """STS without a key."""
    config = botocore.config.Config(signature_version=botocore.UNSIGNED, retries={"total_max_attempts": 1})
    return boto3.client("sts", endpoint_url=server.url, region_name="us-east-1", config=config)


def test_a_token_assumes_a_role(server, issuer, keys, provider, job, unsigned):
    for key in keys:
        token = issuer.token(key)
        assumed = unsigned.assume_role_with_web_identity(RoleArn=job, RoleSessionName="run", WebIdentityToken=token)
        assert assumed["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/job/run"
        assert assumed["SubjectFromWebIdentityToken"] == "repo:team/web"
        assert assumed["Provider"] == issuer.url and assumed["Audience"] == "sts.example.com"
        ecr = connect(server, "ecr", assumed["Credentials"])
        name = f"roles/web-{key.name}"
        ecr.create_repository(repositoryName=name)
        # The session keeps the provider and the subject.
        ecr.delete_repository(repositoryName=name)


def test_tokens_that_prove_nobody(server, issuer, keys, job, unsigned):
    rsa, ec = keys

    def check(code, token, status=400):
        return refused(code, unsigned.assume_role_with_web_identity, status, RoleArn=job, RoleSessionName="run", WebIdentityToken=token)

    assert "Incorrect token audience" in check("InvalidIdentityToken", issuer.token(rsa, aud="other"))
    assert check("AccessDenied", issuer.token(ec, sub="repo:other/web"), 403) == "Not authorized to perform sts:AssumeRoleWithWebIdentity"
    past = int(time.time()) - 400
    assert "must be before the expiration" in check("ExpiredTokenException", issuer.token(rsa, exp=past))
    check("IDPRejectedClaim", issuer.token(rsa, nbf=int(time.time()) + 1000), 403)
    head, claims, signature = issuer.token(ec).split(".")
    forged = issuer.token(ec, sub="repo:team/other").split(".")[1]
    check("InvalidIdentityToken", f"{head}.{forged}.{signature}")
    stranger = type(rsa)(issuer.folder, "stranger", "RS256")
    check("InvalidIdentityToken", issuer.token(stranger))
    stranger.name = "rsa"
    check("InvalidIdentityToken", issuer.token(stranger))
    assert "No OpenIDConnect provider found" in check("InvalidIdentityToken", issuer.token(rsa, iss="https://other.example.com"))
    missing = f"arn:aws:iam::{ACCOUNT}:role/nobody"
    refused("AccessDenied", unsigned.assume_role_with_web_identity, 403, RoleArn=missing, RoleSessionName="run", WebIdentityToken=issuer.token(rsa))


def test_a_token_brings_session_tags(server, issuer, keys, job, unsigned):
    tags = {"principal_tags": {"team": ["red"]}, "transitive_tag_keys": ["team"]}
    token = issuer.token(keys[0], **{"https://aws.amazon.com/tags": tags})
    assumed = unsigned.assume_role_with_web_identity(RoleArn=job, RoleSessionName="tags", WebIdentityToken=token)
    assert assumed["PackedPolicySize"] > 0
    identity = issuer.token(keys[0], **{"https://aws.amazon.com/source_identity": "ann"})
    refused("AccessDenied", unsigned.assume_role_with_web_identity, 403, RoleArn=job, RoleSessionName="run", WebIdentityToken=identity)


def job_environment(server, issuer, key, job, home):
    """What a CI system gives to its jobs."""
    path = pathlib.Path(home) / "token"
    path.write_text(issuer.token(key))
    return {
        "AWS_ROLE_ARN": job,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(path),
        "AWS_ROLE_SESSION_NAME": "ci",
        "AWS_ENDPOINT_URL": server.url,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def test_a_ci_job_needs_no_stored_key_with_boto3(server, issuer, keys, job, home, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "HTTPS_PROXY", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**job_environment(server, issuer, keys[1], job, home), "HOME": str(home)}.items():
        monkeypatch.setenv(name, value)
    session = boto3.Session()
    arn = session.client("sts").get_caller_identity()["Arn"]
    assert arn == f"arn:aws:sts::{ACCOUNT}:assumed-role/job/ci"
    session.client("ecr").describe_repositories()


def test_a_ci_job_needs_no_stored_key_with_the_cli(server, issuer, keys, job, home, aws, client, layout):
    environment = job_environment(server, issuer, keys[0], job, home)
    said = json.loads(aws("cli1", "sts", "get-caller-identity", environment=environment).stdout)
    assert said["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/job/ci"
    aws("cli1", "ecr", "create-repository", "--repository-name", "roles/ci", environment=environment)
    password = aws("cli1", "ecr", "get-login-password", environment=environment).stdout.strip()
    client("crane", "auth", "login", server.host, "-u", "AWS", "--password-stdin", input=password)
    client("crane", "push", "--insecure", layout, f"{server.host}/roles/ci:one")


def test_the_older_cli_exchanges_a_token(server, issuer, keys, job, aws):
    words = ["sts", "assume-role-with-web-identity", "--role-arn", job, "--role-session-name", "old"]
    said = aws("cli2", *words, "--web-identity-token", issuer.token(keys[0]))
    session = variables(json.loads(said.stdout)["Credentials"])
    said = json.loads(aws("cli2", "sts", "get-caller-identity", environment=session).stdout)
    assert said["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/job/old"


def test_a_key_set_out_of_a_file_needs_no_provider(issuer, keys, tmp_path):
    url = "https://offline.example.com"
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({url: {"keys": [key.public() for key in keys]}}))
    with Server.fresh("roles-offline", settings={"oidc_key_sets": path}) as server:
        iam = connect(server, "iam")
        provider = iam.create_open_id_connect_provider(Url=url, ClientIDList=["sts.example.com"])["OpenIDConnectProviderArn"]
        document = trust({"Federated": provider}, "sts:AssumeRoleWithWebIdentity")
        role = iam.create_role(RoleName="job", AssumeRolePolicyDocument=document)["Role"]["Arn"]
        config = botocore.config.Config(signature_version=botocore.UNSIGNED)
        sts = boto3.client("sts", endpoint_url=server.url, region_name="us-east-1", config=config)
        token = issuer.token(keys[1], iss=url)
        assumed = sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="run", WebIdentityToken=token)
        assert assumed["Provider"] == url


def test_a_provider_that_is_gone_is_no_longer_trusted(server, issuer, keys, provider, job, unsigned):
    """The last test of the file: it removes the provider."""
    connect(server, "iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=provider)
    message = refused(
        "InvalidIdentityToken",
        unsigned.assume_role_with_web_identity,
        RoleArn=job,
        RoleSessionName="run",
        WebIdentityToken=issuer.token(keys[0]),
    )
    assert "No OpenIDConnect provider found" in message
