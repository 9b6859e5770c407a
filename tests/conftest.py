"""What the tests of rollouts share."""

from __future__ import annotations

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest


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
