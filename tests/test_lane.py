"""A lane is a thread of an episode's own: what blocks, loops or never ends there is nobody else's trouble."""

import asyncio
import contextlib
import gc
import inspect
import threading
import time

import anyio
import pytest

from envkit.lane import MOST_STUCK, Lane, LaneClosedError, _Thread


async def value(result=1):
    return result


async def lanes_gone(seconds=3.0):
    """Whether every lane's thread ended."""
    until = time.monotonic() + seconds
    while left := [t for t in threading.enumerate() if t.name == "test"]:
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


async def test_a_thread_that_is_interrupted_at_any_step_of_its_ending_closes_its_loop(
    monkeypatch, caplog
):
    # what would stay open warns when it is collected, and a warning fails the test
    errors = []
    monkeypatch.setattr(threading, "excepthook", errors.append)
    step, interrupted = 0, True
    gc.disable()  # a finaliser that runs on the lane loses what is raised in it
    try:
        while interrupted:
            interrupted = await ends_interrupted(step)
            step += 1
            if step % 20 == 0:
                gc.collect()
    finally:
        gc.enable()
    gc.collect()
    assert errors == []
    assert caplog.messages == []  # nobody has to read what became of work that was left behind
    assert step > 100


async def ends_interrupted(step):
    """Whether so many calls were begun or ended on a lane after it was told to end; after that it was interrupted."""
    one, steps, reached = Lane("test"), iter(range(1000)), False

    def watch(frame, event, _argument):
        nonlocal reached
        if threading.current_thread().name != "test" or event not in ("call", "c_return"):
            return
        if frame.f_code.co_name == "_remove":  # of a weak set; a finaliser as well
            return
        if one._closed and not thread._window._changing.locked() and next(steps) == step:
            reached = True
            thread.leave()

    threading.setprofile(watch)
    try:
        await one.run(value)
        thread = one._thread
        waits = asyncio.create_task(one.run(lambda: asyncio.sleep(9)))
        await asyncio.sleep(0.001)
        await one.aclose()
    finally:
        threading.setprofile(None)
    waits.cancel()
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        await waits
    thread._thread.join(3)
    assert thread._loop.is_closed(), step
    return reached


async def test_work_has_all_that_asyncio_and_anyio_have(lane):
    async def counts():
        try:
            for n in range(9):
                yield n
                await asyncio.sleep(0)
        finally:
            ended.append("generator")

    async def sleeps():
        try:
            await anyio.sleep(9)
        finally:
            ended.append("task")

    async def work():
        with anyio.move_on_after(0.02) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(sleeps)
        assert scope.cancelled_caught
        async with asyncio.TaskGroup() as group:
            doubled = [group.create_task(value(2)), group.create_task(value(3), name="named")]
        async for n in counts():
            if n == 3:
                break
        kind = inspect.getcoroutinestate(asyncio.current_task().get_coro())
        return [await asyncio.wait_for(value(1), 5), *(task.result() for task in doubled), n, kind]

    ended = []
    assert await lane.run(work, 5) == [1, 2, 3, 3, inspect.CORO_RUNNING]
    await lane.aclose()
    assert sorted(ended) == ["generator", "task"]


async def test_work_that_is_left_while_it_waits_takes_no_further_step(lane):
    async def stubborn():
        try:
            await asyncio.sleep(9)
        except asyncio.CancelledError:
            while True:
                pass

    waits = asyncio.create_task(lane.run(stubborn))
    await asyncio.sleep(0.05)
    lane._thread.leave()
    with pytest.raises(TimeoutError):
        await waits
    assert await lanes_gone() == []


async def test_a_thread_that_is_left_before_it_began_closes_its_loop():
    begin = threading.Event()

    class Late(_Thread):
        def _live(self):
            begin.wait(5)
            super()._live()

    thread = Late("test")
    thread.leave()
    begin.set()
    assert await lanes_gone() == []
    assert thread._loop.is_closed()
