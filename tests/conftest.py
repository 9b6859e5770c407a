"""What all tests share: strictness where CI runs them, and the chat server."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import settings

# In CI a failure must come back when it is run again; elsewhere each run tries new examples.
settings.register_profile("default", deadline=None)  # no test measures speed
settings.register_profile("ci", deadline=None, derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where CI runs, a sandbox that is missing is a failure: a skipped test proves nothing."""
    report = yield
    marks = ("docker", "bubblewrap", "browser")
    needs_sandbox = any(item.get_closest_marker(mark) for mark in marks)
    if report.skipped and needs_sandbox and os.environ.get("CI"):
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def chat() -> ModuleType:
    """The module `chat_server`: under --import-mode=importlib a test can't import its neighbour."""
    place = spec_from_file_location(
        "envkit_tests_chat_server", Path(__file__).parent / "rollout" / "chat_server.py"
    )
    assert place is not None
    assert place.loader is not None
    module = sys.modules[place.name] = module_from_spec(place)  # dataclasses look it up there
    place.loader.exec_module(module)
    return module
