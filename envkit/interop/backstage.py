"""Trials for callers that block: a thread with an event loop, and in it the judge, the host and one trial at a time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from envkit.data.message import Action, Observation
from envkit.data.spec import EnvSpec
from envkit.data.tool import Tool
from envkit.env import SEAT
from envkit.errors import JudgeError, UsageError
from envkit.host import Backend, Host, HostSettings
from envkit.judge.client import Judge, JudgeSettings
from envkit.registry import resolve
from envkit.rollout.trial import Stage, Step, Trial
from envkit.rollout.watchdog import Watchdog

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Play:
    """What is played: an environment by its spec, the split, and whose tasks."""

    spec: str | EnvSpec
    split: str = "train"
    salt_file: str | None = None
    backend: Backend = "auto"


class Backstage:
    """Opens with the first `reset`; `close` gives everything back, also in the middle of an episode."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._resolved = resolve(
            EnvSpec.parse(play.spec)
        )  # a wrong spec is an error now, not later
        if play.split not in self._resolved.env.splits:
            known = ", ".join(self._resolved.env.splits)
            raise UsageError(f"{self._resolved.spec}: no split {play.split!r}; it has {known}")
        self._stack = AsyncExitStack()
        self._stage: Stage | None = None
        self._trial: Trial | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._changing = threading.Lock()  # held where the loop comes and goes
        self._busy = threading.Lock()  # held during a call
        self._task: asyncio.Task[Any] | None = None  # the call under way
        self._closed = False
        self._next = 0

    @property
    def name(self) -> str:
        """The canonical spec."""
        return str(self._resolved.spec)

    @property
    def seats(self) -> tuple[str, ...]:
        """Who takes part, as the class declares it: known before a world is open."""
        for adapter in self._resolved.env._adapters.values():
            if adapter.hears:
                return tuple(getattr(adapter, "seats", (SEAT,)))
        return (SEAT,)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What agents are offered in the episode under way."""
        return self._trial.tools if self._trial else ()

    @property
    def acting(self) -> tuple[str, ...]:
        """Whose turn it is."""
        return self._trial.acting if self._trial else ()

    def reset(self, seed: int | None) -> dict[str, Observation]:
        """Begin an episode of the task that a seed stands for; what each seat sees first.

        Seed n is task n, modulo the size of the split; no seed is the task after the last one. Raises TrialInvalid.
        """
        index = self._index(seed)
        self._next = index + 1
        return self._run(self._begin(index))

    def step(self, actions: Mapping[str, Action]) -> dict[str, Step]:
        """An action of each acting seat."""
        if self._trial is None:
            raise UsageError(f"{self.name}: call reset first")
        return self._run(self._trial.step_seats(actions))

    def close(self) -> None:
        """Close world, judge and host, and end the thread. Safe to call twice, and from any thread."""
        with self._changing:
            self._closed = True
            loop, self._loop = self._loop, None
        if loop is None or self._thread is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self._end(), loop).result()
        finally:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()

    def _index(self, seed: int | None) -> int:
        if seed is not None and (isinstance(seed, bool) or int(seed) != seed or seed < 0):
            raise UsageError(f"{self.name}: a seed is an integer from 0, not {seed!r}")
        index = self._next if seed is None else int(seed)
        size = self._resolved.env.splits[self._play.split]
        return index if size is None else index % size

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out in the background what the caller waits for."""
        if not self._busy.acquire(blocking=False):
            work.close()
            raise UsageError(
                f"{self.name}: another thread is in the middle of a call; one at a time"
            )
        try:
            future = self._started(work)
            try:
                return future.result()
            except BaseException as error:
                future.cancel()  # Ctrl-C here must not leave the work going on there
                if self._closed and isinstance(error, CancelledError):
                    raise UsageError(
                        f"{self.name}: it was closed in the middle of a call"
                    ) from None
                raise
        finally:
            self._busy.release()

    def _started(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Work on the loop in its thread, before anything that `close` brings there."""
        with self._changing:
            if self._closed:
                work.close()
                raise UsageError(f"{self.name}: it is closed; make another one")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # a daemon: a program that forgets `close` must still be able to end
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name=f"envkit {self.name}", daemon=True
                )
                self._thread.start()
            return asyncio.run_coroutine_threadsafe(self._alone(work), self._loop)

    async def _alone(self, work: Coroutine[Any, Any, T]) -> T:
        self._task = asyncio.current_task()
        try:
            return await work
        finally:
            self._task = None

    async def _begin(self, index: int) -> dict[str, Observation]:
        if self._stage is None:
            self._stage = await self._open()
        if self._trial is not None:
            await self._trial.close()
            self._trial = None
        try:
            ticket = await self._stage.judge.draw(self._play.split, index)
        except JudgeError:  # its process is gone, and the next reset opens another one
            self._stage = None
            await self._stack.aclose()
            raise
        episode = f"{self._play.split}-{index}"
        self._trial = Trial(self._stage, ticket, episode=episode, group=ticket.public.id)
        return await self._trial.reset_seats()

    async def _open(self) -> Stage:
        settings = JudgeSettings(self._play.salt_file, backend=self._play.backend, concurrency=1)
        async with AsyncExitStack() as opening:
            watchdog = await opening.enter_async_context(Watchdog())
            host = await opening.enter_async_context(Host(HostSettings(self._play.backend, 1)))
            judge = await opening.enter_async_context(Judge(self._resolved.spec, settings))
            self._stack = opening.pop_all()
        return Stage(self._resolved, judge, host, watchdog)

    async def _end(self) -> None:
        if self._task is not None:  # a call in the middle of which it is closed
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._trial is not None:
            await self._trial.close()
        await self._stack.aclose()
        loop = asyncio.get_running_loop()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:  # a call that Ctrl-C left behind
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await loop.shutdown_asyncgens()
        await loop.shutdown_default_executor()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run a loop until it is stopped. What no handler keeps (Ctrl-C) is for the caller who waits for it."""
    while True:
        try:
            loop.run_forever()
        except (KeyboardInterrupt, SystemExit):
            continue
        else:
            return
