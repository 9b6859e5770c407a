"""What the families of tests share."""

from __future__ import annotations

import asyncio

from envkit.adapters.terminal.sandbox import FileProblem, FreezeCaps, Sandbox, SandboxSpec
from envkit.testing.probes import python

SMALL = SandboxSpec(memory_mb=192, disk_mb=32, pids=96)
CAPS = FreezeCaps()
NAMES = "(cat /proc/[0-9]*/comm 2>/dev/null; true)"  # one may end while the list is read


async def out(box: Sandbox, command: str, *, timeout: float = 20) -> str:
    """What a shell command prints; it must end well."""
    done = await box.shell(command, timeout=timeout)
    assert done.status == 0, done
    return done.stdout.decode("utf-8", "replace").strip()


async def run_python(box: Sandbox, source: str, *, timeout: float = 20) -> str:
    """What Python source prints; it must end well."""
    return await out(box, python(source), timeout=timeout)


async def alive(box: Sandbox) -> None:
    """Assert that the shell answers."""
    assert await out(box, "echo alive") == "alive"


async def gone(box: Sandbox, name: str) -> None:
    """Assert that no such program runs any more; a killed one takes a moment to end."""
    for _ in range(20):
        seen = await out(box, NAMES)
        if name not in seen:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(seen)


async def eventually_alive(box: Sandbox) -> None:
    """Usable again within a few seconds of the abuse."""
    for _ in range(20):
        try:
            done = await box.shell("echo alive", timeout=5)
        except FileProblem:
            await asyncio.sleep(0.3)
            continue
        if done.stdout.endswith(b"alive\n"):
            return
        await asyncio.sleep(0.3)
    raise AssertionError("the sandbox stayed unusable")
