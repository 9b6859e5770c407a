"""Attacks on the core: what an agent, a broken author or a bad moment does to runner, judge and record."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from envkit.data.evidence import FrozenEvidence, FrozenItem
from envkit.data.message import Action, Message, Observation, ToolCall
from envkit.data.probe import Reply
from envkit.data.score import Invalid, Reason, Score
from envkit.data.spec import EnvSpec
from envkit.errors import EnvkitError, TaskError, UsageError
from envkit.judge import channel, staff
from envkit.judge.client import Judge, JudgeSettings
from envkit.judge.service import Service
from envkit.rollout.policy import Casting, Local, policy_source
from envkit.rollout.record import Episode, read_episodes, read_sealed
from envkit.rollout.runner import Runner, RunSettings
from envkit.toolbox import clip

WORLDS = Path(__file__).parent / "worlds"
COUNTER = f"file:{WORLDS / 'counter.py'}:Counter"
POISON = f"file:{WORLDS / 'poison.py'}:Poison"

Act = Callable[[int, Observation, Casting], Action]

HEAD = """
import asyncio, os, sys, time
from typing import Any
from envkit import *
from pydantic import BaseModel, field_validator
JUDGE = "envkit.judge" in " ".join(sys.orig_argv)
"""


def world(folder: Path, source: str, query: str = "") -> str:
    """A world of its own, written down for a test; its class is `W`."""
    path = folder / "world.py"
    path.write_text(HEAD + textwrap.dedent(source))
    return f"file:{path}:W{query}"


class Acting:
    """A source whose policies are a plain function of the turn, the observation and the casting."""

    name = "acting"

    def __init__(self, act: Act) -> None:
        self._act = act

    def describe(self) -> Mapping[str, Any]:
        return {"name": self.name}

    async def variants(self, judge: Judge, split: str, index: int) -> tuple[str | None, ...]:
        return (None,)

    async def aclose(self) -> None:
        pass

    async def open(self, casting: Casting) -> Local:
        turn = -1

        def act(observation: Observation) -> Action:
            nonlocal turn
            turn += 1
            return self._act(turn, observation, casting)

        return Local(act)


async def play(source: Any, spec: str, **settings: Any) -> list[Episode]:
    episodes: list[Episode] = []
    async with Runner(RunSettings(spec=spec, **settings), source) as runner:
        await asyncio.wait_for(runner.run(episodes.append), 40)
    return sorted(episodes, key=lambda episode: episode.index)


def calls(*asked: ToolCall) -> Act:
    """One turn with these calls, then an answer."""
    return lambda turn, seen, casting: Action(calls=asked) if turn == 0 else Action("done")


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("envkit.rollout.runner.BACKOFF", 0.0)


def lost(episode: Episode) -> str:
    return f"{episode.invalid} after {episode.attempts}: {episode.detail[:200]}"


# ---- 1. size: no answer, call or state is so large that the episode gets away -------------------

TOOLS = """
class W(Env):
    table = Data(dict[str, Any])
    evidence = [table.frozen()]

    @tool
    def put(self, key: Any, value: Any) -> Any:
        "Keep a value."
        self.table[str(key) if not isinstance(key, str) else key] = value
        return value

    @tool
    def grow(self, times: int) -> str:
        "Grow."
        self.table["big"] = "x" * times
        return "ok"

    @tool
    def odd(self) -> Any:
        "Give what is no JSON."
        return {("a", 1): 2}

    @tool
    def leave(self) -> str:
        "Leave, as argparse does."
        raise SystemExit(2)

    @tool
    async def cancelled(self) -> str:
        "Wait for something that was cancelled."
        future = asyncio.get_running_loop().create_future()
        future.cancel()
        return await future

    @tool
    async def stubborn(self) -> str:
        "Swallow the first cancellation and wait on."
        try:
            await asyncio.sleep(600)
        except asyncio.CancelledError:
            await asyncio.sleep(600)
        return "late"

    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt="x", world={"table": {}}, gold={"n": 1}, limits=Limits(seconds=1, tool_calls=300))

    @staticmethod
    def grade(evidence, gold):
        return Score.all(right=evidence.answer == "right")

    @staticmethod
    def solve(task):
        yield say("right")
"""


async def test_an_answer_of_a_hundred_megabytes_is_a_score(tmp_path):
    answer = "x" * (100 << 20)
    (episode,) = await play(Acting(lambda *_: Action(answer)), world(tmp_path, TOOLS), tasks=1)
    assert episode.reward == 0.0, lost(episode)
    assert episode.attempts == 1


async def test_state_beyond_any_cap_is_a_score(tmp_path):
    act = calls(ToolCall("grow", {"times": 70 << 20}))
    (episode,) = await play(Acting(act), world(tmp_path, TOOLS), tasks=1)
    assert episode.reward == 0.0, lost(episode)
    assert episode.attempts == 1


async def test_arguments_that_add_up_beyond_a_frame_are_a_score(tmp_path):
    big = "\U0001f600" * (1 << 20)
    act = calls(*(ToolCall("no_such", {"x": big}) for _ in range(6)))
    (episode,) = await play(Acting(act), world(tmp_path, TOOLS), tasks=1)
    assert episode.reward == 0.0, lost(episode)
    assert episode.attempts == 1


async def test_one_message_that_just_fits_does_not_choke_the_pipe_for_all():
    """Two messages of one turn of the loop, together over the limit of a frame."""
    async with Judge(EnvSpec.parse(COUNTER)) as judge:
        ticket = await judge.draw("train", 0)
        room = channel.FRAME_LIMIT - 400
        evidence = FrozenEvidence(answer="x" * (room - 300)).model_dump_json()
        small = asyncio.ensure_future(judge.draw("train", 1))
        await asyncio.sleep(0)
        judged = asyncio.ensure_future(judge.grade(ticket, evidence, "e"))
        await asyncio.wait([small, judged], timeout=30)
        assert (await asyncio.wait_for(judge.draw("train", 2), 10)).index == 2
        assert (await asyncio.wait_for(small, 1)).index == 1
        judged.cancel()


# ---- 1b. content: no text, number or nesting fells the run --------------------------------------


def nested(depth: int) -> Any:
    deep: Any = 0
    for _ in range(depth):
        deep = [deep]
    return deep


HOSTILE: Mapping[str, Act] = {
    "surrogate answer": lambda *_: Action("\ud800"),
    "surrogate name": calls(ToolCall("\udcff", {})),
    "surrogate key": calls(ToolCall("put", {"\ud800": 1, "key": "a", "value": 1})),
    "surrogate value kept": calls(ToolCall("put", {"key": "a", "value": "\ud800"})),
    "surrogate key kept": calls(ToolCall("put", {"key": "\ud800", "value": 1})),
    "surrogate id": calls(ToolCall("put", {"key": "a", "value": 1}, id="\ud800")),
    "nan kept": calls(ToolCall("put", {"key": "a", "value": float("nan")})),
    "deep": calls(ToolCall("put", {"key": "a", "value": nested(500)})),
    "very deep": calls(ToolCall("put", {"key": "a", "value": nested(900)})),
    "very deep, unknown tool": calls(ToolCall("no_such", {"value": nested(900)})),
    "many digits": calls(ToolCall("put", {"key": "a", "value": 10**5000})),
    "many digits, unknown tool": calls(ToolCall("no_such", {"value": 10**5000})),
    "no JSON back": calls(ToolCall("odd", {})),
    "cancelled inside a tool": calls(ToolCall("cancelled", {})),
    "a hundred thousand calls": calls(*[ToolCall("odd", {})] * 100_000),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_whatever_is_said_is_a_score_and_fells_nobody_else(tmp_path, name):
    def act(turn: int, seen: Observation, casting: Casting) -> Action:
        hostile = casting.ticket.index == 1
        return HOSTILE[name](turn, seen, casting) if hostile else Action("right")

    out = tmp_path / "run"
    episodes = await play(Acting(act), world(tmp_path, TOOLS), tasks=4, concurrency=2, out=out)
    assert [e.reward for e in episodes] == [1.0, 0.0, 1.0, 1.0], [lost(e) for e in episodes]
    assert [e.attempts for e in episodes] == [1] * 4
    assert len(read_episodes(out)) == 4
    assert len(read_sealed(out)) == 4


async def test_a_tool_that_swallows_its_cancellation_is_stopped_all_the_same(tmp_path):
    act = calls(ToolCall("stubborn", {}))
    (episode,) = await asyncio.wait_for(play(Acting(act), world(tmp_path, TOOLS), tasks=1), 20)
    assert (episode.ending, episode.reward) == ("seconds", 0.0)


def test_output_is_clipped_at_any_limit():
    for limit in (1, 2, 3, 10):
        assert "x" * 50 not in clip("x" * 1000, limit)


# ---- 1c. blame: breaking the grader never pays ---------------------------------------------------


async def test_a_grader_that_stumbles_over_absence_too_gives_no_way_out(tmp_path):
    """It raises where the answer is missing: on empty evidence as well. Who loses must not be able to ask for that."""
    spec = world(
        tmp_path,
        """
        class W(Env):
            @classmethod
            def task(cls, split, index, rng):
                return Task(prompt="x", gold={"n": 1})
            @staticmethod
            def grade(evidence, gold):
                return Score.all(right=strict_json(evidence.answer)["n"] == gold["n"])
            @staticmethod
            def solve(task):
                yield say('{"n": 1}')
        """,
    )
    (right,) = await play(policy_source("oracle"), spec, tasks=1)
    assert right.reward == 1.0
    (dodger,) = await play(Acting(lambda *_: Action("no JSON")), spec, tasks=1)
    assert dodger.reward == 0.0, lost(dodger)


async def test_a_model_that_refuses_material_is_no_way_out(chat, monkeypatch):
    """The judging model's server answers 400 to what an agent wrote (too long, moderated)."""
    spec = f"file:{WORLDS / 'subjects.py'}:Subjects?kind=ask"
    with chat.ChatServer(lambda body: chat.fails(400, "context_length_exceeded")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "k")
        async with Judge(EnvSpec.parse(spec)) as judge:
            ticket = await judge.draw("train", 0)
            evidence = FrozenEvidence(answer="please " * 100_000).model_dump_json()
            judged = await judge.grade(ticket, evidence, "e")
    assert isinstance(judged.verdict, Score), judged.verdict
    assert judged.verdict.reward == 0.0
