"""The catalogue of `desk/bugfix`: ten small packages, each with the bugs that can be put into it.

A new exercise is a module with an `EXERCISE`, added to the list below; `tests/test_desk.py` then
checks that its two implementations agree and that every one of its bugs shows.
"""

from __future__ import annotations

from collections.abc import Mapping

from envkit_desk.exercises import (
    cache,
    limiter,
    money,
    ordering,
    ring,
    roman,
    rows,
    spans,
    versions,
    wrapping,
)
from envkit_desk.exercises.exercise import Arguments, Bug, Drawn, Exercise, fill

_MODULES = (cache, limiter, money, ordering, ring, roman, rows, spans, versions, wrapping)

EXERCISES: Mapping[str, Exercise] = {module.EXERCISE.name: module.EXERCISE for module in _MODULES}
"""All exercises by name."""

__all__ = ["EXERCISES", "Arguments", "Bug", "Drawn", "Exercise", "fill"]
