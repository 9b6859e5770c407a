"""`World`: what a handler gets of the episode that it serves. Asking for it in a signature is all that it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from random import Random
from typing import Annotated, Any

from fastapi import Depends, Request

from envkit.adapter import Clock

SCOPE_KEY = "envkit.world"


@dataclass(slots=True)
class EpisodeWorld:
    """One episode's side of an app: `world.store` and what else the declaration named, the clock, ids and draws."""

    clock: Clock
    rng: Random
    origin: str
    sessions: Mapping[str, Any] = field(default_factory=dict)
    actor: str = "tool"  # through which door the request came: "tool", or an adapter's name

    def __getattr__(self, name: str) -> Any:
        """The session of another adapter, by the keyword that the declaration gave it."""
        try:
            return self.sessions[name]
        except KeyError:
            known = ", ".join(self.sessions) or "none"
            raise AttributeError(f"this Api was given no {name!r}; it has: {known}") from None

    def now(self) -> str:
        """The episode's time, ISO 8601 in UTC, whole seconds."""
        return datetime.fromtimestamp(self.clock.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def new_id(self, prefix: str) -> str:
        """An id such as "rf_3f9a0c1d", the same in every episode of one seed."""
        return f"{prefix}_{self.rng.getrandbits(32):08x}"

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Have what the sessions log named after the actor, where they can."""
        with ExitStack() as stack:
            for session in self.sessions.values():
                if hasattr(session, "acting"):
                    stack.enter_context(session.acting(self.actor))
            yield


def _world(request: Request) -> EpisodeWorld:
    world: EpisodeWorld = request.scope[SCOPE_KEY]
    return world


World = Annotated[EpisodeWorld, Depends(_world)]
"""The type of a handler's parameter: `def refund(order_id: int, world: World)`."""
