"""What a verdict costs: split judge and subject slot, against pytest beside what it tests."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import statistics
import tarfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from envkit.adapters.terminal.pool import Pool, open_pool
from envkit.adapters.terminal.sandbox import Sandbox, SandboxSpec
from envkit.bench.core import WORLDS
from envkit.bench.worlds import PROBES, SOLUTION
from envkit.data.evidence import FrozenEvidence, FrozenItem
from envkit.data.score import Score
from envkit.host import Backend
from envkit.judge.client import Judge, JudgeSettings, Ticket
from envkit.registry import resolve

TESTS = f"""\
import random
import unittest
from answer import squeeze

class TestSqueeze(unittest.TestCase):
    def test_hidden_inputs(self):
        for _ in range({PROBES}):
            text = " " * random.randint(1, 5) + "a  b"
            self.assertEqual(squeeze(text), " ".join(text.split()))
"""
PARTS = ("pytest", "_pytest", "py", "pluggy", "iniconfig", "packaging", "pygments")
SECONDS = 60.0
VENDORED = "/tmp/vendored"  # noqa: S108 - inside the sandbox


async def bench_grade(
    backend: Backend = "auto", *, count: int = 60, peers: int = 20
) -> dict[str, Any]:
    """Both sides in turns, one at a time, on warm slots of one backend. Raises MissingError."""
    spec = resolve(f"file:{WORLDS}:Squeeze").spec
    async with Judge(spec, JudgeSettings(backend=backend)) as judge:
        ticket = await judge.draw("train", 0)
        await _grade(judge, ticket)  # opens the slots, warms the workers
        graded = [await _timed(lambda: _grade(judge, ticket)) for _ in range(count)]
        busy = await _timed(lambda: asyncio.gather(*(_grade(judge, ticket) for _ in range(count))))
    runner, vendored = _test_runner()
    async with await open_pool(backend, size=2) as pool:
        tested = [await _tested(pool, number, runner, vendored) for number in range(peers + 1)][1:]
        notes = list(pool.notes)
        used = pool.backend
    median, peer = statistics.median(graded), statistics.median(tested)
    return {
        "backend": used,
        "grade_p50_ms": round(median * 1e3, 2),
        "grade_p95_ms": round(_p95(graded) * 1e3, 2),
        "grades_per_second": round(count / busy, 1),
        "peer": f"{runner} in the sandbox",
        "peer_p50_ms": round(peer * 1e3, 2),
        "peer_p95_ms": round(_p95(tested) * 1e3, 2),
        "ratio_of_peer_to_grade": round(peer / median, 2),
        "probes": PROBES,
        "counts": {"grades": count, "peers": peers},
        "notes": notes,
    }


async def _timed(work: Callable[[], Awaitable[Any]]) -> float:
    started = time.perf_counter()
    await work()
    return time.perf_counter() - started


def _p95(samples: list[float]) -> float:
    return statistics.quantiles(samples, n=20)[-1]


async def _grade(judge: Judge, ticket: Ticket) -> None:
    item = FrozenItem(name="shell/answer.py", data=SOLUTION.encode())
    judged = await judge.grade(ticket, FrozenEvidence(items=(item,)).model_dump_json(), "bench")
    if not isinstance(judged.verdict, Score) or judged.verdict.reward != 1.0:
        raise RuntimeError(f"the bench's own solution does not pass: {judged.verdict}")


async def _tested(pool: Pool, number: int, runner: str, vendored: bytes) -> float:
    """Seconds of the test process alone; what it needs is unpacked before the clock runs."""
    async with pool.lease(SandboxSpec(), pack="bench", group=f"peer {number}") as box:
        files = {"answer.py": SOLUTION.encode(), "test_answer.py": TESTS.encode()}
        await box.write(files)
        if vendored:
            await box.write({"vendored.tar": vendored})
            await _ok(box, "mkdir", VENDORED)
            await _ok(box, "tar", "xf", "vendored.tar", "-C", VENDORED)
        command = ("python3", "-m", runner, "-q", "test_answer.py")
        await _ok(box, *command)  # an installed pytest would be compiled already
        return await _timed(lambda: _ok(box, *command))


async def _ok(box: Sandbox, *argv: str) -> None:
    env = {"PYTHONPATH": VENDORED}
    done = await box.run(argv, env=env, timeout=SECONDS)
    if done.status != 0:
        said = (done.stdout + done.stderr).decode("utf-8", "replace")[-500:]
        raise RuntimeError(f"{argv[0]} in the sandbox ended with status {done.status}: {said}")


def _test_runner() -> tuple[str, bytes]:
    """Pytest with what it needs, packed from this installation; else the standard library's."""
    found = [importlib.util.find_spec(name) for name in PARTS]
    if not all(found):
        return "unittest", b""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, spec in zip(PARTS, found, strict=True):
            path = Path((spec and spec.origin) or "")
            if path.name == "__init__.py":
                archive.add(path.parent, name, filter=_python_alone)
            else:
                archive.add(path, path.name)
    return "pytest", stream.getvalue()


def _python_alone(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return entry if entry.isdir() or entry.name.endswith(".py") else None
