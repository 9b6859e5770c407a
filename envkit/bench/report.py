"""Figures beside their budgets, and the machine that they were taken on."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Budget:
    """What a figure is held to: at least, or at most, this."""

    figure: str
    limit: float
    least: bool = False  # a rate: the limit is the least it may be

    def met(self, figures: Mapping[str, Any]) -> bool | None:
        """Whether it holds; None where the figure could not be taken here."""
        value = figures.get(self.figure)
        if value is None:
            return None
        return bool(value >= self.limit if self.least else value <= self.limit)


BUDGETS: Mapping[str, tuple[Budget, ...]] = {
    "core": (
        Budget("steps_per_second", 100_000, least=True),
        Budget("episode_us", 200),
        Budget("episodes_per_second", 5_000, least=True),
    ),
    "terminal": (
        Budget("command_ratio_to_fork", 3),
        Budget("reset_ms", 10),
        Budget("reset_ratio_to_recreate", 30, least=True),
        Budget("commands_per_second", 1_000, least=True),
        Budget("resets_per_second", 80, least=True),
        Budget("slow_tool_ratio", 1.2),
    ),
    "grade": (Budget("grade_p95_ms", 250),),
    "store": (Budget("fork_ms", 2), Budget("deepcopy_ratio_to_fork", 50, least=True)),
    "api": (Budget("calls_per_second", 4_000, least=True),),
    "browser": (
        Budget("floor_cpu_ratio_to_episode", 1.3, least=True),
        Budget("browsergym_cpu_ratio_to_episode", 5, least=True),
    ),
    "generation": (Budget("ratio_to_generate", 1.5, least=True),),
}


def report(bench: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The document of `envkit bench`."""
    budgets = [
        {
            "figure": budget.figure,
            "limit": budget.limit,
            "is": "at least" if budget.least else "at most",
            "met": budget.met(figures),
        }
        for budget in BUDGETS[bench]
    ]
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"bench": bench, **figures, "budgets": budgets, "machine": machine(), "date": date}


def machine() -> dict[str, Any]:
    """Enough to compare two reports."""
    return {
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
