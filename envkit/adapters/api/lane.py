"""A lane: the thread on which one episode's handlers run, so that a slow one holds up its own episode alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Lane:
    """An event loop on a thread of its own, begun on first use. A lane that is stuck is left behind for a new one."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._loop: asyncio.AbstractEventLoop | None = None

    async def run(self, work: Coroutine[Any, Any, T], seconds: float) -> T:
        """What the work comes to. Raises TimeoutError after `seconds`; a blocked thread is abandoned then."""
        loop = self._loop = self._loop or _begin(self._name)
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), seconds)
        except TimeoutError:
            self.close()
            raise

    def close(self) -> None:
        """Stop the loop once its present step is done; nobody waits for that."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(loop.stop)


def _begin(name: str) -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()

    def live() -> None:
        asyncio.set_event_loop(loop)
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    # a daemon: a handler that never returns must not keep the runner alive
    threading.Thread(target=live, name=f"api-{name}", daemon=True).start()
    return loop
