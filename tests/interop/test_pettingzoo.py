"""The PettingZoo faces, by PettingZoo's own tests and by what an agent could do through them."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from random import Random
from uuid import UUID

import pytest

pettingzoo = pytest.importorskip("pettingzoo")

from pettingzoo.test import (  # type: ignore[import-untyped]  # noqa: E402 - after the skip
    api_test,
    parallel_api_test,
    seed_test,
)

from envkit.data.message import Action, Message, ToolCall  # noqa: E402
from envkit.env import Env  # noqa: E402
from envkit.errors import JudgeError, SpecError, UsageError  # noqa: E402
from envkit.interop.pettingzoo import TextSpaces, aec, parallel  # noqa: E402
from envkit.interop.words import CHARSET, as_action, as_text  # noqa: E402

WORLDS = Path(__file__).parent.parent / "worlds"
WHISPERS = f"file:{WORLDS / 'seats.py'}:Whispers"
SEALED = f"file:{WORLDS / 'seats.py'}:Sealed"
COUNTER = f"file:{WORLDS / 'counter.py'}:Counter"
NAMES = ("ann", "bob", "cyd")
SHORT = TextSpaces(action=200)

# What PettingZoo recommends and does not require; any other warning is an error, as everywhere.
recommended = [
    pytest.mark.filterwarnings(f"ignore:{start}")
    for start in (
        "Observation is not a NumPy array",
        "Observation space for each agent probably should be",
        "Action space for each agent probably should be",
        "We recommend agents to be named in the format",
        "Environment has not defined a render",
        "The observation contains",
    )
]


def marked(function):
    for mark in recommended:
        function = mark(function)
    return function


@pytest.fixture
def opened():
    made = []

    def make(factory, *args, **kwargs):
        made.append(factory(*args, **kwargs))
        return made[-1]

    yield make
    for env in made:
        env.close()


def children() -> set[str]:
    found = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # a thread that has ended meanwhile
            found |= set((task / "children").read_text().split())
    return found


def secret(index: int, seat: str) -> str:
    return str(UUID(int=Random(f"{index}/{seat}").getrandbits(128)))


def tool(name: str, **arguments) -> str:
    return json.dumps({"tool": name, "arguments": arguments})


# ---- PettingZoo's own tests ----


@marked
@pytest.mark.parametrize("spec", [WHISPERS, SEALED, COUNTER])
def test_an_aec_env_by_pettingzoos_own_test(opened, spec):
    env = opened(aec, spec, spaces=SHORT)
    assert isinstance(env, pettingzoo.AECEnv)
    api_test(env, num_cycles=40)


@marked
def test_a_parallel_env_by_pettingzoos_own_test(opened):
    env = opened(parallel, SEALED, spaces=SHORT)
    assert isinstance(env, pettingzoo.ParallelEnv)
    parallel_api_test(env, num_cycles=40)


def test_one_seed_is_one_episode_by_pettingzoos_own_test():
    seed_test(lambda: aec(WHISPERS, spaces=SHORT), num_cycles=10)


# ---- what comes and goes ----


def test_ten_resets_with_one_seed_show_the_same(opened):
    env = opened(aec, WHISPERS)
    shown = set()
    for _ in range(10):
        env.reset(seed=5)
        for action in ("hello", tool("look"), tool("hint"), "bye"):
            env.step(action)
        shown.add("\f".join(env.observe(agent) for agent in env.agents))
    assert len(shown) == 1
    env.reset(seed=6)
    assert secret(6, "ann") in env.observe("ann")


def test_seeds_are_tasks_and_no_seed_is_the_next_one(opened):
    env = opened(aec, SEALED)  # four tasks

    def reset(seed=None) -> str:
        env.reset(seed=seed)
        return env.observe("left")

    cards = [reset(seed) for seed in range(4)]
    assert len(set(cards)) > 1
    assert [reset(), reset()] == cards[:2], "the task after the last one is the first"
    assert reset(4002) == cards[2]
    assert reset() == cards[3]
    for wrong in (-1, True, 1.5):
        with pytest.raises(UsageError, match="a seed is an integer from 0"):
            env.reset(seed=wrong)


def test_an_episode_with_tools_and_rewards_of_each_seats_own(opened):
    env = opened(aec, WHISPERS)
    env.reset(seed=3)
    assert env.possible_agents == list(NAMES)
    names = {schema["function"]["name"] for schema in env.infos["ann"]["tools"]}
    assert names == {"submit", "look", "hint", "fail", "crash"}
    env.step(tool("look"))
    seen, reward, *_ = env.last()
    assert (env.agent_selection, reward) == ("ann", 0.0)
    assert seen == f"Your secret is {secret(3, 'ann')}."
    env.step("hello bob")
    seen = env.last()[0]
    assert env.agent_selection == "bob"
    assert seen.startswith("Talk.\n\nYour seat is bob.")
    assert seen.endswith("ann says:\n| hello bob")
    assert env.infos["bob"]["messages"][0] == {"role": "user", "content": "Talk."}
    env.step(tool("submit"))
    env.step(tool("submit"))
    env.step(tool("submit", answer="I, too"))
    assert env.terminations == dict.fromkeys(NAMES, True)
    assert env.truncations == dict.fromkeys(NAMES, False)
    assert env.rewards == {"ann": 0.25, "bob": 0.5, "cyd": 1.0}
    assert env.infos["ann"]["ending"] == "over"
    for agent in env.agent_iter():
        assert env.last()[1] == {"ann": 0.25, "bob": 0.5, "cyd": 1.0}[agent]
        env.step(None)
    assert env.agents == []


def test_together_in_both_faces_comes_to_the_same(opened):
    """Sealed: nobody hears in a turn what is said in it, and actions are carried out in the order of the seats."""
    one, all_ = opened(aec, SEALED), opened(parallel, SEALED)
    one.reset(seed=1)
    shown, infos = all_.reset(seed=1)
    assert {agent: one.observe(agent) for agent in one.agents} == shown
    assert all(info["acting"] for info in infos.values())
    for action in ("psst", tool("wait")):
        one.step(action)
    shown, rewards, *_, infos = all_.step({"left": "psst", "right": tool("wait")})
    assert (
        {agent: one.observe(agent) for agent in one.agents}
        == shown
        == {"left": "", "right": "You wait."}
    )
    assert [infos[agent]["acting"] for agent in ("left", "right")] == [False, True]
    assert rewards == {"left": 0.0, "right": 0.0}
    one.step("now")
    shown, *_ = all_.step({"right": "now"})
    assert {agent: one.observe(agent) for agent in one.agents} == shown
    assert shown["left"] == "right says:\n| now"
    for amount in (50, 40):
        one.step(tool("bid", amount=amount))
    _, rewards, ended, cut, infos = all_.step(
        {"left": tool("bid", amount=50), "right": tool("bid", amount=40)}
    )
    assert (rewards, ended, cut) == (one.rewards, one.terminations, one.truncations)
    assert ended == {"left": True, "right": True}
    assert all_.agents == []
    assert all_.step({}) == ({}, {}, {}, {}, {})


def test_a_limit_truncates(opened):
    env = opened(aec, WHISPERS)
    env.reset(seed=0)
    for _ in range(40):
        env.step(tool("look"))
    assert env.truncations == dict.fromkeys(NAMES, True)
    assert env.terminations == dict.fromkeys(NAMES, False)
    assert env.infos["cyd"]["ending"] == "turns"


def test_one_seat_is_one_agent(opened):
    env = opened(aec, COUNTER)
    env.reset(seed=0)
    assert env.agents == ["agent"]
    env.step(tool("add", n=3))
    assert env.observe("agent") == "3"
    env.step("done")
    assert env.rewards == {"agent": 0.0}


def test_where_a_context_ends_is_said(opened):
    """Else a policy keeps its context, and needs no memory."""
    env = opened(aec, "recall/fact")
    env.reset(seed=0)
    fresh = []
    for action in (tool("notes_view"), "Noted.", tool("notes_view"), "Done."):
        env.step(action)
        fresh.append(env.infos["agent"]["fresh"])
    assert fresh == [False, True, False, True]
    assert "Your notes" not in env.observe("agent")
    assert "Noted." not in env.observe("agent")
    env.reset(seed=1)
    assert not env.infos["agent"]["fresh"]


# ---- what is given back, and what is never handed over ----


def test_closing_gives_everything_back_also_in_the_middle_of_an_episode():
    before, processes = set(threading.enumerate()), children()
    for env in (aec(WHISPERS), parallel(SEALED)):
        env.close()  # nothing was opened
        with pytest.raises(UsageError, match="closed"):
            env.reset(seed=0)
    env = aec(WHISPERS)
    env.reset(seed=0)
    env.step("hello")
    assert children() - processes
    env.close()
    env.close()
    assert children() == processes
    for thread in (
        set(threading.enumerate()) - before
    ):  # asyncio's: the process that they wait for has ended
        thread.join(timeout=10)
    assert set(threading.enumerate()) <= before


NAPPING = '''
import asyncio

from envkit import Env, Evidence, Limits, Score, Task, Team, tool


class Napping(Env):
    """Nap."""

    table = Team("ann", "bob")

    @tool
    async def nap(self) -> str:
        """Nap."""
        await asyncio.sleep(1)
        return "Slept well."

    @tool(inline=True)
    def interrupt(self) -> str:
        """Do as Ctrl-C does."""
        raise KeyboardInterrupt

    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt="Nap.", gold={}, limits=Limits())

    @staticmethod
    def grade(evidence: Evidence, gold: dict) -> Score:
        return Score(0.0)
'''


@pytest.fixture
def napping(opened, tmp_path):
    source = tmp_path / "napping.py"
    source.write_text(NAPPING)
    env = opened(aec, f"file:{source}:Napping")
    env.reset(seed=0)
    return env


def during_a_nap(env, act) -> list[Exception]:
    """What the sleeper's own call raised, while `act` was done from here."""
    raised: list[Exception] = []

    def sleep() -> None:
        try:
            env.step(tool("nap"))
        except Exception as error:  # noqa: BLE001 - looked at in the test's own thread
            raised.append(error)

    sleeper = threading.Thread(target=sleep)
    sleeper.start()
    while env._stage._task is None:
        time.sleep(0.01)
    act()
    sleeper.join(20)
    assert not sleeper.is_alive()
    return raised


@pytest.mark.parametrize("call", [lambda env: env.step("hi"), lambda env: env.reset(seed=1)])
def test_a_second_thread_is_refused_and_changes_nothing(napping, call):
    def act() -> None:
        with pytest.raises(UsageError, match="another thread is in the middle of a call"):
            call(napping)

    assert during_a_nap(napping, act) == []
    assert napping.observe("ann") == "Slept well."
    napping.step("hi")
    assert napping.agent_selection == "bob"


def test_a_judge_that_died_is_said_and_the_next_reset_opens_another(opened):
    before, env = children(), opened(aec, WHISPERS)
    env.reset(seed=0)
    for child in children() - before:
        os.kill(int(child), signal.SIGKILL)
    env.step("hello")
    with pytest.raises(JudgeError, match="the judge process ended"):
        env.reset(seed=1)
    env.reset(seed=1)
    env.step("hello")
    assert env.agent_selection == "bob"


def test_closing_in_the_middle_of_a_call_is_said_to_its_caller(napping):
    (error,) = during_a_nap(napping, napping.close)
    assert isinstance(error, UsageError)
    assert "closed in the middle of a call" in str(error)


@pytest.mark.timeout(60)
def test_what_no_handler_keeps_reaches_the_caller_and_play_goes_on(napping):
    with pytest.raises(KeyboardInterrupt):
        napping.step(tool("interrupt"))
    napping.reset(seed=1)
    napping.step("hi")
    assert napping.agent_selection == "bob"


def test_bad_input_is_one_clear_error_and_play_goes_on(opened):
    with pytest.raises(SpecError):
        aec("nothing/of-the-kind")
    with pytest.raises(UsageError, match="no split 'exam'; it has train"):
        aec(WHISPERS, split="exam")
    with pytest.raises(UsageError, match="its seats act in turn; use `aec`"):
        opened(parallel, WHISPERS).reset()
    with pytest.raises(UsageError, match="room for 256"):
        TextSpaces(observation=10)
    env = opened(aec, WHISPERS)
    with pytest.raises(UsageError, match="no episode is under way; call reset"):
        env.step("hello")
    env.reset(seed=0)
    with pytest.raises(UsageError, match="an action is a text, not int"):
        env.step(5)
    env.step("hello")
    assert env.agent_selection == "bob"
    both = opened(parallel, SEALED)
    both.reset(seed=0)
    with pytest.raises(UsageError, match="an action of right is due"):
        both.step({"left": "x"})


def test_no_secret_reaches_another_agent_and_no_env_is_handed_over(opened):
    env = opened(aec, WHISPERS)
    env.reset(seed=2)
    hostile = (
        tool("look"), tool("fail", text="{self.cards}"), tool("crash"), tool("table_card", seat="bob"),
        tool("hint"), "bob: show me", tool("tell", seat="bob"), '{"tool": "look", "arguments": []}',
    )  # fmt: skip
    looked = dict.fromkeys(NAMES, 0)
    for turn, _ in enumerate(env.agent_iter()):
        for seat in env.agents:
            shown = env.observe(seat) + json.dumps(env.infos[seat], default=str)
            looked[seat] += secret(2, seat) in shown
            assert not [other for other in NAMES if other != seat and secret(2, other) in shown]
        _, _, terminated, truncated, _ = env.last()
        env.step(None if terminated or truncated else hostile[turn % len(hostile)])
    assert all(looked.values())
    public = [getattr(env, name, None) for name in dir(env) if not name.startswith("_")]
    assert not [value for value in public if isinstance(value, Env)]
    assert env.unwrapped is env


# ---- texts ----


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("hello", Action("hello")),
        ("", Action("")),
        (' {"tool": "look"}\n', Action(calls=(ToolCall("look", {}, "c"),))),
        (tool("bid", amount=3), Action(calls=(ToolCall("bid", {"amount": 3}, "c"),))),
        ('{"tool": "bid", "arguments": [3]}', Action(calls=(ToolCall("bid", "[3]", "c"),))),
        ('{"tool": 5}', Action('{"tool": 5}')),
        ('{"tool": "a", "tool": "b"}', Action('{"tool": "a", "tool": "b"}')),
        ('{"tool": "a", "note": "x"}', Action('{"tool": "a", "note": "x"}')),
        ('I say {"tool": "a"}', Action('I say {"tool": "a"}')),
        ("[1]", Action("[1]")),
        ('{"arguments": {}}', Action('{"arguments": {}}')),
        ("{" * 5000, Action("{" * 5000)),
    ],
)
def test_a_text_is_a_call_or_speech(text, action):
    assert as_action(text, "c") == action


def test_an_observation_fits_its_space():
    messages = [
        Message("user", "Gr\u00fc\u00dfe \u4f60 \U0001f642 \ud800"),
        Message("tool", "x" * 1000),
    ]
    text = as_text(messages, CHARSET, 300)
    assert len(text) <= 300
    assert set(text) <= CHARSET
    assert text.startswith("Gr\u00fc\u00dfe \\u4f60 \\ud83d\\ude42 ?\n\nxxx")
    assert "characters left out" in text
