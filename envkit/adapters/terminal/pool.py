"""Leases: clean slots handed out, cleaned and kept warm, never shared where the rules forbid it.

A slot belongs to one (spec, pack) and never serves two members of one group. Agents and subjects
use pools of their own. Cleaning happens when a lease ends, in the background, so that a warm lease
costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

from envkit.errors import MissingError, SandboxLost, SandboxUnavailable, UsageError

from .bubblewrap import BubblewrapBackend
from .docker import DockerBackend
from .lifeline import LIFELINE
from .machine import Machine
from .sandbox import Sandbox, SandboxSpec
from .slots import Backend, Slot

MOST_USES = 200
"""Leases after which a slot is made anew, whatever its proof says."""

_CLOSED = "this pool of sandboxes is closed"
_log = logging.getLogger("envkit.terminal")
_Key = tuple[SandboxSpec, str]


@dataclass(eq=False, slots=True)
class _Place:
    """A slot and its past."""

    slot: Slot
    key: _Key
    groups: set[str] = field(default_factory=set[str])
    uses: int = 0


@dataclass(eq=False, slots=True)
class _Coming:
    """A place being made or cleaned; at most one lease waits for it."""

    key: _Key
    groups: set[str]
    task: asyncio.Task[_Place]
    claimed: bool = False


async def open_pool(
    backend: Literal["auto", "docker", "bubblewrap"] = "auto", *, size: int = 4
) -> Pool:
    """A pool on this machine: Docker where an engine answers, else bubblewrap, never the bare host.

    `size` is how many idle slots are kept warm. Raises MissingError, saying what to install.
    """
    if backend not in ("auto", "docker", "bubblewrap"):
        raise UsageError(f"backend {backend!r} is unknown; use auto, docker or bubblewrap")
    missing = []
    for name, connect in (
        ("docker", DockerBackend.connect),
        ("bubblewrap", BubblewrapBackend.connect),
    ):
        if backend in ("auto", name):
            try:
                return Pool(await connect(), size=size)
            except MissingError as problem:
                missing.append(str(problem))
    raise MissingError("; or: ".join(missing))


class Pool:
    """A `SandboxPool` over one backend. Made by `open_pool`; bound to the running event loop."""

    def __init__(self, backend: Backend, *, size: int) -> None:
        self._backend, self._size = backend, size
        self._idle: list[_Place] = []
        self._coming: set[_Coming] = set()
        self._leased: set[_Place] = set()
        self._background: set[asyncio.Task[None]] = set()
        self._slot_notes: set[str] = set()
        self._closed = False
        most = backend.most_leases
        self._turns = asyncio.Semaphore(most) if most is not None else contextlib.nullcontext()
        LIFELINE.hold(docker=backend.name == "docker")
        for note in backend.notes:
            _log.warning(note)

    @property
    def backend(self) -> Literal["docker", "bubblewrap"]:
        """Which backend the slots come from."""
        return self._backend.name

    @property
    def notes(self) -> tuple[str, ...]:
        """What a report should say about these sandboxes, such as `bubblewrap: unbounded`."""
        return (*self._backend.notes, *sorted(self._slot_notes))

    @contextlib.asynccontextmanager
    async def lease(self, spec: SandboxSpec, *, pack: str, group: str) -> AsyncIterator[Sandbox]:
        """A slot that is proved clean, for this pack, that no member of `group` used before.

        Raises SandboxUnavailable (infrastructure) or MissingError (no image, no engine, no bwrap).
        """
        async with self._turns:
            place = await self._take((spec, pack), group)
            place.groups.add(group)
            place.uses += 1
            self._leased.add(place)
            if not place.slot.resets:
                self._spare(place.key)
            machine = Machine(place.slot.channel, self._backend.name, place.slot.engine_lost)
            try:
                yield machine
            finally:
                machine.end()
                self._leased.discard(place)
                self._give_back(place)

    async def aclose(self) -> None:
        """Remove every slot; returns when nothing is left. Leases still open are lost."""
        if self._closed:
            return
        self._closed = True
        closing = asyncio.create_task(self._close())
        try:
            await asyncio.shield(closing)
        except asyncio.CancelledError:
            await closing
            raise

    async def __aenter__(self) -> Pool:
        """The pool itself; it closes with the block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the pool."""
        await self.aclose()

    # --- taking ---------------------------------------------------------------------------------

    async def _take(self, key: _Key, group: str) -> _Place:
        while True:
            if self._closed:
                raise SandboxUnavailable(_CLOSED)
            place = self._pick(key, group)
            if place is not None:
                return place
            coming = self._next(key, group) or self._begin(key, set(), self._make(key))
            coming.claimed = True
            try:
                return await asyncio.shield(coming.task)
            except asyncio.CancelledError:
                coming.claimed = False
                if coming.task.done():
                    self._arrive(coming)
                raise

    def _pick(self, key: _Key, group: str) -> _Place | None:
        """The idle slot used last among those that may serve this group."""
        for place in reversed(self._idle):
            if place.key == key and group not in place.groups:
                self._idle.remove(place)
                if place.slot.channel.lost is None:
                    return place
                self._do(place.slot.destroy())
                return self._pick(key, group)
        return None

    def _next(self, key: _Key, group: str) -> _Coming | None:
        for coming in self._coming:
            if coming.key == key and not coming.claimed and group not in coming.groups:
                return coming
        return None

    # --- making and cleaning --------------------------------------------------------------------

    def _begin(self, key: _Key, groups: set[str], work: Coroutine[Any, Any, _Place]) -> _Coming:
        coming = _Coming(key, groups, asyncio.create_task(self._finish(work)))
        self._coming.add(coming)
        coming.task.add_done_callback(lambda _: self._arrive(coming))
        return coming

    async def _finish(self, work: Coroutine[Any, Any, _Place]) -> _Place:
        """A place nobody may have any more is removed before anybody gets it."""
        place = await work
        if self._closed:
            await place.slot.destroy()
            raise SandboxUnavailable(_CLOSED)
        return place

    def _arrive(self, coming: _Coming) -> None:
        """A place is ready, or failed: nobody's place becomes idle."""
        self._coming.discard(coming)
        if coming.claimed or coming.task.cancelled():
            return
        coming.claimed = True
        problem = coming.task.exception()
        if problem is not None:
            if not self._closed:
                _log.warning("a sandbox could not be made ready: %s", problem)
        elif self._closed:
            self._do(coming.task.result().slot.destroy())
        else:
            self._idle.append(coming.task.result())
            while len(self._idle) > self._size:
                self._do(self._idle.pop(0).slot.destroy())

    async def _make(self, key: _Key) -> _Place:
        slot = await self._backend.open(key[0])
        self._slot_notes.update(slot.notes)
        return _Place(slot, key)

    def _give_back(self, place: _Place) -> None:
        """Clean it or replace it, in the background."""
        slot = place.slot
        if self._closed:
            self._do(slot.destroy())
        elif slot.resets and slot.channel.lost is None and place.uses < MOST_USES:
            self._begin(place.key, place.groups, self._clean(place))
        else:
            self._do(slot.destroy())
            self._spare(place.key)

    def _spare(self, key: _Key) -> None:
        """Make one more in the background, unless one is there or there is no room."""
        there = [one.key for one in self._idle]
        there += [one.key for one in self._coming if not one.claimed]
        if len(there) < self._size and key not in there:
            self._begin(key, set(), self._make(key))

    async def _clean(self, place: _Place) -> _Place:
        try:
            await place.slot.reset()
        except (SandboxLost, SandboxUnavailable) as problem:
            _log.warning("a used sandbox is replaced: %s", problem)
            await place.slot.destroy()
            return await self._make(place.key)
        return place

    # --- ending ---------------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _close(self) -> None:
        for place in (*self._idle, *self._leased):
            self._do(place.slot.destroy())
        self._idle.clear()
        while self._coming or self._background:
            coming = [one.task for one in self._coming]
            await asyncio.gather(*coming, *self._background, return_exceptions=True)
            await asyncio.sleep(0)  # let the callbacks of what has just ended run
        await self._backend.aclose()
        await asyncio.to_thread(LIFELINE.release)
