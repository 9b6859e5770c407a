"""Benches give figures, budgets and the machine. That they run is shown here; how fast is not."""

from __future__ import annotations

import json

import pytest

from envkit.bench.core import bench_core
from envkit.bench.grade import bench_grade
from envkit.bench.report import BUDGETS, Budget, report


async def test_core_gives_every_budgeted_figure():
    figures = await bench_core(steps=20, long_episodes=2, episodes=4, rounds=1)
    made = report("core", figures)
    assert {budget.figure for budget in BUDGETS["core"]} <= set(made)
    assert all(figures[name] > 0 for name in ("steps_per_second", "floor_step_us", "episode_us"))
    assert set(json.loads(json.dumps(made))["machine"]) >= {"cpu", "cpus", "python"}


@pytest.mark.slow
@pytest.mark.bubblewrap
async def test_grade_takes_both_sides():
    figures = await bench_grade("bubblewrap", count=3, peers=2)
    assert report("grade", figures)["budgets"][0]["met"] in (True, False)
    assert figures["grade_p50_ms"] > 0
    assert figures["peer_p50_ms"] > 0


@pytest.mark.parametrize(
    ("budget", "figure", "met"),
    [
        (Budget("x", 10), 9, True),
        (Budget("x", 10), 11, False),
        (Budget("x", 10, least=True), 11, True),
        (Budget("x", 10, least=True), 9, False),
        (Budget("x", 10), None, None),
    ],
)
def test_a_budget_is_a_most_or_a_least(budget, figure, met):
    assert budget.met({"x": figure}) is met
