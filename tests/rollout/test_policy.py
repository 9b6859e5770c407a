"""`script:FILE.py`: whatever is wrong in the file is one error that says where."""

from __future__ import annotations

from random import Random
from typing import Any, cast

import pytest

from envkit.data.message import Action, Message, Observation, ToolCall
from envkit.data.task import Limits, PublicTask
from envkit.errors import UsageError
from envkit.judge.client import Ticket
from envkit.rollout.policy import Casting, PolicyStopped, policy_source

SEEN = Observation((Message("user", "go"),))
TASK = PublicTask(id="i", prompt="p", world={}, limits=Limits(), seed=0, digest="d")


async def played(path, body: str, turns: int = 3) -> list[Action]:
    path.write_text(f"import sys\nfrom envkit import call, say\n{body}")
    source = policy_source(f"script:{path}")
    casting = Casting(Ticket("train", 0, TASK), cast(Any, None), (), Random(0), "agent")
    policy = await source.open(casting)
    return [await policy(SEEN) for _ in range(turns)]


async def test_a_script_is_told_what_it_brought_about_and_may_end_with_an_answer(tmp_path):
    body = (
        "def play(task):\n    seen = yield call('look')\n    yield say(seen.text())\n    return 7\n"
    )
    acted = await played(tmp_path / "s.py", body)
    assert acted == [Action(calls=(ToolCall("look"),)), Action("go"), Action("7")]
    with pytest.raises(PolicyStopped):
        await played(tmp_path / "s.py", body, turns=4)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def play(task):\n    raise KeyError('bug')\n    yield\n", r"s\.py:4: KeyError: 'bug'"),
        ("def play(task):\n    yield say('x')\n    sys.exit(0)\n", r"s\.py:5: SystemExit: 0"),
        ("def play(task):\n    yield say('x')\n    int('x', 99)\n", r"s\.py:5: ValueError"),
        ("def play(task):\n    yield say('x')\n    yield 'ls'\n", r"s\.py:5: yielded a str"),
        ("def play(task):\n    yield\n", r"s\.py:4: yielded a NoneType"),
        ("def play(task):\n    return [say('x')]\n", r"s\.py: `play` is no generator"),
        ("def play():\n    yield say('x')\n", r"s\.py: TypeError"),
        ("sys.exit(0)\n", r"s\.py:3: SystemExit"),
        ("1 / 0\n", r"s\.py:3: ZeroDivisionError"),
        ("def play(:\n", r"s\.py: SyntaxError"),
        ("", r"s\.py: it must define"),
    ],
)
async def test_what_is_wrong_in_a_script_is_named_by_file_and_line(
    tmp_path, monkeypatch, body, said
):
    with pytest.raises(UsageError, match=said):
        await played(tmp_path / "s.py", body)
