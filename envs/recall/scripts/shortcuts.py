"""What half a job earns in `recall/fact`: python scripts/shortcuts.py [TASKS]."""

from __future__ import annotations

import sys
from collections.abc import Callable
from random import Random

from envkit_recall.fact import Fact, Gold, Level
from envkit_recall.story import SHAPES, UNKNOWN

from envkit import Task

Told = list[tuple[str, str, str]]
Answers = Callable[[Gold, Random], list[str]]


def _told(gold: Gold, sessions: int | None = None) -> Told:
    return [fact for session in gold.told[:sessions] for fact in session]


def _look_up(told: Told, gold: Gold) -> list[str]:
    known = {(who, what): value for who, what, value in told}
    return [known.get((a.who, a.what), UNKNOWN) for a in gold.asked]


def _by_first_name(gold: Gold, rng: Random) -> list[str]:
    """Noted by first name alone: what was told last of either."""
    told = [(who.split()[0], what, value) for who, what, value in _told(gold)]
    known = {(who, what): value for who, what, value in told}
    return [known[a.who.split()[0], a.what] for a in gold.asked]


def _either(gold: Gold, rng: Random) -> list[str]:
    """One of the pair, by lot."""
    return [rng.choice((a.answer, a.neighbour)) for a in gold.asked]


SHORTCUTS: dict[str, Answers] = {
    "notes of the first session alone": lambda gold, rng: _look_up(_told(gold, 1), gold),
    "the first value of each": lambda gold, rng: _look_up(_told(gold)[::-1], gold),
    "noted by first name": _by_first_name,
    "one of the two, by lot": _either,
    "neighbour's value where untold": lambda gold, rng: [
        a.neighbour if a.answer == UNKNOWN else a.answer for a in gold.asked
    ],
    "any value that was told, by lot": lambda gold, rng: [
        rng.choice([value for _, what, value in _told(gold) if what == a.what]) for a in gold.asked
    ],
}


def main(tasks: int) -> None:
    """Print the share of tasks that each shortcut gets right."""
    made: dict[str, list[Task[Gold]]] = {}
    for level in SHAPES:
        cls = type("Fact", (Fact,), {"config": Level.model_validate({"level": level})})
        made[level] = [cls.task("train", n, Random(n)) for n in range(tasks)]
    print(f"{'':34}" + "".join(f"{level:>8}" for level in made))  # noqa: T201 - a script
    for name, answers in SHORTCUTS.items():
        shares = [
            sum(answers(t.gold, Random(n)) == t.gold.answers for n, t in enumerate(all_))
            for all_ in made.values()
        ]
        print(f"{name:34}" + "".join(f"{share / tasks:>8.1%}" for share in shares))  # noqa: T201


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)
