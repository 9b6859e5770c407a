"""Policies: whatever turns observations into actions, and the sources that open one for each episode."""

from __future__ import annotations

import importlib.util
import inspect
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Protocol

from envkit.data.message import Action, Observation, Script, ToolCall
from envkit.data.task import PublicTask
from envkit.data.tool import Tool
from envkit.errors import EnvkitError, UsageError
from envkit.judge.client import Judge, PlayedScript, Ticket
from envkit.judge.worker import for_seat


class PolicyFailed(EnvkitError):
    """A policy gave no action for a reason that is not its own (its endpoint is down): infrastructure."""


class PolicyStopped(EnvkitError):
    """A policy can't go on for a reason that is its own (its context is full): the episode ends and is graded."""


@dataclass(slots=True)
class Usage:
    """What a policy used in one episode."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0  # in the currency of the prices given


class Policy(Protocol):
    """Anything awaitable from an observation to an action. Lives for one seat of one episode."""

    usage: Usage

    async def __call__(self, observation: Observation) -> Action:
        """The next action. Raises PolicyFailed or PolicyStopped."""
        ...

    async def aclose(self) -> None:
        """Let go of what it holds."""
        ...


@dataclass(frozen=True, slots=True)
class Casting:
    """What a source may know when it opens a policy for an episode."""

    ticket: Ticket
    judge: Judge
    tools: tuple[Tool, ...]
    rng: Random
    seat: str
    variant: str | None = None


class PolicySource(Protocol):
    """Opens a policy for each episode; shared by all of them."""

    name: str  # as it was asked for, and as it is recorded

    def describe(self) -> Mapping[str, Any]:
        """What the record keeps: model, sampling, prices."""
        ...

    async def variants(self, judge: Judge, split: str, index: int) -> tuple[str | None, ...]:
        """Episodes per task: one, or one for each variant."""
        ...

    async def open(self, casting: Casting) -> Policy:
        """A policy for one seat of one episode."""
        ...

    async def aclose(self) -> None:
        """Let go of what all its policies share; the runner calls it last."""
        ...


class Scripted:
    """A policy that plays a script in the judge (the oracle, a near-miss)."""

    def __init__(self, script: PlayedScript) -> None:
        self._script = script
        self._started = False
        self.usage = Usage()

    async def __call__(self, observation: Observation) -> Action:
        """The script's next action; its first one is not told anything."""
        action = await self._script.next(observation if self._started else None)
        self._started = True
        return action

    async def aclose(self) -> None:
        """Forget the script in the judge."""
        await self._script.close()


@dataclass(slots=True)
class Local:
    """A policy that is a plain function of the observation, in this process."""

    act: Callable[[Observation], Action]
    usage: Usage = field(default_factory=Usage)

    async def __call__(self, observation: Observation) -> Action:
        """The function's answer."""
        return self.act(observation)

    async def aclose(self) -> None:
        """Nothing to let go of."""


class _Source:
    """What most sources share: one episode a task, nothing to describe but the name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def describe(self) -> Mapping[str, Any]:
        """The name alone."""
        return {"name": self.name}

    async def variants(self, judge: Judge, split: str, index: int) -> tuple[str | None, ...]:
        """One episode."""
        return (None,)

    async def aclose(self) -> None:
        """Nothing is shared."""


class Oracle(_Source):
    """Plays `solve`."""

    async def open(self, casting: Casting) -> Policy:
        """Start the script in the judge."""
        return Scripted(await casting.judge.script(casting.ticket, seat=casting.seat))


class NearMisses(_Source):
    """Plays every near-miss of every task, an episode each."""

    async def variants(self, judge: Judge, split: str, index: int) -> tuple[str | None, ...]:
        """The names of the task's near-misses."""
        return await judge.near_misses(split, index)

    async def open(self, casting: Casting) -> Policy:
        """Start the script in the judge."""
        script = await casting.judge.script(casting.ticket, casting.variant, casting.seat)
        return Scripted(script)


class Noop(_Source):
    """Does nothing and says nothing."""

    async def open(self, casting: Casting) -> Policy:
        """An empty answer at once."""
        return Local(lambda observation: Action())


class RandomCalls(_Source):
    """Calls random tools with random arguments that fit their schemas, then submits."""

    async def open(self, casting: Casting) -> Policy:
        """Draws from the episode's own generator."""
        rng, tools = casting.rng, casting.tools
        left = rng.randint(3, 12)

        def act(observation: Observation) -> Action:
            nonlocal left
            left -= 1
            if left < 0:
                return Action(text=_random_text(rng))
            tool = rng.choice(tools)
            arguments = {
                name: _random_value(rng, schema)
                for name, schema in tool.parameters["properties"].items()
            }
            return Action(calls=(ToolCall(tool.name, arguments, id=f"call-{left}"),))

        return Local(act)


def _random_text(rng: Random) -> str:
    words = ("ls", "cat", "answer.txt", "0", "1", "true", "..", "x" * rng.randint(1, 40), "\n", "é")
    return " ".join(rng.choices(words, k=rng.randint(0, 4)))


_RANDOM: Mapping[str, Callable[[Random, Mapping[str, Any]], Any]] = {
    "integer": lambda rng, schema: rng.choice((0, 1, -1, rng.randint(-1000, 1000))),
    "number": lambda rng, schema: rng.uniform(-10, 10),
    "boolean": lambda rng, schema: rng.random() < 0.5,
    "array": lambda rng, schema: [
        _random_value(rng, schema.get("items", {})) for _ in range(rng.randint(0, 3))
    ],
    "object": lambda rng, schema: {},
    "null": lambda rng, schema: None,
}


def _random_value(rng: Random, schema: Mapping[str, Any]) -> Any:
    if "enum" in schema:
        return rng.choice(list(schema["enum"]))
    if "anyOf" in schema:
        return _random_value(rng, rng.choice(list(schema["anyOf"])))
    draw = _RANDOM.get(schema.get("type", "string"))
    return _random_text(rng) if draw is None else draw(rng, schema)


class ScriptFile(_Source):
    """`script:FILE.py` plays the generator `play(task)` of a file; it gets the public task, nothing else.

    `play(task, seat)` is told whose part to play, too.

    Raises UsageError, with file and line, for whatever is wrong in the file.
    """

    def __init__(self, name: str, path: str) -> None:
        super().__init__(name)
        self._path = Path(path).absolute()  # as tracebacks name it
        self._play = _load_play(self._path)

    async def open(self, casting: Casting) -> Policy:
        """Start the generator."""
        script = self._begin(casting.ticket.public, casting.seat)
        over = started = False

        def act(observation: Observation) -> Action:
            nonlocal over, started
            if over:
                raise PolicyStopped("the script is over")
            with _in_script(self._path):
                try:
                    action = script.send(observation if started else None)
                except StopIteration as end:
                    over = True
                    return Action(text="" if end.value is None else str(end.value))
            started = True
            if not isinstance(action, Action):
                kind, line = type(action).__name__, script.gi_frame.f_lineno
                raise UsageError(
                    f"script:{self._path}:{line}: yielded a {kind}; yield call(...) or say(...)"
                )
            return action

        return Local(act)

    def _begin(self, task: PublicTask, seat: str) -> Any:
        """The generator; what it yields is anything until it is looked at."""
        with _in_script(self._path):
            script = for_seat(self._play, task, seat)
        if not inspect.isgenerator(script):
            raise UsageError(f"script:{self._path}: `play` is no generator: it must `yield`")
        return script


@contextmanager
def _in_script(path: Path) -> Iterator[None]:
    """Turn whatever a user's script raises into one error that says where."""
    try:
        yield
    except EnvkitError:
        raise
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f":{frame.lineno}" for frame in frames if frame.filename == str(path)]
        place = f"script:{path}{lines[-1] if lines else ''}"
        raise UsageError(f"{place}: {type(error).__name__}: {error}") from error


def _load_play(path: Path) -> Callable[..., Script]:
    if not path.is_file():
        raise UsageError(f"script:{path}: no such file")
    location = importlib.util.spec_from_file_location("envkit_script", path)
    if location is None or location.loader is None:
        raise UsageError(f"script:{path}: not a Python file")
    module = importlib.util.module_from_spec(location)
    with _in_script(path):
        location.loader.exec_module(module)
    play: Callable[..., Script] | None = getattr(module, "play", None)
    if not callable(play):
        raise UsageError(f"script:{path}: it must define `def play(task)`, a generator of actions")
    return play


def policy_source(name: str, **options: Any) -> PolicySource:
    """The source that `--policy` names. Raises UsageError where it is none."""
    head, _, rest = name.partition(":")
    plain: Mapping[str, Callable[[str], PolicySource]] = {
        "oracle": Oracle, "noop": Noop, "random": RandomCalls, "near-misses": NearMisses,
    }  # fmt: skip
    if head in plain and not rest:
        return plain[head](name)
    if head == "script" and rest:
        return ScriptFile(name, rest)
    if head == "openai" and rest:
        from envkit.rollout.openai import OpenAIChat  # its client is an extra

        return OpenAIChat(name, rest, **options)
    raise UsageError(
        f"no policy is called {name!r}; there are oracle, noop, random, near-misses, script:FILE, openai:MODEL,"
        " hf:PATH"
    )
