"""A ring buffer."""

from __future__ import annotations

from random import Random
from typing import Any

from envkit_desk.exercises.exercise import Arguments, Bug, Drawn, Exercise

CORE = '''\
"""Keep the last few $things."""

from $package.$helpers import $stretch, $place


class $Ring:
    """A buffer of `size` slots that are used over and over."""

    def __init__(self, size):
        self.slots = [None] * size
        self.start = 0
        self.count = 0

    def add(self, value):
        """Append a value; in a full buffer it takes the place of the oldest one."""
        self.slots[$place(self.start, self.count, len(self.slots))] = value
        if self.count < len(self.slots):
            self.count += 1
        else:
            self.start = $place(self.start, 1, len(self.slots))

    def take(self):
        """Remove and return the oldest value; None where there is none."""
        if self.count == 0:
            return None
        value = self.slots[self.start]
        self.start = $place(self.start, 1, len(self.slots))
        self.count -= 1
        return value

    def values(self):
        """All values, the oldest first."""
        return $stretch(self.slots, self.start, self.count)


def $main(size, steps):
    """Run steps on a new buffer: ["add", value], ["take"] or ["values"].

    Returns what each "take" and each "values" gave, in order.
    """
    ring = $Ring(size)
    seen = []
    for action, *arguments in steps:
        result = getattr(ring, action)(*arguments)
        if action != "add":
            seen.append(result)
    return seen
'''

HELPERS = '''\
"""Arithmetic on the slots of a ring."""


def $place(start, offset, size):
    """The slot that lies `offset` after `start`, going round at `size`."""
    return (start + offset) % size


def $stretch(slots, start, count):
    """The `count` values from `start` on, going round at the end."""
    return [slots[$place(start, offset, len(slots))] for offset in range(count)]
'''


FULL = """\
            self.count += 1
        else:
            self.start = $place(self.start, 1, len(self.slots))
"""


def reference(drawn: Drawn, size: int, steps: list[list[Any]]) -> list[Any]:
    """A plain list, cut at the front."""
    held: list[Any] = []
    seen: list[Any] = []
    for action, *value in steps:
        if action == "add":
            held = [*held, *value][-size:]
        elif action == "take":
            seen.append(held[0] if held else None)
            held = held[1:]
        else:
            seen.append(held)
    return seen


def inputs(rng: Random, drawn: Drawn) -> Arguments:
    """A small buffer, overfilled and emptied."""
    steps: list[list[Any]] = []
    for _ in range(rng.randint(10, 20)):
        action = rng.choice(("add", "add", "add", "add", "take", "take", "values"))
        steps.append([action, rng.randint(0, 99)] if action == "add" else [action])
    return [rng.randint(2, 5), [*steps, ["values"]]]


def _adds(rng: Random, count: int) -> list[list[Any]]:
    return [["add", value] for value in rng.sample(range(100), count)]


def _overfull(rng: Random, drawn: Drawn) -> Arguments:
    size = rng.randint(2, 5)
    return [size, [*_adds(rng, size + rng.randint(1, size - 1)), ["values"]]]


def _take_first(rng: Random, drawn: Drawn) -> Arguments:
    size = rng.randint(2, 5)
    return [size, [*_adds(rng, size), ["take"], ["values"]]]


def _take_all(rng: Random, drawn: Drawn) -> Arguments:
    size = rng.randint(2, 5)
    return [size, [*_adds(rng, size), *([["take"]] * (size + 1))]]


EXERCISE = Exercise(
    name="ring",
    about="keeps the last few values",
    names={
        "core": ("ring", "buffer", "recorder", "tail"),
        "helpers": ("slots", "cells", "places", "positions"),
        "main": ("play", "run_all", "perform", "record", "process", "walk_through"),
        "Ring": ("Ring", "Buffer", "Recorder", "Window"),
        "place": ("slot_after", "place", "moved", "position"),
        "stretch": ("stretch", "run_of", "read_round", "window_of"),
        "things": ("readings", "samples", "events", "frames", "messages", "measurements"),
    },
    core=CORE,
    helpers=HELPERS,
    reference=reference,
    inputs=inputs,
    bugs=(
        Bug(
            name="start-stays",
            module="core",
            right=FULL,
            wrong="            self.count += 1\n",
            symptom="as soon as the buffer is full, new $things show up before old ones",
            expose=_overfull,
        ),
        Bug(
            name="takes-newest",
            module="core",
            right="value = self.slots[self.start]",
            wrong="value = self.slots[$place(self.start, self.count - 1, len(self.slots))]",
            symptom="$things are taken out in the wrong order",
            expose=_take_first,
        ),
        Bug(
            name="never-empty",
            module="core",
            right="        self.count -= 1",
            wrong="        self.count = max(1, self.count - 1)",
            symptom="an empty buffer still hands out $things",
            expose=_take_all,
        ),
        Bug(
            name="stuck-at-the-end",
            module="helpers",
            right="return (start + offset) % size",
            wrong="return min(start + offset, size - 1)",
            symptom="the last of the $things is there twice and others are lost",
            expose=_overfull,
        ),
        Bug(
            name="read-straight",
            module="helpers",
            right="return [slots[$place(start, offset, len(slots))] for offset in range(count)]",
            wrong="return slots[start : start + count]",
            symptom="a listing shows fewer $things than the buffer holds",
            expose=_overfull,
        ),
    ),
)
