"""Checks on determinism: the same task, the same observations and the same reward, whatever is around it."""

from __future__ import annotations

from collections.abc import Iterator

from envkit.audit.checks.base import Found, Measures, share
from envkit.audit.seen import Repeat, Seen
from envkit.data.score import Finding, Severity

_REMEDY = "draw from rng and the episode's clock alone; no set order, no wall time, no global state"


def grid(seen: Seen) -> Found:
    """The oracle's episodes are the same under every perturbation."""
    equal = whole = 0
    told: set[str] = set()
    for repeat in seen.repeats:
        for place, what in _differences(seen, repeat):
            if what not in told:
                told.add(what)
                seen_ = f"{what} differs from the first run under: {repeat.name}"
                yield Finding(f"determinism.{what}", _severity(seen, what), place, seen_, _REMEDY)
        different = {place for place, _ in _differences(seen, repeat)}
        whole += len(repeat.outcomes)
        equal += len(repeat.outcomes) - len(different)
    measures: Measures = {
        "repeats": whole,
        "equal": share(equal, whole),
        "grid": [r.name for r in seen.repeats],
    }
    return measures


def _differences(seen: Seen, repeat: Repeat) -> Iterator[tuple[str, str]]:
    for drawn in seen.drawn:
        outcome = repeat.outcomes.get(drawn.place)
        if outcome is None:
            yield drawn.place, "outcome"
            continue
        if outcome["task"] != drawn.public.digest:
            yield drawn.place, "task"
        play = next((p for p in seen.played("oracle") if p.place == drawn.place), None)
        if play is None or play.late or "reward" not in outcome:
            continue
        if outcome["reward"] != play.reward:
            yield drawn.place, "reward"
        if outcome["shown"] != play.digest:
            yield drawn.place, "observations"


def _severity(seen: Seen, what: str) -> Severity:
    """A terminal sees the host's clock and process ids, and the card says so."""
    terminal = any(type(a).__name__ == "Terminal" for a in seen.resolved.env._adapters.values())
    return "low" if what == "observations" and terminal else "high"
