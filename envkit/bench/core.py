"""What a step and an episode cost in process, against a bare loop that does the same dict work."""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envkit.data.message import Action, Observation, call
from envkit.judge.client import Judge
from envkit.rollout.policy import Casting, Local, Policy
from envkit.rollout.runner import Runner, RunSettings

WORLDS = Path(__file__).with_name("worlds.py")
ADD = call("add", n=1)


class Adding:
    """A policy that calls the tool so many times, then answers."""

    def __init__(self, steps: int) -> None:
        self.name = "bench"
        self._steps = steps

    def describe(self) -> Mapping[str, Any]:
        """The name alone."""
        return {"name": self.name}

    async def variants(self, judge: Judge, split: str, index: int) -> tuple[str | None, ...]:
        """One episode."""
        return (None,)

    async def open(self, casting: Casting) -> Policy:
        """Count down."""
        left = self._steps

        def act(observation: Observation) -> Action:
            nonlocal left
            left -= 1
            return ADD if left > 0 else Action("done")

        return Local(act)

    async def aclose(self) -> None:
        """Nothing to let go of."""


async def bench_core(
    *, steps: int = 2_000, long_episodes: int = 8, episodes: int = 2_000, rounds: int = 3
) -> dict[str, Any]:
    """Medians over `rounds`. The record is on in all of it, and so are the limits."""
    floors, long_runs, short_runs = [], [], []
    for _ in range(rounds):
        floors.append(await asyncio.to_thread(_floor, steps * long_episodes))
        long_runs.append(await _seconds(long_episodes, steps, 1))
        short_runs.append(await _seconds(episodes, 5, 64))
    floor = statistics.median(floors)
    step, step_cpu = (value / (long_episodes * steps) for value in _medians(long_runs))
    episode, episode_cpu = (value / episodes for value in _medians(short_runs))
    return {
        "steps_per_second": round(1 / step),
        "step_us": round(step * 1e6, 2),
        "step_cpu_us": round(step_cpu * 1e6, 2),
        "floor_step_us": round(floor * 1e6, 3),
        "step_ratio_to_floor": round(step_cpu / floor, 1),
        "episodes_per_second": round(1 / episode),
        "episode_us": round(episode * 1e6, 1),
        "episode_cpu_us": round(episode_cpu * 1e6, 1),
        "episode_turns": 5,
        "concurrency": 64,
        "counts": {"steps": steps * long_episodes, "episodes": episodes, "rounds": rounds},
    }


def _medians(runs: list[tuple[float, float]]) -> tuple[float, float]:
    return statistics.median(run[0] for run in runs), statistics.median(run[1] for run in runs)


async def _seconds(tasks: int, steps: int, concurrency: int) -> tuple[float, float]:
    """A run without its start-up and ending: on the clock, and of the runner's own CPU."""
    with tempfile.TemporaryDirectory(prefix="envkit-bench-") as folder:
        settings = RunSettings(
            f"file:{WORLDS}:Adder", tasks=tasks, concurrency=concurrency, out=Path(folder, "run")
        )
        async with Runner(settings, Adding(steps)) as runner:
            before = time.process_time()
            summary = await runner.run()
            used = time.process_time() - before
    if summary.successes != tasks:
        raise RuntimeError(f"{tasks - summary.successes} of {tasks} episodes went wrong")
    return summary.seconds, used


def _floor(steps: int) -> float:
    """CPU seconds a step of what nobody can leave out: state, both messages, one line."""
    table, messages = {"x": 0}, []
    started = time.process_time()
    for _ in range(steps):
        arguments = {"n": 1}
        table["x"] += arguments["n"]
        asked = {"function": {"name": "add", "arguments": arguments}}
        messages.append({"role": "assistant", "content": "", "tool_calls": [asked]})
        messages.append({"role": "tool", "content": str(table["x"])})
    json.dumps(messages)
    return (time.process_time() - started) / steps
