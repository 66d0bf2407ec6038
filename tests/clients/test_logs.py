"""CloudWatch Logs with boto3 and both AWS CLIs, `aws logs tail --follow` included."""

import json
import subprocess
import time

import pytest
from harness.aws import cli_two, make_client, refused
from harness.process import clean_environment

GROUP = "/ecs/logs-test"


@pytest.fixture(scope="module")
def logs(server):
    client = make_client(server, "logs")
    client.create_log_group(logGroupName=GROUP)
    for number in range(3):
        client.create_log_stream(logGroupName=GROUP, logStreamName=f"web/app/{number}")
    yield client
    client.delete_log_group(logGroupName=GROUP)


def put(logs, stream, *messages):
    now = int(time.time() * 1000)
    events = [{"timestamp": now + index, "message": message} for index, message in enumerate(messages)]
    reply = logs.put_log_events(logGroupName=GROUP, logStreamName=stream, logEvents=events)
    assert "rejectedLogEventsInfo" not in reply
    return now


def test_pages_of_boto3_hold_everything_once(logs):
    put(logs, "web/app/0", *[f"first {number}" for number in range(5)])
    put(logs, "web/app/1", *[f"second {number}" for number in range(5)])
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP, filterPattern="?first ?second", PaginationConfig={"PageSize": 3})
    events = [event for page in pages for event in page["events"]]
    assert sorted(event["message"] for event in events) == sorted(
        [f"first {number}" for number in range(5)] + [f"second {number}" for number in range(5)]
    )
    assert [event["timestamp"] for event in events] == sorted(event["timestamp"] for event in events)
    assert len({event["eventId"] for event in events}) == 10
    streams = logs.get_paginator("describe_log_streams").paginate(logGroupName=GROUP, PaginationConfig={"PageSize": 2})
    assert [stream["logStreamName"] for page in streams for stream in page["logStreams"]] == [f"web/app/{number}" for number in range(3)]
    groups = logs.get_paginator("describe_log_groups").paginate(logGroupNamePrefix="/ecs/logs")
    assert [group["logGroupName"] for page in groups for group in page["logGroups"]] == [GROUP]


def test_errors_are_those_of_the_model(logs):
    exceptions = logs.exceptions
    with pytest.raises(exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=GROUP)
    with pytest.raises(exceptions.ResourceNotFoundException):
        logs.get_log_events(logGroupName=GROUP, logStreamName="none")
    refused("InvalidParameterException", logs.put_retention_policy, logGroupName=GROUP, retentionInDays=2)


def test_the_clis_read(server, aws, logs):
    put(logs, "web/app/2", "for the command line")
    found = aws("logs", "filter-log-events", "--log-group-name", GROUP, "--filter-pattern", '"command line"')
    assert "for the command line" in [event["message"] for event in found["events"]]
    stream = aws("logs", "get-log-events", "--log-group-name", GROUP, "--log-stream-name", "web/app/2")
    assert stream["events"][-1]["message"] == "for the command line"
    if aws.name == "cli2":  # AWS CLI 1 has no `logs tail`.
        tail = aws("logs", "tail", GROUP, "--since", "1h", "--format", "short", plain=True)
        assert "for the command line" in tail.stdout
    aws("logs", "put-retention-policy", "--log-group-name", GROUP, "--retention-in-days", "3", plain=True)
    groups = aws("logs", "describe-log-groups", "--log-group-name-prefix", GROUP)
    assert groups["logGroups"][0]["retentionInDays"] == 3


def test_tail_follows(server, home, logs):
    env = clean_environment({**server.client_environment(), "HOME": home, "PYTHONUNBUFFERED": "1"})
    following = [*cli_two(server), "logs", "tail", GROUP, "--follow", "--since", "1m", "--format", "short"]
    tail = subprocess.Popen(following, env=env, stdout=subprocess.PIPE, text=True)
    try:
        message = json.dumps({"follow": True})
        put(logs, "web/app/0", message)
        # The reader ends with the message; pytest's own timeout ends a tail that never shows it.
        assert any(message in line for line in tail.stdout)
    finally:
        tail.kill()
        tail.wait()
