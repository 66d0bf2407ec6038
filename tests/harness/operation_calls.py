"""Calls of operations by name, by boto3 or one of the AWS CLIs, which report failures in the same way."""

import json

import botocore
import botocore.exceptions

from .aws import make_client


class Failed(Exception):
    """What a client reported of an operation that failed: the code, and all that it said."""

    def __init__(self, code, said):
        super().__init__(f"{code}: {said}")
        self.code, self.said = code, said


class Unknown(Exception):
    """The client is older than the operation or one of its members."""


class Boto:
    """Calls operations by boto3. `observe` gets the operation's model and the raw document of each response that is a success."""

    def __init__(self, server, services, credentials=None, observe=None):
        self.clients = {service: make_client(server, service, credentials) for service in services}

        def after_call(http_response, model, **_):
            if http_response.status_code == 200:
                observe(model, json.loads(http_response.content))

        for service, client in self.clients.items():
            if observe:
                client.meta.events.register(f"after-call.{service}", after_call)

    def __call__(self, service, operation, members):
        try:
            return getattr(self.clients[service], botocore.xform_name(operation))(**members)
        except botocore.exceptions.ClientError as error:
            raise Failed(error.response["Error"]["Code"], str(error)) from error


class Cli:
    """Calls operations by one of the CLIs. Members of bytes go through a file in `folder`."""

    def __init__(self, line, folder=None):
        self.line, self.folder = line, folder

    def __call__(self, service, operation, members):
        words = [service, botocore.xform_name(operation, "-")]
        for name, value in members.items():
            option = "--" + botocore.xform_name(name, "-")
            if isinstance(value, bool):
                words.append(option if value else option.replace("--", "--no-", 1))
            elif isinstance(value, bytes):
                (self.folder / name).write_bytes(value)
                words += [option, f"fileb://{self.folder / name}"]
            else:
                words += [option, value if isinstance(value, str) else json.dumps(value)]
        code, out, err = self.line.run(*words)
        if code == 0:
            return json.loads(out) if out.strip() else {}
        if "Invalid choice" in err or "invalid choice" in err or "Unknown options" in err or "Unknown parameter" in err:
            raise Unknown(err)
        start, end = "An error occurred (", ") when calling the "
        assert start in err and f"{end}{operation} operation" in err, (words, code, err)
        raise Failed(err.split(start)[1].split(end)[0], err)


class Calls:
    """Calls operations and notes which succeeded. `name` is the client's, and of all that it makes."""

    def __init__(self, name, call, stranger, served):
        """`call` uses the root's key, `stranger` one that is not known here."""
        self.name, self.call, self.stranger, self.served = name, call, stranger, served
        self.succeeded = set()

    def ok(self, operation, **members):
        response = self.call(self.served[operation], operation, members)
        self.succeeded.add(operation)
        return response
