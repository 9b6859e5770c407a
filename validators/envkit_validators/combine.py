"""Checks made of checks. Each name says what `Score` says of named ones."""

from __future__ import annotations

import math

from envkit.data.score import Check, failed, passed

_MAX_WEIGHT = 1e9
_ALMOST = math.nextafter(1.0, 0.0)


def all_of(*checks: Check) -> Check:
    """1.0 where every check holds, else 0.0, with the reasons of those that don't.

    Raises:
        ValueError: no checks: nothing checked must not read as success.
    """
    _some("all_of", checks)
    broken = [check for check in checks if not check.passed]
    if broken:
        return failed(f"{len(broken)} of {len(checks)} do not hold: {_reasons(broken)}")
    return passed(f"all {len(checks)} hold")


def any_of(*checks: Check) -> Check:
    """1.0 where at least one check holds, else 0.0, with all their reasons.

    Raises:
        ValueError: no checks.
    """
    _some("any_of", checks)
    for check in checks:
        if check.passed:
            return passed(check.reason)
    return failed(f"none of {len(checks)} holds: {_reasons(checks)}")


def weighted(*parts: tuple[float, Check]) -> Check:
    """The mean of the checks' values by weight: `weighted((2, named), (1, tidy))`.

    1.0 only where every check holds, whatever rounding says.

    Raises:
        ValueError: no parts, or a weight outside (0, 1e9].
    """
    checks = [check for _, check in parts]
    _some("weighted", checks)
    for weight, _ in parts:
        if isinstance(weight, bool) or not 0 < weight <= _MAX_WEIGHT:
            raise ValueError(
                f"weighted: a weight must be over 0 and at most {_MAX_WEIGHT:g}, not {weight!r}"
            )
    broken = [check for check in checks if not check.passed]
    if not broken:
        return passed(f"all {len(checks)} hold")
    total = math.fsum(weight for weight, _ in parts)
    mean = math.fsum(weight * check.value for weight, check in parts) / total
    return Check(
        min(mean, _ALMOST), f"{len(broken)} of {len(checks)} do not hold: {_reasons(broken)}"
    )


def gate(must: Check, then: Check) -> Check:
    """`then` where `must` holds, else 0.0: partial credit never outlives a broken must."""
    _some("gate", (must, then))
    return then if must.passed else failed(f"gate: {must.reason}")


def _some(name: str, checks: object) -> None:
    if not isinstance(checks, list | tuple) or not checks:
        raise ValueError(
            f"{name} needs at least one check: nothing checked must not read as success"
        )
    for check in checks:
        if not isinstance(check, Check):
            raise TypeError(
                f"{name} takes checks, not {type(check).__name__}; a bool has no reason"
            )


def _reasons(checks: list[Check] | tuple[Check, ...]) -> str:
    return "; ".join(check.reason or f"a check of value {check.value:g}" for check in checks)
