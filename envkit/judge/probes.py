"""The probe host: runs what graders ask for, each probe in a subject slot that is clean and that no agent shares."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from importlib import resources
from typing import Any

from envkit.adapters.terminal.sandbox import (
    Completed,
    FileProblem,
    Sandbox,
    SandboxPool,
    SandboxSpec,
)
from envkit.data.probe import Ask, Probe, Reply, SubjectCall, SubjectRun, Tests
from envkit.data.strict import Malformed, strict_json
from envkit.data.task import Blob, FileContent
from envkit.errors import EngineLost, JudgeError, SandboxLost
from envkit.host import Backend
from envkit.judge.ask import ask

MAX_REPLY = 1 << 20  # bytes of one subject's output that are read
PYTHON = ("python3", "-I", "-c")


class ProbeHost:
    """Answers batches of probes. Slots are opened at the first one and kept warm."""

    def __init__(self, pack: str, backend: Backend, concurrency: int) -> None:
        self._pack = pack
        self._backend = backend
        self._size = max(2, min(concurrency, 2 * (os.cpu_count() or 2)))
        self._pool: SandboxPool | None = None
        self._opening = asyncio.Lock()
        self._busy = asyncio.Semaphore(self._size)
        self._numbers = itertools.count()
        self._driver = resources.files("envkit.judge").joinpath("subject.py").read_text("utf-8")

    async def answer(self, probes: Sequence[Probe]) -> list[Reply]:
        """Replies in the order of the batch. Raises SandboxUnavailable, MissingError or JudgeError: infrastructure."""
        groups = _together(probes)
        answered = await asyncio.gather(
            *(self._group([probes[i] for i in group]) for group in groups)
        )
        replies: dict[int, Reply] = {}
        for group, some in zip(groups, answered, strict=True):
            replies.update(zip(group, some, strict=True))
        return [replies[number] for number in range(len(probes))]

    async def close(self) -> None:
        """Give all slots back."""
        if self._pool is not None:
            await self._pool.aclose()

    async def _group(self, probes: Sequence[Probe]) -> list[Reply]:
        first = probes[0]
        if isinstance(first, Ask):
            return [await ask(first)]
        if not isinstance(first, SubjectCall | SubjectRun | Tests):
            raise JudgeError(f"no probe is called {first.kind!r}")
        async with self._busy, await self._lease(first.image) as box:
            try:
                await box.write({path: _bytes(content) for path, content in first.files.items()})
                if isinstance(first, SubjectCall):
                    return await self._call(box, [p for p in probes if isinstance(p, SubjectCall)])
                stdin = (
                    first.stdin.encode("utf-8", "replace") if isinstance(first, SubjectRun) else b""
                )
                done = await box.run(
                    first.argv, stdin=stdin, timeout=first.seconds, limit=MAX_REPLY
                )
                return [_run_reply(done)]
            except EngineLost:  # no subject can cause that
                raise
            except SandboxLost:
                return [_problem("the subject broke its sandbox")] * len(probes)
            except FileProblem as problem:
                return [_problem(f"files: {problem}")] * len(probes)

    async def _lease(self, image: str | None) -> AbstractAsyncContextManager[Sandbox]:
        async with self._opening:
            if self._pool is None:
                from envkit.adapters.terminal.pool import (
                    open_pool,
                )  # engines: most graders need none

                self._pool = await open_pool(backend=self._backend, size=self._size)
        group = f"subject-{next(self._numbers)}"
        return self._pool.lease(SandboxSpec(image=image), pack=self._pack, group=group)

    async def _call(self, box: Sandbox, calls: Sequence[SubjectCall]) -> list[Reply]:
        request = [
            {"module": one.module, "function": one.function, "arguments": one.arguments}
            for one in calls
        ]
        seconds = sum(one.seconds for one in calls)
        done = await box.run(
            (*PYTHON, self._driver),
            stdin=json.dumps(request).encode(),
            timeout=seconds,
            limit=2 * MAX_REPLY,
        )
        answers = _answers(done)
        if isinstance(answers, str) or len(answers) != len(calls):
            problem = answers if isinstance(answers, str) else "answered another number of calls"
            return [_problem(problem)] * len(calls)
        return [_call_reply(answer) for answer in answers]


def _together(probes: Sequence[Probe]) -> list[list[int]]:
    """Which probes share a process: calls of one non-empty `batch` name over the same files, else none."""
    groups: list[list[int]] = []
    named: dict[tuple[str, int], list[int]] = {}
    for number, probe in enumerate(probes):
        if isinstance(probe, SubjectCall) and probe.batch:
            key = (probe.batch, hash(repr(sorted(probe.files.items(), key=lambda item: item[0]))))
            if key not in named:
                named[key] = []
                groups.append(named[key])
            named[key].append(number)
        else:
            groups.append([number])
    return groups


def _bytes(content: FileContent) -> bytes:
    return content.data if isinstance(content, Blob) else content.encode("utf-8", "replace")


def _problem(text: str) -> Reply:
    return Reply(ok=False, problem=text)


def _answers(done: Completed) -> list[Any] | str:
    if done.timed_out:
        return "ran out of time"
    if done.status != 0:
        return f"ended with status {done.status}"
    if done.dropped:
        return "answered too much"
    answers = strict_json(done.stdout, where="subject", max_bytes=2 * MAX_REPLY)
    if isinstance(answers, Malformed) or not isinstance(answers, list):
        return "answered no JSON list"
    return answers


def _call_reply(answer: Any) -> Reply:
    if isinstance(answer, dict) and isinstance(answer.get("value"), str) and len(answer) == 1:
        return Reply(ok=True, status=0, stdout=answer["value"])
    problem = answer.get("problem") if isinstance(answer, dict) else None
    return _problem(str(problem)[:200] if problem else "answered in another form")


def _run_reply(done: Completed) -> Reply:
    problem = "ran out of time" if done.timed_out else ("printed too much" if done.dropped else "")
    return Reply(
        ok=done.status == 0 and not problem,
        status=done.status,
        stdout=done.stdout.decode("utf-8", "replace"),
        stderr=done.stderr.decode("utf-8", "replace"),
        problem=problem,
    )
