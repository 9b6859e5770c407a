"""One watchdog for all deadlines: entering a guard costs a dict entry, not a timer."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

TICK = 0.05  # seconds: how late a deadline may be kept
AGAIN = 5.0  # seconds after which what swallowed a cancellation is cancelled once more


class Overrun(TimeoutError):
    """A guard's deadline passed; told apart from a TimeoutError that the code inside raised by itself."""


class Guard:
    """`with watchdog.guard(seconds):` cancels the task inside and raises Overrun once they are over."""

    __slots__ = ("_cancels", "_deadline", "_guards", "_seconds", "_task")

    def __init__(self, guards: dict[int, Guard], seconds: float) -> None:
        self._guards = guards
        self._seconds = seconds
        self._cancels = 0
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        """Start counting."""
        self._task = asyncio.current_task()
        self._deadline = time.monotonic() + self._seconds
        self._guards[id(self)] = self

    def expire(self, now: float) -> None:
        """Cancel the guarded task where its time is over, and again where it stays."""
        if now >= self._deadline and self._task is not None:
            self._cancels += 1
            self._deadline = now + AGAIN
            self._task.cancel()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop counting; turn this guard's own cancellation, and no other, into Overrun."""
        del self._guards[id(self)]
        others = 0
        for _ in range(self._cancels):
            others = self._task.uncancel() if self._task else 0
        if (
            self._cancels
            and others == 0
            and (error is None or isinstance(error, asyncio.CancelledError))
        ):
            raise Overrun(f"over {self._seconds:g} s") from error


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
