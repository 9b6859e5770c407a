"""`Terminal`: the declaration of a sandboxed shell, and how an episode gets one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar

from envkit.adapter import Adapter, Artefact, Context
from envkit.adapters.terminal.outfit import bait_file, variables
from envkit.adapters.terminal.sandbox import FileProblem, Sandbox, SandboxPool, SandboxSpec
from envkit.adapters.terminal.seed import TerminalSeed
from envkit.adapters.terminal.session import TerminalSession
from envkit.adapters.terminal.text import clean
from envkit.door import Door, Site, open_door
from envkit.errors import DeclarationError, SandboxLost, SandboxUnavailable, TaskError
from envkit.host import Host, HostSettings


class Terminal(Adapter[TerminalSession]):
    """`shell = Terminal()`: a bash, files, jobs and PTY programs, without network.

    `Terminal(sites=(shop,))` reaches the sites of its own episode, as `curl http://shop.test/`, and nothing else.

    Args:
        image: of a container; None: the default image, or this machine's /usr under bubblewrap
        memory_mb: of everything in the sandbox together
        disk_mb: of the workspace; it lies in memory too, 64 MB below `memory_mb` at most
        pids: processes and threads at once
        cpus: cores
        runtime: another OCI runtime of the engine, such as gVisor's "runsc"
        sites: adapters declared before it whose sessions answer HTTP
    """

    Seed: ClassVar[type[TerminalSeed]] = TerminalSeed
    session: ClassVar[type[Any]] = TerminalSession

    def __init__(  # noqa: PLR0913 - options of a declaration, by keyword
        self,
        image: str | None = None,
        *,
        memory_mb: int = 512,
        disk_mb: int = 128,
        pids: int = 256,
        cpus: float = 1.0,
        runtime: str | None = None,
        sites: Sequence[Adapter[Any]] = (),
    ) -> None:
        if min(memory_mb, disk_mb, pids, cpus) <= 0:
            raise DeclarationError("Terminal: memory_mb, disk_mb, pids and cpus must be above 0")
        if disk_mb >= memory_mb - 64:
            raise DeclarationError(
                f"Terminal: disk_mb={disk_mb} must be below memory_mb - 64 = {memory_mb - 64}"
            )
        if not all(isinstance(site, Adapter) for site in sites):
            raise DeclarationError("Terminal: sites must be adapters, as in sites=(shop,)")
        self.sites = tuple(sites)
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
        door = await self._door(context)
        pool = await shared_pool(context.host)
        spec = self.spec if seed.image is None else replace(self.spec, image=seed.image)
        lease = pool.lease(spec, pack=context.pack, group=context.group)
        sandbox = await context.stack.enter_async_context(lease)
        files = {**bait_file(context.bait), **seed.contents()}
        try:
            # Not one after the other: the sandbox does them in this order all the same.
            await asyncio.gather(
                sandbox.equip(variables(context.bait, door), door=door.port if door else None),
                _fill(sandbox, seed, files, self.name),
            )
        except SandboxLost as lost:  # no agent has acted yet, so it was not its doing
            raise SandboxUnavailable(f"{self.name}: the new sandbox went away: {lost}") from lost
        # bytes, so somewhat below the characters that a result may have, notes included
        output = context.limits.output_chars * 3 // 4
        return TerminalSession(sandbox, seed.prelude(), output=output, door=door)

    async def _door(self, context: Context) -> Door | None:
        """The episode's way out, closed with it. Raises MissingError without uvicorn."""
        if not self.sites:
            return None
        sites = [self._site(site, context) for site in self.sites]
        if len({site.origin for site in sites}) < len(sites):
            raise DeclarationError(f"{self.name}: two of its sites have the same origin")
        return await context.stack.enter_async_context(open_door(sites, actor=self.name))

    def _site(self, declared: Adapter[Any], context: Context) -> Site:
        session: Any = context.sessions.get(declared.name)
        name = repr(declared.name) if declared.name else f"a {type(declared).__name__}"
        if session is None:
            raise DeclarationError(
                f"{self.name}: its site {name} is not open; declare it in the same class, above"
            )
        if not callable(getattr(session, "respond", None)) or not hasattr(session, "origin"):
            raise DeclarationError(f"{self.name}: {name} can't be a site: it answers no HTTP")
        site: Site = session
        return site


async def _fill(sandbox: Sandbox, seed: TerminalSeed, files: dict[str, bytes], name: str) -> None:
    prelude = seed.prelude()
    try:
        if files:
            await sandbox.write(files, executable=seed.executable)
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
