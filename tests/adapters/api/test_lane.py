"""Handlers run on a thread of their episode's: what blocks, loops or never ends there is nobody else's trouble."""

import asyncio
import contextlib
import json
import threading
import time

import pytest
from fastapi import FastAPI

from envkit import Env, Score, Task
from envkit.adapters.api import Api
from envkit.adapters.api.lane import MOST_STUCK, Lane, LaneClosedError
from envkit.data.message import call
from tests.adapters.api.conftest import opened


async def value(result=1):
    return result


async def lanes_gone(seconds=3.0):
    """Whether every lane's thread ended."""
    until = time.monotonic() + seconds
    while left := [t for t in threading.enumerate() if t.name.startswith("api-")]:
        if time.monotonic() > until:
            return left
        await asyncio.sleep(0.02)
    return []


@pytest.fixture
async def lane():
    one = Lane("test")
    yield one
    await one.aclose()
    assert await lanes_gone() == []


async def test_work_comes_back_with_its_value_or_its_error(lane):
    async def broken():
        raise KeyError("x")

    assert await lane.run(value, 5) == 1
    with pytest.raises(KeyError):
        await lane.run(broken, 5)
    assert await lane.run(value, 5) == 1


@pytest.mark.parametrize(
    "error", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopIteration]
)
async def test_no_way_of_ending_ends_the_lane_or_the_caller(lane, error):
    async def ending():
        raise error

    with pytest.raises(RuntimeError):
        await lane.run(ending, 5)
    assert await lane.run(value, 5) == 1


async def test_a_handler_that_waits_too_long_is_cancelled_and_its_neighbours_go_on(lane):
    cancelled = []

    async def waits():
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async def short():
        await asyncio.sleep(0.5)
        return "fine"

    neighbour = asyncio.create_task(lane.run(short, 5))
    with pytest.raises(TimeoutError):
        await lane.run(waits, 0.2)
    assert cancelled == [True]
    assert await neighbour == "fine"


@pytest.mark.parametrize("kind", ["loop", "swallows"])
async def test_what_does_not_even_notice_is_left_behind_and_ends(lane, kind):
    async def loops():
        while True:
            try:
                while True:
                    pass
            except Exception:  # noqa: BLE001, S110 - as a careless handler does
                pass

    async def swallows():
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(30)

    with pytest.raises(TimeoutError):
        await lane.run({"loop": loops, "swallows": swallows}[kind], 0.1)
    assert await lane.run(value, 5) == 1  # by a new thread
    await lane.aclose()
    assert await lanes_gone() == []


async def test_two_that_wait_for_a_stuck_thread_leave_its_successor_alone(lane):
    async def blocks():
        time.sleep(0.6)

    async def slow():
        await asyncio.sleep(0.4)
        return "fine"

    stuck = [asyncio.create_task(lane.run(blocks, seconds)) for seconds in (0.1, 0.3)]
    with pytest.raises(TimeoutError):
        await stuck[0]
    later = asyncio.create_task(lane.run(slow, 5))
    with pytest.raises(TimeoutError):
        await stuck[1]
    assert await later == "fine"


async def test_after_a_few_threads_that_never_end_nothing_is_run_any_more(lane):
    gate = threading.Event()

    async def never():
        gate.wait(10)

    try:
        for _ in range(MOST_STUCK):
            with pytest.raises(TimeoutError):
                await lane.run(never, 0.05)
        with pytest.raises(LaneClosedError):
            await lane.run(value, 5)
    finally:
        gate.set()
    assert await lanes_gone() == []
    assert await lane.run(value, 5) == 1


async def test_a_closed_lane_begins_nothing():
    lane = Lane("test")
    await lane.run(value, 5)
    await lane.aclose()
    await lane.aclose()
    with pytest.raises(LaneClosedError):
        await lane.run(value, 5)
    assert await lanes_gone() == []


async def test_whoever_waits_as_it_closes_is_told(lane):
    async def waits():
        await asyncio.sleep(30)

    waiting = asyncio.create_task(lane.run(waits, 20))
    await asyncio.sleep(0.05)
    await lane.aclose()
    with pytest.raises((TimeoutError, RuntimeError)):
        await waiting


async def test_cancelling_the_episode_cancels_its_handler(lane):
    began, ended = threading.Event(), threading.Event()

    async def waits():
        began.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.set()

    task = asyncio.create_task(lane.run(waits, 20))
    assert await asyncio.to_thread(began.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 10)


# ---- in an app -----------------------------------------------------------------------------------


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
