"""Connections out of a sandbox that has no network: what connects to one loopback port in here, the host answers.

PID 1 itself holds the listener and the connections, and no helper process does: under bubblewrap
everybody inside has one user id, so the agent could kill, stop or trace a helper, and in a container
it would be one more process to run out of memory first. PID 1 is out of reach in both, and it only
moves bytes: it never looks at them.

Nothing is said unasked. The host asks for the next connection, for the next bytes of one, or to have
bytes written to one; each question is answered once, and of each kind there is at most one at a time
for a connection. So the questions are the flow control: what nobody asks for stays in the agent's own
socket, all that is held here is one write of each connection, and there are as many connections as
the host asked for. The host's other questions wait behind at most one small answer of each.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import Any, Callable

from .loop import Loop
from .process import complain

_WAITING = 128  # connections that the kernel holds until the host asks for them
_KERNEL_BUFFER = 65_536  # of a connection, each way: the kernel's own grow where nobody reads

Say = Callable[["dict[str, Any]", bytes], None]
"""Answers a question."""


class Line:
    """One connection. What the host gets wrong about it ends everything, as any bad frame does."""

    def __init__(self, loop: Loop, connection: socket.socket, say: Say) -> None:
        connection.setblocking(False)
        connection.setsockopt(
            socket.IPPROTO_TCP, socket.TCP_NODELAY, 1
        )  # what is asked for is whole
        self._loop, self._say = loop, say
        # Two descriptors, so that reading and writing are watched apart.
        self._socket, self._reader = connection, connection.fileno()
        self._writer = os.dup(self._reader)
        self._pulled, self._most = 0, 0
        self._pushed, self._left = 0, memoryview(b"")

    def pull(self, number: int, most: int) -> None:
        """Answer with the next bytes, as soon as there are any; none: no more will come."""
        if self._pulled:
            complain("a connection was read twice at once")
        self._loop.watch(self._reader, self._read)
        self._pulled, self._most = number, most

    def push(self, number: int, data: bytes) -> None:
        """Write `data`, and answer once all of it is written; none: no more will come."""
        if self._pushed:
            complain("a connection was written twice at once")
        if data:
            self._loop.watch(self._writer, self._write, writing=True)
        self._pushed, self._left = number, memoryview(data)
        if not data:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
            self._written("")

    def close(self) -> None:
        """Hang up; open questions are answered."""
        self._loop.close(self._writer)
        self._loop.forget(self._reader)
        self._socket.close()
        if self._pulled:
            self._say({"id": self._pulled}, b"")
        if self._pushed:
            self._written("the connection was closed")

    def _read(self) -> None:
        try:
            data = self._socket.recv(self._most)
        except BlockingIOError:
            return
        except OSError:  # reset by whoever made it
            data = b""
        self._loop.forget(self._reader)
        number, self._pulled = self._pulled, 0
        self._say({"id": number}, data)

    def _write(self) -> None:
        try:
            self._left = self._left[os.write(self._writer, self._left) :]
        except BlockingIOError:
            return
        except OSError as problem:
            self._written(str(problem))
            return
        if not self._left:
            self._written("")

    def _written(self, problem: str) -> None:
        self._loop.forget(self._writer)
        number, self._pushed, self._left = self._pushed, 0, memoryview(b"")
        self._say({"id": number, "problem": problem} if problem else {"id": number}, b"")


class Link:
    """The listener, once there is one, and its connections by numbers that are used once.

    It is never closed: a freeze leaves nobody who could connect, and what is left ends with this process.
    """

    def __init__(self, loop: Loop, say: Say) -> None:
        self._loop, self._say = loop, say
        self._listener: socket.socket | None = None
        self._asked = 0
        self._count = 0
        self._lines: dict[int, Line] = {}

    def open(self, port: int) -> None:
        """Listen. Raises OSError."""
        self._listener = listener = socket.socket()
        listener.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # its connections inherit them
            listener.setsockopt(socket.SOL_SOCKET, option, _KERNEL_BUFFER)
        listener.bind(("127.0.0.1", port))
        listener.listen(_WAITING)

    def do(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        """One question of the host's."""
        what, line = ask["do"], self._lines.get(ask["line"])
        if what == "accept":
            self._accept(number)
        elif line is None:
            self._say({"id": number, "problem": "there is no such connection"}, b"")
        elif what == "pull":
            line.pull(number, ask["limit"])
        elif what == "push":
            line.push(number, body)
        else:
            del self._lines[ask["line"]]
            line.close()
            self._say({"id": number}, b"")

    def _accept(self, number: int) -> None:
        if self._asked or self._listener is None:
            complain("nobody listens, or somebody is waited for already")
        self._loop.watch(self._listener.fileno(), self._arrive)
        self._asked = number

    def _arrive(self) -> None:
        listener = self._listener
        if listener is None:
            return
        try:
            line = Line(self._loop, listener.accept()[0], self._say)
        except BlockingIOError:
            return
        except OSError as problem:  # gone again, or no descriptor or memory left to have it with
            facts: dict[str, Any] = {"problem": str(problem)}
        else:
            self._count += 1
            self._lines[self._count] = line
            facts = {"line": self._count}
        self._loop.forget(listener.fileno())
        number, self._asked = self._asked, 0
        self._say({"id": number, **facts}, b"")
