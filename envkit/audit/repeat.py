"""The oracle's episodes once more, in a process of its own under other circumstances: `python -m envkit.audit.repeat`.

One JSON document on stdin says what to play, one on stdout what came of it.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
import time
from contextlib import AsyncExitStack
from typing import Any

from envkit.audit.play import perform
from envkit.audit.seen import worker_for
from envkit.errors import EnvkitError, JudgeError, TaskError
from envkit.host import Host, HostSettings
from envkit.judge.channel import Message
from envkit.judge.client import Judge, JudgeSettings, ScriptFailed
from envkit.judge.keys import PUBLIC_SALT
from envkit.judge.worker import Worker, _answer
from envkit.registry import Resolved, resolve
from envkit.rollout.play import Work
from envkit.rollout.policy import Oracle
from envkit.rollout.trial import Stage
from envkit.rollout.watchdog import Watchdog

NONCE = "00" * 16


class Inside(Judge):
    """A judge in this very process: for graders without probes, on the evidence of the author's own oracle."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    async def __aenter__(self) -> Inside:
        """Nothing is started."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is ended."""

    async def ask(self, op: str, **fields: Any) -> Message:
        """One request, answered here. Raises what it was refused with."""
        if op == "grade":
            fields = {**fields, "nonce": NONCE}
            fields.pop("episode")
        reply = _answer(self._worker, {"op": op, **fields})
        refused = reply.get("refused")
        if refused == "task" or (refused and op in ("draw", "names")):
            raise TaskError(reply["why"])
        if refused:
            raise ScriptFailed(reply["why"])
        if "unstable" in reply:
            raise JudgeError("task() made another task from the same key")
        if "score" not in reply:
            return reply
        score = reply["score"]
        values = {name: value for name, (value, _) in score["checks"].items()}
        return {"score": {**score, "checks": values, "blame": None}}


def judge_for(resolved: Resolved, told: dict[str, Any]) -> Judge:
    """The cheapest judge that can do it."""
    if inspect.isgeneratorfunction(resolved.env.grade):
        return Judge(resolved.spec, JudgeSettings(backend=told["backend"], concurrency=2))
    return Inside(worker_for(resolved))


async def play(told: dict[str, Any]) -> dict[str, Any]:
    """By task: its digest, the oracle's reward, and the digest of what it was shown; or that its time was over."""
    resolved = resolve(told["spec"])
    worker = Worker(resolved, PUBLIC_SALT)
    outcomes: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        watchdog = await stack.enter_async_context(Watchdog())
        host = await stack.enter_async_context(
            Host(HostSettings(told["backend"], told["concurrency"]))
        )
        judge = await stack.enter_async_context(judge_for(resolved, told))
        stage = Stage(resolved, judge, host, watchdog)
        busy, started = asyncio.Semaphore(told["concurrency"]), time.monotonic()

        async def one(split: str, index: int) -> None:
            async with busy:
                made = worker._task(split, index)
                outcome: dict[str, Any] = {"task": made.public.digest}
                if told["worlds"]:
                    played = await perform(stage, Oracle("oracle"), Work(split, index, 0))
                    if played.late:
                        outcome["late"] = True
                    else:
                        outcome |= {"reward": played.reward, "shown": played.digest}
                outcomes[f"{split}/{index}"] = outcome

        await asyncio.gather(*(one(split, index) for split, index in told["tasks"]))
        seconds = time.monotonic() - started
    return {"outcomes": outcomes, "seconds": seconds}


def main() -> None:
    """Read, play, write."""
    told = json.load(sys.stdin)
    stream, sys.stdout = sys.stdout, sys.stderr  # an author's print is no answer
    try:
        answer = asyncio.run(play(told))
    except EnvkitError as error:
        answer = {"error": str(error)}
    stream.write(json.dumps(answer))


if __name__ == "__main__":
    main()
