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
from envkit.data.message import Action, Observation, ToolCall
from envkit.data.probe import Reply
from envkit.data.score import Score
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
        await asyncio.wait_for(runner.run(episodes.append), 15)
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


async def test_an_answer_of_seventy_megabytes_is_a_score(tmp_path):
    answer = "x" * (70 << 20)
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
        empty = {
            "n": 3, "op": "grade", "episode": "e", "split": "train", "index": 0, "digest": ticket.public.digest,
            "evidence": FrozenEvidence().model_dump_json(),
        }  # fmt: skip
        room = channel.FRAME_LIMIT - 2 - len(channel.dump(empty))
        evidence = FrozenEvidence(answer="x" * room).model_dump_json()
        small = asyncio.ensure_future(judge.draw("train", 1))
        large = asyncio.ensure_future(judge.grade(ticket, evidence, "e"))
        await asyncio.wait([large], timeout=30)
        small.add_done_callback(lambda done: done.cancelled() or done.exception())
        assert (await asyncio.wait_for(judge.draw("train", 2), 10)).index == 2
        assert (await asyncio.wait_for(small, 10)).index == 1
        assert isinstance(large.result().verdict, Score)


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
    with pytest.raises(TaskError, match="doing nothing must earn a score"):
        await play(policy_source("oracle"), spec, tasks=1)


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


async def test_evidence_that_fits_its_caps_is_never_too_large_for_many_probes(tmp_path):
    """4 MB of evidence, the cap, beside 30 calls: an honest agent with a fat build folder is not felled by a frame."""
    spec = world(
        tmp_path,
        """
        class W(Env):
            @classmethod
            def task(cls, split, index, rng):
                return Task(prompt="x", gold={"n": 1})
            @staticmethod
            def grade(evidence, gold):
                files = evidence.files("shell/")
                replies = yield [
                    SubjectCall(files=files, module="code.py", function="f", arguments=(n,)) for n in range(30)
                ]
                return Score.all(right=all(reply.ok for reply in replies))
        """,
    )
    items = tuple(FrozenItem(name=f"shell/{n}.bin", data=os.urandom(1 << 20)) for n in range(4))
    async with served(spec) as (service, probes):
        del probes
        verdict = await graded(service, 0, FrozenEvidence(items=items))
    assert verdict.get("findings") == [], verdict
    assert verdict["score"]["reward"] == 1.0


# ---- 2. what passes from one episode to another --------------------------------------------------


class FakeProbes:
    """Answers every run as a subject that behaves; whose stdin has a gate waits for it."""

    def __init__(self) -> None:
        self.gates: dict[str, asyncio.Event] = {}
        self.waiting: set[str] = set()

    async def answer(self, batch: Any) -> list[Reply]:
        who = getattr(batch[0], "stdin", "")
        self.waiting.add(who)
        if who in self.gates:
            await self.gates[who].wait()
        return [Reply(ok=True, status=0, stdout="1") for _ in batch]

    async def close(self) -> None:
        pass

    async def until(self, who: str) -> None:
        async with asyncio.timeout(20):
            while who not in self.waiting:
                await asyncio.sleep(0.01)


class served:  # noqa: N801 - reads as a verb
    """A judge service in this process, without sandboxes."""

    def __init__(self, spec: str, sealed: Path | None = None) -> None:
        self._spec = spec
        self._sealed = sealed
        self._service = Service()

    async def __aenter__(self) -> tuple[Service, FakeProbes]:
        loaded = await self._service.handle(
            {
                "op": "load", "spec": self._spec, "salt_file": None, "private": False, "backend": "auto",
                "sealed": None if self._sealed is None else str(self._sealed), "concurrency": 4,
            }
        )  # fmt: skip
        assert "refused" not in loaded, loaded
        probes = FakeProbes()
        assert self._service._grader is not None
        self._service._grader._probes = probes  # type: ignore[assignment]
        return self._service, probes

    async def __aexit__(self, *_: object) -> None:
        await self._service.close()


async def graded(service: Service, index: int, evidence: FrozenEvidence) -> dict[str, Any]:
    drawn = await service.handle({"op": "draw", "split": "train", "index": index})
    digest = json.loads(drawn["public"])["digest"]
    return await service.handle(
        {
            "op": "grade", "episode": f"e{index}", "split": "train", "index": index, "digest": digest,
            "evidence": evidence.model_dump_json(),
        }
    )  # fmt: skip


PROBING = """
class W(Env):
    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt="x", gold={"n": index})
    @staticmethod
    def grade(evidence, gold):
        if evidence.answer == "kill":
            os._exit(1)
        yield [SubjectRun(files={}, argv=("x",), stdin=evidence.answer)]
        return Score.all(right=evidence.answer == f"right {gold['n']}")
    @staticmethod
    def solve(task):
        yield say(f"first of {task.gold['n']}")
        yield say(f"second of {task.gold['n']}")
    @staticmethod
    def near_misses(task):
        return {"wrong": W.solve(task)}
"""


async def test_nobody_takes_over_a_neighbours_grading(tmp_path):
    """A loser waits for its probes, an accomplice kills the worker, an honest one is graded on the next one."""
    async with served(world(tmp_path, PROBING)) as (service, probes):
        assert service._workers is not None
        service._workers._shared = service._workers._shared[:1]
        probes.gates = {"loser": asyncio.Event(), "right 2": asyncio.Event()}
        loser = asyncio.ensure_future(graded(service, 0, FrozenEvidence(answer="loser")))
        await probes.until("loser")
        await graded(service, 1, FrozenEvidence(answer="kill"))
        honest = asyncio.ensure_future(graded(service, 2, FrozenEvidence(answer="right 2")))
        await probes.until("right 2")
        probes.gates["loser"].set()
        stolen = (await asyncio.wait_for(loser, 30))["score"]["reward"]
        probes.gates["right 2"].set()
        earned = (await asyncio.wait_for(honest, 30))["score"]["reward"]
    assert (stolen, earned) == (0.0, 1.0)


async def test_nobody_plays_on_in_a_neighbours_script(tmp_path):
    async with served(world(tmp_path, PROBING)) as (service, _):

        async def ask(op: str, **fields: Any) -> dict[str, Any]:
            return await service.handle({"op": op, **fields})

        first = await ask("script", split="train", index=7, name=None)
        await ask("next", script=first["script"], observation=None)
        assert service._author is not None
        assert service._author._channel is not None
        service._author._channel.process.kill()
        await asyncio.sleep(0.2)
        await ask("draw", split="train", index=0)
        second = await ask("script", split="train", index=8, name=None)
        await ask("next", script=second["script"], observation=None)
        seen = {"messages": [], "fresh": False}
        stray = await ask("next", script=first["script"], observation=seen)
        assert "second of 8" not in json.dumps(stray)
        own = await ask("next", script=second["script"], observation=seen)
        assert own["action"]["text"] == "second of 8"


async def test_a_grading_leaves_gold_as_it_was(tmp_path):
    spec = world(
        tmp_path,
        """
        class W(Env):
            @classmethod
            def task(cls, split, index, rng):
                return Task(prompt="x", gold={"left": ["a", "b"]})
            @staticmethod
            def grade(evidence, gold):
                return Score.all(right=gold["left"].pop() == evidence.answer)
        """,
    )
    async with served(spec) as (service, _):
        scores = [await graded(service, 0, FrozenEvidence(answer="b")) for _ in range(4)]
    assert [one["score"]["reward"] for one in scores] == [1.0] * 4


async def test_gold_reaches_grade_in_its_declared_type(tmp_path):
    spec = world(
        tmp_path,
        """
        class Gold(BaseModel):
            n: int
        class W(Env[Gold]):
            @classmethod
            def task(cls, split, index, rng):
                return Task(prompt="x", gold={"n": "1"})
            @staticmethod
            def grade(evidence, gold):
                return Score.all(right=gold.n == 1)
        """,
    )
    async with served(spec) as (service, _):
        verdict = await graded(service, 0, FrozenEvidence(answer="b"))
    assert verdict["score"]["reward"] == 1.0


async def test_graders_that_raise_leave_nothing_behind(tmp_path):
    """A grading that broke off keeps no evidence: else who breaks graders fills the worker until neighbours break."""
    spec = world(
        tmp_path,
        """
        class W(Env):
            @classmethod
            def task(cls, split, index, rng):
                return Task(prompt="x", gold={"n": 1})
            @staticmethod
            def grade(evidence, gold):
                if not evidence.answer:
                    return Score.all(right=False)
                yield [SubjectRun(files={}, argv=("x",))]
                raise ValueError(evidence.answer[:3])
        """,
    )

    def resident(worker: staff.WatchedWorker) -> int:
        assert worker._channel is not None
        text = Path(f"/proc/{worker._channel.process.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1])

    async with served(spec) as (service, _):
        assert service._workers is not None
        service._workers._shared = service._workers._shared[:1]
        worker = service._workers._shared[0]
        await graded(service, 0, FrozenEvidence(answer="x" * (4 << 20)))
        before = resident(worker)
        for _ in range(15):
            await graded(service, 0, FrozenEvidence(answer="x" * (4 << 20)))
        assert resident(worker) - before < 24 << 10, "kB of evidence that nobody needs"


# ---- 3. secrets ----------------------------------------------------------------------------------


async def test_under_a_private_salt_no_validators_words_leave_the_judge(tmp_path):
    """What a model's own validator says of gold is as secret as gold."""
    spec = world(
        tmp_path,
        """
        class Claim(BaseModel):
            host: str
            truth: str
            @field_validator("truth")
            @classmethod
            def same(cls, value, info):
                if value != info.data["host"]:
                    raise ValueError(f"it was {value}")
                return value
        class W(Env):
            @classmethod
            def task(cls, split, index, rng):
                return Task(prompt="x", gold={"host": "SECRET-" + "HOST"})
            @staticmethod
            def grade(evidence, gold):
                if not evidence.answer:
                    return Score.all(right=False)
                Claim(host=evidence.answer, truth=gold["host"])
                return Score.all(right=True)
        """,
    )
    salt = tmp_path / "salt"
    salt.write_text("0123456789abcdef0123456789abcdef")
    out = tmp_path / "run"
    await play(Acting(lambda *_: Action("guess")), spec, tasks=1, salt_file=str(salt), out=out)
    public = (out / "episodes.jsonl").read_text() + (out / "run.json").read_text()
    assert "grader-broke-on-evidence" in public
    assert "SECRET-HOST" not in public


async def test_a_salt_that_was_torn_is_not_taken_for_one(tmp_path):
    """Killed between creating and writing the file: the tasks would be keyed by nothing."""
    sealed = tmp_path / "sealed"
    sealed.mkdir(mode=0o700)
    (sealed / "salt").touch(mode=0o600)
    with pytest.raises(EnvkitError):
        async with Judge(EnvSpec.parse(COUNTER), JudgeSettings(private=True, sealed=sealed)):
            pass


# ---- 4. the record -------------------------------------------------------------------------------


async def test_sealed_notes_survive_a_torn_line(tmp_path):
    out = tmp_path / "run"
    await play(policy_source("oracle"), COUNTER, tasks=3, out=out)
    for name in ("episodes.jsonl", "sealed/verdicts.jsonl"):
        path = out / name
        path.write_bytes(path.read_bytes()[:-20])
    await play(policy_source("oracle"), COUNTER, tasks=3, out=out, resume=True)
    assert set(read_sealed(out)) == {f"train-{index}-0" for index in range(3)}


async def test_a_full_disk_is_one_clear_error_and_tears_nothing(tmp_path, monkeypatch):
    out = tmp_path / "run"
    real, lines = os.write, 0

    def write(descriptor: int, data: Any) -> int:
        nonlocal lines
        if bytes(data[:16]).startswith(b'{"schema_version'):
            lines += 1
            if lines == 3:
                return real(descriptor, bytes(data[:50]))
        elif lines == 3 and bytes(data[-2:]) == b"}\n":
            lines += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(EnvkitError, match="No space left"):
        await play(policy_source("noop"), COUNTER, tasks=20, concurrency=8, out=out)
    monkeypatch.undo()
    assert len(read_episodes(out)) >= 2
    again = await play(policy_source("noop"), COUNTER, tasks=20, out=out, resume=True)
    assert [episode.index for episode in again] == list(range(20))
    assert (out / "episodes.jsonl").read_text().count("\n") == len(read_episodes(out)) == 20


# ---- 5. one bad task, one dead worker ------------------------------------------------------------


async def test_a_task_that_kills_its_process_fells_no_other_draw(tmp_path):
    spec = world(
        tmp_path,
        """
        class W(Env):
            splits = {"train": 20}
            @classmethod
            def task(cls, split, index, rng):
                if index == 3:
                    os._exit(1)
                time.sleep(0.02)
                return Task(prompt="x", gold={"n": 1})
            @staticmethod
            def grade(evidence, gold):
                return Score.all(right=evidence.answer == "right")
        """,
    )
    episodes = await play(Acting(lambda *_: Action("right")), spec, tasks=12, concurrency=8)
    assert [e.reward for e in episodes] == [None if e.index == 3 else 1.0 for e in episodes], [
        lost(e) for e in episodes
    ]


async def test_a_worker_killed_from_outside_costs_no_episode():
    """The kernel's OOM killer takes the process that makes tasks, while it does nothing."""
    async with served(COUNTER) as (service, _):
        assert service._author is not None
        assert service._author._channel is not None
        service._author._channel.process.kill()
        await asyncio.sleep(0.2)
        drawn = await service.handle({"op": "draw", "split": "train", "index": 1})
    assert "public" in drawn, drawn


async def test_near_misses_that_raise_for_one_task_fell_no_other(tmp_path):
    spec = world(
        tmp_path,
        """
        class W(Env):
            @classmethod
            def task(cls, split, index, rng):
                return Task(prompt="x", gold={"n": index})
            @staticmethod
            def grade(evidence, gold):
                return Score.all(right=evidence.answer == "right")
            @staticmethod
            def near_misses(task):
                if task.gold["n"] == 2:
                    raise KeyError("no such thing")
                def wrong():
                    yield say("wrong")
                return {"wrong": wrong()}
        """,
    )
    episodes = await play(policy_source("near-misses"), spec, tasks=4, concurrency=2)
    assert {e.index for e in episodes if e.reward == 0.0} == {0, 1, 3}


async def test_a_judge_that_dies_in_mid_run_is_one_error_and_leaves_no_process(tmp_path):
    out = tmp_path / "run"
    settings = RunSettings(spec=COUNTER, tasks=200, concurrency=4, out=out)
    async with Runner(settings, policy_source("oracle")) as runner:
        told = 0

        def tell(episode: Episode) -> None:
            nonlocal told
            told += 1
            if told == 5:
                channel_ = runner._stage.judge._channel
                assert channel_ is not None
                channel_.process.kill()

        with pytest.raises(EnvkitError):
            await asyncio.wait_for(runner.run(tell), 20)
    assert len(read_episodes(out)) == told
    resumed = await play(
        policy_source("oracle"), COUNTER, tasks=200, concurrency=4, out=out, resume=True
    )
    assert [e.index for e in resumed] == list(range(200))
    assert {e.reward for e in resumed} == {1.0}


PLAYED = """
import asyncio, sys
from pathlib import Path
from envkit.rollout.runner import Runner, RunSettings
from envkit.rollout.policy import policy_source
async def main():
    settings = RunSettings(spec=sys.argv[1], tasks=int(sys.argv[3]), concurrency=2, out=Path(sys.argv[2]))
    async with Runner(settings, policy_source(sys.argv[4])) as runner:
        await runner.run(lambda episode: print(episode.index, episode.reward, flush=True))
asyncio.run(main())
"""


def test_a_pack_that_kills_the_judge_at_import_is_one_error_that_names_it(tmp_path):
    spec = world(tmp_path, "if JUDGE:\n    os._exit(3)\nclass W(Env):\n    pass\n")
    done = subprocess.run(
        [sys.executable, "-c", PLAYED, spec, str(tmp_path / "run"), "1", "noop"],
        capture_output=True, text=True, timeout=45, check=False,
    )  # fmt: skip
    assert "world.py" in done.stderr.splitlines()[-1], done.stderr[-300:]


def test_a_tool_that_exits_ends_no_run(tmp_path):
    """argparse in a tool: SystemExit is what agent-written flags raise."""
    script = tmp_path / "play.py"
    script.write_text("from envkit import call\ndef play(task):\n    yield call('leave')\n")
    done = subprocess.run(
        [sys.executable, "-c", PLAYED, world(tmp_path, TOOLS), str(tmp_path / "run"), "3", f"script:{script}"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert sorted(done.stdout.splitlines()) == ["0 0.0", "1 0.0", "2 0.0"], done.stderr[-500:]


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_however_a_run_ends_its_judges_end_too(tmp_path, how):
    slow = (WORLDS / "secret.py").read_text().replace("seconds=0.0", "seconds=0.2")
    (tmp_path / "slow.py").write_text(slow)
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", PLAYED, f"file:{tmp_path / 'slow.py'}:Secret", str(out), "500", "oracle"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with process:
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(4)]
        assert all(told)
        judges = _children(process.pid)
        judges += [child for judge in judges for child in _children(judge)]
        assert len(judges) >= 3
        process.send_signal(how)
        process.stdout.close()
        process.wait(timeout=15)
    deadline = time.monotonic() + 5
    while any(os.path.exists(f"/proc/{judge}") for judge in judges):
        assert time.monotonic() < deadline, "a judge outlived its runner"
        time.sleep(0.05)
    assert len(read_episodes(out)) >= 4


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_file_that_exits_at_import_is_an_error_of_use(tmp_path):
    path = tmp_path / "leaves.py"
    path.write_text("import sys\nsys.exit(0)\n")
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from envkit.cli import main; sys.exit(main())",
         "rollout", f"file:{path}:W", "--tasks", "1"], cwd=tmp_path,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr[-300:])


# ---- 6. seats ------------------------------------------------------------------------------------

TEAM = """
class Table:
    def __init__(self, mode):
        self.mode, self.turn, self.said = mode, 0, []
    seats = ("ann", "bob")
    def acting(self):
        if self.mode == "together":
            return self.seats if self.turn == 0 else ("bob",) if self.turn == 1 else ("ann",) if self.turn == 2 else ()
        return () if self.turn >= 4 else (self.seats[self.turn % 2],)
    async def hear(self, seat, text):
        if text == "boom":
            raise RuntimeError("an author's bug in hear")
        self.said.append(f"{seat}: {text}")
        self.turn += 1
    async def observe(self, seat):
        if self.mode == "hang" and self.turn == 1:
            await asyncio.sleep(600)
        if self.mode == "lost" and self.turn == 1:
            from envkit.errors import SandboxLost
            raise SandboxLost("gone")
        if self.mode == "bug" and self.turn == 1:
            raise RuntimeError("an author's bug in observe")
        return Observation((Message("user", " | ".join(self.said) or "begin"),))
    @tool
    async def look(self) -> str:
        "Look."
        return "looked"
    async def freeze(self, patterns):
        if self.mode == "freeze":
            raise RuntimeError("an author's bug in freeze")
        return ()
    async def surfaces(self):
        return {}

class Team(Adapter[Table]):
    session = Table
    hears = True
    def __init__(self, mode):
        self.mode = mode
    async def open(self, seed, context):
        if self.mode == "close":
            async def leave():
                raise RuntimeError("an author's bug in close")
            context.stack.push_async_callback(leave)
        return Table(self.mode)

class W(Env):
    team = Team(MODE)
    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt="x", gold={"n": index}, limits=Limits(seconds=1))
    @staticmethod
    def grade(evidence, gold):
        return Score(0.5, seats={"ann": 1.0, "bob": 0.25})
"""


def team(folder: Path, mode: str) -> str:
    return world(folder, TEAM.replace("MODE", repr(mode)))


async def test_seats_take_turns_and_earn_their_own(tmp_path):
    heard: dict[str, list[str]] = {"ann": [], "bob": []}

    def act(turn: int, seen: Observation, casting: Casting) -> Action:
        heard[casting.seat].append(seen.text())
        return Action(f"{casting.seat} {turn}")

    out = tmp_path / "run"
    (episode,) = await play(Acting(act), team(tmp_path, "in turn"), tasks=1, out=out)
    assert (episode.ending, episode.terminated, episode.turns) == ("over", True, 4)
    assert (episode.reward, dict(episode.seats)) == (0.5, {"ann": 1.0, "bob": 0.25})
    assert heard["ann"][1] == "ann: ann 0 | bob: bob 0"
    assert heard["bob"][0] == "x\nbegin\nann: ann 0", (
        "bob sees the prompt, and what was said before his turn"
    )
    assert read_episodes(out) == [episode]


async def test_what_a_seats_calls_brought_is_shown_to_it_when_its_turn_comes_again(tmp_path):
    """Both act at once: ann looks, bob speaks; bob acts next, ann afterwards."""
    heard: list[str] = []

    def act(turn: int, seen: Observation, casting: Casting) -> Action:
        if casting.seat == "ann":
            heard.append(seen.text())
            if turn == 0:
                return Action(calls=(ToolCall("team_look", {}),))
        return Action("well")

    (episode,) = await play(Acting(act), team(tmp_path, "together"), tasks=1)
    assert episode.ending == "over"
    assert "looked" in heard[1]


@pytest.mark.parametrize("mode", ["hang", "lost", "bug", "freeze", "close", "hear"])
async def test_a_world_that_fails_in_any_of_its_doors_costs_one_episode(tmp_path, mode):
    def act(turn: int, seen: Observation, casting: Casting) -> Action:
        return Action("boom" if mode == "hear" else "well")

    out = tmp_path / "run"
    episodes = await asyncio.wait_for(
        play(Acting(act), team(tmp_path, mode), tasks=2, concurrency=2, out=out), 20
    )
    assert [e.index for e in episodes] == [0, 1]
    assert len(read_episodes(out)) == 2
    assert all(e.reward is not None for e in episodes), [lost(e) for e in episodes]


# ---- 7. a trial by hand --------------------------------------------------------------------------


async def test_a_step_after_the_end_is_an_error_of_use():
    from envkit.rollout.trial import Trial

    settings = RunSettings(spec=COUNTER, tasks=1)
    async with Runner(settings, policy_source("noop")) as runner:
        ticket = await runner._stage.judge.draw("train", 0)
        trial = Trial(runner._stage, ticket, episode="e", group="g")
        try:
            await trial.reset()
            step = await trial.step(Action("done"))
            assert (step.terminated, step.truncated, step.reward) == (True, False, 0.0)
            with pytest.raises(UsageError):
                await trial.step(Action("again"))
        finally:
            await trial.close()


async def test_a_policy_that_raises_is_named_and_the_rest_is_kept(tmp_path):
    """A user's script file has a bug at one task: one error that says so, not a traceback of groups."""
    script = tmp_path / "play.py"
    script.write_text(
        "from envkit import say\ndef play(task):\n    raise KeyError('bug')\n    yield say('x')\n"
    )
    with pytest.raises(EnvkitError, match="KeyError"):
        await play(policy_source(f"script:{script}"), COUNTER, tasks=2, out=tmp_path / "run")


@pytest.mark.parametrize("inside", ["1" * 5000, "[" * 3000 + "]" * 3000, "1e999"])
def test_arguments_that_come_as_an_object_are_no_way_out_either(inside):
    """Some servers parse what a model wrote; what can't be read then is the model's doing, not the endpoint's."""
    from envkit.rollout.openai.answer import CallIds, read_answer
    from envkit.rollout.policy import PolicyFailed

    function = f'{{"name": "add", "arguments": {{"n": {inside}}}}}'
    message = f'{{"role": "assistant", "tool_calls": [{{"id": "a", "function": {function}}}]}}'
    try:
        read_answer(f'{{"choices": [{{"message": {message}}}]}}'.encode(), CallIds())
    except PolicyFailed as failed:
        pytest.fail(f"infrastructure, so it is played again: {failed}")
    except EnvkitError:
        pass  # PolicyStopped would do: graded
