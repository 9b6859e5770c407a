"""The card: eight dimensions of an environment, each measured or not. They are never averaged into one number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from envkit.audit.checks.base import RANK, Measures
from envkit.audit.seen import Seen
from envkit.data.score import Finding
from envkit.data.task import Frozen


class Measured(Frozen):
    """A dimension that was measured: the values, how, and on how many observations."""

    values: Mapping[str, Any]
    how: str
    n: int


class NotMeasured(Frozen):
    """A dimension that was not, and why."""

    values: None = None
    why: str


Dimension = Measured | NotMeasured


class Card(Frozen):
    """What an audit says of one environment, bound to the digest of its source."""

    spec: str
    digest: str
    envkit: str
    complete: bool  # False while any dimension is not measured, or something could not run
    missing: tuple[str, ...]
    findings: Mapping[str, int]  # by severity
    stability: Dimension
    realism: Dimension
    coverage: Dimension
    difficulty: Dimension
    diversity: Dimension
    feedback: Dimension
    exploit_resistance: Dimension
    scalability: Dimension


DIMENSIONS = (
    "stability", "realism", "coverage", "difficulty", "diversity", "feedback", "exploit_resistance", "scalability",
)  # fmt: skip


def card(seen: Seen, measures: Mapping[str, Measures], findings: Sequence[Finding]) -> Card:
    """Put the measures together."""
    from importlib.metadata import version

    counts = {s: sum(f.severity == s for f in findings) for s in RANK}
    played = bool(seen.plays)
    made: dict[str, Dimension] = {
        "stability": _stability(measures), "coverage": _coverage(seen, measures),
        "difficulty": _difficulty(measures), "exploit_resistance": _resistance(measures, counts),
    } if played else {
        name: NotMeasured(why="no world was opened")
        for name in ("stability", "coverage", "difficulty", "exploit_resistance")
    }  # fmt: skip
    variety = measures["variety"]
    made["diversity"] = Measured(
        values=variety, how="forms of prompt and world with numbers masked; likeness of runs of five words",
        n=variety["tasks"],
    )  # fmt: skip
    made |= {
        "realism": _realism(seen), "feedback": _feedback(seen), "scalability": _scalability(seen),
    } if played else {
        name: NotMeasured(why="no world was opened") for name in ("realism", "feedback", "scalability")
    }  # fmt: skip
    whole = not seen.missing and all(isinstance(one, Measured) for one in made.values())
    return Card(
        spec=seen.place, digest=seen.resolved.digest, envkit=version("envkit"), complete=whole,
        missing=tuple(seen.missing), findings=counts, **made,
    )  # fmt: skip


def _stability(measures: Mapping[str, Measures]) -> Dimension:
    grid = measures["determinism"]
    if grid["equal"] is None:
        return NotMeasured(why="nothing could be repeated")
    how = f"oracle episodes repeated under: {', '.join(grid['grid'])}; task, reward and observations equal"
    return Measured(values={"equal": grid["equal"]}, how=how, n=grid["repeats"])


def _coverage(seen: Seen, measures: Mapping[str, Measures]) -> Dimension:
    from envkit.audit.attack import offered

    there = {tool.name for tool in offered(seen.resolved.env)} - {"submit"}
    used = {name for play in seen.played("oracle", "near-miss") for name in play.tools}
    values: dict[str, Any] = {
        "tools_used": len(there & used),
        "tools": len(there),
        "unused": sorted(there - used),
    }
    read = measures["cross-grading"]["fields_read"]
    if read is not None:
        fields = seen.drawn[0].gold if isinstance(seen.drawn[0].gold, dict) else {}
        values |= {"gold_fields_read": len(read), "gold_fields": len(fields)}
    how = "tools that the oracle or a near-miss uses; fields of the gold that grade reads"
    return Measured(values=values, how=how, n=len(list(seen.played("oracle", "near-miss"))))


def _difficulty(measures: Mapping[str, Measures]) -> Dimension:
    oracle = measures["oracle"]
    values = {
        "best_floor": max(measures["floors"].values(), default=None),
        "oracle_turns": oracle["turns"],
    }
    values["random"] = measures["floors"].get("random")
    how = "the best reward of policies that know nothing; the mean number of the oracle's turns; no model was asked"
    return Measured(values=values, how=how, n=oracle["episodes"])


def _resistance(measures: Mapping[str, Measures], counts: Mapping[Any, int]) -> Dimension:
    attacks = measures["attacks"]
    values = {
        "attacks_at_zero": attacks["at_zero"], "attacks_applied": attacks["applied"],
        "findings_high": counts["high"] + counts["critical"],
        "near_misses_below_1": measures["near-misses"]["below_1"],
        "near_misses": measures["near-misses"]["near_misses"],
    }  # fmt: skip
    return Measured(
        values=values, how="scripted attacks and near-misses, played", n=attacks["applied"]
    )


def _realism(seen: Seen) -> Dimension:
    """What is behind the tools: an adapter's real program, database or browser, or the environment's own Python."""
    from envkit.audit.attack import offered

    env = seen.resolved.env
    backed = {type(one).__name__.lower(): len(one.tools()) for one in env._adapters.values()}
    shown = [text for play in seen.played("oracle") for text in play.shown if text]
    words = sum(len(set(text.split())) for text in shown) / len(shown) if shown else 0.0
    values = {
        "tools_by_adapter": {kind: count for kind, count in backed.items() if count},
        "tools_of_its_own": len(offered(env)) - sum(backed.values()) - 1,  # but for submit
        "distinct_words_an_observation": round(words, 1),
    }  # fmt: skip
    return Measured(
        values=values, how="what stands behind each tool; words the oracle was shown", n=len(shown)
    )


def _feedback(seen: Seen) -> Dimension:
    """How much an observation tells, and in how many steps the reward rises."""
    steps = [text for play in seen.played("oracle") for text in play.shown]
    told = 0
    for play in seen.played("oracle"):
        told += sum(
            bool(text) and text != before
            for before, text in zip(["", *play.shown], play.shown, strict=False)
        )
    rewards = {
        play.reward for play in seen.played("oracle", "near-miss") if play.reward is not None
    }
    values = {
        "steps_that_tell_something_new": _share(told, len(steps)),
        "reward_levels": len(rewards),
    }
    how = "observations of the oracle that are new; distinct rewards of oracle and near-misses"
    return Measured(values=values, how=how, n=len(steps))


def _scalability(seen: Seen) -> Dimension:
    """Oracle episodes a second at each concurrency that the repetitions had."""
    rates = {
        name: round(len(repeat.outcomes) / repeat.seconds, 2)
        for repeat in seen.repeats if repeat.seconds
        if (name := {"hash seed": "1", "concurrency 4": "4"}.get(repeat.name))
    }  # fmt: skip
    if not rates:
        return NotMeasured(why="nothing could be repeated")
    how = "oracle episodes a second by concurrency, worlds opened cold while the audit ran; `envkit bench` is exact"
    return Measured(values={"episodes_per_second": rates}, how=how, n=len(rates) * len(seen.drawn))


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 3) if whole else None
