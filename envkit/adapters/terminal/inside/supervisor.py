"""PID 1 of one lease: does what the host's frames ask, as the agent's user, and answers each once.

A frame is two big-endian 32-bit lengths, a JSON header and raw bytes. Standard input and output are
the only channel; the agent has neither them nor the right to look at this process.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import struct
from typing import Any, Callable, NoReturn

from . import export, files
from .link import Link
from .loop import CHUNK, Drain, Loop, Output
from .process import Agent, Program, become, complain, kill, kill_all
from .programs import MOST_JOBS, Budget, Job, Jobs, OneShot, Past
from .shell import Shell

RESET = 75  # the exit status that asks the keeper for a new room
_MOST_FRAME = 64 << 20
_FILE_SECONDS = 20.0
_PARKED = 400  # above every descriptor in use


class Problem(Exception):
    """An operation that cannot be done; the text is for the agent."""


class Supervisor:
    """Serves one lease until it is told to end or its host is gone."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self._loop = Loop()
        self._inbox = bytearray()
        self._jobs = Jobs()
        self._cancels: dict[int, Callable[[], None]] = {}
        self._shell = Shell(self._loop, agent)
        self._link = Link(self._loop, self._say)
        self._begun, self._frozen = False, False

    def serve(self, hello: dict[str, Any]) -> None:
        """Say hello, then answer for ever."""
        os.set_blocking(0, False)
        self._loop.watch(0, self._hear)
        self._say({"hello": hello})
        while True:
            self._loop.turn()

    # --- frames ---------------------------------------------------------------------------------

    def _hear(self) -> None:
        try:
            data = os.read(0, CHUNK * 4)
        except BlockingIOError:
            return
        if not data:  # the host is gone, and with it every reason to live
            os._exit(0)
        self._inbox += data
        while len(self._inbox) >= 8:
            head, body = struct.unpack_from(">II", self._inbox)
            end = 8 + head + body
            if end > _MOST_FRAME:
                complain("frame too long")
            if len(self._inbox) < end:
                return
            frame = bytes(self._inbox[8:end])
            del self._inbox[:end]
            self._do(json.loads(frame[:head]), frame[head:])

    def _say(self, header: dict[str, Any], body: bytes = b"") -> None:
        text = json.dumps(header).encode()
        data = memoryview(struct.pack(">II", len(text), len(body)) + text + body)
        while data:
            try:
                data = data[os.write(1, data) :]
            except BlockingIOError:
                select.select([], [1], [])

    def _do(self, ask: dict[str, Any], body: bytes) -> None:
        number, name = ask["id"], ask["do"]
        try:
            if self._frozen and name not in ("freeze", "reset"):
                raise Problem("the sandbox is frozen")
            self._begun |= name in ("run", "shell", "start")
            _ACTIONS[name](self, number, ask, body)
        except Problem as problem:
            self._say({"id": number, "problem": str(problem)})
        except OSError as problem:  # no process, no descriptor, no memory left: the agent's doing
            self._say({"id": number, "problem": f"cannot start: {problem.strerror}"})

    # --- before the agent comes, and its way out ---------------------------------------------------

    def _equip(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        """Variables of everything that will run, and the port that leads to the host, if any."""
        if self._begun:
            complain("equipped after the agent came")
        self._agent.environment.update(ask["env"])
        if ask["port"]:
            self._link.open(ask["port"])
        self._say({"id": number})

    def _carry(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        self._link.do(number, ask, body)

    # --- programs -------------------------------------------------------------------------------

    def _run(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        def done(
            status: int | None, out: bytes, err: bytes, dropped: int, late: bool, took: float
        ) -> None:
            self._cancels.pop(number, None)
            facts = {"status": status, "dropped": dropped, "late": late, "seconds": took}
            self._say({"id": number, **facts, "split": len(out)}, out + err)

        one = OneShot(
            self._loop,
            self._agent,
            Program(ask["argv"], os.path.join(self._agent.home, ask["cwd"]), ask["env"]),
            Budget(body, ask["timeout"], ask["limit"]),
            done,
        )
        self._cancels[number] = one.stop

    def _command(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        def done(status: int | None, out: bytes, dropped: int, late: bool, took: float) -> None:
            self._cancels.pop(number, None)
            facts = {"status": status, "dropped": dropped, "late": late, "seconds": took}
            self._say({"id": number, **facts, "split": len(out)}, out)

        if self._shell.busy:
            raise Problem("the shell is busy with another command")
        if b"\0" in body:
            raise Problem("a command cannot hold a zero byte")
        self._cancels[number] = self._shell.stop
        self._shell.run(body, ask["timeout"], ask["limit"], done)

    def _restart(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        self._shell.restart()
        self._say({"id": number})

    def _cancel(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        stop = self._cancels.get(ask["which"])
        if stop is not None:
            stop()
        self._say({"id": number})

    # --- jobs -----------------------------------------------------------------------------------

    def _start(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        if not self._jobs.make_room():
            raise Problem(f"at most {MOST_JOBS} jobs at once; kill one first")
        size = tuple(ask["pty"]) if ask["pty"] else None
        job = Job(self._loop, self._agent, ask["command"], size, self._agent.home)
        self._say({"id": number, "job": self._jobs.add(job)})

    def _job(self, ask: dict[str, Any]) -> Job | Past:
        job = self._jobs.get(ask["job"])
        if job is None:
            raise Problem(f"there is no job {ask['job']}")
        return job

    def _send(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        if not self._job(ask).send(body):
            raise Problem(f"job {ask['job']} has ended or does not read its input")
        self._say({"id": number})

    def _poll(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        job = self._job(ask)

        def answer() -> None:
            output, dropped = job.take(ask["limit"])
            facts = {"running": job.status is None, "status": job.status, "dropped": dropped}
            self._say({"id": number, **facts}, output)
            self._jobs.was_read(ask["job"])

        job.poll(ask["wait"], answer)

    def _kill(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        self._job(ask).kill()
        self._say({"id": number})

    # --- files ----------------------------------------------------------------------------------

    def _files(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        """Do a file operation in a child with the agent's rights; it says "+data" or "-why"."""
        heard, says = os.pipe2(os.O_CLOEXEC)
        try:
            pid = os.fork()
        except OSError:
            os.close(heard)
            os.close(says)
            raise
        if pid == 0:
            _serve_files(self._agent, says, ask, body)
        os.close(says)
        drain = Drain(self._loop, heard, Output(2 * ask["limit"] + CHUNK))
        timer = self._loop.later(_FILE_SECONDS, lambda: kill([pid]))

        def ended(status: int) -> None:
            timer.cancel()
            drain.finish()
            drain.close()
            data, _ = drain.output.take()
            if status == 0 and data[:1] == b"+":
                self._say({"id": number}, data[1:])
            else:
                text = data[1:].decode("utf-8", "replace") or "the operation was interrupted"
                self._say({"id": number, "problem": text})

        self._loop.on_end(pid, ended)

    def _freeze(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        left = kill_all()
        self._frozen = True
        self._loop.all_ended()
        if left:
            complain(f"{left} processes survived SIGKILL")
        found = export.Walk(ask["patterns"], export.Caps(*ask["caps"])).run(self._agent.home)
        rows = [[len(one.path), len(one.data), one.kind, one.detail] for one in found]
        self._say({"id": number, "found": rows}, b"".join(one.path + one.data for one in found))

    def _reset(self, number: int, ask: dict[str, Any], body: bytes) -> None:
        os._exit(RESET)


def _serve_files(agent: Agent, says: int, ask: dict[str, Any], body: bytes) -> NoReturn:
    """The child's part: hold nothing but the answer's pipe, be the agent, do it, end."""
    answer = b"-failed"
    try:
        says = fcntl.fcntl(says, fcntl.F_DUPFD, _PARKED)
        os.closerange(0, _PARKED)
        become(agent)
        os.umask(0o022)
        if ask["do"] == "write":
            answer = b"+" + files.write(agent.home, ask["files"], body)
        elif ask["do"] == "read":
            answer = b"+" + files.read(agent.home, ask["path"], ask["limit"])
        else:
            answer = b"+" + files.listing(agent.home, ask["path"], ask["limit"])
    except OSError as problem:
        where = os.fsencode(problem.filename or "").decode("utf-8", "replace")
        answer = f"-{where}: {problem.strerror}".encode("utf-8", "replace")
    except ValueError as problem:  # a zero byte or a lone surrogate in a path
        answer = f"-{problem}".encode("utf-8", "replace")
    finally:
        data = memoryview(answer)
        while data:
            data = data[os.write(says, data) :]
        os._exit(0)


_Action = Callable[[Supervisor, int, "dict[str, Any]", bytes], None]
_ACTIONS: dict[str, _Action] = {
    "equip": Supervisor._equip,
    "accept": Supervisor._carry,
    "pull": Supervisor._carry,
    "push": Supervisor._carry,
    "hang_up": Supervisor._carry,
    "run": Supervisor._run,
    "shell": Supervisor._command,
    "restart": Supervisor._restart,
    "cancel": Supervisor._cancel,
    "start": Supervisor._start,
    "send": Supervisor._send,
    "poll": Supervisor._poll,
    "kill": Supervisor._kill,
    "write": Supervisor._files,
    "read": Supervisor._files,
    "list": Supervisor._files,
    "freeze": Supervisor._freeze,
    "reset": Supervisor._reset,
}
