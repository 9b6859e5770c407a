"""`starter/lookup`: look two values up, add them, answer. Small enough for a model made from nothing on a CPU."""

from __future__ import annotations

from itertools import permutations
from random import Random
from typing import Annotated, ClassVar

from envkit_validators import exact
from pydantic import BaseModel, Field

from envkit import Data, Env, Evidence, Limits, Score, Script, Task, ToolRefusal, call, say, tool

KEYS = "ABCDEFGHIJ"
Number = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]

_PAIRS = list(permutations(range(len(KEYS)), 2))
PAIRS = {  # a pair is asked for in one split only, in either order
    "test": [pair for pair in _PAIRS if sum(pair) % 5 == 0],
    "train": [pair for pair in _PAIRS if sum(pair) % 5 != 0],
}


class Gold(BaseModel):
    """The sum; what else stands here is for scripts."""

    total: int
    keys: tuple[str, str]
    other: str  # a key that was not asked for; its value differs from the second one's
    guess: int  # a sum that two digits may have, and these have not


class Lookup(Env[Gold]):
    """Look two values up, add them, and answer with the sum.

    Every key has a digit of its own in every task, so the question tells nothing of the answer. The best guess is
    right in one of ten tasks, whether it is made at once or after one value was looked up.
    """

    version = 1
    splits: ClassVar = {"train": 100_000, "test": 1_000}
    # a warm start that leaves something to be learned: seven of ten episodes skip a tool and guess
    demonstrations: ClassVar = {"solve": 0.3, "skips_add": 0.35, "skips_all": 0.35}
    values = Data(dict[str, int])

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task[Gold]:
        """Draw a digit for each key, and two keys."""
        digits = {key: rng.randrange(10) for key in KEYS}
        first, second = (KEYS[at] for at in rng.choice(PAIRS[split]))
        if (
            len(set(digits.values())) == 1
        ):  # once in a billion tasks: nothing would tell a wrong key
            digits[KEYS[-1]] = (digits[KEYS[-1]] + 1) % 10
        total = digits[first] + digits[second]
        others = [key for key in KEYS if digits[key] != digits[second]]
        guesses = [a + b for a in range(10) for b in range(10) if a + b != total]
        gold = Gold(
            total=total, keys=(first, second), other=rng.choice(others), guess=rng.choice(guesses)
        )
        return Task(
            prompt=f"{first} + {second}? Say the number alone.",
            world={"values": digits},
            gold=gold,
            limits=Limits(turns=8, tool_calls=8, seconds=10, output_chars=200),
        )

    @tool
    def get(self, key: str) -> int:
        """Look up the value of a key.

        Args:
            key: one capital letter
        """
        if key not in self.values:
            raise ToolRefusal("There is no such key.")
        return self.values[key]

    @tool
    def add(self, x: Number, y: Number) -> int:
        """Add two numbers."""
        return x + y

    @staticmethod
    def grade(evidence: Evidence, gold: Gold) -> Score:
        """The number, and nothing else."""
        return Score.all(sum=exact(evidence.answer, str(gold.total)))

    @staticmethod
    def solve(task: Task[Gold]) -> Script:
        """Both values, their sum, the answer."""
        yield from _add(*task.gold.keys)

    @staticmethod
    def near_misses(task: Task[Gold]) -> dict[str, Script]:
        """Guesses with less and less looked up, the wrong key, the right sum in the wrong form."""
        gold = task.gold
        first, second = gold.keys
        return {
            "skips_all": _say(gold.guess),
            "skips_one": _say(gold.guess, first),
            "skips_add": _say(gold.guess, first, second),
            "wrong_key": _add(first, gold.other),
            "in_a_sentence": _say(f"It is {gold.total}.", first, second),
            "every_number": _say(" ".join(str(number) for number in range(19))),
            "in_words": _say(f"{first} + {second}", first, second),
        }


def _add(first: str, second: str) -> Script:
    x = yield call("get", key=first)
    y = yield call("get", key=second)
    total = yield call("add", x=int(x.text()), y=int(y.text()))
    yield say(total.text())


def _say(answer: int | str, *keys: str) -> Script:
    for key in keys:
        yield call("get", key=key)
    yield say(str(answer))
