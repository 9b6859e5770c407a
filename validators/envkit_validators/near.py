"""Numbers: how one is read from text, and when it is near enough."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TypeGuard

_LIMIT = 1e300  # of an expectation: leaves room for sums and products that stay finite
_MAX_CHARS = 40
# ASCII digits, an exponent of at most three: no 1e99999999, no underscores, no NaN.
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True, slots=True)
class Near:
    """A number that is met by any within `max(abs_tol, rel_tol * abs(value))` of it.

    It may stand for a number anywhere in an expectation: in `exact`, in a row, in a case. Unlike in
    `math.isclose` the relative share is of the expectation alone: a wild answer can't widen it.

    Raises:
        ValueError: a value or tolerance that is no finite number, a negative tolerance, no
            tolerance at all, or a relative one of 1 and more (which zero would meet).
    """

    value: float
    abs_tol: float = 0.0
    rel_tol: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what an author can't have meant."""
        finite_number(self.value, "the value of Near")
        tolerances(self.abs_tol, self.rel_tol)
        if not self.abs_tol and not self.rel_tol:
            raise ValueError(
                "Near needs an abs_tol or a rel_tol; write the number where it is exact"
            )

    def holds(self, seen: float) -> bool:
        """Whether a number is near enough; NaN and infinity never are."""
        return close(seen, self.value, self.abs_tol, self.rel_tol)

    def __str__(self) -> str:
        """As reasons quote it."""
        margin = max(self.abs_tol, self.rel_tol * abs(self.value))
        return f"{self.value!r} within {margin!r}"


def close(seen: float, expected: float, abs_tol: float, rel_tol: float) -> bool:
    """Whether `seen` is within the tolerance of `expected`; total for every int and float."""
    if seen == expected:
        return True
    if isinstance(seen, int) and seen.bit_length() > 1000:
        return False  # would overflow a float; no expectation is that large
    margin = max(abs_tol, rel_tol * abs(expected))
    return abs(seen - expected) <= margin  # NaN compares false, infinity is never within


def is_number(value: object) -> TypeGuard[float]:
    """Whether `value` is an int or a finite float; a bool is neither."""
    return type(value) is int or (type(value) is float and math.isfinite(value))


def finite_number(value: object, what: str) -> float:
    """An author's number as it is, or a refusal: no number, not finite, too large to calculate."""
    if not is_number(value) or not -_LIMIT <= value <= _LIMIT:
        raise ValueError(f"{what} must be a finite int or float up to {_LIMIT}, not {value!r:.60}")
    return value


def tolerances(abs_tol: object, rel_tol: object) -> None:
    """Refuse tolerances that an author can't have meant."""
    for name, value in (("abs_tol", abs_tol), ("rel_tol", rel_tol)):
        if finite_number(value, name) < 0:
            raise ValueError(f"{name} must not be negative, but is {value!r}")
    if finite_number(rel_tol, "rel_tol") >= 1:
        raise ValueError(f"rel_tol must be below 1, but is {rel_tol!r}: zero would pass")


def parse_number(text: str) -> int | float | None:
    """The one number that `text` is, outer whitespace aside; `None` for anything else."""
    text = text.strip()
    if len(text) > _MAX_CHARS or not _NUMBER.fullmatch(text):
        return None
    if _INTEGER.fullmatch(text):
        return int(text)
    number = float(text)
    return number if math.isfinite(number) else None
