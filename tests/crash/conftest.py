"""Shared by the crash tests: the harness beside the client tests."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from harness.leftovers import pytest_sessionfinish, pytest_sessionstart, pytest_testnodedown  # noqa: E402, F401
