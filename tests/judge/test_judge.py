"""The judge: what crosses its pipe, what breaks it, and whose doing that is."""

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from envkit.data.evidence import CallRecord, FrozenEvidence, FrozenItem
from envkit.data.score import Invalid, Reason, Score
from envkit.data.spec import EnvSpec
from envkit.errors import JudgeError, TaskError, UsageError
from envkit.judge import grading
from envkit.judge.client import Judge, JudgeSettings, ScriptFailed

WORLDS = Path(__file__).parent.parent / "worlds"


def world(name: str, cls: str, query: str = "") -> EnvSpec:
    return EnvSpec.parse(f"file:{WORLDS / name}.py:{cls}{query}")


def counted(x: object) -> FrozenEvidence:
    return FrozenEvidence(
        items=(FrozenItem(name="table/value.json", data=json.dumps({"x": x}).encode()),)
    )


async def test_grades_frozen_evidence_by_gold_that_stays_in_the_judge():
    async with Judge(world("counter", "Counter")) as judge:
        ticket = await judge.draw("train", 3)
        total = int(ticket.public.prompt.split()[-1].strip("."))
        right = await judge.grade(ticket, counted(total).model_dump_json(), "e1")
        wrong = await judge.grade(ticket, counted(total + 1).model_dump_json(), "e2")
        nothing = await judge.grade(ticket, FrozenEvidence().model_dump_json(), "e3")
    assert isinstance(right.verdict, Score)
    assert right.verdict.reward == 1.0
    assert [v.verdict.reward for v in (wrong, nothing)] == [0.0, 0.0]
    assert "gold" not in ticket.public.model_dump_json()


async def test_same_salt_same_tasks_another_salt_other_tasks(tmp_path):
    salt = tmp_path / "salt"
    salt.write_bytes(b"0123456789abcdef-private")
    spec = world("secret", "Secret")

    async def draw(settings: JudgeSettings) -> list[tuple[str, str, int]]:
        async with Judge(spec, settings) as judge:
            tickets = [await judge.draw("train", index) for index in range(5)]
            return [(t.public.id, t.public.digest, t.public.seed) for t in tickets]

    private = JudgeSettings(salt_file=str(salt))
    first, again, public = await asyncio.gather(draw(private), draw(private), draw(JudgeSettings()))
    assert first == again
    assert not set(first) & set(public)
    assert len({task[0] for task in first}) == 5


async def test_a_short_salt_is_refused(tmp_path):
    salt = tmp_path / "salt"
    salt.write_bytes(b"short")
    with pytest.raises(UsageError, match="at least 16"):
        async with Judge(world("counter", "Counter"), JudgeSettings(salt_file=str(salt))):
            pass


async def test_a_drawn_salt_is_kept_with_the_run_and_private(tmp_path):
    settings = JudgeSettings(private=True, sealed=tmp_path / "sealed")
    names = []
    for _ in range(2):
        async with Judge(world("counter", "Counter"), settings) as judge:
            names.append(judge.salt)
            assert not judge.public
    assert names[0] == names[1]
    assert (tmp_path / "sealed" / "salt").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "sealed").stat().st_mode & 0o777 == 0o700


async def test_tasks_that_do_not_validate_are_one_clear_error(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text(
        "from envkit import *\n"
        "from pydantic import BaseModel\n"
        "class Gold(BaseModel):\n    n: int\n"
        "class Wrong(Env[Gold]):\n"
        "    table = Data(dict[str, int])\n"
        "    @classmethod\n"
        "    def task(cls, split, index, rng):\n"
        "        return [\n"
        "            lambda: Task(prompt='x', gold=Gold(n=1), world={'tabel': {}}),\n"
        "            lambda: Task(prompt='x', gold={'n': 'SECRET-VALUE'}),\n"
        "            lambda: Task(prompt='x', gold=Gold(n=1), world={'table': {'x': 'many'}}),\n"
        "            lambda: Task(prompt='x', gold=Gold(n=1), hint='no such field'),\n"
        "            lambda: 1 / 0,\n"
        "            lambda: 'no task',\n"
        "        ][index]()\n"
    )
    expected = [
        "tabel",
        "gold",
        "world\\['table'\\]",
        "hint",
        "ZeroDivisionError at wrong.py",
        "not a Task",
    ]
    async with Judge(EnvSpec.parse(f"file:{path}:Wrong")) as judge:
        for index, message in enumerate(expected):
            with pytest.raises(TaskError, match=message) as raised:
                await judge.draw("train", index)
            assert "SECRET-VALUE" not in str(raised.value)
        with pytest.raises(TaskError, match="no split 'dev'"):
            await judge.draw("dev", 0)


async def test_an_index_beyond_the_split_is_refused():
    async with Judge(world("counter", "Counter")) as judge:
        with pytest.raises(TaskError, match="5 tasks"):
            await judge.draw("test", 5)


async def test_scripts_see_observations_and_errors_name_the_place():
    async with Judge(world("counter", "Counter")) as judge:
        ticket = await judge.draw("train", 0)
        script = await judge.script(ticket)
        action = await script.next(None)
        assert action.calls[0].name == "add"
        from envkit.data.message import Message, Observation

        with pytest.raises(ScriptFailed, match=r"AssertionError at counter\.py"):
            await script.next(Observation((Message("tool", "no number"),)))
        assert await judge.near_misses("train", 0) == ("one short", "refused")


POISONS = {
    "regex": "a" * 41 + "!",
    "nested": "a" * 61 + "!",
    "diff": "ab" * 30_000,
    "decimal": "1e99999999",
    "fraction": "1e9999999",
    "memory": str(1 << 40),
    "recursion": "x" * 100_000,
    "exit": "x",
    "stop": "x",
    "json": "[" * 100_000,
    "power": "9^9999999999",
    "format": "999999999999",
}


@pytest.mark.timeout(180)
async def test_what_poisons_a_grader_scores_zero_and_is_found(monkeypatch):
    """None is invalid, none is retried: an agent can't break what it is losing."""

    async def verdict(kind: str) -> tuple[str, object, object]:
        async with Judge(world("poison", "Poison", f"?kind={kind}")) as judge:
            ticket = await judge.draw("train", 0)
            judged = await judge.grade(
                ticket, FrozenEvidence(answer=POISONS[kind]).model_dump_json(), "e"
            )
            after = await judge.grade(
                ticket, FrozenEvidence(answer="right").model_dump_json(), "e2"
            )
            return kind, judged, after.verdict

    limit = asyncio.Semaphore(2)

    async def limited(kind: str):
        async with limit:
            return await verdict(kind)

    for kind, judged, after in await asyncio.gather(*map(limited, POISONS)):
        assert isinstance(judged.verdict, Score), kind
        assert judged.verdict.reward == 0.0, kind
        assert [finding.rule for finding in judged.findings] == ["grader-broke-on-evidence"], kind
        assert after.reward == 1.0, f"{kind} felled the judge for others"


async def test_a_grader_that_fails_its_control_too_is_invalid():
    async with Judge(world("poison", "Poison", "?kind=always")) as judge:
        ticket = await judge.draw("train", 0)
        judged = await judge.grade(ticket, FrozenEvidence(answer="x").model_dump_json(), "e")
    assert isinstance(judged.verdict, Invalid)
    assert (judged.verdict.reason, judged.verdict.blame) == (Reason.GRADER_BROKEN, "grader")


@pytest.mark.timeout(60)
async def test_one_hanging_grading_costs_its_neighbours_nothing_but_time():
    async with Judge(world("poison", "Poison")) as judge:
        ticket = await judge.draw("train", 0)
        answers = [POISONS["regex"]] + ["right", ""] * 20
        judged = await asyncio.gather(
            *(
                judge.grade(ticket, FrozenEvidence(answer=answer).model_dump_json(), "e")
                for answer in answers
            )
        )
    assert [one.verdict.reward for one in judged] == [0.0] + [1.0, 0.0] * 20
    assert [len(one.findings) for one in judged] == [1] + [0] * 40


async def test_a_task_that_comes_out_different_is_invalid(tmp_path):
    path = tmp_path / "unstable.py"
    path.write_text(
        "import os\nfrom envkit import *\n"
        "class Unstable(Env):\n"
        "    @classmethod\n"
        "    def task(cls, split, index, rng):\n"
        "        return Task(prompt='x', gold={'pid': os.getpid()})\n"
        "    @staticmethod\n"
        "    def grade(evidence, gold):\n"
        "        return Score.all(right=True)\n"
    )
    async with Judge(EnvSpec.parse(f"file:{path}:Unstable")) as judge:
        ticket = await judge.draw("train", 0)
        judged = await judge.grade(ticket, FrozenEvidence().model_dump_json(), "e")
    assert isinstance(judged.verdict, Invalid)
    assert (judged.verdict.reason, judged.verdict.blame) == (Reason.TASK_UNSTABLE, "env")


async def test_reasons_are_sealed_and_never_come_back(tmp_path):
    async with Judge(world("secret", "Secret"), JudgeSettings(sealed=tmp_path / "sealed")) as judge:
        ticket = await judge.draw("train", 0)
        judged = await judge.grade(ticket, FrozenEvidence(answer="guess").model_dump_json(), "e7")
    assert judged.verdict.reasons == ()
    assert [check.reason for check in judged.verdict.checks.values()] == [""]
    note = json.loads((tmp_path / "sealed" / "verdicts.jsonl").read_text())
    assert note["episode"] == "e7"
    assert "expected" in note["score"]["checks"]["said"][1]


async def test_a_killed_judge_is_an_invalid_and_hangs_nobody():
    async with Judge(world("counter", "Counter")) as judge:
        ticket = await judge.draw("train", 0)
        judge._channel.process.kill()
        judged = await asyncio.wait_for(
            judge.grade(ticket, FrozenEvidence().model_dump_json(), "e"), 5
        )
        assert judged.verdict == Invalid(Reason.JUDGE_LOST, judged.verdict.detail)
        with pytest.raises(JudgeError):
            await judge.draw("train", 1)


async def test_hostile_calls_and_answers_survive_the_way_to_the_judge():
    deep: object = "x"
    for _ in range(60):
        deep = [deep]
    calls = (
        CallRecord(tool="t", arguments={"deep": deep, "\x00": "\u2028"}, result="r" * 100_000),
    )
    async with Judge(world("counter", "Counter")) as judge:
        ticket = await judge.draw("train", 0)
        judged = await judge.grade(
            ticket,
            FrozenEvidence(answer="\x1b[31m\U0010ffff", calls=calls).model_dump_json(),
            "e",
        )
    assert judged.verdict.reward == 0.0


async def test_what_an_author_prints_does_not_break_the_pipe(tmp_path):
    path = tmp_path / "loud.py"
    path.write_text(
        "import os, sys\nfrom envkit import *\nprint('at import')\n"
        "class Loud(Env):\n"
        "    @classmethod\n"
        "    def task(cls, split, index, rng):\n"
        "        print('in task'); os.write(1, b'\\x00\\x00\\x00\\x01x'); sys.stdin.read()\n"
        "        return Task(prompt='x', gold={})\n"
        "    @staticmethod\n"
        "    def grade(evidence, gold):\n"
        "        print('in grade')\n"
        "        return Score.all(right=True)\n"
    )
    async with Judge(EnvSpec.parse(f"file:{path}:Loud")) as judge:
        ticket = await judge.draw("train", 0)
        judged = await judge.grade(ticket, FrozenEvidence().model_dump_json(), "e")
    assert judged.verdict.reward == 1.0


def test_the_grading_deadline_is_short_enough_to_be_kept():
    assert grading.GRADE_SECONDS <= 5.0


async def test_workers_die_with_the_service():
    async with Judge(world("counter", "Counter")) as judge:
        await judge.draw("train", 0)
        pid = judge._channel.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        assert children
        judge._channel.process.kill()
        deadline = time.monotonic() + 5
        while any(os.path.exists(f"/proc/{child}") for child in children):
            assert time.monotonic() < deadline, "a worker outlived its service"
            await asyncio.sleep(0.05)
