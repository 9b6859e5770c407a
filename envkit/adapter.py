"""The adapter protocol: an inert declaration on a class, and the session that it opens for one episode."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, overload

from pydantic import BaseModel

from envkit.data.bait import Bait
from envkit.data.evidence import FrozenItem
from envkit.data.message import Observation
from envkit.data.task import Frozen, Limits
from envkit.data.tool import Tool
from envkit.errors import DeclarationError
from envkit.host import Host
from envkit.toolbox import Handler, tools_in

S_co = TypeVar("S_co", covariant=True)


class NoSeed(Frozen):
    """The seed of an adapter that takes nothing from a task."""


@dataclass(slots=True)
class Clock:
    """The episode's clock, in seconds since the epoch. It moves when the world says so, never by itself."""

    now: float

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


@dataclass(slots=True)
class Context:
    """What an adapter gets to open a session with."""

    pack: str
    episode: str  # opaque
    group: str  # episodes of one group are compared with each other: they must never share a slot
    rng: Random
    clock: Clock
    stack: (
        AsyncExitStack  # whatever is entered here is closed with the episode, also on cancellation
    )
    host: Host
    sessions: dict[str, Session] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    bait: Bait = field(
        default_factory=Bait
    )  # to be left where only a hunt for answers would use it
    seat: Callable[[], str] = str  # whose action is being carried out; nobody's: empty


class Session(Protocol):
    """One episode's live side of an adapter. Its `@tool` methods are the agent's tools.

    Optional beside it: `alerts`, the findings about what the agent tried (a host that it was refused); `snapshot()`
    and `restore()`; the protocols `Floor` (it hears speech) and `Site` (it answers HTTP, see `envkit.door`).
    """

    async def freeze(self, patterns: Sequence[str]) -> Sequence[FrozenItem]:
        """Stop whatever the agent started, then export what matches; names are paths inside the adapter.

        Called once, last. What the agent broke is an item or its absence, never an exception.
        """
        ...

    async def surfaces(self) -> Mapping[str, bytes]:
        """Every byte that the agent could read here, by place; what the guards scan."""
        ...


class Floor(Protocol):
    """A session that hears speech: a simulated user, or a team of seats."""

    @property
    def seats(self) -> tuple[str, ...]:
        """All seats, in a fixed order."""
        ...

    def acting(self) -> tuple[str, ...]:
        """The seats whose turn it is; none: the conversation is over."""
        ...

    async def hear(self, seat: str, text: str) -> None:
        """A turn without a tool call: what this seat said."""
        ...

    async def leave(self, seat: str, answer: str) -> None:
        """This seat submitted: what it had to do here is done."""
        ...

    async def observe(self, seat: str) -> Observation:
        """What this seat sees when its turn comes."""
        ...


@dataclass(frozen=True, slots=True)
class Artefact:
    """A declaration of what is frozen: a pattern inside one adapter, as in `shell.files("answer.txt")`.

    It holds the adapter, whose name is not known yet while the class body runs.
    """

    adapter: Adapter[Any]
    pattern: str


class Adapter(Generic[S_co]):
    """A declaration: inert, made once with the class. `Cls.shell` is this, `self.shell` the session.

    A subclass says what its `Seed` is (checked against `world[name]`), which `session` class holds its tools,
    and how to `open` one.
    """

    Seed: ClassVar[type[BaseModel]] = NoSeed
    session: ClassVar[type[Any]]
    hears: ClassVar[bool] = False  # whether its sessions are a `Floor`: a user, a team
    name: str = ""
    _tools: Mapping[str, Tool] | None = None

    def __set_name__(self, owner: type, name: str) -> None:
        """Take the attribute's name; it prefixes tools and evidence."""
        if self.name and self.name != name:
            raise DeclarationError(
                f"{owner.__name__}.{name} is the adapter already declared as {self.name!r}; make another one"
            )
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type) -> S_co: ...
    def __get__(self, instance: object | None, owner: type) -> Any:
        """The declaration on the class, the episode's session on an instance."""
        if instance is None:
            return self
        try:
            return self.value(instance.__dict__["_sessions"][self.name])
        except KeyError:
            raise AttributeError(f"{self.name!r} is not open: the episode was not reset") from None

    def value(self, session: Any) -> Any:
        """What authors see as `self.<name>`: the session, unless an adapter has something plainer."""
        return session

    async def open(self, seed: Any, context: Context) -> S_co:
        """Open the session of one episode; enter what it holds into `context.stack`.

        Raises SandboxUnavailable (infrastructure) or MissingError (the machine lacks something).
        """
        raise DeclarationError(f"{type(self).__name__} does not say how it opens")

    def tools(self) -> Mapping[str, Tool]:
        """The agent's tools by the session's method names; their public names carry the adapter's."""
        if self._tools is None:  # schemas are made once, not once per episode
            self._tools = tools_in(self.session, f"{self.name}_")
        return self._tools

    def handler(self, session: Any, method: str) -> Handler:
        """What runs a tool; override where tools are no methods of the session."""
        handler: Handler = getattr(session, method)
        return handler

    def artefact(self, pattern: str) -> Artefact:
        """Declare what is frozen for the judge, for the class attribute `evidence`."""
        return Artefact(self, pattern)
