"""Checks on the grader's source."""

from __future__ import annotations

from envkit.audit.checks.base import Found
from envkit.audit.seen import Seen
from envkit.guards.static.lint import RULES, lint


def source(seen: Seen) -> Found:
    """What the lint of graders finds."""
    try:
        found = lint(seen.resolved.env, seen.place)
    except (OSError, SyntaxError) as error:
        seen.missing.append(f"the grader's source: {error}")
        return {"rules": 0}
    yield from found
    return {"rules": len(RULES)}
