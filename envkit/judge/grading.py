"""Grading: run a grader over evidence, and find out whose doing it is where that breaks."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from envkit.data.score import Reason
from envkit.errors import EnvkitError, TaskError
from envkit.judge.pack import unpacked
from envkit.judge.probes import ProbeHost
from envkit.judge.staff import Broke, Displaced, Graders, Refused, WatchedWorker

log = logging.getLogger("envkit.judge")

GRADE_SECONDS = 5.0  # one grading between two batches of probes
PROBE_ROUNDS = 64  # batches of one grading
PROBE_ATTEMPTS = (
    3  # of a batch that infrastructure lost: evidence is graded again, never played again
)
DISPLACED = 8  # times that a grading gives way to its neighbours before it is run alone
EMPTY = "{}"  # evidence of an episode in which nothing happened


@dataclass(slots=True)
class Grading:
    """What is graded, and the replies so far, so that a re-run needs no probe again."""

    split: str
    index: int
    digest: str
    evidence: str  # JSON
    nonce: str
    batches: list[list[dict[str, Any]]] = field(default_factory=list)

    @property
    def ceiling(self) -> float:
        """The most that the reward may be, by the models that were asked."""
        return min((reply["ceiling"] for batch in self.batches for reply in batch), default=1.0)


@dataclass(frozen=True, slots=True)
class Graded:
    """A score as the worker wrote it, and what was found on the way."""

    score: dict[str, Any]
    findings: list[dict[str, str]]


class NotGraded(Exception):
    """There is no score, and the agent had no part in that."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Grader:
    """Grades with workers that may hang or die on what they are given."""

    def __init__(self, workers: Graders, probes: ProbeHost) -> None:
        self._workers = workers
        self._probes = probes
        self._has_scored = False  # then a grader that breaks is not broken in general

    async def grade(self, grading: Grading) -> Graded:
        """The score. A grader that breaks is re-run alone, then on empty evidence as control. Raises NotGraded."""
        with contextlib.suppress(Broke):
            return await self._beside_others(grading)
        async with self._workers.alone() as worker:
            try:
                return Graded(await self._run(worker, grading), [])
            except (Broke, Displaced) as broke:
                why = str(broke)
                log.info("a grader broke: %s", why)
            await self._control(worker, grading, why)
        return _broke_on_evidence(grading, why)

    async def check(self, grading: Grading) -> None:
        """Grade empty evidence. Raises TaskError where the grader breaks on it.

        Before a run begins: under such a grader whoever loses could hand in nothing, and would have no verdict.
        """
        async with self._workers.alone() as worker:
            try:
                await self._run(worker, grading)
            except Broke as broke:
                raise TaskError(
                    f"grade breaks on empty evidence: {broke}; doing nothing must earn a score"
                ) from None

    async def _beside_others(self, grading: Grading) -> Graded:
        for _ in range(DISPLACED):
            with contextlib.suppress(Displaced):
                return Graded(await self._run(self._workers.shared(), grading), [])
        raise Broke("displaced too often")

    async def _control(self, worker: WatchedWorker, grading: Grading, why: str) -> None:
        """Raises NotGraded where empty evidence breaks the grader as well, and nothing was ever graded by it.

        Once it has graded anything, a loser must not get out by handing in what it stumbles over.
        """
        control = Grading(grading.split, grading.index, grading.digest, EMPTY, grading.nonce)
        try:
            await self._run(worker, control)
        except (Broke, Displaced) as broke:
            if not self._has_scored:
                detail = f"{why}; on empty evidence: {broke}"
                raise NotGraded(Reason.GRADER_BROKEN, detail) from None

    async def _run(self, worker: WatchedWorker, grading: Grading) -> dict[str, Any]:
        reply = await worker.call(
            "grade", GRADE_SECONDS, split=grading.split, index=grading.index, digest=grading.digest,
            evidence=grading.evidence, nonce=grading.nonce,
        )  # fmt: skip
        for number in range(PROBE_ROUNDS):
            if "probes" not in reply:
                break
            if number == len(grading.batches):
                grading.batches.append(await self._answered(worker, reply))
            answers = grading.batches[number]
            reply = await worker.call(
                "replies", GRADE_SECONDS, grading=reply["grading"], replies=answers
            )
        if "unstable" in reply:
            why = "task() made another task from the same key; draw from rng alone"
            raise NotGraded(Reason.TASK_UNSTABLE, why)
        if "score" not in reply:
            await self._leave(worker, reply)
            raise Refused(f"grade asked for more than {PROBE_ROUNDS} batches of probes")
        if grading.evidence != EMPTY:
            self._has_scored = True
        return {"blame": None, **reply["score"]}

    async def _answered(
        self, worker: WatchedWorker, asked: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        probes = unpacked(asked)
        for attempt in range(1, PROBE_ATTEMPTS + 1):
            try:
                return [
                    reply.model_dump(mode="json") for reply in await self._probes.answer(probes)
                ]
            except EnvkitError as error:
                if attempt == PROBE_ATTEMPTS:
                    await self._leave(worker, asked)
                    raise NotGraded(Reason.PROBE_LOST, str(error)) from None
                await asyncio.sleep(0.5 * attempt)
        raise AssertionError("the last attempt returns or raises")

    async def _leave(self, worker: WatchedWorker, asked: Mapping[str, Any]) -> None:
        """Let the worker forget a grading that does not go on."""
        with contextlib.suppress(Broke, Displaced):
            await worker.call("leave", GRADE_SECONDS, grading=asked["grading"])


def _broke_on_evidence(grading: Grading, why: str) -> Graded:
    finding = {
        "rule": "grader-broke-on-evidence",
        "severity": "high",
        "place": f"{grading.split}/{grading.index}",
        "evidence": why,
        "remedy": "make grade total: bound every input before you compute with it",
    }
    reasons = ["grader_broke_on_evidence", why]
    score = {"reward": 0.0, "checks": {}, "reasons": reasons, "seats": {}, "blame": "grader"}
    return Graded(score, [finding])
