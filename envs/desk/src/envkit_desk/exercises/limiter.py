"""A sliding-window rate limiter."""

from __future__ import annotations

from random import Random
from typing import Any

from envkit_desk.exercises.exercise import Arguments, Bug, Drawn, Exercise

CORE = '''\
"""Limit how often each $client may call."""

from $package.$helpers import $free, $recent

LIMIT = $limit
WINDOW = $window


def $main(events):
    """Decide which events pass; an event is a pair [second, $client], in order of time.

    An event passes where fewer than LIMIT earlier events of the same $client passed within the last
    WINDOW seconds. One that is exactly WINDOW seconds old is not counted any more, and one that was
    refused never counts. Returns one true or false for each event.
    """
    passed = {}
    decisions = []
    for second, $client in events:
        counted = $recent(passed.get($client, []), second - WINDOW)
        allowed = $free(counted, LIMIT)
        if allowed:
            counted.append(second)
        passed[$client] = counted
        decisions.append(allowed)
    return decisions
'''

HELPERS = '''\
"""What is still counted, and whether there is room for more."""


def $recent(seconds, edge):
    """Those of `seconds` that are later than `edge`."""
    return [second for second in seconds if second > edge]


def $free(counted, limit):
    """Whether one more than `counted` stays within `limit`."""
    return len(counted) < limit
'''

NAMES = ("ada", "bo", "cy", "dee", "eli", "fay", "gus", "hal")


def reference(drawn: Drawn, events: list[list[Any]]) -> list[bool]:
    """For every event, count all earlier ones that passed and are young enough."""
    limit, window = int(drawn["limit"]), int(drawn["window"])
    decisions: list[bool] = []
    for index, (second, client) in enumerate(events):
        earlier = zip(events[:index], decisions, strict=True)
        hits = [e for e, ok in earlier if ok and e[1] == client and second - e[0] < window]
        decisions.append(len(hits) < limit)
    return decisions


def inputs(rng: Random, drawn: Drawn) -> Arguments:
    """Two or three callers, crowded enough that some events are refused."""
    names, second = rng.sample(NAMES, rng.randint(2, 3)), rng.randint(0, 500)
    events: list[list[Any]] = []
    for _ in range(rng.randint(10, 18)):
        second += rng.choice((0, 1, 1, 2, int(drawn["window"]) // 2))
        events.append([second, rng.choice(names)])
    return [events]


def _burst(rng: Random, count: int) -> list[list[Any]]:
    second, name = rng.randint(0, 500), rng.choice(NAMES)
    return [[second, name] for _ in range(count)]


def _at_the_edge(rng: Random, drawn: Drawn) -> Arguments:
    events = _burst(rng, int(drawn["limit"]))
    second, name = events[0]
    return [[*events, [second + int(drawn["window"]), name]]]


def _refused_before(rng: Random, drawn: Drawn) -> Arguments:
    limit, window = int(drawn["limit"]), int(drawn["window"])
    events = _burst(rng, limit)
    second, name = events[0]
    later = [[second + window - 1, name] for _ in range(limit)]
    return [[*events, *later, [second + window + rng.randint(0, 2), name]]]


def _one_too_many(rng: Random, drawn: Drawn) -> Arguments:
    return [_burst(rng, int(drawn["limit"]) + rng.randint(1, 3))]


def _crowd(rng: Random, drawn: Drawn) -> Arguments:
    events = _burst(rng, int(drawn["limit"]))
    second, name = events[0]
    return [[*events, [second, rng.choice([other for other in NAMES if other != name])]]]


EXERCISE = Exercise(
    name="limiter",
    about="limits the rate of calls",
    names={
        "core": ("limiter", "throttle", "gate", "quota"),
        "helpers": ("window", "counting", "history", "timing"),
        "main": ("decide", "admit", "filter_calls", "review", "check_all", "let_through"),
        "recent": ("recent", "still_counted", "younger", "kept"),
        "free": ("has_room", "is_free", "below", "may_add"),
        "client": ("client", "caller", "tenant", "account", "sender", "device"),
        "limit": ("2", "3", "4", "5"),
        "window": ("5", "8", "10", "12", "20", "30"),
    },
    core=CORE,
    helpers=HELPERS,
    reference=reference,
    inputs=inputs,
    bugs=(
        Bug(
            name="edge",
            module="helpers",
            right="if second > edge",
            wrong="if second >= edge",
            symptom="a $client has to wait a second longer than promised",
            expose=_at_the_edge,
        ),
        Bug(
            name="one-too-many",
            module="helpers",
            right="len(counted) < limit",
            wrong="len(counted) <= limit",
            symptom="a $client gets more calls than agreed",
            expose=_one_too_many,
        ),
        Bug(
            name="refused-counted",
            module="core",
            right="        if allowed:\n            counted.append(second)",
            wrong="        counted.append(second)",
            symptom="a $client that keeps trying is locked out for good",
            expose=_refused_before,
        ),
        Bug(
            name="shared",
            module="core",
            right="$recent(passed.get($client, []), second - WINDOW)",
            wrong="$recent(sum(passed.values(), []), second - WINDOW)",
            symptom="one busy $client blocks all the others",
            expose=_crowd,
            never_with=("one-too-many",),
        ),
    ),
)
