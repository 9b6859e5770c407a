"""`SessionChain`: one episode as several sessions, each with a fresh context.

What an agent said and saw in one session is gone in the next; only what an adapter keeps (such as `Memory`) is left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator

from envkit.adapter import Adapter, Artefact, Clock, Context
from envkit.data.evidence import FrozenItem
from envkit.data.message import Message, Observation
from envkit.data.strict import scrub
from envkit.data.task import Frozen
from envkit.errors import DeclarationError, TaskError

SEAT = "agent"
SAID = "said.json"
MOST_SESSIONS = 64
_SAID_CHARS = 150_000  # of all sessions together: as JSON they stay below what the judge reads


class ChainSeed(Frozen):
    """`SessionChain.Seed`: the prompts of the second session and those after it. A list alone will do."""

    prompts: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        default=(), max_length=MOST_SESSIONS - 1
    )

    @model_validator(mode="before")
    @classmethod
    def _prompts_alone(cls, value: Any) -> Any:
        return {"prompts": value} if isinstance(value, list | tuple) else value


class Chain:
    """One episode's chain. A `Floor` with one seat: a turn without a tool call, or `submit`, ends a session."""

    def __init__(self, prompts: Sequence[str], turns: int, clock: Clock, apart: float) -> None:
        self.number = 1  # of the session whose context the agent has, from 1
        self._prompts = tuple(prompts)
        self._most = turns
        self._clock = clock
        self._apart = apart
        self._turns = -1  # of this session; the first look at the world is no turn
        self._ended = False  # the session is over, and its successor has not been shown
        self._said: list[str | None] = [None] * (len(prompts) + 1)

    @property
    def seats(self) -> tuple[str, ...]:
        """The one seat."""
        return (SEAT,)

    def acting(self) -> tuple[str, ...]:
        """The one seat, until the last session is over."""
        return () if self._ended and self._last else (SEAT,)

    async def hear(self, seat: str, text: str) -> None:
        """What a session ends with."""
        if not self._ended:  # an action that submits twice ends one session
            self._said[self.number - 1] = text[: _SAID_CHARS // len(self._said)]
            self._ended = True

    async def leave(self, seat: str, answer: str) -> None:
        """The same by `submit`."""
        await self.hear(seat, answer)

    async def observe(self, seat: str) -> Observation:
        """Nothing inside a session (its tools have answered), the next prompt in a fresh context after it."""
        self._turns += 1
        if not self._last and (self._ended or self._turns >= self._most):
            self.number += 1
            self._turns, self._ended = 0, False
            self._clock.advance(self._apart)
            return Observation((Message("user", self._prompts[self.number - 2]),), fresh=True)
        return Observation()

    @property
    def _last(self) -> bool:
        return self.number == len(self._said)

    async def freeze(self, patterns: Sequence[str]) -> Sequence[FrozenItem]:
        """What each session ended with, where that is declared as evidence."""
        if not any(fnmatchcase(SAID, pattern) for pattern in patterns):
            return ()
        data = json.dumps(scrub(self._said), ensure_ascii=False).encode()
        return (FrozenItem(name=SAID, data=data),)

    async def surfaces(self) -> Mapping[str, bytes]:
        """The prompts of the sessions after the first."""
        return {
            f"session-{number}.txt": scrub(prompt).encode()
            for number, prompt in enumerate(self._prompts, 2)
        }


class SessionChain(Adapter[Chain]):
    """`chain = SessionChain()`: the task's prompt begins the first session, `world["chain"]` lists the others'.

    A turn without a tool call, or `submit`, ends a session; what ends the last one is the answer.

    Args:
        turns_per_session: after so many turns a session ends by itself and the chain goes on; None: an equal
            share of the task's turns. The last session has what is left of them.
        apart: seconds of the episode's clock between two sessions
    """

    Seed: ClassVar[type[ChainSeed]] = ChainSeed
    session: ClassVar[type[Any]] = Chain
    hears: ClassVar[bool] = True

    def __init__(self, *, turns_per_session: int | None = None, apart: float = 86_400.0) -> None:
        if turns_per_session is not None and turns_per_session < 1:
            raise DeclarationError("SessionChain: turns_per_session is 1 or more")
        self._turns = turns_per_session
        self._apart = apart

    def said(self) -> Artefact:
        """Declare as evidence what was said: the judge reads `<name>/said.json`.

        A list with an entry for every session, in order: the text that ended it, or null where it was cut off or
        never begun. So the answer is the last entry, whatever happened before.
        """
        return self.artefact(SAID)

    async def open(self, seed: ChainSeed, context: Context) -> Chain:
        """A chain before its first session. Raises TaskError where the task's turns are too few for it."""
        sessions = len(seed.prompts) + 1
        turns = context.limits.turns // sessions if self._turns is None else self._turns
        if not turns or turns * sessions > context.limits.turns:
            raise TaskError(
                f"world[{self.name!r}]: {sessions} sessions of {max(1, turns)} turns need"
                f" {max(1, turns) * sessions}, but Limits.turns is {context.limits.turns}; raise it"
            )
        return Chain(seed.prompts, turns, context.clock, self._apart)
