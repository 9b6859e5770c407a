"""Workers under watch: killed when they overrun, started again when next needed."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from envkit.errors import EnvkitError, FrameError, JudgeError, TaskError, UsageError
from envkit.judge.channel import Channel, Message

WORKER = "envkit.judge.worker"


LOAD_SECONDS = 60.0  # for a pack to be imported


class Broke(EnvkitError):
    """This very call overran or killed the worker, as far as could be told."""


class Refused(Broke):
    """The author's code raised, or gave what it must not give; the worker lives on."""


class Displaced(EnvkitError):
    """The worker was lost to another call; this one may simply be made again."""


class WatchedWorker:
    """One worker process. Calls are answered in order; the first unanswered one is who hangs or kills it."""

    def __init__(self, spec: str, salt: bytes) -> None:
        self._spec = spec
        self._salt = salt
        self._channel: Channel | None = None
        self._starting = asyncio.Lock()
        self._order: dict[int, None] = {}  # calls under way, oldest first
        self._count = 0
        self._digest: str | None = None

    async def start(self) -> str:
        """Start the process where none runs; the digest of what it loaded. Raises UsageError where it doesn't load."""
        async with self._starting:
            if self._channel is None or self._channel.gone is not None:
                self._channel = await self._load()
            return self._digest or ""

    async def _load(self) -> Channel:
        channel = await Channel.start(WORKER)
        try:
            asking = channel.call("load", spec=self._spec, salt=self._salt.hex())
            loaded = await asyncio.wait_for(asking, LOAD_SECONDS)
            if "refused" in loaded:
                raise UsageError(loaded["why"])
            if self._digest not in (None, loaded["digest"]):
                raise UsageError(f"{self._spec}: its source changed while it was running")
        except TimeoutError:
            await channel.kill()
            raise UsageError(f"{self._spec}: not imported after {LOAD_SECONDS:g} s") from None
        except JudgeError:
            await channel.kill()
            raise UsageError(
                f"{self._spec}: the judge's process ends while it imports this"
            ) from None
        except BaseException:
            await channel.kill()
            raise
        self._digest = loaded["digest"]
        return channel

    async def call(self, op: str, seconds: float, **fields: Any) -> Message:
        """Ask within `seconds`. Raises Broke, Refused, Displaced, or TaskError for a task that does not validate."""
        await self.start()
        channel = self._channel
        if channel is None:
            raise Displaced("the worker was lost while it started")
        self._count += 1
        number = self._count
        self._order[number] = None
        try:
            reply = await asyncio.wait_for(channel.call(op, **fields), seconds)
        except FrameError as error:
            raise Refused(f"{op}: {error}") from None
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
        return _unrefused(reply)

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


def _unrefused(reply: Message) -> Message:
    match reply.get("refused"):
        case None:
            return reply
        case "task":
            raise TaskError(reply["why"])
        case "gone":  # what it had begun in that process went with it
            raise Displaced(reply["why"])
        case _:
            raise Refused(reply["why"])


class Graders:
    """Workers that grade: some shared by many gradings, some for one that has to be re-run alone."""

    def __init__(self, spec: str, salt: bytes, shared: int = 2, alone: int = 2) -> None:
        self._shared = [WatchedWorker(spec, salt) for _ in range(shared)]
        self._alone: asyncio.Queue[WatchedWorker] = asyncio.Queue()
        spare = [WatchedWorker(spec, salt) for _ in range(alone)]
        for worker in spare:
            self._alone.put_nowait(worker)
        self._all = [*self._shared, *spare]
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
