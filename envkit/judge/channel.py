"""Host-owned pipes between the runner, the judge service and its workers: bounded JSON frames, batched.

A frame is four bytes of length and a JSON list of requests or responses. Requests that are made in the same turn
of the event loop travel in one frame, so that a busy runner pays for one system call, not for one per episode.
Never pickle: nothing that crosses can be code.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, BinaryIO, TypeAlias

from envkit.errors import FrameError, JudgeError

log = logging.getLogger("envkit.judge")

Message: TypeAlias = dict[str, Any]

FRAME_LIMIT = 64 << 20  # bytes; the largest legal evidence is well below
_BATCH = 4 << 20  # a frame is sent on once it holds this much
_HEADER = struct.Struct("!I")
_ENCODE = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def dump(message: Message) -> bytes:
    """One message as compact JSON; lone surrogates pass as they are. Raises FrameError over the limit."""
    body = _ENCODE(message).encode("utf-8", "surrogatepass")
    if len(body) + 2 > FRAME_LIMIT:
        raise FrameError(f"a message of {len(body)} bytes; at most {FRAME_LIMIT} travel")
    return body


def frames(messages: Sequence[bytes]) -> list[bytes]:
    """Messages that are JSON already as one frame, or as several where one would be over the limit."""
    bodies: list[list[bytes]] = [[]]
    size = 2
    for message in messages:
        if bodies[-1] and size + len(message) + 1 > FRAME_LIMIT:
            bodies.append([])
            size = 2
        bodies[-1].append(message)
        size += len(message) + 1
    joined = [b"[" + b",".join(body) + b"]" for body in bodies if body]
    return [_HEADER.pack(len(body)) + body for body in joined]


def decode(body: bytes) -> list[Message]:
    """The messages of a frame. Raises FrameError where it is none."""
    try:
        messages = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"a frame that is not JSON: {error}") from None
    if not isinstance(messages, list) or not all(isinstance(item, dict) for item in messages):
        raise FrameError("a frame that is not a list of messages")
    return messages


def _length(header: bytes) -> int:
    (length,) = _HEADER.unpack(header)
    if length > FRAME_LIMIT:
        raise FrameError(f"a frame of {length} bytes is announced; at most {FRAME_LIMIT} travel")
    return int(length)


def read_frame(stream: BinaryIO) -> list[Message] | None:
    """The next frame of a blocking stream; None at its end."""
    header = stream.read(_HEADER.size)
    if len(header) < _HEADER.size:
        return None
    length = _length(header)
    body = stream.read(length)
    return None if len(body) < length else decode(body)


async def receive(reader: asyncio.StreamReader) -> list[Message] | None:
    """The next frame; None at the end of the stream."""
    try:
        header = await reader.readexactly(_HEADER.size)
        return decode(await reader.readexactly(_length(header)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


class Outbox:
    """Collects messages and writes them, as few frames as possible, at the end of the loop's turn."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._waiting: list[bytes] = []
        self._size = 0

    def put(self, message: Message) -> None:
        """Send soon. Raises FrameError where the message alone is too large."""
        body = dump(message)
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._flush)
        self._waiting.append(body)
        self._size += len(body)
        if self._size >= _BATCH:
            self._flush()

    def _flush(self) -> None:
        waiting, self._waiting, self._size = self._waiting, [], 0
        if not self._writer.is_closing():
            self._writer.writelines(frames(waiting))


class Channel:
    """The asking side: a child process, and calls to it by number.

    `call` raises what the other side refused with, or JudgeError once the process is gone.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is None or process.stdout is None:
            raise JudgeError("a judge process was started without its pipes")
        self.process = process
        self._reader = process.stdout
        self._outbox = Outbox(process.stdin)
        self._stdin = process.stdin
        self._calls: dict[int, asyncio.Future[Message]] = {}
        self._count = 0
        self.gone: str | None = None  # why nothing can be asked any more
        self._listener = asyncio.ensure_future(self._listen())

    @classmethod
    async def start(cls, module: str) -> Channel:
        """Start `python -I -m module`: no current directory, no PYTHON* variables, no user site on its path."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-m", module,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            env=_environment(), limit=1 << 20, start_new_session=True,
        )  # fmt: skip
        return cls(process)

    async def call(self, op: str, **fields: Any) -> Message:
        """Ask, and wait for the answer. Cancelling forgets the answer."""
        if self.gone is not None:
            raise JudgeError(self.gone)
        self._count += 1
        number = self._count
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        try:
            self._outbox.put({"n": number, "op": op, **fields})
            return await future
        finally:
            self._calls.pop(number, None)

    async def _listen(self) -> None:
        try:
            while (messages := await receive(self._reader)) is not None:
                for message in messages:
                    # the number is this pipe's own: an answer that is passed on must not carry it along
                    future = self._calls.get(message.pop("n", 0))
                    if future is not None and not future.done():
                        future.set_result(message)
            self._fail("the judge process ended")
        except FrameError as error:
            self._fail(str(error))

    def _fail(self, why: str) -> None:
        self.gone = why
        for future in self._calls.values():
            if not future.done():
                future.set_exception(JudgeError(why))

    async def close(self, grace: float = 5.0) -> None:
        """Close the pipe and wait for the process to end; kill it after `grace` seconds."""
        self._stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), grace)
        except TimeoutError:
            await self.kill()
        await self._listener

    async def kill(self) -> None:
        """End the process at once."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await asyncio.wait([self._listener])


def _environment() -> dict[str, str]:
    """What a judge process inherits: enough to find programs, engines and a model's endpoint."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_CACHE_HOME", "VIRTUAL_ENV")
    prefixes = ("DOCKER_", "OPENAI_", "ENVKIT_", "SSL_CERT_")
    return {
        key: value for key, value in os.environ.items() if key in kept or key.startswith(prefixes)
    }


def take_stdio() -> tuple[int, int]:
    """Take fd 0 and 1 for frames; what else reads finds nothing, what else prints goes to stderr.

    An author's `print` must not end up between two frames.
    """
    reading, writing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(2, 1)
    os.close(null)
    return reading, writing


async def serve(handle: Callable[[Message], Awaitable[Mapping[str, Any]]]) -> None:
    """The answering side: each request in a task of its own, until the pipe is closed."""
    reading, writing = take_stdio()
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb")
    )
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(writing, "wb")
    )
    outbox = Outbox(asyncio.StreamWriter(transport, protocol, reader, loop))
    running: set[asyncio.Task[None]] = set()

    async def answer(request: Message) -> None:
        try:
            reply = dict(await handle(request))
        except Exception as error:  # a bug here must not leave the runner waiting for ever
            log.exception("a request failed: %s", request.get("op"))
            reply = {"refused": "broken", "why": f"the judge failed: {type(error).__name__}"}
        try:
            outbox.put({**reply, "n": request["n"]})
        except FrameError as error:  # somebody waits for an answer, so there must be one
            outbox.put({"refused": "broken", "why": str(error), "n": request["n"]})

    while (requests := await receive(reader)) is not None:
        for request in requests:
            task = loop.create_task(answer(request))
            running.add(task)
            task.add_done_callback(running.discard)
    for task in running:
        task.cancel()
    await asyncio.gather(*running, return_exceptions=True)
