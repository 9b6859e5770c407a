"""What a judge says: a `Score`, or `Invalid` where there is nothing that could be scored."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

Blame = Literal["agent", "env", "grader", "infra"]
Severity = Literal["info", "low", "medium", "high", "critical"]


def _unit(value: float, what: str) -> float:
    """A finite number in [0, 1]; a bool is a number here only where the caller says so."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} must be a number in [0, 1], not {type(value).__name__}")
    if not math.isfinite(value) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{what} must be in [0, 1], not {value!r}")
    return float(value)


@dataclass(frozen=True, slots=True)
class Check:
    """What one validator says: a value in [0, 1] and the reason for it."""

    value: float
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse a value that is no share."""
        object.__setattr__(self, "value", _unit(self.value, "a check's value"))

    @property
    def passed(self) -> bool:
        """Whether the check holds wholly; partial values do not."""
        return self.value == 1.0


def passed(reason: str = "") -> Check:
    """A check that holds."""
    return Check(1.0, reason)


def failed(reason: str) -> Check:
    """A check that does not hold, and why."""
    return Check(0.0, reason)


def _check(value: Check | bool) -> Check:
    if isinstance(value, Check):
        return value
    if isinstance(value, bool):
        return Check(1.0 if value else 0.0)
    raise TypeError(f"a check is a Check or a bool, not {type(value).__name__}")


@dataclass(frozen=True, slots=True)
class Score:
    """A verdict: a reward in [0, 1], the named checks that it came from, and reasons for people."""

    reward: float
    checks: Mapping[str, Check] = field(default_factory=dict[str, Check])
    reasons: tuple[str, ...] = ()
    seats: Mapping[str, float] = field(
        default_factory=dict[str, float]
    )  # where seats earn differently
    blame: Blame | None = None  # who broke what could not be graded as it should have been

    def __post_init__(self) -> None:
        """Refuse a reward that is no number in [0, 1]."""
        object.__setattr__(self, "reward", _unit(self.reward, "a reward"))
        for seat, reward in self.seats.items():
            _unit(reward, f"the reward of seat {seat!r}")

    @classmethod
    def all(cls, **checks: Check | bool) -> Score:
        """1.0 where every check holds, else 0.0."""
        named = _named(checks)
        return cls(1.0 if all(check.passed for check in named.values()) else 0.0, named)

    @classmethod
    def any(cls, **checks: Check | bool) -> Score:
        """1.0 where at least one check holds, else 0.0."""
        named = _named(checks)
        return cls(1.0 if any(check.passed for check in named.values()) else 0.0, named)

    @classmethod
    def weighted(cls, weights: Mapping[str, float], **checks: Check | bool) -> Score:
        """The mean of the checks' values by `weights` (positive, one per check)."""
        named = _named(checks)
        if set(weights) != set(named):
            raise ValueError(
                f"weights {sorted(weights)} and checks {sorted(named)} must name the same"
            )
        total = sum(weights.values())
        if not all(weight > 0 for weight in weights.values()) or not math.isfinite(total):
            raise ValueError("weights must be positive, and their sum finite")
        mean = math.fsum(weights[name] * check.value for name, check in named.items()) / total
        whole = all(check.passed for check in named.values())
        # rounding must not lift a score to 1 that some check holds back
        return cls(1.0 if whole else min(mean, math.nextafter(1.0, 0.0)), named)

    @classmethod
    def gate(cls, gate: Check | bool, score: Score) -> Score:
        """`score` where the gate holds, else 0.0: partial credit never outlives a broken must."""
        must = _check(gate)
        reward = score.reward if must.passed else 0.0
        return cls(reward, {"gate": must, **score.checks}, score.reasons)


def _named(checks: Mapping[str, Check | bool]) -> dict[str, Check]:
    if not checks:
        raise ValueError(
            "a score needs at least one named check: nothing checked must not read as success"
        )
    return {name: _check(value) for name, value in checks.items()}


class Reason(StrEnum):
    """The closed list of what makes an episode invalid; each with who is to blame.

    All are observed by the host. None can be caused by an agent: what it breaks is a score.
    """

    ENGINE_UNAVAILABLE = "engine_unavailable"  # no sandbox could be opened
    WORLD_NOT_OPENED = "world_not_opened"  # lost before the agent's first action
    SETUP_FAILED = "setup_failed"  # the author's setup or script raised
    JUDGE_LOST = "judge_lost"  # the judge process itself is gone
    PROBE_LOST = "probe_lost"  # a subject slot could not be opened
    GRADER_BROKEN = "grader_broken"  # the grader fails on its control too
    TASK_UNSTABLE = "task_unstable"  # the same key made two different tasks
    POLICY_FAILED = "policy_failed"  # the model's endpoint gave no action

    @property
    def blame(self) -> Blame:
        """Who has to mend it."""
        return _BLAMES.get(self, "infra")


_BLAMES: Mapping[Reason, Blame] = {
    Reason.SETUP_FAILED: "env",
    Reason.GRADER_BROKEN: "grader",
    Reason.TASK_UNSTABLE: "env",
}


@dataclass(frozen=True, slots=True)
class Invalid:
    """No verdict. Only infrastructure is retried; either way the episode is left out of rewards."""

    reason: Reason
    detail: str = ""

    @property
    def blame(self) -> Blame:
        """Who has to mend it."""
        return self.reason.blame


Verdict: TypeAlias = "Score | Invalid"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a guard found: the rule, how bad, where, what was seen, and what to do."""

    rule: str
    severity: Severity
    place: str
    evidence: str
    remedy: str
