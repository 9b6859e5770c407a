"""The host's end of a sandbox's stdio: length-prefixed frames under a strict state machine.

Whatever breaks the rules (an unknown number, a second answer, a body over what was asked for, no
answer in time) ends the slot: the channel fails once, and every call raises SandboxLost.
"""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from envkit.errors import SandboxLost

from .sandbox import FileProblem

_MOST_HEADER = 4 << 20
_STDERR_KEPT = 2_000
_STDOUT, _STDERR = 1, 2

Header = dict[str, Any]
_T = TypeVar("_T")


@dataclass(slots=True)
class _Asked:
    answer: asyncio.Future[tuple[Header, bytes]]
    most: int
    over: bool = False  # with its lease: whoever asked has been told


class Channel(asyncio.Protocol):
    """Frames over a socket. `multiplexed` streams carry the engine's 8-byte headers around them."""

    def __init__(self, *, multiplexed: bool) -> None:
        self._multiplexed = multiplexed
        self._raw, self._frames, self._stderr = bytearray(), bytearray(), bytearray()
        self._transport: asyncio.Transport | None = None
        self._asked: dict[int, _Asked] = {}
        self._count = 0
        self._hello: asyncio.Future[Header] | None = None
        self.lost: str | None = None
        self.on_lost: Callable[[], None] | None = None

    # --- asking ---------------------------------------------------------------------------------

    def send_raw(self, data: bytes) -> None:
        """Write bytes that are no frame: the payload, before the first hello."""
        self._write(data)

    async def hello(self, seconds: float) -> Header:
        """Wait for the next supervisor's first frame. Raises SandboxLost."""
        return await self._in_time(self._expect_hello(), seconds, "no hello")

    async def ask(
        self,
        do: str,
        fields: Mapping[str, Any],
        body: bytes = b"",
        *,
        most: int,
        seconds: float | None,
    ) -> tuple[Header, bytes]:
        """Send a request and wait for its answer, of at most `most` bytes, for `seconds` (None: ever).

        Raises FileProblem where the supervisor says why it cannot, SandboxLost where it is gone,
        breaks the rules or does not answer. Cancelled, the request is cancelled inside, too.
        """
        self._count += 1
        number = self._count
        future: asyncio.Future[tuple[Header, bytes]] = asyncio.get_running_loop().create_future()
        self._asked[number] = _Asked(future, most)
        self._frame({"id": number, "do": do, **fields}, body)
        try:
            header, data = await self._in_time(future, seconds, f"no answer to {do!r}")
        except asyncio.CancelledError:
            self._cancel(number)
            raise
        if "problem" in header:
            raise FileProblem(str(header["problem"]))
        return header, data

    async def reset(self, seconds: float) -> Header:
        """Ask for a new room; the hello of its supervisor. Raises SandboxLost."""
        for asked in self._asked.values():  # their answers may still be under way
            asked.over = True
            if not asked.answer.done():
                asked.answer.set_exception(SandboxLost("the lease is over"))
        self._count += 1
        hello = self._expect_hello()
        self._frame({"id": self._count, "do": "reset"}, b"")
        return await self._in_time(hello, seconds, "no hello after a reset")

    def fail(self, reason: str) -> None:
        """End the channel: everything that waits, and everything to come, raises SandboxLost."""
        if self.lost is not None:
            return
        said = bytes(self._stderr).decode("utf-8", "replace").strip().splitlines()
        self.lost = f"{reason} ({said[-1][:300]})" if said else reason
        if self._transport is not None:
            self._transport.abort()
        waiting: list[asyncio.Future[Any]] = [asked.answer for asked in self._asked.values()]
        self._asked.clear()
        for future in [*waiting, *([self._hello] if self._hello else [])]:
            if not future.done():
                future.set_exception(self._error())
        if self.on_lost is not None:
            self.on_lost()

    def _error(self) -> SandboxLost:
        return SandboxLost(f"the sandbox is gone: {self.lost}")

    def _expect_hello(self) -> asyncio.Future[Header]:
        if self.lost is not None:
            raise self._error()
        self._hello = asyncio.get_running_loop().create_future()
        return self._hello

    async def _in_time(self, future: asyncio.Future[_T], seconds: float | None, what: str) -> _T:
        if seconds is None:
            return await future
        late = f"{what} in {seconds:g} s"
        timer = asyncio.get_running_loop().call_later(seconds, self.fail, late)
        try:
            return await future
        finally:
            timer.cancel()

    def _cancel(self, number: int) -> None:
        """Nobody waits for this answer any more: stop the work, take the answer and drop it."""
        asked = self._asked.get(number)
        if asked is None or asked.over or self.lost is not None:
            return  # a request after the reset would be the next lease's
        self._count += 1
        asked.answer = self._ignored()
        self._asked[self._count] = _Asked(self._ignored(), 0)
        self._frame({"id": self._count, "do": "cancel", "which": number}, b"")

    def _ignored(self) -> asyncio.Future[tuple[Header, bytes]]:
        future: asyncio.Future[tuple[Header, bytes]] = asyncio.get_running_loop().create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        return future

    def _frame(self, header: Header, body: bytes) -> None:
        text = json.dumps(header).encode()
        self._write(struct.pack(">II", len(text), len(body)) + text + body)

    def _write(self, data: bytes) -> None:
        if self.lost is not None or self._transport is None:
            raise self._error()
        self._transport.write(data)

    # --- hearing --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the socket is ours."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, problem: Exception | None) -> None:
        """asyncio: the socket is closed."""
        self.fail("its connection ended")

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes from the sandbox, in pieces of any size."""
        if not self._multiplexed:
            self._frames += data
            self._take_frames()
            return
        self._raw += data
        while len(self._raw) >= 8:
            stream, size = self._raw[0], int.from_bytes(self._raw[4:8], "big")
            if len(self._raw) < 8 + size:
                break
            piece = self._raw[8 : 8 + size]
            del self._raw[: 8 + size]
            if stream == _STDERR:
                self._stderr = (self._stderr + piece)[-_STDERR_KEPT:]
            elif stream == _STDOUT:
                self._frames += piece
        self._take_frames()

    def _take_frames(self) -> None:
        while self.lost is None and len(self._frames) >= 8:
            head, body = struct.unpack_from(">II", self._frames)
            most = max((asked.most for asked in self._asked.values()), default=0)
            if head > _MOST_HEADER or body > most:
                self.fail("a frame was longer than anything asked for")
                return
            end = 8 + head + body
            if len(self._frames) < end:
                return
            frame = bytes(self._frames[8:end])
            del self._frames[:end]
            try:
                header = json.loads(frame[:head])
            except (ValueError, RecursionError):
                self.fail("a frame's header was not JSON")
                return
            self._hear(header, frame[head:])

    def _hear(self, header: object, body: bytes) -> None:
        if not isinstance(header, dict):
            self.fail("a frame's header was not an object")
        elif "hello" in header:
            if self._hello is None or self._hello.done() or not isinstance(header["hello"], dict):
                self.fail("a hello that nobody waits for")
            else:
                self._asked.clear()
                self._hello.set_result(header["hello"])
        else:
            number = header.get("id")
            asked = self._asked.get(number) if type(number) is int else None
            if type(number) is not int or asked is None:
                self.fail("an answer to nothing that was asked")
            elif len(body) > asked.most:  # still among the asked, who all learn of it
                self.fail("an answer longer than what was asked for")
            else:
                del self._asked[number]
                if not asked.answer.done():
                    asked.answer.set_result((header, body))
