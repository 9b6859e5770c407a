"""`Terminal`: the declaration of a sandboxed shell, and how an episode gets one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar

from envkit.adapter import Adapter, Artefact, Context
from envkit.adapters.terminal.sandbox import FileProblem, Sandbox, SandboxPool, SandboxSpec
from envkit.adapters.terminal.seed import TerminalSeed
from envkit.adapters.terminal.session import TerminalSession
from envkit.adapters.terminal.text import clean
from envkit.errors import DeclarationError, SandboxLost, SandboxUnavailable, TaskError
from envkit.host import Host, HostSettings


class Terminal(Adapter[TerminalSession]):
    """`shell = Terminal()`: a bash, files, jobs and PTY programs, without network.

    Args:
        image: of a container; None: the default image, or this machine's /usr under bubblewrap
        memory_mb: of everything in the sandbox together
        disk_mb: of the workspace; it lies in memory too, 64 MB below `memory_mb` at most
        pids: processes and threads at once
        cpus: cores
        runtime: another OCI runtime of the engine, such as gVisor's "runsc"
    """

    Seed: ClassVar[type[TerminalSeed]] = TerminalSeed
    session: ClassVar[type[Any]] = TerminalSession

    def __init__(
        self,
        image: str | None = None,
        *,
        memory_mb: int = 512,
        disk_mb: int = 128,
        pids: int = 256,
        cpus: float = 1.0,
        runtime: str | None = None,
    ) -> None:
        if min(memory_mb, disk_mb, pids, cpus) <= 0:
            raise DeclarationError("Terminal: memory_mb, disk_mb, pids and cpus must be above 0")
        if disk_mb >= memory_mb - 64:
            raise DeclarationError(
                f"Terminal: disk_mb={disk_mb} must be below memory_mb - 64 = {memory_mb - 64}"
            )
        self.spec = SandboxSpec(image, memory_mb, disk_mb, pids, cpus, runtime)

    def files(self, pattern: str) -> Artefact:
        """Declare files of the workspace as evidence; the judge reads `<name>/<path>`.

        Args:
            pattern: a path under the workspace, with `*`, `?`, `[...]` and `**`
        """
        parts = pattern.split("/")
        if not pattern or pattern.startswith("/") or ".." in parts or "\0" in pattern:
            raise DeclarationError(f"{pattern!r} must be a path under the workspace, without '..'")
        return self.artefact(pattern)

    async def open(self, seed: Any, context: Context) -> TerminalSession:
        """Lease a slot that no other member of the group had, and put the seed into it."""
        pool = await shared_pool(context.host)
        spec = self.spec if seed.image is None else replace(self.spec, image=seed.image)
        lease = pool.lease(spec, pack=context.pack, group=context.group)
        sandbox = await context.stack.enter_async_context(lease)
        prelude = seed.prelude()
        try:
            await _fill(sandbox, seed, prelude, self.name)
        except SandboxLost as lost:  # no agent has acted yet, so it was not its doing
            raise SandboxUnavailable(f"{self.name}: the new sandbox went away: {lost}") from lost
        # bytes, so somewhat below the characters that a result may have, notes included
        return TerminalSession(sandbox, prelude, output=context.limits.output_chars * 3 // 4)


async def _fill(sandbox: Sandbox, seed: TerminalSeed, prelude: str, name: str) -> None:
    try:
        if seed.files:
            await sandbox.write(seed.contents(), executable=seed.executable)
    except FileProblem as problem:
        raise TaskError(f"world {name!r}: its files can't be written: {problem}") from problem
    if prelude:
        done = await sandbox.shell(f"{prelude} && __seeded=1", timeout=30, limit=1_000)
        if done.status != 0:
            why = clean(done.stdout + done.stderr).strip() or "no reason given"
            raise TaskError(f"world {name!r}: its env or cwd can't be set: {why}")


async def shared_pool(host: Host) -> SandboxPool:
    """The host's one pool of sandboxes for its backend and purpose; opened on first use."""
    settings = host.settings
    key = ("terminal", settings.backend, settings.purpose)
    return await host.shared(key, lambda: _opened(settings))


@asynccontextmanager
async def _opened(settings: HostSettings) -> AsyncGenerator[SandboxPool]:
    # the backends load docker-py: late, so that declaring a terminal costs nothing
    from envkit.adapters.terminal.pool import open_pool

    pool = await open_pool(backend=settings.backend, size=settings.concurrency)
    try:
        yield pool
    finally:
        await pool.aclose()
