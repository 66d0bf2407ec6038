"""ECS: boto3 and the AWS CLIs run real containers from this registry, on a Docker Engine of the tests' own."""

import contextlib
import json
import pathlib
import time
import urllib.request

import pytest
from harness.aws import cli_one, make_client
from harness.ecs import (
    SLEEP,
    Agent,
    Tasks,
    container,
    engine_with_network,
    instances,
    only,
    wait_until,
)
from harness.process import clean_environment, run
from harness.server import Server


@pytest.fixture(scope="module")
def docker():
    with engine_with_network("ecs-tasks") as running:
        yield running


@pytest.fixture(scope="module")
def server(docker):
    settings = {"local_clusters": "all", "docker_host": f"unix://{docker.socket}", "task_cleanup_seconds": 600}
    running = Server.fresh("ecs-tasks", settings=settings)
    with running:
        yield running


def fetch(address, port, path="/"):
    with urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=10) as response:
        return response.read()


def test_a_task_runs_is_described_and_stops(tasks, image, docker):
    task = tasks.running(container(image, SLEEP))
    assert task["desiredStatus"] == "RUNNING"
    assert task["createdAt"] <= task["pullStartedAt"] <= task["pullStoppedAt"] <= task["startedAt"]
    web = only(task)
    assert web["lastStatus"] == "RUNNING"
    assert web["imageDigest"].startswith("sha256:")
    labels = json.loads(docker.docker("inspect", web["runtimeId"]))[0]["Config"]["Labels"]
    assert labels["com.amazonaws.ecs.task-arn"] == task["taskArn"]
    assert labels["com.amazonaws.ecs.container-name"] == "web"
    assert labels["com.amazonaws.ecs.cluster"] == "default"
    assert labels["com.amazonaws.ecs.task-definition-family"] == tasks.family
    task = tasks.stop(task["taskArn"])
    assert task["stopCode"] == "UserInitiated"
    assert only(task)["exitCode"] == 143
    assert task["stoppedAt"] >= task["executionStoppedAt"] >= task["startedAt"]


def test_the_command_line_runs_a_task_and_waits(server, home, image, cluster):
    env = clean_environment({**server.client_environment(), "HOME": home, "AWS_PAGER": ""})

    def aws(*words):
        said = run([*cli_one(), "ecs", *words], env=env, cwd=home).stdout
        return json.loads(said) if said else None

    definition = pathlib.Path(home) / "task.json"
    definition.write_text(json.dumps({"family": "cli", "containerDefinitions": [container(image, SLEEP)]}))
    aws("register-task-definition", "--cli-input-json", f"file://{definition}")
    arn = aws("run-task", "--cluster", cluster, "--task-definition", "cli")["tasks"][0]["taskArn"]
    aws("wait", "tasks-running", "--cluster", cluster, "--tasks", arn)
    aws("stop-task", "--cluster", cluster, "--task", arn, "--reason", "enough")
    aws("wait", "tasks-stopped", "--cluster", cluster, "--tasks", arn)
    task = aws("describe-tasks", "--cluster", cluster, "--tasks", arn)["tasks"][0]
    assert task["stoppedReason"] == "enough"


def serves(name):
    return f"mkdir -p /www; echo {name} > /www/index.html; exec /bin/busybox httpd -f -p 80 -h /www"


def test_ports_are_published_on_the_address_of_the_instance(tasks, image):
    mappings = [{"containerPort": 80, "hostPort": 18080}]
    script = serves("static").replace("mkdir", "/bin/busybox mkdir")
    task = tasks.running(container(image, script, portMappings=mappings))
    (binding,) = only(task)["networkBindings"]
    assert (binding["bindIP"], binding["containerPort"], binding["hostPort"]) == ("127.0.0.1", 80, 18080)
    assert wait_until(lambda: reached(binding), "the server replies") == b"static\n"


def reached(binding):
    with contextlib.suppress(OSError):
        return fetch(binding["bindIP"], binding["hostPort"])


def test_a_host_port_of_zero_is_chosen_and_told(tasks, image):
    script = serves("dynamic").replace("mkdir", "/bin/busybox mkdir")
    one = tasks.running(container(image, script, portMappings=[{"containerPort": 80}]))
    two = tasks.running(container(image, script, portMappings=[{"containerPort": 80}]))
    bindings = [only(task)["networkBindings"][0] for task in (one, two)]
    assert bindings[0]["hostPort"] != bindings[1]["hostPort"]
    for binding in bindings:
        assert binding["hostPort"] > 1023
        assert wait_until(lambda binding=binding: reached(binding), "the server replies") == b"dynamic\n"


def test_exit_codes_and_reasons_are_told(tasks, image):
    task = tasks.stopped(container(image, "exit 3"))
    assert only(task)["exitCode"] == 3
    assert task["stopCode"] == "EssentialContainerExited"
    assert task["stoppedReason"] == "Essential container in task exited"


def test_a_missing_image_fails_with_its_reason(tasks, server, image):
    missing = container(image, "true")
    missing["image"] = f"{server.host}/busybox:missing"
    task = tasks.stopped(missing)
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"] == "Task failed to start"
    web = only(task)
    assert web["reason"].startswith("CannotPullContainerError: Error response from daemon: ")
    assert "exitCode" not in web


def test_a_missing_program_fails_with_its_reason(tasks, image):
    broken = container(image, "true")
    broken["command"] = ["/bin/nothing"]
    task = tasks.stopped(broken)
    assert task["stopCode"] == "TaskFailedToStart"
    assert only(task)["reason"].startswith("CannotStartContainerError: Error response from daemon: ")


def test_a_clash_of_host_ports_is_refused(tasks, image, ecs, cluster):
    mappings = [{"containerPort": 80, "hostPort": 18090}]
    tasks.running(container(image, SLEEP, portMappings=mappings))
    definition = tasks.register(container(image, SLEEP, portMappings=mappings))
    started = ecs.run_task(cluster=cluster, taskDefinition=definition)
    assert not started["tasks"]
    assert started["failures"][0]["reason"] == "RESOURCE:PORTS"


def test_containers_start_in_the_order_of_their_dependencies(tasks, image, docker):
    after = [{"containerName": "init", "condition": "SUCCESS"}]
    init = container(image, "sleep 0.5", "init", essential=False)
    web = container(image, SLEEP, dependsOn=after)
    task = tasks.running(web, init)
    by_name = {one["name"]: one for one in task["containers"]}
    assert by_name["init"]["exitCode"] == 0

    def times(name):
        return json.loads(docker.docker("inspect", by_name[name]["runtimeId"]))[0]["State"]

    assert times("init")["FinishedAt"] <= times("web")["StartedAt"]


def test_a_dependency_that_fails_ends_the_task(tasks, image):
    after = [{"containerName": "init", "condition": "SUCCESS"}]
    init = container(image, "exit 1", "init", essential=False)
    task = tasks.stopped(container(image, SLEEP, dependsOn=after), init)
    assert task["stopCode"] == "TaskFailedToStart"
    by_name = {one["name"]: one for one in task["containers"]}
    assert by_name["init"]["exitCode"] == 1
    assert by_name["web"]["reason"].startswith("TaskDependencyError")


def test_health_checks_are_awaited_and_told(tasks, image):
    check = {"command": ["CMD", "/bin/busybox", "test", "-f", "/ready"], "interval": 5, "timeout": 2, "retries": 3}
    ready = "sleep 1; /bin/busybox touch /ready; " + SLEEP
    database = container(image, ready, "db", healthCheck=check)
    after = [{"containerName": "db", "condition": "HEALTHY"}]
    task = tasks.running(database, container(image, SLEEP, dependsOn=after))

    def healthy():
        found = tasks.describe(task["taskArn"])
        by_name = {one["name"]: one for one in found["containers"]}
        return by_name["db"].get("healthStatus") == "HEALTHY"

    wait_until(healthy, "the health of the container is told")


def test_containers_stop_in_reverse_order_with_their_time(tasks, image, docker):
    slow = "trap '/bin/busybox sleep 1; exit 0' TERM; while true; do sleep 0.1; done"
    deaf = "trap '' TERM; while true; do sleep 0.1; done"
    database = container(image, slow, "db")
    after = [{"containerName": "db", "condition": "START"}]
    web = container(image, deaf, dependsOn=after, stopTimeout=2)
    task = tasks.running(database, web)
    task = tasks.stop(task["taskArn"])
    by_name = {one["name"]: one for one in task["containers"]}
    assert by_name["web"]["exitCode"] == 137
    assert by_name["db"]["exitCode"] == 0

    def finished(name):
        return json.loads(docker.docker("inspect", by_name[name]["runtimeId"]))[0]["State"]["FinishedAt"]

    assert finished("web") < finished("db")


def test_an_optional_container_may_end(tasks, image):
    task = tasks.running(container(image, SLEEP), container(image, "exit 0", "side", essential=False))

    def ended():
        found = tasks.describe(task["taskArn"])
        by_name = {one["name"]: one for one in found["containers"]}
        return found["lastStatus"] == "RUNNING" and by_name["side"].get("exitCode") == 0

    wait_until(ended, "the optional container ended and the task runs")


def test_a_container_that_is_killed_ends_its_task(tasks, image, docker):
    task = tasks.running(container(image, SLEEP))
    docker.docker("kill", only(task)["runtimeId"])
    task = tasks.wait(task["taskArn"], "STOPPED")
    assert only(task)["exitCode"] == 137
    assert task["stopCode"] == "EssentialContainerExited"


def test_a_container_that_needs_too_much_memory_is_told(tasks, image):
    fill = "x=aaaaaaaaaaaaaaaa; while true; do x=$x$x; done"
    task = tasks.stopped(container(image, fill, memory=16))
    assert only(task)["exitCode"] == 137
    assert only(task)["reason"] == "OutOfMemoryError: Container killed due to memory usage"


def test_the_size_of_a_task_is_enforced_by_its_control_group(tasks, image, docker):
    task = tasks.running(container(image, SLEEP), cpu="256", memory="64")
    identity = task["taskArn"].rsplit("/")[-1]
    inspected = json.loads(docker.docker("inspect", only(task)["runtimeId"]))[0]
    assert inspected["HostConfig"]["CgroupParent"] == f"/ecs/{identity}"
    groups = pathlib.Path("/sys/fs/cgroup")
    if (groups / "cgroup.controllers").exists():
        assert (groups / "ecs" / identity / "memory.max").read_text().strip() == str(64 << 20)
        assert (groups / "ecs" / identity / "cpu.max").read_text().split() == ["25000", "100000"]
    else:
        assert (groups / "memory/ecs" / identity / "memory.limit_in_bytes").read_text().strip() == str(64 << 20)
        assert (groups / "cpu/ecs" / identity / "cpu.cfs_quota_us").read_text().strip() == "25000"


def test_volumes_are_shared_inside_of_a_task_and_end_with_it(tasks, image):
    mount = [{"sourceVolume": "shared", "containerPath": "/shared"}]
    init = container(image, "echo 7 > /shared/code", "init", essential=False, mountPoints=mount)
    after = [{"containerName": "init", "condition": "SUCCESS"}]
    web = container(image, "exit $(/bin/busybox cat /shared/code)", dependsOn=after, mountPoints=mount)
    task = tasks.stopped(web, init, volumes=[{"name": "shared"}])
    by_name = {one["name"]: one for one in task["containers"]}
    assert by_name["web"]["exitCode"] == 7


def test_overrides_change_command_and_environment(tasks, image):
    run = {
        "overrides": {
            "containerOverrides": [
                {
                    "name": "web",
                    "command": ["/bin/busybox", "sh", "-c", "exit $CODE"],
                    "environment": [{"name": "CODE", "value": "9"}],
                }
            ]
        }
    }
    task = tasks.stopped(container(image, "exit 1"), run=run)
    assert only(task)["exitCode"] == 9


def test_awsvpc_containers_share_a_network_of_their_own(tasks, image):
    network = {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}
    script = serves("vpc").replace("mkdir", "/bin/busybox mkdir")
    web = container(image, script, portMappings=[{"containerPort": 80}])
    # Nothing says which container starts first.
    fetch = "until /bin/busybox wget -q -O /out http://127.0.0.1/; do /bin/busybox sleep 0.1; done"
    probe = container(image, f"{fetch}; exec /bin/busybox sleep 1000", "probe")
    task = tasks.running(web, probe, networkMode="awsvpc", run={"networkConfiguration": network})
    details = {detail["name"]: detail["value"] for detail in task["attachments"][0]["details"]}
    address = details["privateIPv4Address"]
    assert wait_until(lambda: reached({"bindIP": address, "hostPort": 80}), "the task replies") == b"vpc\n"
    time.sleep(1)
    assert tasks.describe(task["taskArn"])["lastStatus"] == "RUNNING"


def test_the_namespace_of_a_task_runs_no_image_of_a_user(tasks, image, docker):
    # Whoever runs tasks can have an image pulled that bears the name.
    docker.docker("tag", image, "wharfinger/pause:1")
    network = {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}
    task = tasks.running(container(image, SLEEP), networkMode="awsvpc", run={"networkConfiguration": network})
    web = json.loads(docker.docker("inspect", only(task)["runtimeId"]))[0]
    namespace = web["HostConfig"]["NetworkMode"].removeprefix("container:")
    assert json.loads(docker.docker("inspect", namespace))[0]["Path"] == "/pause"


def test_host_and_none_networks(tasks, image):
    host = tasks.running(container(image, SLEEP), networkMode="host")
    none = tasks.running(container(image, SLEEP), networkMode="none")
    assert only(host)["lastStatus"] == only(none)["lastStatus"] == "RUNNING"


def test_logs_are_shipped_in_order_without_a_loss(tasks, server, image, ecs):
    logs = make_client(server, "logs")
    options = {"awslogs-group": "/ecs/shipped", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "app"}
    configuration = {"logDriver": "awslogs", "options": options}
    logs.create_log_group(logGroupName="/ecs/shipped")
    count = "i=0; while [ $i -lt 300 ]; do i=$((i+1)); echo line $i; sleep 0.01; done; " + SLEEP
    task = tasks.running(container(image, count, logConfiguration=configuration))
    stream = f"app/web/{task['taskArn'].rsplit('/')[-1]}"

    def shipped():
        events, token = [], None
        while True:
            more = {"nextToken": token} if token else {}
            page = logs.get_log_events(logGroupName="/ecs/shipped", logStreamName=stream, startFromHead=True, **more)
            if page["nextForwardToken"] == token:
                return [event["message"] for event in events]
            events += page["events"]
            token = page["nextForwardToken"]

    wait_until(lambda: len(shipped()) > 20, "the first lines")
    server.kill()
    server.start()
    wait_until(lambda: instances(ecs, "default"), "the instance is back")
    wait_until(lambda: len(shipped()) >= 300, "all lines")
    assert shipped() == [f"line {number}" for number in range(1, 301)]


def test_the_lines_of_an_event_are_put_together(tasks, server, image):
    logs = make_client(server, "logs")
    logs.create_log_group(logGroupName="/ecs/events")
    options = {"awslogs-group": "/ecs/events", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "app"}
    configuration = {"logDriver": "awslogs", "options": {**options, "awslogs-multiline-pattern": "^[A-Z]"}}
    script = "echo ERROR one; echo '  at two'; echo INFO three; exit 0"
    task = tasks.stopped(container(image, script, logConfiguration=configuration))
    stream = f"app/web/{task['taskArn'].rsplit('/')[-1]}"

    def shipped():
        found = logs.get_log_events(logGroupName="/ecs/events", logStreamName=stream, startFromHead=True)["events"]
        return [event["message"] for event in found] == ["ERROR one\n  at two", "INFO three"]

    wait_until(shipped, "two events")


def test_a_log_group_that_is_missing_keeps_a_task_from_starting(tasks, image):
    options = {"awslogs-group": "/ecs/missing", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "app"}
    task = tasks.stopped(container(image, "true", logConfiguration={"logDriver": "awslogs", "options": options}))
    reason = only(task)["reason"]
    assert reason.startswith("CannotStartContainerError: Error response from daemon: failed to initialize logging driver")
    assert "The specified log group does not exist" in reason


def test_a_task_has_the_credentials_of_its_role(tasks, server, image):
    iam = make_client(server, "iam")
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    role = iam.create_role(RoleName="task-role", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    script = (
        "sleep 0.5; /bin/busybox wget -q -O /keys http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI || sleep 1;"
        " /bin/busybox wget -q -O /keys http://169.254.170.2$AWS_CONTAINER_CREDENTIALS_RELATIVE_URI || exit 2;"
        " /bin/busybox grep -q SecretAccessKey /keys || exit 3;"
        " /bin/busybox wget -q -O /task $ECS_CONTAINER_METADATA_URI_V4/task || exit 4;"
        " /bin/busybox grep -q TaskARN /task || exit 5; exit 0"
    )
    task = tasks.stopped(container(image, script), taskRoleArn=role)
    assert only(task)["exitCode"] == 0


@pytest.mark.parametrize("mode", ["bridge", "awsvpc"])
def test_a_task_sees_what_its_containers_use(tasks, image, docker, mode):
    script = (
        "get() { /bin/busybox wget -q -O /$1 $ECS_CONTAINER_METADATA_URI_V4/$2; };"
        " sleep 1; until get own stats && get all task/stats; do sleep 0.5; done; sleep 1000"
    )
    network = {"awsvpcConfiguration": {"subnets": ["subnet-0123456789abcdef0"]}}
    run = {"networkConfiguration": network} if mode == "awsvpc" else {}
    task = tasks.running(container(image, script), networkMode=mode, run=run)
    identity = only(task)["runtimeId"]

    def read(name):
        found = docker.docker("exec", identity, "/bin/busybox", "cat", f"/{name}", check=False)
        with contextlib.suppress(ValueError):
            return json.loads(found)

    both = wait_until(lambda: read("own") and read("all") and (read("own"), read("all")), "the task has its figures")
    for figures in (both[0], both[1][identity]):
        assert figures["memory_stats"]["usage"] > 0
        assert figures["cpu_stats"]["cpu_usage"]["total_usage"] >= figures["precpu_stats"]["cpu_usage"]["total_usage"]
        assert figures["networks"]["eth0"]["rx_bytes"] >= 0
        assert set(figures["network_rate_stats"]) == {"rx_bytes_per_sec", "tx_bytes_per_sec"}


def test_secrets_are_fetched_with_the_execution_role(tasks, server, image, docker):
    iam, secrets, parameters = (make_client(server, name) for name in ("iam", "secretsmanager", "ssm"))
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
    }
    role = iam.create_role(RoleName="execution-role", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    managed = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
    iam.attach_role_policy(RoleName="execution-role", PolicyArn=managed)
    secret = secrets.create_secret(Name="database", SecretString=json.dumps({"password": "s3cret"}))["ARN"]
    parameters.put_parameter(Name="/web/color", Value="blue", Type="SecureString")
    wanted = [{"name": "PASSWORD", "valueFrom": f"{secret}:password::"}, {"name": "COLOR", "valueFrom": "/web/color"}]
    web = container(image, '[ "$PASSWORD $COLOR" = "s3cret blue" ]', secrets=wanted)
    # Without the permission for it, the task does not start and says why.
    task = tasks.stopped(web, executionRoleArn=role)
    assert task["stopCode"] == "TaskFailedToStart"
    reason = only(task)["reason"]
    assert reason.startswith("ResourceInitializationError: unable to pull secrets or registry auth")
    assert "AccessDenied" in reason and "s3cret" not in reason
    actions = ["secretsmanager:GetSecretValue", "ssm:GetParameters"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
    iam.put_role_policy(RoleName="execution-role", PolicyName="secrets", PolicyDocument=json.dumps(policy))
    # A change of policies is in force within a second.
    wait_until(lambda: only(tasks.stopped(web, executionRoleArn=role)).get("exitCode") == 0, "the secrets are there")
    # The driver's options may be secrets as well, which the container does not see.
    configuration = {"logDriver": "json-file", "secretOptions": [{"name": "tag", "valueFrom": "/web/color"}]}
    script = "/bin/busybox env | /bin/busybox grep -q blue && exit 1; exit 0"
    task = tasks.stopped(container(image, script, logConfiguration=configuration), executionRoleArn=role)
    assert only(task)["exitCode"] == 0
    logs = json.loads(docker.docker("inspect", only(task)["runtimeId"]))[0]["HostConfig"]["LogConfig"]
    assert logs == {"Type": "json-file", "Config": {"tag": "blue"}}


def test_a_restart_of_the_server_leaves_tasks_running(tasks, server, image, docker, ecs):
    task = tasks.running(container(image, SLEEP))
    identity = only(task)["runtimeId"]
    for end in (server.stop, server.kill):
        end()
        server.start()
        wait_until(lambda: instances(ecs, "default"), "the instance is back")
        assert tasks.describe(task["taskArn"])["lastStatus"] == "RUNNING"
        assert json.loads(docker.docker("inspect", identity))[0]["State"]["Running"]
    listed = docker.docker("ps", "--quiet", "--filter", f"label=com.amazonaws.ecs.task-arn={task['taskArn']}")
    assert len(listed.split()) == 1
    # What happens while nobody looks is noticed afterwards.
    server.kill()
    docker.docker("kill", identity)
    server.start()
    assert only(tasks.wait(task["taskArn"], "STOPPED"))["exitCode"] == 137


@pytest.fixture(scope="module")
def agents(ecs, server, docker):
    """A cluster that the agents of another process serve: two instances."""
    server.stop()
    server.settings["local_clusters"] = "default"
    server.start()
    ecs.create_cluster(clusterName="remote")
    agent = Agent(server, docker, "remote", "--instances", "2")
    agent.start()
    try:
        wait_until(lambda: len(instances(ecs, "remote")) == 2, "two instances")
        yield agent
    finally:
        agent.stop()


def test_a_killed_agent_takes_up_its_containers(agents, ecs, image, docker):
    tasks = Tasks(ecs, "remote", "taken-up")
    task = tasks.running(container(image, SLEEP))
    identity = only(task)["runtimeId"]
    agents.process.kill()
    agents.start()
    wait_until(lambda: len(instances(ecs, "remote")) == 2, "both instances are back")
    assert json.loads(docker.docker("inspect", identity))[0]["State"]["Running"]
    task = tasks.stop(task["taskArn"])
    assert (only(task)["runtimeId"], only(task)["exitCode"]) == (identity, 143)


def test_instances_of_one_agent_have_their_own_ports(agents, ecs, image):
    tasks = Tasks(ecs, "remote", "own-ports")
    script = serves("own").replace("mkdir", "/bin/busybox mkdir")
    mappings = [{"containerPort": 80, "hostPort": 18070}]
    started = [tasks.running(container(image, script, portMappings=mappings)) for _ in range(2)]
    bindings = [only(task)["networkBindings"][0] for task in started]
    assert {binding["bindIP"] for binding in bindings} == {"127.0.1.1", "127.0.1.2"}
    for binding in bindings:
        assert wait_until(lambda binding=binding: reached(binding), "the server replies") == b"own\n"
    tasks.close()
