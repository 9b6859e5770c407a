"""What a check is: a generator of findings that returns what it measured."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias

from envkit.audit.seen import Seen
from envkit.data.score import Finding, Severity

Measures: TypeAlias = dict[str, Any]
Found: TypeAlias = Generator[Finding, None, Measures]
Check: TypeAlias = Callable[[Seen], Found]

RANK: dict[Severity, int] = {"info": 0, "low": 1, "medium": 2, "high": 3, "critical": 4}


def share(part: int, whole: int) -> float | None:
    """A share; None of nothing."""
    return part / whole if whole else None
