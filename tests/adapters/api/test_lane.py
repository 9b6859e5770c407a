"""Handlers run on a thread of their episode's own."""

import asyncio
import json
import threading
import time

import pytest
from fastapi import FastAPI

from envkit import Env, Score, Task
from envkit.adapters.api import Api
from envkit.data.message import call
from tests.adapters.api.conftest import opened


async def lanes_gone(seconds=3.0):
    """Whether every lane's thread ended."""
    until = time.monotonic() + seconds
    while left := [t for t in threading.enumerate() if t.name.startswith("api-")]:
        if time.monotonic() > until:
            return left
        await asyncio.sleep(0.02)
    return []


def make_slow():
    app = FastAPI()

    @app.get("/plain", operation_id="plain")
    def plain():
        return threading.current_thread().name

    @app.get("/sleep", operation_id="sleep")
    def sleep(seconds: float):
        time.sleep(seconds)
        return "slept"

    @app.get("/loop", operation_id="loop")
    def loop():
        while True:
            pass

    @app.get("/wait", operation_id="wait")
    async def wait():
        await asyncio.sleep(60)

    @app.get("/exit", operation_id="exit")
    def leave():
        raise SystemExit(3)

    return app


class Slow(Env[dict]):
    """Wait."""

    api = Api(make_slow, seconds=0.3)
    evidence = [api.requests()]

    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt="Wait.", gold={})

    @staticmethod
    def grade(evidence, gold):
        return Score.all(asked=bool(evidence.json("api/requests.json")))


async def use(world, name, **arguments):
    return (await world.step(call(f"api_{name}", **arguments))).text()


async def test_def_handlers_run_on_the_episodes_own_thread():
    async with opened(env=Slow) as world:
        assert (await use(world, "plain")).startswith('"api-')
    assert await lanes_gone() == []


@pytest.mark.parametrize("name", ["loop", "wait"])
async def test_a_handler_over_its_deadline_answers_504_and_the_next_one_works(name):
    async with opened(env=Slow) as world:
        assert await use(world, name) == 'HTTP 504: {"detail": "Gateway Timeout"}'
        assert (await use(world, "plain")).startswith('"api-')
        assert [finding.evidence for finding in world.alerts] == ["took longer than 0.3 s"]
        assert [record.status for record in world.api.requests] == [504, 200]
    assert await lanes_gone() == []


async def test_a_handler_that_exits_is_a_handler_that_broke():
    async with opened(env=Slow) as world:
        assert await use(world, "exit") == 'HTTP 500: {"detail": "Internal Server Error"}'
        assert (await use(world, "plain")).startswith('"api-')


async def test_blocking_in_one_episode_delays_neither_another_nor_the_loop():
    async with opened(env=Slow) as one, opened(env=Slow, seed=2) as other:
        blocked = [
            asyncio.create_task(use(one, "sleep", seconds=0.25)),
            asyncio.create_task(use(one, "loop")),
        ]
        await asyncio.sleep(0.01)
        for _ in range(3):
            assert (await use(other, "plain")).startswith('"api-')
        assert not blocked[0].done()
        await asyncio.gather(*blocked)


async def test_freezing_in_the_middle_of_a_request_gives_it_as_unanswered():
    async with opened(env=Slow) as world:
        await use(world, "plain")
        late = asyncio.create_task(
            world.api.ask(next(iter(type(world).api._app().operations.values())).request({}))
        )
        hanging = asyncio.create_task(use(world, "sleep", seconds=0.2))
        await late
        (item,) = await world.api.freeze(["requests.json"])
        kept = [(r["operation"], r["status"]) for r in json.loads(item.data)]
        assert kept == [("plain", 200), ("plain", 200), ("sleep", 504)]
        assert (await hanging).startswith("HTTP 50")
        assert (await use(world, "plain")) == 'HTTP 503: {"detail": "Service Unavailable"}'
        assert len(world.api.requests) == 3
    assert await lanes_gone() == []
