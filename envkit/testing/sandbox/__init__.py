"""What every terminal sandbox must do, as a suite to inherit.

    class TestMine(SandboxConformance):
        @pytest_asyncio.fixture(scope="class", loop_scope="class")
        @classmethod
        async def pool(cls):
            async with await open_my_pool() as pool:
                yield pool

It needs pytest-asyncio; one pool serves the class, so that slots are reused as in a run. Programs
inside are bash, coreutils, python3 and curl.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from envkit.adapters.terminal.sandbox import Sandbox, SandboxPool

from .common import SMALL
from .escapes import Escapes
from .files import Files
from .freeze import Freeze
from .limits import Limits
from .programs import Programs
from .reset import Reset
from .shell import Shell
from .sites import Sites

__all__ = ["SandboxConformance"]


@pytest.mark.asyncio(loop_scope="class")
class SandboxConformance(Programs, Shell, Files, Freeze, Limits, Escapes, Sites, Reset):
    """Inherit, give a `pool` fixture, and every `test_*` runs against it."""

    @pytest_asyncio.fixture(scope="class", loop_scope="class")
    @classmethod
    async def pool(cls) -> AsyncIterator[SandboxPool]:
        """Override: a pool that is closed after the class."""
        raise NotImplementedError
        yield

    @pytest_asyncio.fixture(loop_scope="class")
    async def box(
        self, pool: SandboxPool, request: pytest.FixtureRequest
    ) -> AsyncIterator[Sandbox]:
        """One small leased sandbox."""
        async with pool.lease(SMALL, pack="suite", group=request.node.name) as leased:
            yield leased
