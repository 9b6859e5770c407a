"""From rewards to advantages, group by group."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal, get_args

from envkit.errors import UsageError

Scale = Literal["batch", "group", "none"]

TOLERANCE = 1e-6  # rewards that differ by less are equal: rounding is no signal
EPSILON = 1e-4


@dataclass(frozen=True, slots=True)
class Advantages:
    """Of one step. `values[g][m]` belongs to member m of group g; None: it is not trained on."""

    values: tuple[tuple[float | None, ...], ...]
    deviation: float  # of all centred rewards of the step
    too_few: int  # groups with less than two valid members
    all_low: int  # groups that teach nothing, for all members earned the same: next to nothing,
    all_high: int  # or more

    @property
    def kept(self) -> int:
        """Groups that are trained on."""
        return len(self.values) - self.too_few - self.all_low - self.all_high


def advantages(groups: Sequence[Sequence[float | None]], scale: Scale = "batch") -> Advantages:
    """How much better each member did than the mean of its group, divided by a deviation.

    Args:
        groups: rewards; None for an episode that is invalid, which counts nowhere
        scale: `batch` divides by the deviation of all centred rewards of the step, so a hard task weighs as much
            as an easy one; `group` by the group's own; `none` does not divide

    A group is kept or left out as a whole: with rewards [1, 0, 0, 0], to drop what is near the mean would drop
    either the winner or the losers. Raises ValueError for a reward that is not finite.
    """
    if scale not in get_args(Scale):
        raise UsageError(f"scale {scale!r}: there are {', '.join(get_args(Scale))}")
    told = [[_finite(reward) for reward in rewards if reward is not None] for rewards in groups]
    means = [fmean(valid) if valid else 0.0 for valid in told]
    centred = [[r - mean for r in valid] for valid, mean in zip(told, means, strict=True)]
    lost = Counter(map(_lost, told))
    whole = _deviation([value for row in centred for value in row])
    values = []
    for rewards, valid, mean, row in zip(groups, told, means, centred, strict=True):
        deviation = {"batch": whole, "group": _deviation(row), "none": 1.0 - EPSILON}[scale]
        values.append(
            tuple(
                None if reward is None or _lost(valid) else (reward - mean) / (deviation + EPSILON)
                for reward in rewards
            )
        )
    return Advantages(tuple(values), whole, lost["too_few"], lost["all_low"], lost["all_high"])


def _finite(reward: float) -> float:
    if not math.isfinite(reward):
        raise ValueError(f"a reward of {reward!r}: an advantage would be no number")
    return float(reward)


def _lost(valid: Sequence[float]) -> str:
    """Why a group is left out; empty where it is kept."""
    if len(valid) < 2:
        return "too_few"
    if max(valid) - min(valid) > TOLERANCE:
        return ""
    return "all_low" if max(valid) <= TOLERANCE else "all_high"


def _deviation(centred: Sequence[float]) -> float:
    """The root of the mean square."""
    if not centred:
        return 0.0
    return math.sqrt(math.fsum(value * value for value in centred) / len(centred))
