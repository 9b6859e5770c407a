"""Whether a container engine is still there, asked when a container is not.

An agent can end its own container; no agent can make the engine refuse a connection. That is the
proof which tells the agent's doing from infrastructure. It is looked for on a plain blocking socket
and threads of its own: a busy event loop or a full thread pool must not look like a silent engine.
"""

from __future__ import annotations

import asyncio
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

_SILENT_SECONDS = 2.0
_AGAIN_SECONDS = 1.0  # a stopping engine ends its containers moments before its socket
_MOST_THREADS = 64
_PING = b"GET /_ping HTTP/1.0\r\nHost: engine\r\n\r\n"

Answer = Literal["here", "silent", "refused"]


class Engine:
    """One engine as its clients reach it: the family and address of a connection to it."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_MOST_THREADS, "envkit-engine")
        self._closed = False

    async def is_gone(self, family: int, address: Any) -> bool:
        """Ask now and once more after a second: gone if it refuses once, or says nothing twice.

        One silence proves nothing: a host under load looks the same.
        """
        first = await self._ask(family, address)
        if first == "refused":
            return True
        await asyncio.sleep(_AGAIN_SECONDS)
        second = await self._ask(family, address)
        return second == "refused" or first == second == "silent"

    async def _ask(self, family: int, address: Any) -> Answer:
        if self._closed:  # it was us who took the sandbox away
            return "here"
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, ask, family, address)

    def close(self) -> None:
        """Let go of the threads; each ends within the seconds that an answer may take."""
        self._closed = True
        self._threads.shutdown(wait=False)


def ask(family: int, address: Any) -> Answer:
    """Ping the engine once."""
    try:
        asking = socket.socket(family)
    except OSError:  # we have no descriptor left, which says nothing about the engine
        return "here"
    with asking:
        asking.settimeout(_SILENT_SECONDS)
        try:
            asking.connect(address)
            asking.sendall(_PING)
            status = asking.recv(64)
        except (ConnectionError, FileNotFoundError):
            return "refused"
        except OSError:  # out of time, no route, a full backlog
            return "silent"
    # Podman answers, and so does a proxy that forbids the question; 5xx is a proxy without engine.
    return "here" if re.match(rb"HTTP/1\.[01] [1-4]", status) else "refused"
