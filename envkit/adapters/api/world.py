"""`World`: what a handler gets of the episode that it serves. Asking for it in a signature is all that it takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from random import Random
from typing import Annotated, Any

from fastapi import Depends
from starlette.requests import HTTPConnection

from envkit.adapter import Clock

SCOPE_KEY = "envkit.world"


class EpisodeWorld:
    """One episode's side of an app: `world.store` and what else the declaration named, the clock, ids and draws."""

    def __init__(
        self,
        clock: Clock,
        rng: Random,
        origin: str,
        sessions: Mapping[str, Any],
        logging: tuple[Any, ...] = (),
    ) -> None:
        self.clock = clock
        self.rng = rng
        self.origin = origin
        self.actor = "tool"  # through which door the request came: "tool", or an adapter's name
        self._sessions = sessions
        self._logging = logging  # those of the sessions that note who acts

    def __getattr__(self, name: str) -> Any:
        """The session of another adapter, by the keyword that the declaration gave it."""
        sessions = self.__dict__.get("_sessions", {})
        if name in sessions:
            return sessions[name]
        known = ", ".join(sessions) or "none"
        raise AttributeError(f"this Api was given no {name!r}; it has: {known}")

    def now(self) -> str:
        """The episode's time, ISO 8601 in UTC, whole seconds."""
        return datetime.fromtimestamp(self.clock.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def new_id(self, prefix: str = "") -> str:
        """An id such as "rf_3f9a0c1d52b7": the same for the same requests in every episode of one seed."""
        drawn = f"{self.rng.getrandbits(48):012x}"
        return f"{prefix}_{drawn}" if prefix else drawn

    def by(self, actor: str) -> EpisodeWorld:
        """The same world, for a request of this actor's."""
        world = EpisodeWorld(self.clock, self.rng, self.origin, self._sessions, self._logging)
        world.actor = actor
        return world

    @contextmanager
    def acting(self) -> Iterator[None]:
        """Have what the sessions log named after the actor, where they can."""
        with ExitStack() as stack:
            for session in self._logging:
                stack.enter_context(session.acting(self.actor))
            yield


async def _world(connection: HTTPConnection) -> EpisodeWorld:
    world: EpisodeWorld = connection.scope[SCOPE_KEY]
    return world


World = Annotated[EpisodeWorld, Depends(_world)]
"""The type of a handler's parameter: `def refund(order_id: int, world: World)`."""

RESERVED = frozenset(name for name in vars(EpisodeWorld) if not name.startswith("_")) | {
    "actor", "clock", "origin", "rng",
}  # fmt: skip
"""What no session can be called."""
