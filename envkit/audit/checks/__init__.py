"""The checks: each a generator of findings that returns what it measured, one family a file."""

from __future__ import annotations

from collections.abc import Mapping

from envkit.audit.checks import crossgrade, data, grader, leaks, plays, repeats
from envkit.audit.checks.base import RANK, Check, Measures

__all__ = ["CHECKS", "RANK", "WORLDLY", "Check", "Measures"]

WORLDLY: Mapping[str, Check] = {
    "oracle": plays.oracle,
    "floors": plays.floors,
    "near-misses": plays.near_misses,
    "attacks": plays.battery,
    "validity": plays.validity,
    "bait": plays.bait,
    "poison": plays.poison,
    "world": plays.world,
    "cross-grading": crossgrade.crossgrade,
    "determinism": repeats.grid,
}
"""Those that judge what was played."""
CHECKS: Mapping[str, Check] = {
    "grader": grader.source,
    "keyed": data.keyed,
    "apart": data.apart,
    "answers": data.answers,
    "variety": data.variety,
    "prompts": leaks.prompts,
    "tools": leaks.tools,
    "repositories": leaks.repositories,
    "surfaces": leaks.surfaces,
    **WORLDLY,
}
"""All, by the name under which measures are reported."""
