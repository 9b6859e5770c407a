"""Workers under watch: killed when they overrun, started again when next needed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from envkit.errors import EnvkitError, JudgeError, TaskError, UsageError
from envkit.judge.channel import Channel, Message

WORKER = "envkit.judge.worker"


class Broke(EnvkitError):
    """This very call overran, killed the worker, or made the author's code raise."""


class Displaced(EnvkitError):
    """The worker was lost to another call; this one may simply be made again."""


class WatchedWorker:
    """One worker process. Calls are answered in order; the first unanswered one is who hangs or kills it."""

    def __init__(self, spec: str, salt: bytes) -> None:
        self._load = {"spec": spec, "salt": salt.hex()}
        self._channel: Channel | None = None
        self._starting = asyncio.Lock()
        self._order: dict[int, None] = {}  # calls under way, oldest first
        self._count = 0

    async def start(self) -> str:
        """Start the process and load the environment; its digest. Raises UsageError where it doesn't load."""
        async with self._starting:
            if self._channel is not None:
                return ""
            channel = await Channel.start(WORKER)
            loaded = await channel.call("load", **self._load)
            if "refused" in loaded:
                await channel.kill()
                raise UsageError(loaded["why"])
            self._channel = channel
            return str(loaded["digest"])

    async def call(self, op: str, seconds: float, **fields: Any) -> Message:
        """Ask within `seconds`. Raises Broke, Displaced, or TaskError for a task that does not validate."""
        if self._channel is None:
            await self.start()
        channel = self._channel
        if channel is None:
            raise Displaced("the worker was lost while it started")
        self._count += 1
        number = self._count
        self._order[number] = None
        try:
            reply = await asyncio.wait_for(channel.call(op, **fields), seconds)
        except (TimeoutError, JudgeError) as error:
            suspect = next(iter(self._order)) == number
            await self._discard(channel)
            if suspect:
                what = (
                    f"overran {seconds:g} s"
                    if isinstance(error, TimeoutError)
                    else "killed its process"
                )
                raise Broke(f"{op} {what}") from None
            raise Displaced(f"{op} lost its worker to another call") from None
        finally:
            self._order.pop(number, None)
        if reply.get("refused") == "task":
            raise TaskError(reply["why"])
        if "refused" in reply:
            raise Broke(reply["why"])
        return reply

    async def _discard(self, channel: Channel) -> None:
        """Kill a process that can't be trusted any more; the next call starts another."""
        if self._channel is channel:
            self._channel = None
        await channel.kill()

    async def close(self) -> None:
        """End the process."""
        channel, self._channel = self._channel, None
        if channel is not None:
            with contextlib.suppress(JudgeError):
                await channel.close()


class Graders:
    """Workers that grade: some shared by many gradings, some for one that has to be re-run alone."""

    def __init__(self, spec: str, salt: bytes, shared: int = 2, alone: int = 2) -> None:
        self._shared = [WatchedWorker(spec, salt) for _ in range(shared)]
        self._alone: asyncio.Queue[WatchedWorker] = asyncio.Queue()
        for _ in range(alone):
            self._alone.put_nowait(WatchedWorker(spec, salt))
        self._all = [*self._shared, *self._alone._queue]  # type: ignore[attr-defined]
        self._turn = 0

    def shared(self) -> WatchedWorker:
        """The next worker, in turn."""
        self._turn += 1
        return self._shared[self._turn % len(self._shared)]

    @contextlib.asynccontextmanager
    async def alone(self) -> Any:
        """A worker that does nothing else meanwhile."""
        worker = await self._alone.get()
        try:
            yield worker
        finally:
            self._alone.put_nowait(worker)

    async def close(self) -> None:
        """End all processes."""
        await asyncio.gather(*(worker.close() for worker in self._all))
