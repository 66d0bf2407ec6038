#!/usr/bin/env python3
"""Runs a command with a PostgreSQL server and an S3 server beside it, and names both in its environment:

    tests/with_stores.py cargo test

Tests that run against every store read these variables: `WHARFINGER_TEST_POSTGRES_URL`, the URL of an empty database;
`WHARFINGER_TEST_POSTGRES_LINGUISTIC_URL`, the URL of one with an English collation; and `WHARFINGER_TEST_S3_URL`, the
`s3://` URL of an empty bucket, with its key in `WHARFINGER_S3_ACCESS_KEY_ID` and `WHARFINGER_S3_SECRET_ACCESS_KEY`.

With `--durable` before the command, PostgreSQL syncs each commit to the disk, as in production: for benchmarks.
"""

import os
import subprocess
import sys

from harness.process import end_in_order
from harness.stores import Minio, Postgres


def main():
    end_in_order()
    command = sys.argv[1:]
    durable = command[:1] == ["--durable"]
    if durable:
        command = command[1:]
    minio, postgres = Minio("stores"), Postgres("stores", durable=durable)
    try:
        minio.start()
        postgres.start()
        env = {
            **os.environ,
            **minio.environment(),
            "WHARFINGER_TEST_POSTGRES_URL": postgres.database("tests"),
            "WHARFINGER_TEST_POSTGRES_LINGUISTIC_URL": postgres.database(
                "english", "TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en'"
            ),
            "WHARFINGER_TEST_S3_URL": minio.bucket("tests"),
        }
        return subprocess.run(command, env=env).returncode
    finally:
        minio.stop()
        postgres.stop()


if __name__ == "__main__":
    sys.exit(main())
