"""The host's end of a sandbox's way out: each connection made inside is carried to the episode's door.

The sandbox has no network and gets none. Its supervisor says nothing unasked, so what bounds it is
what is asked here: the next connection only where there is room for one, the next bytes of one only
when the last are gone. Whatever the agent does, there are at most MOST sockets, and behind each of
them a few chunks of memory; all of them lead to the one port that was given.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from envkit.errors import SandboxLost

from .channel import Header
from .sandbox import FileProblem

MOST = 32
"""Connections of one sandbox at once; more of them wait inside."""

_CHUNK = 32_768  # what one question moves: small, for the shell's own frames wait behind it
_KERNEL_BUFFER = 65_536  # of a socket, each way
_LINGER_SECONDS = 2.0  # for an agent's program to hang up once the door has
_AGAIN_SECONDS = 0.1  # after a connection that could not be taken

_T = TypeVar("_T")


class Ask(Protocol):
    """One question to the supervisor. Raises FileProblem where it can't be done, SandboxLost."""

    async def __call__(  # noqa: D102 - see the class
        self,
        do: str,
        body: bytes = b"",
        *,
        read: Callable[[Header, bytes], _T],
        most: int = 0,
        seconds: float | None = None,
        **fields: Any,
    ) -> _T: ...


class Link:
    """Carries connections from now on; `close` ends them all.

    Its tasks are never cancelled: each ends when its question is answered, or can't be any more.
    """

    def __init__(self, ask: Ask, port: int) -> None:
        self._ask, self._port = ask, port
        self._room = asyncio.Semaphore(MOST)
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._begin(self._serve())

    def close(self) -> None:
        """No socket is left once the event loop has come round."""
        self._closed = True
        for writer in self._writers:
            writer.transport.abort()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self) -> None:
        """Take one connection after the other, where there is room for one."""
        count = 0
        while not self._closed:
            await self._room.acquire()
            try:
                await self._next(count + 1)
            except SandboxLost:
                return
            except FileProblem:
                self._room.release()
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                count += 1
                self._begin(self._carry(count))

    async def _next(self, line: int) -> None:
        """Wait for the next connection, which has to be the one of that number."""

        def read(header: Header, body: bytes) -> None:
            if header.get("line") != line:
                raise SandboxLost("a connection out of turn")

        await self._ask("accept", line=0, read=read, seconds=None)

    async def _carry(self, line: int) -> None:
        """One connection, from its first byte until nothing is left of it here and inside."""
        try:
            left = await self._copied(line)
            await _whole(self._ask("hang_up", line=line, read=_nothing))
            if left:  # what they still ask has been answered by now
                await asyncio.wait(left)
        finally:
            self._room.release()

    async def _copied(self, line: int) -> set[asyncio.Task[bool]]:
        """Copy both ways until both have ended, one has failed, or the door has hung up."""
        try:
            reader, writer = await _connected(self._port)
        except OSError:  # the door is closed: so is the connection
            return set()
        self._writers.add(writer)
        if self._closed:
            writer.transport.abort()
        out = asyncio.create_task(_whole(self._out(line, writer)))
        back = asyncio.create_task(_whole(self._back(line, reader)))
        done, left = await asyncio.wait((out, back), return_when=asyncio.FIRST_COMPLETED)
        if left and all(way.result() for way in done):
            _, left = await asyncio.wait(left, timeout=_LINGER_SECONDS if back in done else None)
        writer.transport.abort()
        self._writers.discard(writer)
        return left

    async def _out(self, line: int, writer: asyncio.StreamWriter) -> None:
        """From the sandbox to the door."""
        while data := await self._pull(line):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def _pull(self, line: int) -> bytes:
        return await self._ask(
            "pull", line=line, limit=_CHUNK, most=_CHUNK, read=_body, seconds=None
        )

    async def _back(self, line: int, reader: asyncio.StreamReader) -> None:
        """From the door to the sandbox; no bytes say that no more will come."""
        data = b"x"
        while data:
            data = await reader.read(_CHUNK)
            await self._ask("push", data, line=line, read=_nothing, seconds=None)


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection with small buffers: the kernel's grow to megabytes where nobody reads."""
    ours = socket.socket()
    try:
        ours.setblocking(False)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _KERNEL_BUFFER)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
        await asyncio.get_running_loop().sock_connect(ours, ("127.0.0.1", port))
        return await asyncio.open_connection(sock=ours, limit=_CHUNK)
    except BaseException:
        ours.close()
        raise


async def _whole(work: Coroutine[Any, Any, None]) -> bool:
    """Whether it came to its end; a connection that breaks is nobody's error."""
    try:
        await work
    except (FileProblem, SandboxLost, OSError):
        return False
    return True


def _nothing(header: Header, body: bytes) -> None:
    """An answer that only says that it is done."""


def _body(header: Header, body: bytes) -> bytes:
    return body
