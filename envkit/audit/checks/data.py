"""Checks on the tasks as a set: keyed, apart, different from each other, and with more than one answer."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from itertools import combinations

from envkit.audit.checks.base import Found, share
from envkit.audit.seen import OTHER_SALT, Drawn, Seen, draw, sizes, worker_for
from envkit.data.score import Finding
from envkit.errors import EnvkitError
from envkit.judge.worker import AuthorError

LOOKED_AT = 32  # tasks of each split
ENOUGH = 4  # tasks that tell a constant from a coincidence
FEW = 0.05  # share of repeated tasks that a split may have
_NUMBERS = re.compile(r"\d+")
_WORDS = re.compile(r"\w+|[^\w\s]")


def keyed(seen: Seen) -> Found:
    """Under another salt, the same place holds another task: nobody makes it again from the public pack."""
    other = worker_for(seen.resolved, OTHER_SALT)
    same = sum(_same(one, draw(seen.resolved, other, one.split, one.index)) for one in seen.drawn)
    if same == len(seen.drawn):
        told = f"all {same} tasks are the same under another salt"
        remedy = "draw from rng alone: whoever has the pack can make these tasks again"
        yield Finding("data.unkeyed", "high", seen.place, told, remedy)
    return {"tasks": len(seen.drawn), "same_under_another_salt": same}


def apart(seen: Seen) -> Found:
    """A split repeats no task, and two splits share none."""
    tasks = {split: _tasks(seen, split, size) for split, size in sizes(seen.resolved, LOOKED_AT)}
    measures: dict[str, float | None] = {}
    repeated: dict[str, float] = {}
    for split, drawn in tasks.items():
        again = len(drawn) - len({one.content for one in drawn})
        golds = len(drawn) - len({_gold(one) for one in drawn})
        measures[f"repeated in {split}"] = share(again, len(drawn))
        repeated[split] = golds / len(drawn) if drawn else 0.0
        if drawn and again / len(drawn) > FEW:
            told = f"{again} of the first {len(drawn)} tasks of {split!r} are repeated"
            yield Finding(
                "data.repeats",
                "medium",
                seen.place,
                told,
                "draw from more values, or say a smaller size",
            )
    for a, b in combinations(tasks, 2):
        shared = {one.content for one in tasks[a]} & {one.content for one in tasks[b]}
        golds_shared = sum(_gold(one) in {_gold(o) for o in tasks[a]} for one in tasks[b])
        measures[f"shared by {a} and {b}"] = share(len(shared), len(tasks[b]))
        if shared:
            told = f"{len(shared)} of the first {len(tasks[b])} tasks are in {a!r} and in {b!r}"
            remedy = "draw from rng alone, and keep what splits share apart"
            yield Finding("data.overlap", "high", seen.place, told, remedy)
        elif tasks[b] and golds_shared / len(tasks[b]) > 0.5 + 2 * max(repeated[a], repeated[b]):
            told = f"{golds_shared} of the first {len(tasks[b])} golds of {b!r} are in {a!r} too"
            yield Finding(
                "data.gold-overlap", "high", seen.place, told, "keep the splits' answers apart"
            )
    return measures


def answers(seen: Seen) -> Found:
    """There is more than one answer; of two, four tasks have the same by chance once in eight."""
    golds = {_gold(one) for one in seen.drawn}
    if len(seen.drawn) >= ENOUGH and len(golds) == 1 and seen.drawn[0].gold not in ({}, None):
        told = f"all {len(seen.drawn)} tasks have the same gold"
        yield Finding("data.one-answer", "medium", seen.place, told, "draw the answer, too")
    return {"distinct_golds": len(golds), "tasks": len(seen.drawn)}


def variety(seen: Seen) -> Found:
    """How many tasks there are in effect, when numbers are masked: exp of the entropy of their forms."""
    yield from ()
    forms = Counter(_form(one) for one in seen.drawn)
    total = sum(forms.values())
    entropy = -sum(n / total * math.log(n / total) for n in forms.values())
    shingles = [_shingles(one) for one in seen.drawn]
    alike = [len(a & b) / len(a | b) for a, b in combinations(shingles, 2) if a | b]
    return {
        "tasks": total, "distinct": len({one.content for one in seen.drawn}),
        "effective": round(math.exp(entropy), 3),
        "likeness": round(sum(alike) / len(alike), 3) if alike else None,
    }  # fmt: skip


def _tasks(seen: Seen, split: str, size: int) -> list[Drawn]:
    made: list[Drawn] = []
    for index in range(size):
        try:
            made.append(draw(seen.resolved, seen.worker, split, index))
        except (EnvkitError, AuthorError):  # of the ones that are played, the audit itself says so
            continue
    return made


def _same(one: Drawn, other: Drawn) -> bool:
    return one.content == other.content and one.gold == other.gold


def _gold(one: Drawn) -> str:
    return json.dumps(one.gold, sort_keys=True)


def _form(one: Drawn) -> str:
    return _NUMBERS.sub("0", "\n".join(one.content))


def _shingles(one: Drawn) -> set[tuple[str, ...]]:
    """Runs of five words of the first hundred thousand characters."""
    words = _WORDS.findall(_form(one)[:100_000])
    return {tuple(words[at : at + 5]) for at in range(max(1, len(words) - 4))}
