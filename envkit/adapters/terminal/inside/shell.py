"""The persistent bash: commands in by memory file, status out by a pipe of its own.

Nothing is parsed out of what programs print. The status pipe is reachable from inside the shell, so
what it says is the agent's claim: it is matched by sequence number, bounded, and when it breaks the
shell is replaced.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Callable

from .loop import CHUNK, Drain, Loop, Output, Timer
from .process import Agent, Program, kill_command, kill_session, spawn, ticks

_TEXT, _CALLS, _REPORTS = 61, 63, 62  # descriptor numbers inside bash
# A command that is out of time must not go on with the rest of its list (`slow_test; git push`) once
# the part that runs is killed. SIGUSR1 comes before that kill, and its trap makes bash skip every
# command but the driver's own, until the driver is back.
_DRIVER = f"""
shopt -s expand_aliases
__status=0 __late=
__previous() {{ return "$1"; }}
__skip='[[ $BASH_COMMAND == *__late* || $BASH_COMMAND == "trap - DEBUG" ]]'
trap '__late=1; shopt -s extdebug; set -T; trap "$__skip" DEBUG' USR1
while IFS= read -r -u {_CALLS} __number; do
  IFS= read -r -d '' -u {_TEXT} __command
  __previous "$__status"
  builtin eval "$__command" {_TEXT}<&- {_REPORTS}>&- {_CALLS}<&-
  __status=$?
  [[ -n $__late ]] && trap - DEBUG
  [[ -n $__late ]] && {{ shopt -u extdebug; set +T; __late=; }}
  builtin printf '%s %s %s\\0' "$__number" "$__status" "$PWD" >&{_REPORTS}
done
"""
_GRACE = 0.25  # seconds between the kill of a command and the kill of the shell that holds it
_MOST_REPORT = 8_192
_KILLED = -9

Done = Callable[["int | None", bytes, int, bool, float], None]
"""Called with status, output, bytes dropped, timed out, seconds."""


class Shell:
    """One bash at a time, started when first needed and again after it has gone."""

    def __init__(self, loop: Loop, agent: Agent) -> None:
        self._loop, self._agent = loop, agent
        self._pid = 0
        self._number = 0
        self._cwd = agent.home.encode()
        self._output = Output(0)
        self._done: Done | None = None
        self._timers: list[Timer] = []
        self._begun, self._since, self._late = 0.0, 0, False

    @property
    def busy(self) -> bool:
        """Whether a command is running."""
        return self._done is not None

    def run(self, command: bytes, timeout: float, limit: int, done: Done) -> None:
        """Run one command; `done` is called once, when it ended or was stopped."""
        self._begun, self._since, self._late = time.monotonic(), ticks(), False
        if not self._pid:
            self._start()
        kept, _ = self._output.take()  # what background programs printed since the last command
        self._output.resize(limit)
        self._output.add(kept)
        self._number += 1
        self._done = done
        os.ftruncate(self._text, 0)
        os.pwrite(self._text, command, 0)
        os.lseek(self._text, 0, os.SEEK_SET)
        self._timers = [self._loop.later(timeout, self.stop)]
        try:
            os.write(self._calls, b"%d\n" % self._number)
        except OSError:  # full or closed by the agent: it will never be read
            self._replace()

    def stop(self) -> None:
        """Stop the command that runs: its processes first, then the shell that holds them."""
        if self._done is None:
            return
        self._late = True
        if self._pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(self._pid, signal.SIGUSR1)  # skip what is left of the list
        for step in range(5):
            self._timers.append(self._loop.later(_GRACE * step / 5, self._strike))
        self._timers.append(self._loop.later(_GRACE, self._replace))

    def restart(self) -> None:
        """Throw the shell away, and the working directory with it."""
        self._replace()
        self._cwd = self._agent.home.encode()

    def _strike(self) -> None:
        if self._pid:
            kill_command(self._pid, self._since, self._loop.children())

    def _start(self) -> None:
        text = os.memfd_create("command")
        calls, self._calls = os.pipe2(os.O_CLOEXEC)
        self._reports, reports = os.pipe2(os.O_CLOEXEC)
        heard, says = os.pipe2(os.O_CLOEXEC)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        inside = {0: null, 1: says, 2: says, _TEXT: text, _CALLS: calls, _REPORTS: reports}
        argv = ["bash", "--noprofile", "--norc", "-c", _DRIVER, "bash"]
        try:
            cwd = self._cwd.decode("utf-8", "surrogateescape")
            program = Program(argv, cwd, fallback=self._agent.home)
            self._pid = spawn(self._agent, program, inside)
        finally:
            for descriptor in (calls, reports, says, null):
                os.close(descriptor)
        self._text, self._said = text, bytearray()
        os.set_blocking(self._calls, False)
        os.set_blocking(self._reports, False)
        self._drain = Drain(self._loop, heard, self._output)
        self._loop.watch(self._reports, self._hear)
        self._loop.on_end(self._pid, self._ended)

    def _hear(self) -> None:
        try:
            data = os.read(self._reports, CHUNK)
        except BlockingIOError:
            return
        self._said += data
        *records, rest = bytes(self._said).split(b"\0")
        self._said = bytearray(rest)
        for record in records:
            self._believe(record)
        if len(rest) > _MOST_REPORT:
            self._replace()
        elif not data:  # it is ending, or the agent closed the pipe
            self._loop.forget(self._reports)
            pid = self._pid
            self._loop.later(_GRACE, lambda: self._replace() if self._pid == pid else None)

    def _believe(self, record: bytes) -> None:
        """Take one report, if it is well formed and about the command that runs."""
        number, _, more = record.partition(b" ")
        status, _, cwd = more.partition(b" ")
        if self._done is None or number != b"%d" % self._number:
            return
        if not (status.isdigit() and len(status) <= 3 and cwd.startswith(b"/")):
            return
        self._cwd = cwd
        self._finish(int(status))

    def _ended(self, status: int) -> None:
        self._drain.finish()
        self._drop()
        self._finish(status)

    def _replace(self) -> None:
        if self._pid:
            pid = self._pid
            self._strike()
            kill_session(pid)
            self._drain.finish()
            self._drop()
        self._finish(_KILLED)

    def _drop(self) -> None:
        """Let go of the bash: its descriptors, and its end if that is still to come."""
        self._loop.forget_end(self._pid)
        self._pid = 0
        self._drain.close()
        self._loop.close(self._reports)
        os.close(self._calls)
        os.close(self._text)

    def _finish(self, status: int) -> None:
        done, self._done = self._done, None
        for timer in self._timers:
            timer.cancel()
        if done is None:
            return
        if self._pid:
            self._drain.finish()
        output, dropped = self._output.take()
        seconds = time.monotonic() - self._begun
        done(None if self._late else status, output, dropped, self._late, seconds)
