"""`Env`: the protocol of an environment, and the world of one episode.

An author writes one class: attributes declare the world, `task` makes a problem, `grade` judges, `solve` proves
that it can be done. `task`, `grade`, `solve` and `near_misses` run in judge processes; an instance lives in the
runner, is used for one episode and returns observations, never a reward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import Any, ClassVar, Generic

from pydantic import BaseModel, ConfigDict

from envkit.adapter import Adapter, Artefact, Clock, Context, Floor
from envkit.data.bait import Bait
from envkit.data.evidence import Evidence, FrozenEvidence, FrozenItem, capped, spoken
from envkit.data.keyed import KeyedRandom
from envkit.data.message import Action, Message, Observation, Script, ToolCall
from envkit.data.probe import Grading
from envkit.data.score import Finding
from envkit.data.task import G, PublicTask, Task
from envkit.data.tool import Tool, ToolResult, tool
from envkit.declare import declared_adapters, gold_type, refuse_malformed, refuse_unless_static
from envkit.host import Host
from envkit.toolbox import TOO_LATE, Toolbox, tools_in

SEAT = "agent"
EPOCH = 1_750_000_000.0  # where clocks start, moved by up to a year by the episode's seed


class Config(BaseModel):
    """Settings that make variants of an environment: `desk/logdesk?level=hard`."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Env(Generic[G]):
    """Subclass it. The docstring's first line says what the agent has to do."""

    version: ClassVar[int] = 1
    splits: ClassVar[Mapping[str, int | None]] = {"train": None}  # sizes; None: endless
    evidence: ClassVar[Sequence[Artefact]] = ()

    Config: ClassVar[type[BaseModel]] = Config
    config: ClassVar[Any] = Config()

    # ---- what an author writes: judge side, no world in reach ----

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task[G]:
        """Make task `index` of `split`, drawing from `rng` alone: the same key makes the same task."""
        raise NotImplementedError(f"{cls.__name__} makes no tasks: write the classmethod `task`")

    @staticmethod
    def grade(evidence: Evidence, gold: G) -> Grading:
        """Judge what is left. Pure: no world, clock, network or randomness; probes are yielded as data."""
        raise NotImplementedError("write the static method `grade`")

    @staticmethod
    def solve(task: Task[G]) -> Script:
        """The oracle: a generator of actions that earns reward 1."""
        raise NotImplementedError("write the static method `solve`")

    @staticmethod
    def near_misses(task: Task[G]) -> dict[str, Script]:
        """Scripts that are wrong on purpose; every one must score below 1."""
        return {}

    async def setup(self) -> None:
        """Prepare what can't be declared. World side: `self.<adapter>` is open, no gold is in reach."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a class that breaks the protocol, at the moment when it is made."""
        super().__init_subclass__(**kwargs)
        refuse_unless_static(cls, "grade", "solve", "near_misses")
        cls._adapters = declared_adapters(cls)
        refuse_malformed(cls, cls._adapters)
        cls._own_tools = tools_in(cls)
        cls._gold = gold_type(cls, Env)

    _adapters: ClassVar[Mapping[str, Adapter[Any]]] = {}
    _own_tools: ClassVar[Mapping[str, Tool]] = {}
    _gold: ClassVar[Any] = dict

    def __init__(self) -> None:
        self._sessions: dict[str, Any] = {}
        self._stack = AsyncExitStack()
        self._toolbox = Toolbox()
        self._floor: Floor | None = None
        self._calls: list[tuple[str, ToolCall, ToolResult]] = []
        self.answer: str | None = None  # set when the episode ended by an answer
        self.seat = SEAT  # whose action is being carried out
        self.bait = Bait()  # of this episode; what the monitor watches for

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the agent is offered, once the episode is reset."""
        return self._toolbox.tools

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What went wrong in tools, for their authors."""
        return tuple(self._toolbox.findings)

    @property
    def alerts(self) -> tuple[Finding, ...]:
        """What the agent tried and adapters refused it."""
        return tuple(a for s in self._sessions.values() for a in getattr(s, "alerts", ()))

    @property
    def listens(self) -> bool:
        """Whether somebody in the world hears speech: a turn without a tool call is then no answer."""
        return self._floor is not None

    @property
    def seats(self) -> tuple[str, ...]:
        """Who takes part."""
        return self._floor.seats if self._floor else (SEAT,)

    @property
    def acting(self) -> tuple[str, ...]:
        """Whose turn it is; nobody's: the episode is over."""
        if self.answer is not None:
            return ()
        return self._floor.acting() if self._floor else (SEAT,)

    async def reset(self, task: PublicTask, host: Host, *, pack: str, group: str) -> None:
        """Open the declared world for one task. Once per instance; `close` must follow, whatever happens."""
        key = task.seed.to_bytes(32, "big")
        rng, self.bait = KeyedRandom(key, "world"), Bait.draw(KeyedRandom(key, "bait"))
        clock = Clock(EPOCH + rng.randrange(366) * 86_400)
        opened = (self._stack, host, self._sessions, task.limits, self.bait, lambda: self.seat)
        context = Context(pack, task.id, group, rng, clock, *opened)
        self._limit = task.limits.output_chars
        for name, adapter in self._adapters.items():
            seed = adapter.Seed.model_validate(task.world.get(name, {}))
            session = self._sessions[name] = await adapter.open(seed, context)
            if adapter.hears:
                self._floor = session
            for method, offered in adapter.tools().items():
                self._toolbox.add(offered, adapter.handler(session, method))
        for method, offered in self._own_tools.items():
            self._toolbox.add(offered, getattr(self, method))
        await self.setup()

    async def observe(self, seat: str = SEAT) -> Observation:
        """What a seat sees as its turn comes; the prompt itself is the trial's to show."""
        return await self._floor.observe(seat) if self._floor else Observation()

    async def step(self, action: Action, seat: str = SEAT) -> Observation:
        """Carry out one action. Raises WorldError where the world is gone."""
        self.seat = seat
        if not action.calls and self._floor is not None:  # speech, where somebody listens
            await self._floor.hear(seat, action.text)
        elif not action.calls:
            self.answer = action.text
        results = []
        for asked in action.calls:
            result = TOO_LATE
            if seat in self.acting:
                result = await self._toolbox.call(asked, self._limit)
                self._calls.append((seat, asked, result))
            results.append(Message("tool", result.content, call_id=asked.id))
        return Observation(tuple(results))

    @tool
    async def submit(self, answer: str = "") -> str:
        """Say that you are done; nothing can be done afterwards.

        Args:
            answer: the final answer, where the task asks for one
        """
        if self._floor is None:
            self.answer = answer
        else:
            await self._floor.leave(self.seat, answer)
        return "Submitted."

    async def freeze(self) -> FrozenEvidence:
        """Stop the agent's processes and export what the class declares as evidence."""
        await self._toolbox.settle()
        items: list[FrozenItem] = []
        for name, session in self._sessions.items():
            patterns = [a.pattern for a in self.evidence if a.adapter.name == name]
            frozen = await session.freeze(patterns)
            items += [i.model_copy(update={"name": f"{name}/{i.name}"}) for i in frozen]
        return self.spoken().model_copy(update={"items": capped(items)})

    def spoken(self) -> FrozenEvidence:
        """The part of the evidence that no sandbox can lose: the answer and the calls."""
        return spoken(self.answer or "", self._calls)

    async def close(self) -> None:
        """Give everything back. Safe to call twice."""
        async with self._stack:  # which is closed even where this is cancelled
            await self._toolbox.settle()
