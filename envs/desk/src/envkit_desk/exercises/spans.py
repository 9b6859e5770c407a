"""Merging of intervals."""

from __future__ import annotations

from random import Random

from envkit_desk.exercises.exercise import Arguments, Bug, Drawn, Exercise

CORE = '''\
"""Merge $items that overlap or lie close together."""

from $package.$helpers import $clean

GAP = $gap


def $near(end, start):
    """Whether something that ends at `end` and something that starts at `start` belong together.

    They do where they overlap, touch, or have a distance of at most GAP.
    """
    return start - end <= GAP


def $main($items):
    """Merge $items, given as [start, end] pairs of whole numbers.

    The pairs come in any order, and so do the two numbers of a pair. Pairs that overlap, touch or
    have a distance of at most GAP (start of the one minus end of the other) become one. Returns the
    merged [start, end] pairs, start first, in ascending order.
    """
    merged = []
    for start, end in $clean($items):
        if merged and $near(merged[-1][1], start):
            merged[-1][1] = max(merged[-1][1], end)
        else:
            merged.append([start, end])
    return merged
'''

HELPERS = '''\
"""Bring $items into order."""


def $straight(pair):
    """A pair with its smaller number first."""
    first, second = pair
    return [first, second] if first <= second else [second, first]


def $clean($items):
    """All pairs with their smaller number first, in ascending order."""
    return sorted($straight(pair) for pair in $items)
'''


def reference(drawn: Drawn, spans: list[list[int]]) -> list[list[int]]:
    """Join any two that are near each other until none are."""
    gap = int(drawn["gap"])
    rest = [(min(span), max(span)) for span in spans]
    apart: list[tuple[int, int]] = []
    while rest:
        low, high = rest.pop()
        near = [span for span in rest if span[0] - high <= gap and low - span[1] <= gap]
        if near:
            rest = [span for span in rest if span not in near]
            rest.append((min(low, *(a for a, _ in near)), max(high, *(b for _, b in near))))
        else:
            apart.append((low, high))
    return [list(span) for span in sorted(apart)]


def inputs(rng: Random, drawn: Drawn) -> Arguments:
    """Three to nine pairs, some crowded, some turned round."""
    spans = []
    for _ in range(rng.randint(3, 9)):
        start = rng.randint(-40, 120)
        pair = [start, start + rng.randint(0, 14)]
        spans.append(pair if rng.random() < 0.7 else pair[::-1])
    return [spans]


def _far_apart(rng: Random, drawn: Drawn) -> tuple[list[int], list[int]]:
    start, gap = rng.randint(-30, 60), int(drawn["gap"])
    first = [start, start + rng.randint(3, 9)]
    second_start = first[1] + gap + rng.randint(2, 30)
    return first, [second_start, second_start + rng.randint(3, 9)]


def _at_the_gap(rng: Random, drawn: Drawn) -> Arguments:
    first, second = _far_apart(rng, drawn)
    middle = first[1] + int(drawn["gap"])
    return [[first, [middle, middle], [second[0] + 40, second[1] + 40]]]


def _contained(rng: Random, drawn: Drawn) -> Arguments:
    first, second = _far_apart(rng, drawn)
    return [[first, [first[0] + 1, first[1] - rng.randint(1, 2)], second]]


def _turned(rng: Random, drawn: Drawn) -> Arguments:
    first, second = _far_apart(rng, drawn)
    return [[first, second[::-1]]]


def _descending(rng: Random, drawn: Drawn) -> Arguments:
    first, second = _far_apart(rng, drawn)
    return [[second, first]]


EXERCISE = Exercise(
    name="spans",
    about="merges number ranges",
    names={
        "core": ("merging", "joining", "overlap", "coverage"),
        "helpers": ("ordering", "cleanup", "pairs", "shape"),
        "main": ("merge_all", "combine", "collapse", "unite", "join_up", "condense"),
        "near": ("belongs", "is_near", "connects", "adjacent"),
        "clean": ("in_order", "arranged", "prepared", "tidy"),
        "straight": ("straight", "low_high", "oriented", "turned"),
        "items": ("ranges", "slots", "bookings", "windows", "segments", "shifts"),
        "gap": ("0", "1", "2", "3", "5", "8"),
    },
    core=CORE,
    helpers=HELPERS,
    reference=reference,
    inputs=inputs,
    bugs=(
        Bug(
            name="gap-edge",
            module="core",
            right="start - end <= GAP",
            wrong="start - end < GAP",
            symptom="$items at exactly the allowed distance stay apart",
            expose=_at_the_gap,
        ),
        Bug(
            name="contained",
            module="core",
            right="merged[-1][1] = max(merged[-1][1], end)",
            wrong="merged[-1][1] = end",
            symptom="one of the $items comes out too short",
            expose=_contained,
        ),
        Bug(
            name="turned",
            module="helpers",
            right="return [first, second] if first <= second else [second, first]",
            wrong="return [first, second]",
            symptom="$items written end first are not understood",
            expose=_turned,
        ),
        Bug(
            name="unsorted",
            module="helpers",
            right="return sorted($straight(pair) for pair in $items)",
            wrong="return [$straight(pair) for pair in $items]",
            symptom="the result depends on the order in which the $items are given",
            expose=_descending,
        ),
    ),
)
