"""The judge service: `python -I -m envkit.judge.service`, the one process that a runner talks to.

It holds the salt, watches the workers that run the pack's code, answers their probes in subject slots of its own,
and seals what must not leave: reasons (they quote gold), hidden inputs, replies. The runner gets public tasks,
actions of scripts, and verdicts bare of reasons.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import secrets
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envkit.data.score import Reason
from envkit.errors import EnvkitError, SandboxUnavailable, TaskError, UsageError
from envkit.host import Backend
from envkit.judge import channel
from envkit.judge.keys import PUBLIC_SALT, draw_salt, read_salt
from envkit.judge.probes import ProbeHost
from envkit.judge.staff import Broke, Displaced, Graders, WatchedWorker

log = logging.getLogger("envkit.judge")

AUTHOR_SECONDS = 30.0  # one task, or one step of a script
GRADE_SECONDS = 5.0  # one grading between two batches of probes
PROBE_ROUNDS = 64  # batches of one grading


@dataclass(slots=True)
class _Grading:
    """One grading: what is graded, and the replies so far, so that a re-run needs no probe again."""

    split: str
    index: int
    digest: str
    evidence: str
    nonce: str
    batches: list[list[dict[str, Any]]] = field(default_factory=list)


class _Refused(Exception):
    """A grading that ends without a score; carries why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Service:
    """Answers a runner's requests for one environment."""

    def __init__(self) -> None:
        self._author: WatchedWorker | None = None
        self._graders: Graders | None = None
        self._probes: ProbeHost | None = None
        self._sealed: Path | None = None

    async def handle(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """One request; what goes wrong on purpose comes back as `refused`."""
        fields = {key: value for key, value in request.items() if key not in ("n", "op")}
        try:
            if request["op"] == "load":
                return await self._load(**fields)
            if request["op"] == "grade":
                return await self._grade(**fields)
            return await self._ask_author(request["op"], fields)
        except TaskError as error:
            return {"refused": "task", "why": str(error)}
        except UsageError as error:
            return {"refused": "usage", "why": str(error)}
        except (Broke, Displaced) as error:
            return {"refused": "author", "why": str(error)}

    async def close(self) -> None:
        """End the workers, give the slots back."""
        if self._author and self._graders and self._probes:
            await asyncio.gather(self._author.close(), self._graders.close(), self._probes.close())

    async def _load(
        self, spec: str, salt_file: str | None, sealed: str | None, private: bool, backend: Backend,
        concurrency: int,
    ) -> dict[str, Any]:  # fmt: skip
        if sealed is not None:
            self._sealed = Path(sealed)
            self._sealed.mkdir(mode=0o700, parents=True, exist_ok=True)
        salt = self._salt(salt_file, private)
        self._author = WatchedWorker(spec, salt)
        self._graders = Graders(spec, salt)
        self._probes = ProbeHost(spec, backend, concurrency)
        # the name of a salt is how `--resume` knows that the tasks are still the same ones
        name = hashlib.sha256(b"salt\0" + salt).hexdigest()[:16]
        return {"digest": await self._author.start(), "salt": name, "public": salt == PUBLIC_SALT}

    def _salt(self, salt_file: str | None, private: bool) -> bytes:
        if salt_file is None and private:
            if self._sealed is None:
                raise UsageError("a private salt needs an output folder to be kept in")
            kept = self._sealed / "salt"
            return kept.read_bytes() if kept.exists() else draw_salt(kept)
        return read_salt(salt_file)

    async def _ask_author(self, op: str, fields: dict[str, Any]) -> dict[str, Any]:
        if self._author is None or op not in ("draw", "names", "script", "next", "drop"):
            raise UsageError(f"the judge knows no {op!r} now")
        return await self._author.call(op, AUTHOR_SECONDS, **fields)

    # ---- grading ----

    async def _grade(
        self, episode: str, split: str, index: int, digest: str, evidence: str
    ) -> dict[str, Any]:
        grading = _Grading(split, index, digest, evidence, secrets.token_hex(16))
        try:
            score, findings = await self._score(grading)
        except _Refused as refused:
            self._seal(episode, grading, {"invalid": refused.reason, "detail": str(refused)})
            return {"invalid": refused.reason.value, "detail": str(refused)}
        ceiling = min(
            (reply["ceiling"] for batch in grading.batches for reply in batch), default=1.0
        )
        score["reward"] = min(score["reward"], ceiling)
        self._seal(episode, grading, {"score": score})
        checks = {name: value for name, (value, _) in score["checks"].items()}
        return {"score": {**score, "checks": checks, "reasons": []}, "findings": findings}

    async def _score(self, grading: _Grading) -> tuple[dict[str, Any], list[dict[str, str]]]:
        """The score; where the grader breaks, re-run alone with a control beside it to see whose doing that is."""
        graders = self._need_graders()
        while True:
            try:
                return await self._run(graders.shared(), grading), []
            except Displaced:
                continue
            except Broke as broke:
                log.info("grading re-run alone: %s", broke)
                break
        async with graders.alone() as worker:
            try:
                return await self._run(worker, grading), []
            except (Broke, Displaced) as broke:
                why = str(broke)
            await self._control(worker, grading, why)
        finding = {
            "rule": "grader-broke-on-evidence", "severity": "high", "place": f"{grading.split}/{grading.index}",
            "evidence": why, "remedy": "make grade total: bound every input before you compute with it",
        }  # fmt: skip
        score = {
            "reward": 0.0, "checks": {}, "reasons": ["grader_broke_on_evidence", why], "seats": {},
            "blame": "grader",
        }  # fmt: skip
        return score, [finding]

    async def _control(self, worker: WatchedWorker, grading: _Grading, why: str) -> None:
        """Grade empty evidence of the same task. Raises _Refused where that breaks the grader too."""
        empty = "{}"
        control = _Grading(grading.split, grading.index, grading.digest, empty, grading.nonce)
        try:
            await self._run(worker, control)
        except (Broke, Displaced) as broke:
            detail = f"{why}; on empty evidence: {broke}"
            raise _Refused(Reason.GRADER_BROKEN, detail) from None

    async def _run(self, worker: WatchedWorker, grading: _Grading) -> dict[str, Any]:
        reply = await worker.call(
            "grade", GRADE_SECONDS, split=grading.split, index=grading.index, digest=grading.digest,
            evidence=grading.evidence, nonce=grading.nonce,
        )  # fmt: skip
        for number in range(PROBE_ROUNDS):
            if "probes" not in reply:
                break
            if number == len(grading.batches):
                grading.batches.append(await self._answer_probes(reply["probes"]))
            reply = await worker.call(
                "replies", GRADE_SECONDS, grading=reply["grading"], replies=grading.batches[number]
            )
        if "unstable" in reply:
            raise _Refused(
                Reason.TASK_UNSTABLE,
                "task() made another task from the same key; draw from rng alone",
            )
        if "score" not in reply:
            raise Broke(f"grade asked for more than {PROBE_ROUNDS} batches of probes")
        score: dict[str, Any] = {"blame": None, **reply["score"]}
        return score

    async def _answer_probes(self, probes: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        if self._probes is None:
            raise UsageError("no environment is loaded")
        try:
            return [reply.model_dump(mode="json") for reply in await self._probes.answer(probes)]
        except (SandboxUnavailable, EnvkitError) as error:
            raise _Refused(Reason.PROBE_LOST, str(error)) from None

    def _need_graders(self) -> Graders:
        if self._graders is None:
            raise UsageError("no environment is loaded")
        return self._graders

    def _seal(self, episode: str, grading: _Grading, outcome: Mapping[str, Any]) -> None:
        """Keep what a regrade needs and what only people may read, beside the run and out of the runner's sight."""
        if self._sealed is None:
            return
        entry = {
            "schema_version": 1, "episode": episode, "split": grading.split, "index": grading.index,
            "digest": grading.digest, "nonce": grading.nonce, "evidence": json.loads(grading.evidence),
            "replies": grading.batches, **outcome,
        }  # fmt: skip
        with (self._sealed / "verdicts.jsonl").open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry, separators=(",", ":")) + "\n")


async def _main() -> None:
    service = Service()
    try:
        await channel.serve(service.handle)
    finally:
        await service.close()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the runner's: it closes the pipe
    logging.basicConfig(
        level=logging.WARNING, stream=sys.stderr, format="envkit judge: %(message)s"
    )
    asyncio.run(_main())
