"""What a terminal backend must offer: one clean machine, leased for one episode or one subject call.

Data and protocols only. `docker.py` and `bubblewrap.py` implement them, `pool.py` leases them, and
`envkit.testing.sandbox.SandboxConformance` is the suite that every backend passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

WORKSPACE = "/workspace"
"""Where the agent starts: its home and working directory, a sized tmpfs made anew for each lease."""

PROXY_PORT = 3128
"""Where a sandbox's own loopback leads to a door of the host, in a lease that was given one."""


@dataclass(frozen=True, slots=True)
class SandboxSpec:
    """The machine asked for. Slots are interchangeable only between equal specs."""

    image: str | None = (
        None  # None: the default image (docker) or the host's /usr, read-only (bubblewrap)
    )
    memory_mb: int = 512  # everything counts: processes, tmpfs, shared memory
    disk_mb: int = 128  # the workspace tmpfs; with /tmp and /dev/shm it stays 64 MB below memory_mb
    pids: int = 256
    cpus: float = 1.0
    runtime: str | None = None  # an OCI runtime the engine knows, such as "runsc" (docker only)


@dataclass(frozen=True, slots=True)
class Completed:
    """What became of one command. Everything here is the agent's claim, never evidence."""

    status: int | None  # exit status, -signal, or None where it was stopped for time
    stdout: bytes  # head and tail when `dropped` > 0; stderr is merged in for the persistent shell
    stderr: bytes
    dropped: int  # bytes left out between head and tail, both streams together
    timed_out: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class JobState:
    """A background job or PTY program, as seen by one poll."""

    running: bool
    status: int | None
    output: bytes  # what came since the last poll, head and tail when `dropped` > 0
    dropped: int


@dataclass(frozen=True, slots=True)
class FreezeCaps:
    """Over any of these an export is `Oversize`: a score, never a crash."""

    depth: int = 32
    entries: int = 2_000
    file_bytes: int = 1 << 20
    total_bytes: int = 4 << 20


@dataclass(frozen=True, slots=True)
class Exported:
    """One file or problem found under a declared pattern, by an openat/O_NOFOLLOW walk."""

    path: bytes  # relative to the workspace, as the kernel gave it
    kind: Literal[
        "file", "oversize", "refused"
    ]  # refused: a link, a device, a FIFO, more than one link
    data: bytes
    detail: str


class FileProblem(Exception):
    """A file operation the agent asked for that cannot be done; the text is for the agent."""


class Sandbox(Protocol):
    """One leased slot. Every method raises `SandboxLost` once the machine is gone.

    Where the host can prove that the engine under it is gone, too, that is an `EngineLost`: no agent can cause it.

    Cancelling any call leaves the sandbox usable for `freeze`. Paths are relative to the workspace
    or absolute inside the sandbox; they are resolved inside, never on the host.
    """

    backend: Literal["docker", "bubblewrap"]

    async def equip(self, env: Mapping[str, str], *, door: int | None = None) -> None:
        """Set variables of everything that will run; lead PROXY_PORT inside to a door of this host.

        Before anything runs. A `door` is a loopback port: whoever connects to 127.0.0.1:PROXY_PORT in the
        sandbox talks to it byte by byte, 32 connections at once, until the freeze or the end of the lease.
        """

    async def write(self, files: Mapping[str, bytes], *, executable: Sequence[str] = ()) -> None:
        """Create or replace files (owned by the agent), with parents. Raises FileProblem."""

    async def read(self, path: str, *, limit: int) -> bytes:
        """A regular file's bytes. Raises FileProblem where it is missing, no file, or over `limit`."""

    async def listing(self, path: str, *, limit: int) -> list[str]:
        """Names under a directory, two levels deep, directories ending in '/'. Raises FileProblem."""

    async def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        cwd: str = WORKSPACE,
        env: Mapping[str, str] | None = None,
        timeout: float,
        limit: int = 65_536,
    ) -> Completed:
        """One process as the agent's user, outside the persistent shell; its session is killed at the end."""

    async def shell(self, command: str, *, timeout: float, limit: int = 65_536) -> Completed:
        """One command in the persistent bash (cwd, variables and functions stay).

        On timeout the partial output comes back, what the command started is killed, and the shell is usable.
        """

    async def restart_shell(self) -> None:
        """Throw the persistent bash away; the next `shell` starts a new one."""

    async def start(self, command: str, *, pty: tuple[int, int] | None = None) -> int:
        """Start a background job, or a program on a PTY of (rows, columns); returns its number."""

    async def send(self, job: int, data: bytes) -> None:
        """Write to a job's stdin or PTY. Raises FileProblem where there is no such running job."""

    async def poll(self, job: int, *, wait: float = 0.0, limit: int = 65_536) -> JobState:
        """What a job printed since the last poll; waits up to `wait` seconds for output or its end."""

    async def kill(self, job: int) -> None:
        """Kill a job and everything in its session."""

    async def freeze(self, patterns: Sequence[str], caps: FreezeCaps) -> list[Exported]:
        """Kill every agent process, then export the files matching `patterns` (globs, `**` allowed).

        After it only `freeze` may be called again.
        """


class SandboxPool(Protocol):
    """Leases clean slots, keeps released ones warm, never shares one where the rules forbid it."""

    def lease(
        self, spec: SandboxSpec, *, pack: str, group: str
    ) -> AbstractAsyncContextManager[Sandbox]:
        """A slot that is proved clean, for this pack, that no member of `group` used before.

        Raises SandboxUnavailable (infrastructure) or MissingError (no image, no engine, no bwrap).
        """

    async def aclose(self) -> None:
        """Remove every slot; returns when nothing is left."""
