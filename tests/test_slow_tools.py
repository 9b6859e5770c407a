"""A plain tool runs on a thread of its episode's own: what blocks there holds up nobody else."""

import asyncio
import threading
import time
from pathlib import Path

import pytest

from envkit.data.message import Action, ToolCall, call
from envkit.data.task import Limits, PublicTask
from envkit.host import Host
from envkit.judge.client import Judge
from envkit.registry import resolve
from envkit.rollout.runner import Runner, RunSettings
from tests.rollout.test_runner import Acting

SLOW = f"file:{Path(__file__).parent / 'worlds/slow.py'}:Slow"


async def played(act, tasks=1):
    episodes = []
    settings = RunSettings(spec=SLOW, tasks=tasks, concurrency=max(tasks, 1))
    async with Runner(settings, Acting(act)) as runner:
        await runner.run(episodes.append)
    return sorted(episodes, key=lambda episode: episode.index)


def calling(*calls):
    """A policy that calls these, one a turn, and is done."""

    def act(turn, observation, casting):
        if turn == len(calls):
            return Action("done")
        name, arguments = calls[turn]
        return Action(calls=(ToolCall(name, arguments),))

    return act


async def answers(*calls):
    (episode,) = await played(calling(*((name, {}) for name in calls)))
    return episode, [m["content"] for m in episode.messages if m["role"] == "tool"]


@pytest.fixture
async def ends():
    """The lanes that a test began end with its episodes."""
    before = set(threading.enumerate())
    yield
    until = time.monotonic() + 5
    while [t for t in threading.enumerate() if t.name == "tools" and t not in before]:
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


async def test_neither_the_loop_nor_another_episode_waits_for_a_tool_that_blocks(ends):
    longest, over = 0.0, asyncio.Event()

    async def watch():
        nonlocal longest
        while not over.is_set():
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)

    watching = asyncio.create_task(watch())
    episodes = await played(calling(("sleep", {"seconds": 1.0})), tasks=25)
    over.set()
    await watching
    assert {episode.reward for episode in episodes} == {1.0}
    assert longest < 1.0  # a single one of them on the loop would have taken it


async def test_a_tool_that_never_ends_costs_its_own_episode_and_no_other(ends):
    def act(turn, observation, casting):
        last = turn == 3
        spins = casting.ticket.public.id == first and turn == 1
        return Action("done") if last else Action(calls=(ToolCall("spin" if spins else "here"),))

    first = await _id_of_task(0)
    lost, *others = await played(act, tasks=4)
    assert (lost.ending, lost.reward, lost.invalid) == ("seconds", 0.0, None)
    assert [episode.reward for episode in others] == [1.0, 1.0, 1.0]


async def _id_of_task(index):
    async with Judge(resolve(SLOW).spec) as judge:
        return (await judge.draw("train", index)).public.id


async def test_where_a_tool_runs():
    episode, (where, here, waits, again) = await answers("where", "here", "waits", "where")
    assert where == again == f"tools {episode.id}"  # its logs know whose they are
    assert here == waits == threading.main_thread().name


async def test_whatever_a_tool_ends_with_is_an_observation():
    episode, said = await answers("refuse", "leave", "later", "where")
    assert said[:3] == ["not today", "The tool failed.", "awaited"]
    assert said[3].startswith("tools")
    assert episode.reward == 1.0
    (finding,) = episode.findings
    assert finding["evidence"].startswith("SystemExit at slow.py:")


async def test_closing_that_is_cancelled_beside_a_tool_that_blocks_closes_the_world_all_the_same(
    ends,
):
    env = resolve(SLOW).env()
    task = PublicTask(
        id="t", prompt="Go.", world={"table": {}}, limits=Limits(), seed=1, digest="d"
    )
    await env.reset(task, Host(), pack="p", group="g")
    closed: list[bool] = []
    env._stack.callback(closed.append, True)
    blocked = asyncio.create_task(env.step(call("sleep", seconds=1.0)))
    await asyncio.sleep(0.1)
    closing = asyncio.create_task(env.close())
    await asyncio.sleep(0.02)  # it waits for the tool
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert closed == [True]
    await asyncio.wait({blocked})
