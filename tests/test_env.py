"""The protocol: what a class may declare, what is refused when it is made, and what one episode's world does."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from envkit import Config, Data, Env, Evidence, Limits, PublicTask, Score, Task, Terminal, tool
from envkit.adapter import Adapter, Context
from envkit.data.message import Action, Message, Observation, ToolCall, call, say
from envkit.env import SEAT
from envkit.errors import DeclarationError
from envkit.host import Host


def public(**fields) -> PublicTask:
    base = {"id": "t", "prompt": "go", "world": {}, "limits": Limits(), "seed": 7, "digest": "d"}
    return PublicTask(**{**base, **fields})


class Notes(Env):
    """Keep notes."""

    notes = Data(dict[str, str])
    evidence = [notes.frozen()]

    @tool
    def put(self, key: str, text: str) -> None:
        """Keep a note."""
        self.notes[key] = text

    def not_a_tool(self) -> str:
        """Never offered."""
        return "secret"


async def opened(env: Env, task: PublicTask | None = None) -> Env:
    await env.reset(task or public(world={"notes": {}}), Host(), pack="p", group="g")
    return env


# ---- declarations ----


@pytest.mark.parametrize("name", ["grade", "solve", "near_misses"])
def test_judges_that_are_not_static_are_refused_also_in_a_base(name):
    def method(self, *args):
        return None

    with pytest.raises(DeclarationError, match=f"{name} must be a static method"):
        type("Broken", (Env,), {name: method})

    class Mixin:
        pass

    setattr(Mixin, name, classmethod(method))
    with pytest.raises(DeclarationError, match="static"):
        type("Broken", (Mixin, Env), {})


def test_gold_types_are_found_through_subclasses():
    class Gold(BaseModel):
        n: int

    class Base(Env[Gold]):
        pass

    class Derived(Base):
        pass

    assert Derived._gold is Gold
    assert Notes._gold == dict[str, Any]


def test_one_adapter_has_one_name():
    with pytest.raises((DeclarationError, RuntimeError)):

        class Twice(Env):
            a = Data(dict[str, int])
            b = a


def test_a_declaration_on_the_class_a_session_on_the_instance():
    class Shells(Env):
        shell = Terminal()

    assert isinstance(Shells.shell, Terminal)
    with pytest.raises(AttributeError, match="was not reset"):
        _ = Shells().shell


def test_a_removed_adapter_is_no_adapter():
    class Without(Notes):
        notes = None  # type: ignore[assignment]

    assert "notes" not in Without._adapters


# ---- one episode ----


async def test_only_decorated_methods_are_offered():
    env = await opened(Notes())
    assert [tool.name for tool in env.tools] == ["submit", "put"]


async def test_state_is_the_episodes_own():
    task = public(world={"notes": {"a": "1"}})
    one, two = await opened(Notes(), task), await opened(Notes(), task)
    await one.step(call("put", key="b", text="2"))
    assert one.notes == {"a": "1", "b": "2"}
    assert two.notes == {"a": "1"}


async def test_an_answer_ends_the_episode_and_is_evidence():
    env = await opened(Notes())
    await env.step(call("put", key="a", text="x"))
    await env.step(say("the answer"))
    assert env.acting == ()
    frozen = await env.freeze()
    assert frozen.answer == "the answer"
    assert [record.tool for record in frozen.calls] == ["put"]
    assert Evidence(frozen).json("notes/value.json") == {"a": "x"}


async def test_calls_after_submit_in_one_turn_are_not_carried_out():
    env = await opened(Notes())
    calls = (ToolCall("submit", {"answer": "x"}), ToolCall("put", {"key": "late", "text": "y"}))
    await env.step(Action(calls=calls))
    assert env.notes == {}
    assert env.answer == "x"


async def test_results_are_tied_to_their_calls_and_clipped():
    env = await opened(Notes(), public(world={"notes": {}}, limits=Limits(output_chars=30)))
    observation = await env.step(Action(calls=(ToolCall("x" * 200, {}, id="c9"),)))
    (message,) = observation.messages
    assert message.call_id == "c9"
    assert "characters left out" in message.text()


async def test_two_tools_of_one_name_are_refused():
    class Clash(Notes):
        other = Data(dict[str, str])

        @tool
        def submit(self, answer: str = "") -> str:  # type: ignore[override]
            """Mine."""
            return "mine"

    env = await opened(Clash(), public(world={"notes": {}, "other": {}}))
    assert [tool.description for tool in env.tools if tool.name == "submit"] == ["Mine."]


async def test_the_worlds_draws_come_from_the_tasks_seed():
    seen = []

    class Rolling(Adapter):
        async def open(self, seed, context: Context):
            seen.append((context.rng.random(), context.clock.now))
            return _Nothing()

        def tools(self):
            return {}

    class Rolls(Env):
        dice = Rolling()

    for seed in (1, 1, 2):
        await opened(Rolls(), public(seed=seed))
    assert seen[0] == seen[1] != seen[2]


class _Nothing:
    async def freeze(self, patterns):
        return ()

    async def surfaces(self):
        return {}


async def test_what_a_session_opened_is_closed_also_on_cancellation():
    log = []

    class Slow(Adapter):
        async def open(self, seed, context: Context):
            context.stack.callback(log.append, "closed")
            await asyncio.sleep(60)

        def tools(self):
            return {}

    class Slowly(Env):
        slow = Slow()

    env = Slowly()
    task = asyncio.create_task(opened(env, public()))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await env.close()
    await env.close()
    assert log == ["closed"]


# ---- seats: a world that listens ----


class _Round:
    """Two seats speak in turn, twice each; each hears what the other said."""

    seats = ("left", "right")

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []

    def acting(self):
        return () if len(self.said) == 4 else (self.seats[len(self.said) % 2],)

    async def hear(self, seat, text):
        self.said.append((seat, text))

    async def observe(self, seat):
        return Observation((Message("user", f"{len(self.said)} said"),))

    async def freeze(self, patterns):
        return ()

    async def surfaces(self):
        return {}


class Table(Adapter):
    hears = True

    async def open(self, seed, context):
        return _Round()

    def tools(self):
        return {}


class Talk(Env):
    table = Table()

    @classmethod
    def task(cls, split, index, rng):
        return Task(prompt="talk", gold={})

    @staticmethod
    def grade(evidence, gold):
        return Score(0.5, seats={"left": 1.0, "right": 0.0})


async def test_speech_goes_to_the_floor_and_turns_pass():
    env = await opened(Talk(), public())
    turns = []
    while env.acting:
        (seat,) = env.acting
        turns.append(seat)
        await env.step(say(f"hello from {seat}"), seat)
    assert turns == ["left", "right", "left", "right"]
    assert env.seats == ("left", "right")
    assert SEAT not in env.seats


def test_config_refuses_what_it_does_not_know():
    class Level(Config):
        level: str = "easy"

    with pytest.raises(ValueError, match="extra"):
        Level(speed=1)
