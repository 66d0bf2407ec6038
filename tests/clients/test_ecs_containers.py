"""ECS: what containers are given, what agents may do, and a server with TLS, on a Docker Engine of the tests' own.

The server has a certificate of its own authority, so that every pull and every agent here goes through TLS.
"""

import contextlib
import http.server
import json
import pathlib
import re
import threading

import pytest
from harness.aws import make_client
from harness.certificates import make_signed_certificate
from harness.ecs import (
    SLEEP,
    Agent,
    container,
    engine_with_network,
    instances,
    make_role,
    only,
    push_busybox,
    tasks_of_test,
    wait_until,
)
from harness.server import Server

INSTANCE_POLICY = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
EXECUTION_POLICY = "service-role/AmazonECSTaskExecutionRolePolicy"
VPC = {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}}


@pytest.fixture(scope="module")
def docker():
    with engine_with_network("ecs-containers") as running:
        yield running


@pytest.fixture(scope="module")
def server(docker, tmp_path_factory):
    key, certificate, authority = make_signed_certificate(tmp_path_factory.mktemp("tls"))
    settings = {"local_clusters": "default", "docker_host": f"unix://{docker.socket}", "task_cleanup_seconds": 2}
    settings.update({"tls_certificate": certificate, "tls_key": key})
    with Server.fresh("ecs-containers", settings=settings, tls=authority) as running:
        yield running


def by_name(task):
    return {one["name"]: one for one in task["containers"]}


def shell(docker, one, script):
    """Runs a script in a running container; returns what it printed."""
    return docker.docker("exec", one["runtimeId"], "/bin/busybox", "sh", "-c", script)


def seen(docker, one):
    """The lines `name value` that a container printed about itself, up to its line `end`."""

    def look():
        lines = docker.docker("logs", one["runtimeId"]).splitlines()
        return lines[:-1] if lines and lines[-1] == "end" else None

    lines = wait_until(look, "the container tells all that it sees")
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in lines)}


TELL = (
    "b=/bin/busybox; echo user $($b id -u):$($b id -g); echo soft $(ulimit -Sn); echo hard $(ulimit -Hn);"
    " echo capabilities $($b grep CapBnd /proc/self/status | $b cut -f 2);"
    " echo scratch $($b grep ' /scratch ' /proc/mounts); echo file $($b touch /file 2>&1 && echo made);"
    " echo kept $($b touch /scratch/file 2>&1 && echo made); echo end;"
)
CHOWN, NET_ADMIN, SYS_TIME, MKNOD = (1 << bit for bit in (0, 12, 25, 27))


def test_a_container_has_the_limits_and_rights_of_its_definition(tasks, image, docker):
    limited = container(
        image,
        TELL + SLEEP,
        "limited",
        user="1000:2000",
        ulimits=[{"name": "nofile", "softLimit": 1000, "hardLimit": 2000}],
        readonlyRootFilesystem=True,
        linuxParameters={
            "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]},
            "tmpfs": [{"containerPath": "/scratch", "size": 16, "mountOptions": ["noexec", "mode=1777"]}],
        },
    )
    changed = {"capabilities": {"drop": ["MKNOD"], "add": ["NET_ADMIN"]}}
    free = container(image, "/bin/busybox mkdir /scratch; " + TELL + SLEEP, "free", linuxParameters=changed)
    task = tasks.running(limited, free)
    found = seen(docker, by_name(task)["limited"])
    assert (found["user"], found["soft"], found["hard"]) == ("1000:2000", "1000", "2000")
    assert int(found["capabilities"], 16) == CHOWN
    kind, _, kept, options = found["scratch"].split()[:4]
    assert (kind, kept) == ("tmpfs", "tmpfs")
    assert {"noexec", "size=16384k"} <= set(options.split(","))
    assert found["file"].endswith("Read-only file system")
    assert found["kept"] == "made"
    found = seen(docker, by_name(task)["free"])
    assert (found["user"], found["scratch"]) == ("0:0", "")
    assert found["file"] == "made"
    capabilities = int(found["capabilities"], 16)
    assert capabilities & NET_ADMIN and capabilities & CHOWN
    assert not capabilities & (MKNOD | SYS_TIME)


def test_a_container_that_ends_early_is_not_started_again(tasks, image):
    policy = {"enabled": True, "restartAttemptPeriod": 60}
    task = tasks.running(container(image, SLEEP), container(image, "exit 5", "side", essential=False, restartPolicy=policy))
    ended = wait_until(lambda: by_name(tasks.describe(task["taskArn"]))["side"].get("exitCode"), "the container ends")
    assert ended == 5
    task = tasks.stopped(container(image, "exit 6", restartPolicy=policy))
    assert task["stopCode"] == "EssentialContainerExited"
    assert only(task)["exitCode"] == 6


def test_volumes_are_folders_of_the_host_or_shared_or_the_own_of_a_task(tasks, image, docker, tmp_path):
    shared = {"scope": "shared", "autoprovision": True, "driver": "local", "labels": {"kept": "yes"}}
    volumes = [
        {"name": "folder", "host": {"sourcePath": str(tmp_path)}},
        {"name": "kept", "dockerVolumeConfiguration": shared},
        {"name": "own", "dockerVolumeConfiguration": {"scope": "task"}},
    ]
    mounts = [{"sourceVolume": name, "containerPath": f"/{name}"} for name in ("folder", "kept", "own")]
    script = (
        "b=/bin/busybox; [ -f /own/file ] && exit 1; for name in folder kept own; do"
        " echo $(( $($b cat /$name/file 2>$b-none || echo 0) + 1 )) > /$name/file; done; exit $($b cat /kept/file)"
    ).replace("$b-none", "/dev/null")
    one, two = (tasks.stopped(container(image, script, mountPoints=mounts), volumes=volumes) for _ in range(2))
    assert (only(one)["exitCode"], only(two)["exitCode"]) == (1, 2)
    assert (tmp_path / "file").read_text() == "2\n"
    # Nothing may be written where a mount says so.
    mounts = [{"sourceVolume": "folder", "containerPath": "/folder", "readOnly": True}]
    script = "echo 3 2>/dev/null > /folder/file && exit 1; exit $(/bin/busybox cat /folder/file)"
    assert only(tasks.stopped(container(image, script, mountPoints=mounts), volumes=volumes[:1]))["exitCode"] == 2

    def names():
        return docker.docker("volume", "ls", "--format", "{{.Name}}").split()

    wait_until(lambda: names() == ["kept"], "only the shared volume is left")
    assert json.loads(docker.docker("volume", "inspect", "kept"))[0]["Labels"]["kept"] == "yes"
    # One that nobody made is not made by a task that does not say so.
    missing = [{"name": "missing", "dockerVolumeConfiguration": {"scope": "shared", "autoprovision": False}}]
    mounts = [{"sourceVolume": "missing", "containerPath": "/missing"}]
    task = tasks.stopped(container(image, "exit 0", mountPoints=mounts), volumes=missing)
    assert task["stopCode"] == "TaskFailedToStart"
    assert only(task)["reason"] == "CannotCreateVolumeError: get missing: no such volume"


def test_a_task_on_fargate_has_its_size_and_no_instance(tasks, server, image, docker, ecs):
    execution = make_role(server, "fargate-execution", EXECUTION_POLICY)
    role = make_role(server, "fargate-task")
    sizes = {"cpu": "256", "memory": "512", "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc"}
    run = {"launchType": "FARGATE", **VPC}
    task = tasks.running(container(image, SLEEP), run=run, executionRoleArn=execution, taskRoleArn=role, **sizes)
    assert "containerInstanceArn" not in task
    assert (task["launchType"], task["platformVersion"], task["platformFamily"]) == ("FARGATE", "1.4.0", "Linux")
    assert (task["cpu"], task["memory"]) == ("256", "512")
    assert ecs.list_tasks(cluster="default", launchType="FARGATE", family=tasks.family)["taskArns"] == [task["taskArn"]]
    identity = task["taskArn"].rsplit("/")[-1]
    groups = pathlib.Path("/sys/fs/cgroup")
    if (groups / "cgroup.controllers").exists():
        assert (groups / "ecs" / identity / "memory.max").read_text().strip() == str(512 << 20)
        assert (groups / "ecs" / identity / "cpu.max").read_text().split() == ["25000", "100000"]
    else:
        assert (groups / "memory/ecs" / identity / "memory.limit_in_bytes").read_text().strip() == str(512 << 20)
        assert (groups / "cpu/ecs" / identity / "cpu.cfs_quota_us").read_text().strip() == "25000"
    web = only(task)
    said = shell(docker, web, "/bin/busybox wget -q -O - $ECS_CONTAINER_METADATA_URI_V4/task; echo; echo $AWS_EXECUTION_ENV")
    document, environment = said.splitlines()
    assert environment == "AWS_ECS_FARGATE"
    assert json.loads(document)["LaunchType"] == "FARGATE"
    assert json.loads(document)["Limits"] == {"CPU": 0.25, "Memory": 512}
    # The task has the keys of its own role, and not those by which the agent pulls.
    own = json.loads(shell(docker, web, "/bin/busybox wget -q -O - http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"))
    assert own["RoleArn"] == role
    (record,) = (server.data / "agent").rglob(f"tasks/{identity}.json")
    stored = json.loads(record.read_text())["task"]
    assert stored["roleCredentials"]["roleArn"] == role
    hidden = stored["executionRoleCredentials"]
    assert hidden["roleArn"] == execution
    path = f"http://169.254.170.2/v2/credentials/{hidden['credentialsId']}"
    assert "404" in shell(docker, web, f"/bin/busybox wget -q -O - {path} 2>&1 || true")
    assert hidden["credentialsId"] not in shell(docker, web, "/bin/busybox env")


def test_the_digests_of_images_are_known_before_the_task_starts(tasks, server, image, docker):
    ecr = make_client(server, "ecr")
    (found,) = ecr.describe_images(repositoryName="busybox", imageIds=[{"imageTag": "latest"}])["imageDetails"]
    digest = found["imageDigest"]
    first = container(image, "while [ ! -f /go ]; do sleep 0.1; done", "first", essential=False)
    second = container(image, SLEEP, dependsOn=[{"containerName": "first", "condition": "SUCCESS"}])
    arn = tasks.run(first, second)

    def known():
        task = tasks.describe(arn)
        return task if all("imageDigest" in one for one in task["containers"]) else None

    pending = wait_until(known, "the digests are known")
    assert pending["lastStatus"] == "PENDING"
    assert {one["imageDigest"] for one in pending["containers"]} == {digest}
    assert {one["image"] for one in pending["containers"]} == {image}

    def started():
        label = "label=com.amazonaws.ecs.task-arn=" + arn
        running = docker.docker("ps", "--quiet", "--filter", label, "--filter", "label=com.amazonaws.ecs.container-name=first")
        return running.split()

    (identity,) = wait_until(started, "the first container runs")
    docker.docker("exec", identity, "/bin/busybox", "touch", "/go")
    web = by_name(tasks.wait(arn, "RUNNING"))["web"]
    assert (web["imageDigest"], web["image"]) == (digest, image)
    # What runs is that digest, whatever the tag names by now.
    made = json.loads(docker.docker("inspect", web["runtimeId"]))[0]["Config"]["Image"]
    assert made == image.replace(":latest", f"@{digest}")


def test_a_service_runs_the_image_of_its_revision_although_the_tag_has_moved(tasks, server, image, docker, ecs):
    ecr = make_client(server, "ecr")
    moving = image.replace(":latest", ":moving")
    tags = ecr.describe_images(repositoryName="busybox", imageIds=[{"imageTag": "latest"}])["imageDetails"]
    old = tags[0]["imageDigest"]
    wanted = {"repositoryName": "busybox", "imageIds": [{"imageDigest": old}]}
    manifest = ecr.batch_get_image(**wanted)["images"][0]["imageManifest"]
    ecr.put_image(repositoryName="busybox", imageManifest=manifest, imageTag="moving")
    definition = tasks.register(container(moving, SLEEP))
    name = "keeps-its-image"
    ecs.create_service(cluster="default", serviceName=name, taskDefinition=definition, desiredCount=1)

    def running():
        arns = ecs.list_tasks(cluster="default", serviceName=name)["taskArns"]
        found = [tasks.describe(arn) for arn in arns]
        return [task for task in found if task["lastStatus"] == "RUNNING"]

    try:
        (first,) = wait_until(running, "the first task runs")
        assert only(first)["imageDigest"] == old
        # Another image gets the tag.
        changed = json.loads(manifest)
        changed["annotations"] = {"moved": "yes"}
        put = ecr.put_image(repositoryName="busybox", imageManifest=json.dumps(changed), imageTag="moving")
        assert put["image"]["imageId"]["imageDigest"] != old
        docker.docker("rm", "--force", only(first)["runtimeId"])

        def replaced():
            return [task for task in running() if task["taskArn"] != first["taskArn"]]

        (second,) = wait_until(replaced, "another task runs in its place")
        assert (only(second)["imageDigest"], only(second)["image"]) == (old, moving)
        made = json.loads(docker.docker("inspect", only(second)["runtimeId"]))[0]["Config"]["Image"]
        assert made == image.replace(":latest", f"@{old}")
        # A task on its own finds the tag where it is now.
        task = tasks.running(container(moving, SLEEP))
        assert only(task)["imageDigest"] == put["image"]["imageId"]["imageDigest"]
    finally:
        ecs.delete_service(cluster="default", service=name, force=True)
        wait_until(lambda: not running(), "its tasks stop")


def test_an_execution_role_that_may_not_pull_is_told(tasks, server, image):
    assert only(tasks.stopped(container(image, "exit 0")))["exitCode"] == 0
    # Without a token of the registry.
    nothing = make_role(server, "pulls-nothing")
    task = tasks.stopped(container(image, "exit 0"), executionRoleArn=nothing)
    assert (task["stopCode"], task["stoppedReason"]) == ("TaskFailedToStart", "Task failed to start")
    reason = only(task)["reason"]
    assert reason.startswith("CannotPullECRContainerError: AccessDeniedException: ")
    assert "ecr:GetAuthorizationToken" in reason and "assumed-role/pulls-nothing/" in reason
    # With a token, but not for the repository: the image that lies there already does not help.
    token = make_role(server, "pulls-no-image", allowed=["ecr:GetAuthorizationToken"])
    task = tasks.stopped(container(image, "exit 0"), executionRoleArn=token)
    assert (task["stopCode"], task["stoppedReason"]) == ("TaskFailedToStart", "Task failed to start")
    reason = only(task)["reason"]
    assert reason.startswith("CannotPullContainerError: Error response from daemon: pull access denied for ")
    assert "ecr:BatchGetImage" in reason


class Objects(http.server.BaseHTTPRequestHandler):
    """An S3 server of one object, for requests that are signed for S3 with temporary keys.

    MinIO does not serve here: like every S3 server that checks keys it knows none of the roles of this server.
    """

    def do_GET(self):
        signed = re.match(r"AWS4-HMAC-SHA256 Credential=ASIA\w+/\d{8}/us-east-1/s3/aws4_request,", self.headers["Authorization"] or "")
        allowed = signed and self.headers["X-Amz-Security-Token"] and self.headers["X-Amz-Content-Sha256"]
        found = self.path == "/settings/web/prod.env"
        body = b"# of the file\nCOLOR=blue\nSIZE=large\n" if allowed and found else b"<Error><Code>NoSuchKey</Code></Error>"
        self.send_response(200 if allowed and found else 404 if allowed else 403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def object_store():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Objects) as store:
        threading.Thread(target=store.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{store.server_port}"
        store.shutdown()


@pytest.fixture(scope="module")
def host(server, docker, ecs):
    """An agent whose user may do what agents need and nothing else, and that trusts the server's authority."""
    iam = make_client(server, "iam")
    iam.create_user(UserName="host")
    iam.attach_user_policy(UserName="host", PolicyArn=INSTANCE_POLICY)
    key = iam.create_access_key(UserName="host")["AccessKey"]
    ecs.create_cluster(clusterName="remote")
    with object_store() as store:
        environment = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
        environment.update({"SSL_CERT_FILE": server.tls, "AWS_ENDPOINT_URL_S3": store})
        agent = Agent(server, docker, "remote", "--task-cleanup-seconds", "2", environment=environment)
        agent.start()
        try:
            wait_until(lambda: instances(ecs, "remote"), "the instance of the agent")
            yield agent
        finally:
            agent.stop()


@pytest.fixture
def remote(ecs, host, request):
    with tasks_of_test(ecs, "remote", request) as made:
        yield made


def test_an_agent_that_does_not_know_the_authority_sends_nothing(server, docker, ecs, host):
    stranger = Agent(server, docker, "remote", name="ecs-stranger")
    stranger.start()
    try:
        wait_until(lambda: "UnknownIssuer" in stranger.process.tail(), "the agent refuses the certificate")
    finally:
        stranger.stop()
    assert len(instances(ecs, "remote")) == 1


def test_environment_files_are_fetched_with_the_execution_role(remote, server, image):
    role = make_role(server, "files", EXECUTION_POLICY)
    files = [{"type": "s3", "value": "arn:aws:s3:::settings/web/prod.env"}]
    own = [{"name": "SIZE", "value": "small"}]
    web = container(image, '[ "$COLOR $SIZE" = "blue small" ]', environmentFiles=files, environment=own)
    assert only(remote.stopped(web, executionRoleArn=role))["exitCode"] == 0
    files[0]["value"] = "arn:aws:s3:::settings/web/missing.env"
    task = remote.stopped(web, executionRoleArn=role)
    assert task["stopCode"] == "TaskFailedToStart"
    reason = only(task)["reason"]
    assert reason.startswith("ResourceInitializationError: ") and "missing.env" in reason, reason


def test_a_log_group_is_made_for_those_who_may_make_it(remote, server, image):
    logs = make_client(server, "logs")
    options = {"awslogs-group": "/ecs/made", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "app", "awslogs-create-group": "true"}
    web = container(image, "echo said; exit 0", logConfiguration={"logDriver": "awslogs", "options": options})
    role = make_role(server, "makes-groups", EXECUTION_POLICY)
    task = remote.stopped(web, executionRoleArn=role)
    assert task["stopCode"] == "TaskFailedToStart"
    assert "logs:CreateLogGroup" in only(task)["reason"]
    statement = {"Effect": "Allow", "Action": "logs:CreateLogGroup", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    make_client(server, "iam").put_role_policy(RoleName="makes-groups", PolicyName="groups", PolicyDocument=policy)
    # A change of policies is in force within a second. The second task finds the group that the first made.
    wait_until(lambda: only(remote.stopped(web, executionRoleArn=role)).get("exitCode") == 0, "the group is made")
    task = remote.stopped(web, executionRoleArn=role)
    assert only(task)["exitCode"] == 0
    stream = f"app/web/{task['taskArn'].rsplit('/')[-1]}"

    def shipped():
        events = logs.get_log_events(logGroupName="/ecs/made", logStreamName=stream, startFromHead=True)["events"]
        return [event["message"] for event in events] == ["said"]

    wait_until(shipped, "the output is in the group")


def test_an_agent_may_do_what_its_policy_allows_and_its_containers_go_on_without(remote, server, image, docker, ecs, host):
    iam, own = make_client(server, "iam"), make_client(server, "ecs", credentials=host.env)
    kept, stopped = (remote.running(container(image, SLEEP)) for _ in range(2))
    identity = only(kept)["runtimeId"]

    def runs(task):
        return json.loads(docker.docker("inspect", only(task)["runtimeId"]))[0]["State"]["Running"]

    def status(task):
        return remote.describe(task["taskArn"])["lastStatus"]

    def denied():
        with contextlib.suppress(own.exceptions.ClientError):
            own.discover_poll_endpoint(cluster="remote")
            return False
        return True

    iam.detach_user_policy(UserName="host", PolicyArn=INSTANCE_POLICY)
    wait_until(denied, "the change is in force")
    # What the agent reports is refused: nobody learns that the task has stopped.
    ecs.stop_task(cluster="remote", task=stopped["taskArn"])
    wait_until(lambda: not runs(stopped), "the container stops")
    wait_until(lambda: "ecs:SubmitTaskStateChange" in host.process.tail(), "the report is refused")
    assert status(stopped) != "STOPPED"
    # And so is its registration.
    host.process.kill()
    host.start()
    wait_until(lambda: "ecs:RegisterContainerInstance" in host.process.tail(), "the registration is refused")
    wait_until(lambda: not instances(ecs, "remote"), "the instance has no agent")
    assert (status(kept), runs(kept)) == ("RUNNING", True)
    started = ecs.run_task(cluster="remote", taskDefinition=kept["taskDefinitionArn"])
    assert not started["tasks"]
    assert started["failures"][0]["reason"] == "AGENT"
    iam.attach_user_policy(UserName="host", PolicyArn=INSTANCE_POLICY)
    wait_until(lambda: instances(ecs, "remote"), "the agent is back")
    assert only(remote.wait(stopped["taskArn"], "STOPPED"))["exitCode"] == 143
    task = remote.stop(kept["taskArn"])
    assert (only(task)["runtimeId"], only(task)["exitCode"]) == (identity, 143)


def test_a_private_registry_is_pulled_from_with_its_secret(tasks, server, image):
    secrets = make_client(server, "secretsmanager")
    role = make_role(server, "private", EXECUTION_POLICY)
    with Server.fresh("ecs-private") as private:
        foreign = push_busybox(private)
        user = json.dumps({"username": "AWS", "password": private.password()})
        secret = secrets.create_secret(Name="private", SecretString=user)["ARN"]
        web = container(foreign, "exit 0")
        task = tasks.stopped(web, executionRoleArn=role)
        reason = only(task)["reason"]
        assert reason.startswith("CannotPullContainerError: Error response from daemon: ")
        assert "no basic auth credentials" in reason
        web["repositoryCredentials"] = {"credentialsParameter": secret}
        task = tasks.stopped(web, executionRoleArn=role)
        assert task["stopCode"] == "TaskFailedToStart"
        reason = only(task)["reason"]
        assert reason.startswith(
            "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed:"
            f" unable to retrieve secret from asm: {secret}: AccessDeniedException: "
        )
        statement = {"Effect": "Allow", "Action": "secretsmanager:GetSecretValue", "Resource": secret}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        make_client(server, "iam").put_role_policy(RoleName="private", PolicyName="secret", PolicyDocument=policy)
        # A change of policies is in force within a second.
        wait_until(lambda: only(tasks.stopped(web, executionRoleArn=role)).get("exitCode") == 0, "the image is pulled")
        secrets.put_secret_value(SecretId=secret, SecretString=private.password())
        reason = only(tasks.stopped(web, executionRoleArn=role))["reason"]
        assert reason.endswith(f": unable to retrieve secret from asm: {secret}: it has no `username` and `password`")
