"""Both backends pass the same suite."""

from __future__ import annotations

import pytest
import pytest_asyncio

from envkit.adapters.terminal.pool import open_pool
from envkit.errors import MissingError
from envkit.testing.sandbox import SandboxConformance


async def _pool(backend):
    try:
        return await open_pool(backend, size=3)
    except MissingError as problem:
        pytest.skip(str(problem))


@pytest.mark.docker
class TestDocker(SandboxConformance):
    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def pool(cls):
        async with await _pool("docker") as pool:
            yield pool


@pytest.mark.bubblewrap
class TestBubblewrap(SandboxConformance):
    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def pool(cls):
        async with await _pool("bubblewrap") as pool:
            yield pool
