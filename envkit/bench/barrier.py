"""Does one slow tool hold up anybody else: 63 quick episodes with and without a slow one beside them, in one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envkit.data.message import Action, Observation, call
from envkit.host import Backend
from envkit.judge.client import Judge
from envkit.rollout.policy import Casting, Local, Policy
from envkit.rollout.record import Episode
from envkit.rollout.runner import Runner, RunSettings

WORLDS = Path(__file__).with_name("worlds.py")
TASKS = 64
SLOW = 5.0  # seconds that one tool sleeps


class Shelling:
    """One shell command, then an answer; in task 0 the command sleeps where this run has a slow one."""

    def __init__(self, slow: float) -> None:
        self.name = "bench"
        self._slow = slow

    def describe(self) -> Mapping[str, Any]:
        """The name alone."""
        return {"name": self.name}

    async def variants(self, judge: Judge, split: str, index: int) -> tuple[str | None, ...]:
        """One episode."""
        return (None,)

    async def open(self, casting: Casting) -> Policy:
        """Two turns."""
        sleeps = self._slow if casting.ticket.index == 0 else 0.0
        command = call("shell_run", command=f"sleep {sleeps}; ls")
        turns = iter((command, Action("done")))

        def act(observation: Observation) -> Action:
            return next(turns)

        return Local(act)

    async def aclose(self) -> None:
        """Nothing to let go of."""


async def bench_barrier(backend: Backend, *, rounds: int = 3) -> dict[str, Any]:
    """Seconds until the 63 quick episodes are done, medians of `rounds` pairs, and their ratio."""
    pairs = [(await _quick(backend, 0.0), await _quick(backend, SLOW)) for _ in range(rounds)]
    without, beside = (statistics.median(side) for side in zip(*pairs, strict=True))
    return {
        "quick_episodes_s": round(without, 3),
        "quick_episodes_beside_slow_s": round(beside, 3),
        "slow_tool_ratio": round(beside / without, 3),
        "slow_tool_seconds": SLOW,
    }


async def _quick(backend: Backend, slow: float) -> float:
    """From the first quick episode's start to the last one's end; slots are warm by then."""
    settings = RunSettings(f"file:{WORLDS}:Look", tasks=TASKS, concurrency=16, backend=backend)
    ends: list[float] = []

    def tell(episode: Episode) -> None:
        if episode.index != 0:
            ends.append(time.monotonic())

    async with Runner(settings, Shelling(slow)) as runner:
        await runner.run(tell)
    # the first sixteen wait for their slots to be made: what is measured is the flow after them
    ends.sort()
    return ends[-1] - ends[15]
