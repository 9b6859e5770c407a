"""The next lease."""

# ruff: noqa: D102, S108 - a test's name says what it shows; its paths are inside a sandbox
from __future__ import annotations

import asyncio
from typing import Any

import pytest

from envkit.adapters.terminal.sandbox import SandboxPool
from envkit.errors import SandboxLost
from envkit.testing.probes import CHANNELS, Channel

from .common import NAMES, SMALL, out


class Reset:
    """Nothing passes from one lease to another."""

    @pytest.mark.parametrize("channel", CHANNELS, ids=[one.name for one in CHANNELS])
    async def test_reset_carries_nothing(self, pool: SandboxPool, channel: Channel) -> None:
        async def episode(number: int, *scripts: str) -> str:
            group = f"{channel.name} {number}"
            async with pool.lease(SMALL, pack="bits", group=group) as box:
                return [(await box.shell(one, timeout=30)).stdout.decode() for one in scripts][-1]

        before = await episode(1, channel.look)
        during = await episode(2, channel.send, channel.look)
        after = await episode(3, channel.look)
        assert after == before, (before, after)
        assert (during != before) or not channel.real, "the probe itself sees nothing"

    async def test_lease_that_is_over_is_over(self, pool: SandboxPool) -> None:
        async with pool.lease(SMALL, pack="a", group="1") as box:
            await box.write({"x": b""})
        with pytest.raises(SandboxLost):
            await box.shell("echo", timeout=5)

    async def test_lease_never_shares_a_slot_in_a_group_or_between_packs(
        self, pool: SandboxPool
    ) -> None:
        seen: list[Any] = []
        for pack, group in (("a", "1"), ("a", "1"), ("b", "1"), ("b", "2"), ("b", "2")):
            async with pool.lease(SMALL, pack=pack, group=group) as box:
                channel = box._channel  # type: ignore[attr-defined]
                assert (pack, group, channel) not in seen
                assert all(other != channel or p == pack for p, _, other in seen)
                seen.append((pack, group, channel))

    async def test_lease_can_be_cancelled_at_any_moment(self, pool: SandboxPool) -> None:
        async def episode(number: int) -> None:
            async with pool.lease(SMALL, pack="a", group=f"step {number}") as box:
                await box.shell("echo", timeout=10)

        for step in range(8):
            task = asyncio.create_task(episode(step))
            await asyncio.sleep(step * 0.04)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await episode(99)

    async def test_two_leases_share_nothing(self, pool: SandboxPool) -> None:
        async with (
            pool.lease(SMALL, pack="a", group="1") as one,
            pool.lease(SMALL, pack="a", group="1") as two,
        ):
            await one.write({"/tmp/x": b"", "/dev/shm/x": b"", "x": b""})
            await one.start("sleep 60")
            assert await out(two, "ls -A /tmp /dev/shm . | grep -c ^x; true") == "0"
            assert "sleep" not in await out(two, NAMES)
