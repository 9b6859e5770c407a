"""The judge service: `python -I -m envkit.judge.service`, the one process that a runner talks to.

It holds the salt, watches the workers that run the pack's code, answers their probes in subject slots of its own,
and seals what must not leave: reasons (they quote gold), hidden inputs, replies. The runner gets public tasks,
actions of scripts, and verdicts bare of reasons.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envkit.errors import EnvkitError, TaskError, UsageError
from envkit.host import Backend
from envkit.judge import channel
from envkit.judge.grading import EMPTY, Grader, Grading, NotGraded
from envkit.judge.harden import harden
from envkit.judge.keys import PUBLIC_SALT, read_salt
from envkit.judge.probes import ProbeHost
from envkit.judge.sealed import Sealed
from envkit.judge.staff import Broke, Displaced, Graders, Refused, WatchedWorker

AUTHOR_SECONDS = 30.0  # one task, or one step of a script
_ANEW = 8  # times that a call is made again where its worker was lost to another


_REFUSALS: tuple[tuple[type[EnvkitError], str], ...] = (
    (TaskError, "task"),
    (UsageError, "usage"),
    (Displaced, "displaced"),
    (Broke, "author"),
)


class Service:
    """Answers a runner's requests for one environment."""

    def __init__(self) -> None:
        self._author: WatchedWorker | None = None
        self._workers: Graders | None = None
        self._probes: ProbeHost | None = None
        self._grader: Grader | None = None
        self._sealed: Sealed | None = None
        self._alone = asyncio.Lock()

    async def handle(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request; what goes wrong on purpose comes back as `refused`."""
        fields = {key: value for key, value in request.items() if key not in ("n", "op")}
        try:
            return await self._answer(request["op"], fields)
        except EnvkitError as error:
            kinds = (kind for types, kind in _REFUSALS if isinstance(error, types))
            return {"refused": next(kinds, "broken"), "why": str(error)}

    async def _answer(self, op: str, fields: dict[str, Any]) -> dict[str, Any]:
        if op == "load":
            return await self._load(**fields)
        if op == "grade":
            return await self._grade(**fields)
        if op == "check":
            return await self._check(**fields)
        return await self._ask_author(op, fields)

    async def close(self) -> None:
        """End the workers, give the slots back."""
        if self._author and self._workers and self._probes:
            await asyncio.gather(self._author.close(), self._workers.close(), self._probes.close())
        if self._sealed is not None:
            self._sealed.close()

    async def _load(
        self, spec: str, salt_file: str | None, sealed: str | None, private: bool, backend: Backend,
        concurrency: int,
    ) -> dict[str, Any]:  # fmt: skip
        self._sealed = None if sealed is None else Sealed(Path(sealed))
        salt = self._salt(salt_file, private)
        self._author = WatchedWorker(spec, salt)
        self._workers = Graders(spec, salt)
        self._probes = ProbeHost(spec, backend, concurrency)
        self._grader = Grader(self._workers, self._probes)
        # the name of a salt is how `--resume` knows that the tasks are still the same ones
        name = hashlib.sha256(b"salt\0" + salt).hexdigest()[:16]
        return {"digest": await self._author.start(), "salt": name, "public": salt == PUBLIC_SALT}

    def _salt(self, salt_file: str | None, private: bool) -> bytes:
        if salt_file is not None or not private:
            return read_salt(salt_file)
        if self._sealed is None:
            raise UsageError("a private salt needs an output folder to be kept in")
        return self._sealed.salt()

    async def _ask_author(self, op: str, fields: dict[str, Any]) -> dict[str, Any]:
        if self._author is None or op not in ("draw", "names", "script", "next", "drop"):
            raise UsageError(f"the judge knows no {op!r} now")
        if op in ("next", "drop"):  # tied to the process in which the script was begun
            return await self._author.call(op, AUTHOR_SECONDS, **fields)
        for _ in range(_ANEW):
            try:
                return await self._author.call(op, AUTHOR_SECONDS, **fields)
            except Refused:
                raise
            except Broke:
                break
            except Displaced:
                continue
        async with self._alone:  # who killed the worker can only be told where nobody stands beside
            return await self._author.call(op, AUTHOR_SECONDS, **fields)

    async def _grade(
        self, episode: str, split: str, index: int, digest: str, evidence: str
    ) -> dict[str, Any]:
        if self._grader is None:
            raise UsageError("no environment is loaded")
        grading = Grading(split, index, digest, evidence, secrets.token_hex(16))
        try:
            graded = await self._grader.grade(grading)
        except NotGraded as not_graded:
            outcome = {"invalid": not_graded.reason.value, "detail": str(not_graded)}
            self._note(episode, grading, outcome)
            return outcome
        score = {**graded.score, "reward": min(graded.score["reward"], grading.ceiling)}
        self._note(episode, grading, {"score": score})
        checks = {name: value for name, (value, _) in score["checks"].items()}
        return {"score": {**score, "checks": checks, "reasons": []}, "findings": graded.findings}

    async def _check(self, split: str, index: int, digest: str) -> dict[str, Any]:
        if self._grader is None:
            raise UsageError("no environment is loaded")
        with contextlib.suppress(NotGraded):  # no slot for a probe says nothing about the grader
            await self._grader.check(Grading(split, index, digest, EMPTY, secrets.token_hex(16)))
        return {}

    def _note(self, episode: str, grading: Grading, outcome: Mapping[str, Any]) -> None:
        if self._sealed is not None:
            entry = {
                "episode": episode, "split": grading.split, "index": grading.index, "digest": grading.digest,
                "nonce": grading.nonce, "replies": grading.batches, **outcome,
            }  # fmt: skip
            self._sealed.note(grading.evidence, entry)


async def _main() -> None:
    service = Service()
    try:
        await channel.serve(service.handle)
    finally:
        await service.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's: it closes the pipe
    harden()
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="envkit judge: %(message)s"
    )
    asyncio.run(_main())
