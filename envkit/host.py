"""The host: what the runner opens once and all episodes share (sandbox pools, engines, browsers)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, TypeVar, cast

T = TypeVar("T")

Backend = Literal["auto", "docker", "bubblewrap"]


@dataclass(frozen=True, slots=True)
class HostSettings:
    """What adapters may ask their host about."""

    backend: Backend = "auto"
    concurrency: int = 8  # episodes at once: how many slots are worth keeping warm
    purpose: Literal["agent", "subject"] = "agent"  # a slot never serves both


class Host:
    """Opens a shared resource on first use, closes all in reverse order. An async context manager."""

    def __init__(self, settings: HostSettings | None = None) -> None:
        self.settings = settings or HostSettings()
        self._stack = AsyncExitStack()
        self._opened: dict[Hashable, asyncio.Future[Any]] = {}

    async def shared(
        self, key: Hashable, factory: Callable[[], AbstractAsyncContextManager[T]]
    ) -> T:
        """The resource of this key. The first caller opens it, the others wait; a failed opening is not kept."""
        if key not in self._opened:
            future = self._opened[key] = asyncio.ensure_future(
                self._stack.enter_async_context(factory())
            )
            future.add_done_callback(lambda done: self._forget_failure(key, done))
        # shield: one cancelled episode must not cancel the opening that others wait for
        return cast("T", await asyncio.shield(self._opened[key]))

    def _forget_failure(self, key: Hashable, done: asyncio.Future[Any]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._opened.pop(key, None)

    async def __aenter__(self) -> Host:
        """Nothing is opened before it is asked for."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close everything, last opened first."""
        openings = list(self._opened.values())
        await asyncio.gather(*openings, return_exceptions=True)
        await self._stack.__aexit__(kind, error, traceback)
