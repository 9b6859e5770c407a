"""One watchdog for all deadlines: entering a guard costs a dict entry, not a timer."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

TICK = 0.05  # seconds: how late a deadline may be kept


class Guard:
    """`with watchdog.guard(seconds):` cancels the task inside and raises TimeoutError once they are over."""

    __slots__ = ("_deadline", "_expired", "_guards", "_seconds", "_task")

    def __init__(self, guards: dict[int, Guard], seconds: float) -> None:
        self._guards = guards
        self._seconds = seconds
        self._expired = False
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        """Start counting."""
        self._task = asyncio.current_task()
        self._deadline = time.monotonic() + self._seconds
        self._guards[id(self)] = self

    def expire(self, now: float) -> None:
        """Cancel the guarded task where its time is over."""
        if now >= self._deadline and not self._expired and self._task is not None:
            self._expired = True
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop counting; turn this guard's own cancellation, and no other, into TimeoutError."""
        del self._guards[id(self)]
        if self._expired and self._task is not None:
            others = self._task.uncancel()
            if others == 0 and isinstance(error, asyncio.CancelledError):
                raise TimeoutError(f"over {self._seconds:g} s") from error


class Watchdog:
    """Wakes every `TICK` seconds and looks at all guards. An async context manager."""

    def __init__(self) -> None:
        self._guards: dict[int, Guard] = {}
        self._task: asyncio.Task[None] | None = None

    def guard(self, seconds: float) -> Guard:
        """A deadline for the code inside the `with`, in the current task."""
        return Guard(self._guards, seconds)

    async def __aenter__(self) -> Watchdog:
        """Start watching."""
        self._task = asyncio.create_task(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            now = time.monotonic()
            for guard in list(self._guards.values()):
                guard.expire(now)
