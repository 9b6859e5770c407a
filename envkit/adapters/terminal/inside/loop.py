"""A small event loop for PID 1: descriptors, timers, ended children, and bounded output."""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import os
import select
import signal
import struct
import termios
import time
from typing import Callable

CHUNK = 65_536


class Timer:
    """A call that is due at a moment of the monotonic clock, unless cancelled before."""

    __slots__ = ("call", "due")

    def __init__(self, due: float, call: Callable[[], None]) -> None:
        self.due = due
        self.call: Callable[[], None] | None = call

    def __lt__(self, other: Timer) -> bool:
        return self.due < other.due

    def cancel(self) -> None:
        """Forget the call."""
        self.call = None


class Loop:
    """Calls back when a descriptor is ready, a timer is due or a child has ended."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._ready: dict[int, Callable[[], None]] = {}
        self._timers: list[Timer] = []
        self._children: dict[int, Callable[[int], None]] = {}
        reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._woken = reader
        self.watch(reader, self._reap)

    def watch(self, descriptor: int, call: Callable[[], None], *, writing: bool = False) -> None:
        """Call when `descriptor` can be read (or written), again and again."""
        self._ready[descriptor] = call
        self._poll.register(descriptor, select.EPOLLOUT if writing else select.EPOLLIN)

    def forget(self, descriptor: int) -> None:
        """Stop watching a descriptor."""
        if self._ready.pop(descriptor, None) is not None:
            self._poll.unregister(descriptor)

    def close(self, descriptor: int) -> None:
        """Stop watching a descriptor and close it."""
        self.forget(descriptor)
        os.close(descriptor)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call once, after `seconds`."""
        timer = Timer(time.monotonic() + seconds, call)
        heapq.heappush(self._timers, timer)
        return timer

    def on_end(self, pid: int, call: Callable[[int], None]) -> None:
        """Call with the exit status (or minus the signal) when the child `pid` has ended."""
        self._children[pid] = call

    def children(self) -> set[int]:
        """The children somebody waits for."""
        return set(self._children)

    def forget_end(self, pid: int) -> None:
        """Nobody waits for this child any more; it is reaped all the same."""
        self._children.pop(pid, None)

    def turn(self) -> None:
        """Wait for something to happen and make the calls it is due."""
        timers = self._timers
        while timers and timers[0].call is None:
            heapq.heappop(timers)
        wait = max(0.0, timers[0].due - time.monotonic()) if timers else -1
        for descriptor, _ in self._poll.poll(wait):
            call = self._ready.get(descriptor)
            if call is not None:
                call()
        while timers and timers[0].due <= time.monotonic():
            due = heapq.heappop(timers).call
            if due is not None:
                due()

    def all_ended(self) -> None:
        """Every child was killed and reaped behind our back: tell those who wait for one."""
        while self._children:
            _, call = self._children.popitem()
            call(-signal.SIGKILL)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, CHUNK)
        for pid, status in reap():
            call = self._children.pop(pid, None)
            if call is not None:
                call(status)


def reap() -> list[tuple[int, int]]:
    """Every child that has ended, orphans too: its pid, and its status or minus its signal."""
    ended = []
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            ended.append((pid, os.waitstatus_to_exitcode(status)))
    return ended


class Output:
    """Head and tail of a stream, in memory bounded by three times `limit`."""

    def __init__(self, limit: int) -> None:
        self._head, self._tail, self._total = bytearray(), bytearray(), 0
        self.resize(limit)

    def resize(self, limit: int) -> None:
        """Keep at most `limit` bytes, half of them from the beginning."""
        self._head_room = limit // 2
        self._tail_room = limit - limit // 2

    def add(self, data: bytes) -> None:
        """Append what was read."""
        self._total += len(data)
        room = self._head_room - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail += data
            if len(self._tail) > self._tail_room + CHUNK:
                del self._tail[: len(self._tail) - self._tail_room]

    def take(self) -> tuple[bytes, int]:
        """The bytes kept and the number dropped; empties the buffer."""
        tail = self._tail[max(0, len(self._tail) - self._tail_room) :]
        kept, total = bytes(self._head + tail), self._total
        self._head, self._tail, self._total = bytearray(), bytearray(), 0
        return kept, total - len(kept)

    def __bool__(self) -> bool:
        return self._total > 0


class Drain:
    """Reads a pipe or PTY into an `Output` as data arrives."""

    def __init__(self, loop: Loop, descriptor: int, output: Output) -> None:
        self.output = output
        self.heard: Callable[[], None] | None = None
        self._loop, self._descriptor = loop, descriptor
        os.set_blocking(descriptor, False)
        loop.watch(descriptor, self._pump)

    @property
    def closed(self) -> bool:
        """Whether every writer is gone, or we stopped reading."""
        return self._descriptor < 0

    def _pump(self) -> None:
        self._read()

    def _read(self) -> int:
        try:
            data = os.read(self._descriptor, CHUNK)
        except BlockingIOError:
            return 0
        except OSError:  # a PTY whose programs are gone answers EIO
            data = b""
        if not data:
            self.close()
            return 0
        self.output.add(data)
        if self.heard is not None:
            self.heard()
        return len(data)

    def finish(self) -> None:
        """Read what is there now; a writer that never stops does not hold us."""
        if self._descriptor < 0:
            return
        waiting = fcntl.ioctl(self._descriptor, termios.FIONREAD, b"\0\0\0\0")
        left = struct.unpack("i", waiting)[0]
        while left > 0:
            count = self._read()
            if count == 0:
                return
            left -= count

    def close(self) -> None:
        """Stop reading."""
        if self._descriptor >= 0:
            self._loop.close(self._descriptor)
            self._descriptor = -1


class Feed:
    """Writes to a pipe or PTY as fast as its reader reads, and no faster."""

    MOST = 4 << 20

    def __init__(self, loop: Loop, descriptor: int, *, last: bool = False) -> None:
        self._loop, self._descriptor, self._last = loop, descriptor, last
        self._queue = bytearray()
        self._watched = False
        os.set_blocking(descriptor, False)

    def send(self, data: bytes) -> bool:
        """Queue `data`; false where the reader is gone or too far behind."""
        behind = not self._last and len(self._queue) + len(data) > self.MOST
        if self._descriptor < 0 or behind:
            return False
        self._queue += data
        self._write()
        return True

    def _write(self) -> None:
        try:
            while self._queue:
                del self._queue[: os.write(self._descriptor, self._queue[:CHUNK])]
        except BlockingIOError:
            if not self._watched:
                self._watched = True
                self._loop.watch(self._descriptor, self._write, writing=True)
            return
        except OSError:
            self.close()
            return
        if self._last:
            self.close()
        elif self._watched:
            self._loop.forget(self._descriptor)
            self._watched = False

    def close(self) -> None:
        """Close the writing end: the reader sees the end of its input."""
        if self._descriptor >= 0:
            self._loop.close(self._descriptor)
            self._descriptor = -1
            self._queue.clear()
