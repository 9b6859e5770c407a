"""How fast a terminal sandbox is, against floors and peers measured in the same run.

A command is `/bin/true` in the persistent shell; its floor is fork and exec on the host, its peer
the engine's exec. A reset is a warm lease taken after a dirty episode; its peer is removing,
creating and starting a container of the same image.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Literal

from envkit.adapters.terminal.docker import DockerBackend
from envkit.adapters.terminal.pool import Pool, open_pool
from envkit.adapters.terminal.sandbox import SandboxSpec
from envkit.errors import MissingError

if TYPE_CHECKING:
    from docker import DockerClient

_SPEC = SandboxSpec(memory_mb=256, disk_mb=64)
_PACK = "bench"
_WARM_UP = 20
_DIRT = (
    "for i in $(seq 100); do echo $i > f$i; done; head -c 1000000 /dev/zero > /tmp/big;"
    " sleep 600 & true"
)


async def bench_terminal(
    backend: Literal["auto", "docker", "bubblewrap"] = "auto",
    *,
    commands: int = 300,
    resets: int = 40,
    recreations: int = 6,
    workers: int = 8,
) -> dict[str, Any]:
    """Medians in milliseconds, ratios, rates per second, and how many samples each rests on.

    `docker_exec_ms`, `recreate_ms` and the ratios to them are None where no engine answers.
    Raises MissingError where the backend is not on this machine.
    """
    async with await open_pool(backend, size=2 * workers) as pool:
        fork = await asyncio.to_thread(_fork_and_exec, commands)
        command = await _commands(pool, commands)
        reset = await _resets(pool, resets)
        rate = await _command_rate(pool, workers, commands)
        cycles = await _reset_rate(pool, workers, resets)
        notes = list(pool.notes)
    exec_ms, recreate_ms = await _peer(recreations)
    return {
        "backend": pool.backend,
        "cpus": os.cpu_count(),
        "fork_ms": fork,
        "command_ms": command,
        "command_ratio_to_fork": command / fork,
        "docker_exec_ms": exec_ms,
        "docker_exec_ratio_to_command": exec_ms / command if exec_ms else None,
        "reset_ms": reset,
        "recreate_ms": recreate_ms,
        "reset_ratio_to_recreate": recreate_ms / reset if recreate_ms else None,
        "commands_per_second": rate,
        "resets_per_second": cycles,
        "workers": workers,
        "counts": {"commands": commands, "resets": resets, "recreations": recreations},
        "notes": notes,
    }


async def _median(count: int, once: Callable[[], Awaitable[float]]) -> float:
    return statistics.median([await once() for _ in range(count)]) * 1000


def _fork_and_exec(count: int) -> float:
    """The floor, fork and exec from a process of this size."""
    samples = []
    for _ in range(count):
        begun = time.perf_counter()
        pid = os.posix_spawn("/bin/true", ["true"], {})
        os.waitpid(pid, 0)
        samples.append(time.perf_counter() - begun)
    return statistics.median(samples) * 1000


async def _commands(pool: Pool, count: int) -> float:
    async with pool.lease(_SPEC, pack=_PACK, group="commands") as box:

        async def once() -> float:
            begun = time.perf_counter()
            await box.shell("/bin/true", timeout=30)
            return time.perf_counter() - begun

        await _median(_WARM_UP, once)
        return await _median(count, once)


async def _resets(pool: Pool, count: int) -> float:
    """From the end of a dirty lease to the next one being ready, nothing else going on."""
    numbers = iter(range(count + 1))
    ended = 0.0

    async def once() -> float:
        nonlocal ended
        async with pool.lease(_SPEC, pack=_PACK, group=f"reset {next(numbers)}") as box:
            took = time.perf_counter() - ended
            await box.shell(_DIRT, timeout=30)
            ended = time.perf_counter()
        return took

    await once()
    return await _median(count, once)


async def _command_rate(pool: Pool, workers: int, count: int) -> float:
    async def work(name: str, rounds: int) -> None:
        async with pool.lease(_SPEC, pack=_PACK, group=name) as box:
            await box.shell("true", timeout=60)
            ready.release()
            await started.wait()
            for _ in range(rounds):
                await box.shell("/bin/true", timeout=60)

    ready, started = asyncio.Semaphore(0), asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for number in range(workers):
            tasks.create_task(work(f"rate {number}", count))
        for _ in range(workers):
            await ready.acquire()
        begun = time.perf_counter()
        started.set()
    return workers * count / (time.perf_counter() - begun)


async def _reset_rate(pool: Pool, workers: int, count: int) -> float:
    async def work(number: int) -> None:
        for turn in range(count):
            async with pool.lease(_SPEC, pack=_PACK, group=f"cycle {number} {turn}"):
                pass

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(workers // 2):
            tasks.create_task(work(number))
    return workers // 2 * count / (time.perf_counter() - begun)


async def _peer(recreations: int) -> tuple[float | None, float | None]:
    """The engine's own exec, and remove + create + start, for the image the pool would take."""
    try:
        backend = await DockerBackend.connect()
        image = await backend.image(None)
    except MissingError:
        return None, None
    try:
        return await asyncio.to_thread(_engine_alone, backend.client, image, recreations)
    finally:
        await backend.aclose()


def _engine_alone(client: DockerClient, image: str, recreations: int) -> tuple[float, float]:
    def start() -> Any:
        return client.containers.run(
            image, ["sleep", "600"], detach=True, network_mode="none", mem_limit="256m"
        )

    box = start()
    try:
        execs, again = [], []
        for _ in range(4 * recreations):
            begun = time.perf_counter()
            box.exec_run(["/bin/true"])
            execs.append(time.perf_counter() - begun)
        for _ in range(recreations):
            begun = time.perf_counter()
            box.remove(force=True)
            box = start()
            again.append(time.perf_counter() - begun)
    finally:
        box.remove(force=True)
    return statistics.median(execs) * 1000, statistics.median(again) * 1000
