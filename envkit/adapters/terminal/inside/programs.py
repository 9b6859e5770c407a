"""One-shot programs and background jobs, on pipes or a PTY that the supervisor owns."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import time
from typing import Callable, NamedTuple

from .loop import Drain, Feed, Loop, Output, Timer
from .process import Agent, Program, kill_session, spawn

Done = Callable[["int | None", bytes, bytes, int, bool, float], None]
"""Called with status, stdout, stderr, bytes dropped, timed out, seconds."""

MOST_JOBS = 64  # of one lease at once, with what they printed
_JOB_OUTPUT = 1 << 18


class Budget(NamedTuple):
    """What one program gets, and how much it may say."""

    stdin: bytes
    timeout: float  # seconds
    limit: int  # bytes kept of each stream


class OneShot:
    """A program with its own session, pipes and deadline; it ends when its first process does."""

    def __init__(
        self, loop: Loop, agent: Agent, program: Program, budget: Budget, done: Done
    ) -> None:
        self._loop, self._done, self._late = loop, done, False
        self._begun = time.monotonic()
        reader, writer = os.pipe2(os.O_CLOEXEC)
        heard, says = os.pipe2(os.O_CLOEXEC)
        erred, errs = os.pipe2(os.O_CLOEXEC)
        try:
            inside = {0: reader, 1: says, 2: errs}
            self._pid = spawn(agent, program, inside)
        except OSError:
            for descriptor in (writer, heard, erred):
                os.close(descriptor)
            raise
        finally:
            for descriptor in (reader, says, errs):
                os.close(descriptor)
        self._feed = Feed(loop, writer, last=True)
        self._feed.send(budget.stdin)
        self._drains = [Drain(loop, fd, Output(budget.limit)) for fd in (heard, erred)]
        self._timer = loop.later(budget.timeout, self.stop)
        loop.on_end(self._pid, self._ended)

    def stop(self) -> None:
        """Kill it and its session; what it printed so far is kept."""
        self._late = True
        kill_session(self._pid)

    def _ended(self, status: int) -> None:
        self._timer.cancel()
        kill_session(self._pid)
        self._feed.close()
        taken = []
        for drain in self._drains:
            drain.finish()
            drain.close()
            taken.append(drain.output.take())
        (stdout, lost), (stderr, more) = taken
        seconds = time.monotonic() - self._begun
        self._done(None if self._late else status, stdout, stderr, lost + more, self._late, seconds)


class Job:
    """A background program whose output waits, bounded, to be polled."""

    def __init__(
        self, loop: Loop, agent: Agent, command: str, size: tuple[int, int] | None, cwd: str
    ) -> None:
        self._loop = loop
        self.status: int | None = None
        self._polls: list[tuple[Timer, Callable[[], None]]] = []
        argv = ["bash", "--noprofile", "--norc", "-c", command]
        if size is None:
            self.pid, writer, reader = _on_pipes(agent, argv, cwd)
        else:
            self.pid, writer, reader = _on_terminal(agent, argv, cwd, size)
        self._feed = Feed(loop, writer)
        self._drain = Drain(loop, reader, Output(_JOB_OUTPUT))
        self._drain.heard = self._wake
        loop.on_end(self.pid, self._ended)

    @property
    def read(self) -> bool:
        """Whether it has ended and everything that was printed is taken."""
        return self.status is not None and not self._drain.output

    @property
    def silent(self) -> bool:
        """Whether nobody can print any more: a daemon that it left behind may hold its pipe."""
        return self._drain.closed

    def send(self, data: bytes) -> bool:
        """Type `data` to it; false where it is gone or does not read."""
        return self.status is None and self._feed.send(data)

    def poll(self, wait: float, answer: Callable[[], None]) -> None:
        """Call `answer` once there is output or an end, or `wait` seconds have passed."""
        if self._drain.output or self.status is not None or wait <= 0:
            answer()
        else:
            self._polls.append((self._loop.later(wait, self._wake), answer))

    def take(self, limit: int) -> tuple[bytes, int]:
        """What it printed since the last call, and how much of that was dropped."""
        kept, dropped = self._drain.output.take()
        short = Output(limit)
        short.add(kept)
        data, more = short.take()
        return data, dropped + more

    def kill(self) -> None:
        """Kill its whole session."""
        kill_session(self.pid)

    def close(self) -> None:
        """Let go of its output."""
        self._drain.close()

    def _ended(self, status: int) -> None:
        self._drain.finish()
        self.status = status
        self._feed.close()
        self._wake()

    def _wake(self) -> None:
        polls, self._polls = self._polls, []
        for timer, answer in polls:
            timer.cancel()
            answer()


class Past:
    """All that is kept of a job that was let go: how it ended."""

    __slots__ = ("_dropped", "status")

    def __init__(self, job: Job) -> None:
        self.status = job.status
        _, self._dropped = job.take(0)

    def send(self, data: bytes) -> bool:
        """Nobody reads."""
        return False

    def poll(self, wait: float, answer: Callable[[], None]) -> None:
        """There is nothing to wait for."""
        answer()

    def take(self, limit: int) -> tuple[bytes, int]:
        """What was never read is counted, once."""
        dropped, self._dropped = self._dropped, 0
        return b"", dropped

    def kill(self) -> None:
        """It has ended."""


class Jobs:
    """The background jobs of one lease, by numbers that are used once.

    A job that has ended keeps its output until that is read, or until its place is needed.
    """

    def __init__(self) -> None:
        self._kept: dict[int, Job] = {}
        self._past: dict[int, Past] = {}

    def make_room(self) -> bool:
        """Whether there is room for one more; unread output of ended jobs goes last, oldest first."""
        ended = [number for number, job in self._kept.items() if job.status is not None]
        if len(self._kept) >= MOST_JOBS and ended:
            self._let_go(min(ended, key=lambda number: (not self._kept[number].read, number)))
        return len(self._kept) < MOST_JOBS

    def add(self, job: Job) -> int:
        """Keep a job; its number."""
        number = len(self._kept) + len(self._past) + 1
        self._kept[number] = job
        return number

    def get(self, number: int) -> Job | Past | None:
        """The job of that number, if there ever was one."""
        return self._kept.get(number) or self._past.get(number)

    def was_read(self, number: int) -> None:
        """Let it go if nothing can follow."""
        job = self._kept.get(number)
        if job is not None and job.read and job.silent:
            self._let_go(number)

    def _let_go(self, number: int) -> None:
        job = self._kept.pop(number)
        self._past[number] = Past(job)
        job.close()


def _on_pipes(agent: Agent, argv: list[str], cwd: str) -> tuple[int, int, int]:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    heard, says = os.pipe2(os.O_CLOEXEC)
    try:
        pid = spawn(agent, Program(argv, cwd), {0: reader, 1: says, 2: says})
    except OSError:
        os.close(writer)
        os.close(heard)
        raise
    finally:
        os.close(reader)
        os.close(says)
    return pid, writer, heard


def _on_terminal(
    agent: Agent, argv: list[str], cwd: str, size: tuple[int, int]
) -> tuple[int, int, int]:
    master, slave = os.openpty()
    try:
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
        if agent.uid is not None:
            os.fchown(slave, agent.uid, agent.uid)
        look = {"TERM": "xterm-256color", "LINES": str(size[0]), "COLUMNS": str(size[1])}
        inside = {0: slave, 1: slave, 2: slave}
        pid = spawn(agent, Program(argv, cwd, look, terminal=True), inside)
        return pid, os.dup(master), master
    except OSError:
        os.close(master)
        raise
    finally:
        os.close(slave)
