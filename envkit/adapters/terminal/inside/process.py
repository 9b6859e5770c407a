"""Starting and killing the agent's processes."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import signal
import sys
import termios
import time
from typing import NamedTuple, NoReturn

_FILES_SOFT, _FILES_HARD = 1024, 4096
_MOST_ROUNDS = 10  # what is killed forks no more, so only a bomb takes more than two
_KEPT_ABOVE = 128  # where descriptors are parked before they get their final numbers


class Agent(NamedTuple):
    """Who runs programs: a user id to become (None: already that user) and its environment."""

    uid: int | None
    environment: dict[str, str]
    home: str


class Program(NamedTuple):
    """What to start, and where."""

    argv: list[str]
    cwd: str
    environment: dict[str, str] = {}
    fallback: str = ""  # where it starts if `cwd` cannot be entered (any more)
    terminal: bool = False  # its descriptor 0 is a PTY that becomes its controlling terminal


class Seen(NamedTuple):
    """One process as /proc shows it."""

    pid: int
    parent: int
    session: int
    started: int  # clock ticks after boot


def become(agent: Agent) -> None:
    """Give up the supervisor's user, groups and capabilities for the agent's."""
    if agent.uid is None:
        return
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")
    os.setgroups([])
    os.setresgid(agent.uid, agent.uid, agent.uid)
    os.setresuid(agent.uid, agent.uid, agent.uid)


def _reset_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def spawn(agent: Agent, program: Program, descriptors: dict[int, int]) -> int:
    """Start a program in its own session, with `descriptors` (number inside: ours); its pid."""
    pid = os.fork()
    if pid == 0:
        try:
            _dress(agent, descriptors, program.terminal)
            _enter(program)
            environment = {**agent.environment, **program.environment}
            os.execvpe(program.argv[0], program.argv, environment)  # noqa: S606 - no shell wanted
        except BaseException as problem:  # noqa: BLE001 - a forked child must never return
            _give_up(program.argv[0], problem)
    return pid


def _dress(agent: Agent, descriptors: dict[int, int], terminal: bool) -> None:
    """Session, descriptors, limits and user of a program to come."""
    _reset_signals()
    os.setsid()
    parked = {
        number: fcntl.fcntl(ours, fcntl.F_DUPFD_CLOEXEC, _KEPT_ABOVE)
        for number, ours in descriptors.items()
    }
    for number, ours in parked.items():
        os.dup2(ours, number)
    if terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES_SOFT, _FILES_HARD))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    become(agent)
    os.umask(0o022)


def _enter(program: Program) -> None:
    try:
        os.chdir(program.cwd)
    except OSError:
        if not program.fallback:
            raise
        os.chdir(program.fallback)


def _give_up(name: str, problem: BaseException) -> NoReturn:
    """Say what went wrong where the program's errors would go; statuses as a shell gives them."""
    text = problem.strerror if isinstance(problem, OSError) else str(problem)
    with contextlib.suppress(OSError):
        os.write(2, f"{name}: {text}\n".encode("utf-8", "replace"))
    os._exit(127 if isinstance(problem, FileNotFoundError) else 126)


def processes() -> list[Seen]:
    """Every process in this PID namespace except ourselves."""
    seen = []
    for name in os.listdir("/proc"):
        if not name.isdigit() or name == "1":
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                fields = file.read().rpartition(b")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        seen.append(Seen(int(name), int(fields[1]), int(fields[3]), int(fields[19])))
    return seen


def ticks() -> int:
    """The clock that `Seen.started` is given in."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK"))


def kill(pids: list[int]) -> None:
    """SIGKILL each; those already gone are no problem."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def kill_session(session: int) -> None:
    """SIGKILL every process of a session, whatever process groups it made or forks meanwhile."""
    killed: set[int] = set()
    for _ in range(_MOST_ROUNDS):
        found = {seen.pid for seen in processes() if seen.session == session} - killed
        if not found:
            return
        kill(list(found))
        killed |= found


def kill_command(shell: int, since: int, spared: set[int]) -> None:
    """SIGKILL what a shell's command started: its descendants, and daemons newer than `since`."""
    seen = processes()
    doomed = {shell}
    grown = True
    while grown:
        fresh = {one.pid for one in seen if one.parent in doomed} - doomed
        grown = bool(fresh)
        doomed |= fresh
    daemons = {one.pid for one in seen if one.parent == 1 and one.started >= since}
    kill(list((doomed | daemons) - {shell} - spared))


def kill_all(seconds: float = 5.0) -> int:
    """SIGKILL and reap everything but ourselves; the number of processes left (0: all gone)."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(-1, signal.SIGKILL)
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            left = len(processes())
            if left == 0:
                return 0
        if time.monotonic() > deadline:
            return max(1, len(processes()))
        time.sleep(0.001)


def complain(text: str) -> NoReturn:
    """End with a line on stderr, which the host quotes."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
    os._exit(1)
