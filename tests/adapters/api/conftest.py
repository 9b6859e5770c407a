"""Worlds of the shop, opened without a judge."""

import contextlib

import pytest

from envkit.data.task import PublicTask
from envkit.host import Host
from tests.adapters.api.shop import Shop


@contextlib.asynccontextmanager
async def opened(seed=1, env=Shop):
    task = env.task("train", 0, None)
    public = PublicTask(
        id="t",
        prompt=task.prompt,
        world=dict(task.world),
        limits=task.limits,
        seed=seed,
        digest="d",
    )
    async with Host() as host:
        world = env()
        try:
            await world.reset(public, host, pack="tests", group="g")
            yield world
        finally:
            await world.close()


@pytest.fixture
async def world():
    async with opened() as one:
        yield one
