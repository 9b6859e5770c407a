"""Topological order."""

from __future__ import annotations

from random import Random

from envkit_desk.exercises.exercise import Arguments, Bug, Drawn, Exercise

CORE = '''\
"""Put $things into an order in which nothing comes before what it needs."""

from $package.$helpers import $complete, $finish


def $main(needs):
    """Order $things so that each comes after everything it needs.

    `needs` maps a name to the list of names it needs; names that occur only in such a list are
    ordered too. Wherever several are possible next, the alphabetically first comes next. Where no
    complete order exists, because some need each other or themselves, the result is an empty list.
    """
    waiting = $complete(needs)
    order = []
    while waiting:
        ready = sorted(name for name, missing in waiting.items() if not missing)
        if not ready:
            return []
        order.append(ready[0])
        $finish(waiting, ready[0])
    return order
'''

HELPERS = '''\
"""Keep track of what is still missing."""


def $complete(needs):
    """For every name that occurs anywhere in `needs`, the set of names that it still misses."""
    waiting = {name: set(others) for name, others in needs.items()}
    for others in needs.values():
        for other in others:
            waiting.setdefault(other, set())
    return waiting


def $finish(waiting, name):
    """Take `name` out of `waiting`, and out of what all the others miss."""
    del waiting[name]
    for missing in waiting.values():
        missing.discard(name)
'''

NAMES = ("app", "base", "core", "docs", "edge", "feed", "grid", "hub", "index", "jobs", "keys")


IN_WAVES = """\
        order += ready
        for name in ready:
            $finish(waiting, name)"""


def reference(drawn: Drawn, needs: dict[str, list[str]]) -> list[str]:
    """Take the smallest name that is possible, until none is left."""
    left = sorted({*needs, *(other for others in needs.values() for other in others)})
    order: list[str] = []
    while left:
        possible = [name for name in left if set(needs.get(name, ())) <= set(order)]
        if not possible:
            return []
        order.append(possible[0])
        left.remove(possible[0])
    return order


def inputs(rng: Random, drawn: Drawn) -> Arguments:
    """A graph without a cycle; one in six gets one."""
    names = rng.sample(NAMES, rng.randint(5, 9))
    needs = {}
    for index, name in enumerate(names):
        earlier = names[:index]
        needs[name] = rng.sample(earlier, rng.randint(0, min(2, index)))
    if rng.random() < 1 / 6:
        needs[names[0]] = [names[-1]]
        needs[names[-1]] = [names[0]]
    leaves = [name for name in names if not needs[name] and rng.random() < 0.5]
    return [{name: needs[name] for name in rng.sample(names, len(names)) if name not in leaves}]


def _sample(rng: Random, count: int) -> list[str]:
    return sorted(rng.sample(NAMES, count))


def _cycle(rng: Random, drawn: Drawn) -> Arguments:
    first, second, third = _sample(rng, 3)
    return [{first: [], second: [third], third: [second]}]


def _descending(rng: Random, drawn: Drawn) -> Arguments:
    first, second, third = _sample(rng, 3)
    return [{third: [], second: [], first: []}]


def _freed_early(rng: Random, drawn: Drawn) -> Arguments:
    first, second, third = _sample(rng, 3)
    return [{first: [], second: [first], third: []}]


def _only_needed(rng: Random, drawn: Drawn) -> Arguments:
    first, second, third = _sample(rng, 3)
    return [{third: [first], second: [first, third]}]


def _two_needed(rng: Random, drawn: Drawn) -> Arguments:
    first, second, third = _sample(rng, 3)
    return [{first: [second, third], second: [], third: []}]


EXERCISE = Exercise(
    name="ordering",
    about="orders things by what they need",
    names={
        "core": ("ordering", "plan", "schedule", "sequence"),
        "helpers": ("missing", "graph", "waiting", "tracking"),
        "main": ("order_all", "plan_all", "arrange", "sequence_of", "line_up", "schedule_all"),
        "complete": ("complete", "collect", "everything", "open_needs"),
        "finish": ("finish", "strike_out", "mark_done", "release"),
        "things": ("packages", "jobs", "modules", "migrations", "targets", "stages"),
    },
    core=CORE,
    helpers=HELPERS,
    reference=reference,
    inputs=inputs,
    bugs=(
        Bug(
            name="partial",
            module="core",
            right="        if not ready:\n            return []",
            wrong="        if not ready:\n            break",
            symptom="$things that need each other give half a list",
            expose=_cycle,
        ),
        Bug(
            name="unsorted",
            module="core",
            right="ready = sorted(name for",
            wrong="ready = list(name for",
            symptom="the order of the $things changes with the order of the input",
            expose=_descending,
        ),
        Bug(
            name="in-waves",
            module="core",
            right="        order.append(ready[0])\n        $finish(waiting, ready[0])",
            wrong=IN_WAVES,
            symptom="some $things come later than they should",
            expose=_freed_early,
            never_with=("first-only",),
        ),
        Bug(
            name="only-needed",
            module="helpers",
            right="waiting.setdefault(other, set())",
            wrong="waiting.get(other, set())",
            symptom="we get nothing at all although there is an order of the $things",
            expose=_only_needed,
        ),
        Bug(
            name="first-only",
            module="helpers",
            right="        missing.discard(name)",
            wrong="        if name in missing:\n            missing.clear()",
            symptom="some $things come before something that they need",
            expose=_two_needed,
        ),
    ),
)
