"""A least-recently-used cache."""

from __future__ import annotations

from random import Random
from typing import Any

from envkit_desk.exercises.exercise import Arguments, Bug, Drawn, Exercise

CORE = '''\
"""A cache that forgets what was not used for longest."""

from $package.$helpers import $oldest, $refresh


class $Cache:
    """At most `capacity` entries, kept in the order of their last use."""

    def __init__(self, capacity):
        self.capacity = capacity
        self.entries = {}

    def get(self, key):
        """The value of `key`, or None where it is not there. A key that is found counts as used."""
        if key not in self.entries:
            return None
        $refresh(self.entries, key)
        return self.entries[key]

    def put(self, key, value):
        """Store a value; its key counts as used.

        A new key in a full cache first drops the key that was not used for longest.
        """
        if key not in self.entries and len(self.entries) >= self.capacity:
            del self.entries[$oldest(self.entries)]
        self.entries[key] = value
        $refresh(self.entries, key)


def $main(capacity, $steps):
    """Run $steps on a new cache: ["put", key, value] or ["get", key].

    Returns what each "get" gave, in order; null stands for a key that is not there.
    """
    cache = $Cache(capacity)
    found = []
    for action, *arguments in $steps:
        if action == "put":
            cache.put(*arguments)
        else:
            found.append(cache.get(*arguments))
    return found
'''

HELPERS = '''\
"""A dict keeps the order in which keys were added: the first is the oldest."""


def $refresh(entries, key):
    """Make `key` the newest entry."""
    entries[key] = entries.pop(key)


def $oldest(entries):
    """The key of the oldest entry."""
    return next(iter(entries))
'''

KEYS = ("a", "b", "c", "d", "e", "f", "g", "h", "i", "j")


def reference(drawn: Drawn, capacity: int, steps: list[list[Any]]) -> list[Any]:
    """Look the whole past up for every step."""
    values: dict[str, Any] = {}
    used: dict[str, int] = {}
    found = []
    for now, (action, key, *value) in enumerate(steps):
        if action == "put":
            if key not in values and len(values) == capacity:
                del values[min(values, key=used.__getitem__)]
            values[key] = value[0]
        else:
            found.append(values.get(key))
        if key in values:
            used[key] = now
    return found


def inputs(rng: Random, drawn: Drawn) -> Arguments:
    """A small cache and twice as many keys."""
    capacity = rng.randint(2, 4)
    keys = rng.sample(KEYS, capacity + rng.randint(1, 3))
    steps: list[list[Any]] = []
    for _ in range(rng.randint(12, 24)):
        key = rng.choice(keys)
        steps.append(["put", key, rng.randint(0, 99)] if rng.random() < 0.5 else ["get", key])
    return [capacity, [*steps, *(["get", key] for key in keys)]]


def _full(rng: Random) -> tuple[int, list[str], list[list[Any]]]:
    capacity = rng.randint(2, 5)
    keys = rng.sample(KEYS, capacity + 1)
    return capacity, keys, [["put", key, rng.randint(0, 99)] for key in keys[:-1]]


def _read_then_full(rng: Random, drawn: Drawn) -> Arguments:
    capacity, keys, steps = _full(rng)
    steps += [["get", keys[0]], ["put", keys[-1], rng.randint(0, 99)], ["get", keys[0]]]
    return [capacity, steps]


def _written_then_full(rng: Random, drawn: Drawn) -> Arguments:
    capacity, keys, steps = _full(rng)
    steps += [["put", keys[0], 100], ["put", keys[-1], rng.randint(0, 99)], ["get", keys[0]]]
    return [capacity, steps]


def _overwritten(rng: Random, drawn: Drawn) -> Arguments:
    capacity, keys, steps = _full(rng)
    return [capacity, [*steps, ["put", keys[capacity - 1], 100], ["get", keys[0]]]]


def _overfull(rng: Random, drawn: Drawn) -> Arguments:
    capacity, keys, steps = _full(rng)
    steps.append(["put", keys[-1], rng.randint(0, 99)])
    return [capacity, [*steps, *(["get", key] for key in keys)]]


EXERCISE = Exercise(
    name="cache",
    about="keeps recently used values",
    names={
        "core": ("cache", "store", "recall", "memo"),
        "helpers": ("recency", "aging", "order", "usage"),
        "main": ("replay", "run_steps", "simulate", "apply_all", "execute", "drive"),
        "Cache": ("Cache", "RecentCache", "BoundedStore", "Shelf"),
        "refresh": ("refresh", "touch", "mark_used", "renew"),
        "oldest": ("oldest", "stalest", "first_out", "least_recent"),
        "steps": ("steps", "operations", "commands", "requests", "script", "journal"),
    },
    core=CORE,
    helpers=HELPERS,
    reference=reference,
    inputs=inputs,
    bugs=(
        Bug(
            name="read-not-used",
            module="core",
            right="        $refresh(self.entries, key)\n        return self.entries[key]",
            wrong="        return self.entries[key]",
            symptom="keys that are read all the time get dropped",
            expose=_read_then_full,
            never_with=("drops-newest",),
        ),
        Bug(
            name="write-not-used",
            module="core",
            right="        self.entries[key] = value\n        $refresh(self.entries, key)",
            wrong="        self.entries[key] = value",
            symptom="keys that were written a moment ago get dropped",
            expose=_written_then_full,
            never_with=("drops-newest",),
        ),
        Bug(
            name="overwrite-drops",
            module="core",
            right="if key not in self.entries and len(self.entries) >= self.capacity:",
            wrong="if len(self.entries) >= self.capacity:",
            symptom="changing a value makes another key disappear",
            expose=_overwritten,
            never_with=("drops-newest",),
        ),
        Bug(
            name="drops-newest",
            module="helpers",
            right="next(iter(entries))",
            wrong="next(reversed(entries))",
            symptom="a full cache keeps old values and drops fresh ones",
            expose=_overfull,
        ),
        Bug(
            name="refresh-in-place",
            module="helpers",
            right="entries[key] = entries.pop(key)",
            wrong="entries[key] = entries.get(key)",
            symptom="keys in steady use are dropped as if nobody had asked for them",
            expose=_read_then_full,
        ),
    ),
)
