"""A leased slot: the `Sandbox` protocol spoken over a channel, the same for every backend."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from envkit.errors import EngineLost, SandboxLost

from .channel import Channel, Header
from .link import Link
from .sandbox import PROXY_PORT, WORKSPACE, Completed, Exported, FileProblem, FreezeCaps, JobState

_GRACE = 15.0  # seconds the host waits beyond a deadline that the supervisor keeps
_WRITE_CHUNK = 1 << 20
_MOST_READ = _MOST_SENT = 48 << 20
_SLACK = 4_096
_SHAPE = "an answer had the wrong shape"
_LOST_ANSWER = f"the sandbox is gone: {_SHAPE}"

_T = TypeVar("_T")


async def _no_engine() -> bool:
    return False


class Machine:
    """One lease. Made by the pool, which calls `end` when the lease is over.

    `engine_lost` is asked once the slot is gone: where the host can prove that its engine went,
    too, every call raises EngineLost, which is nobody's doing, instead of SandboxLost.
    """

    def __init__(
        self,
        channel: Channel,
        backend: Literal["docker", "bubblewrap"],
        engine_lost: Callable[[], Awaitable[bool]] = _no_engine,
    ) -> None:
        self.backend = backend
        self._channel = channel
        self._engine_lost = engine_lost
        self._engine_looked_at: asyncio.Future[bool] | None = None
        self._shell = asyncio.Lock()
        self._link: Link | None = None
        self._over = False

    def end(self) -> None:
        """The lease is over: every further call raises SandboxLost, and no connection is left."""
        self._over = True
        if self._link is not None:
            self._link.close()

    async def _ask(
        self,
        do: str,
        body: bytes = b"",
        *,
        read: Callable[[Header, bytes], _T],
        most: int = 0,
        seconds: float | None = 2 * _GRACE,
        **fields: Any,
    ) -> _T:
        """Ask and `read` the answer. Raises EngineLost or SandboxLost, and then always again."""
        if len(body) > _MOST_SENT:
            raise FileProblem(f"at most {_MOST_SENT} bytes can be sent at once")
        if self._over:
            raise SandboxLost("the lease on this sandbox is over")
        try:
            return read(*await self._channel.ask(do, fields, body, most=most, seconds=seconds))
        except SandboxLost as lost:
            if self._over:  # the channel is the next lease's by now
                raise
            self._channel.fail(_SHAPE)  # does nothing where the channel is what was lost
            if await self._engine_is_gone():
                raise EngineLost(f"the container engine is gone, and with it {lost}") from lost
            raise

    async def _engine_is_gone(self) -> bool:
        """Looked at once per lease, at the first loss; goes on where its first asker is cancelled."""
        if self._engine_looked_at is None:
            self._engine_looked_at = asyncio.ensure_future(self._engine_lost())
        return await asyncio.shield(self._engine_looked_at)

    # --- before the agent comes -------------------------------------------------------------------

    async def equip(self, env: Mapping[str, str], *, door: int | None = None) -> None:
        """Set variables of everything that will run; lead PROXY_PORT inside to a door of this host."""
        port = 0 if door is None else PROXY_PORT
        await self._ask("equip", env=dict(env), port=port, read=_nothing)
        if door is not None:
            self._link = Link(self._ask, door)

    # --- files ----------------------------------------------------------------------------------

    async def write(self, files: Mapping[str, bytes], *, executable: Sequence[str] = ()) -> None:
        """Create or replace files (owned by the agent), with parents. Raises FileProblem."""
        batch: list[dict[str, Any]] = []
        body = bytearray()
        for path, data in files.items():
            for start in range(0, len(data), _WRITE_CHUNK) or (0,):
                part = data[start : start + _WRITE_CHUNK]
                if len(body) + len(part) > _WRITE_CHUNK:
                    await self._ask("write", bytes(body), files=batch, limit=0, read=_nothing)
                    batch, body = [], bytearray()
                batch.append(
                    {
                        "path": path,
                        "size": len(part),
                        "append": start > 0,
                        "executable": path in executable,
                    }
                )
                body += part
        if batch:
            await self._ask("write", bytes(body), files=batch, limit=0, read=_nothing)

    async def read(self, path: str, *, limit: int) -> bytes:
        """A regular file's bytes. FileProblem where it is missing, no file, or over `limit`."""
        if limit > _MOST_READ:
            raise FileProblem(f"at most {_MOST_READ} bytes can be read at once")
        return await self._ask("read", path=path, limit=limit, most=limit + _SLACK, read=_body)

    async def listing(self, path: str, *, limit: int) -> list[str]:
        """Names under a directory, two levels deep, directories ending in '/'."""
        most = limit * _SLACK
        data = await self._ask("list", path=path, limit=limit, most=most, read=_body)
        return data.decode("utf-8", "replace").split("\0") if data else []

    # --- programs -------------------------------------------------------------------------------

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
        """One process as the agent's user, outside the persistent shell."""
        return await self._ask(
            "run",
            stdin,
            argv=list(argv),
            cwd=cwd,
            env=dict(env or {}),
            timeout=timeout,
            limit=limit,
            most=2 * limit,
            seconds=timeout + _GRACE,
            read=_completed,
        )

    async def shell(
        self,
        command: str,
        *,
        timeout: float,
        limit: int = 65_536,
    ) -> Completed:
        """One command in the persistent bash; its cwd, variables and functions stay."""
        async with self._shell:
            return await self._ask(
                "shell",
                command.encode("utf-8", "surrogateescape"),
                timeout=timeout,
                limit=limit,
                most=limit,
                seconds=timeout + _GRACE,
                read=_completed,
            )

    async def restart_shell(self) -> None:
        """Throw the persistent bash away; the next `shell` starts a new one."""
        await self._ask("restart", read=_nothing)

    async def start(self, command: str, *, pty: tuple[int, int] | None = None) -> int:
        """Start a background job, or a program on a PTY of (rows, columns); its number."""
        return await self._ask("start", command=command, pty=pty, read=_job)

    async def send(self, job: int, data: bytes) -> None:
        """Write to a job's stdin or PTY. Raises FileProblem where there is no such running job."""
        await self._ask("send", data, job=job, read=_nothing)

    async def poll(self, job: int, *, wait: float = 0.0, limit: int = 65_536) -> JobState:
        """What a job printed since the last poll; waits up to `wait` seconds for more."""
        return await self._ask(
            "poll",
            job=job,
            wait=wait,
            limit=limit,
            most=limit,
            seconds=wait + _GRACE,
            read=_job_state,
        )

    async def kill(self, job: int) -> None:
        """Kill a job and everything in its session."""
        await self._ask("kill", job=job, read=_nothing)

    async def freeze(self, patterns: Sequence[str], caps: FreezeCaps) -> list[Exported]:
        """Kill every agent process, then export the files matching `patterns`."""
        rows = [caps.depth, caps.entries, caps.file_bytes, caps.total_bytes]
        most = caps.total_bytes + _SLACK * (caps.entries + 1)

        def read(header: Header, body: bytes) -> list[Exported]:
            found = sorted(_exported(header, body), key=lambda one: one.path)
            if sum(len(one.data) for one in found) > caps.total_bytes:
                raise SandboxLost(_LOST_ANSWER)
            return found

        return await self._ask("freeze", patterns=list(patterns), caps=rows, most=most, read=read)


# --- reading answers: the right shape, or SandboxLost -------------------------------------------


def _nothing(header: Header, body: bytes) -> None:
    """An answer that only says that it is done."""


def _body(header: Header, body: bytes) -> bytes:
    return body


def _job(header: Header, body: bytes) -> int:
    return _int(header, "job")


def _job_state(header: Header, body: bytes) -> JobState:
    status, running = header.get("status"), header.get("running") is True
    if not running and type(status) is not int:
        raise SandboxLost(_LOST_ANSWER)
    return JobState(running, status, body, _int(header, "dropped"))


def _int(header: Header, name: str) -> int:
    value = header.get(name)
    if type(value) is not int:
        raise SandboxLost(_LOST_ANSWER)
    return value


def _completed(header: Header, body: bytes) -> Completed:
    status, seconds, late = header.get("status"), header.get("seconds"), header.get("late")
    split, dropped = _int(header, "split"), _int(header, "dropped")
    if not (status is None or type(status) is int) or type(seconds) is not float:
        raise SandboxLost(_LOST_ANSWER)
    return Completed(status, body[:split], body[split:], dropped, late is True, seconds)


def _exported(header: Header, body: bytes) -> list[Exported]:
    found, at = [], 0
    try:
        for path_size, data_size, kind, detail in header["found"]:
            path, data = body[at : at + path_size], body[at + path_size :][:data_size]
            at += path_size + data_size
            if kind not in ("file", "oversize", "refused") or (data and kind != "file"):
                raise SandboxLost(_LOST_ANSWER)
            found.append(Exported(path, kind, data, str(detail)))
    except (KeyError, TypeError, ValueError):
        raise SandboxLost(_LOST_ANSWER) from None
    return found
