"""Graders that break on what an agent says, each in its own way; one breaks on everything."""

import difflib
import json
import re
from decimal import Decimal
from fractions import Fraction
from random import Random

from envkit import Config, Env, Evidence, Score, Script, Task, say


class Kind(Config):
    kind: str = "regex"


def _regex(text: str) -> bool:
    return re.match(r"^(\w+\s?)*$", text) is not None


def _nested(text: str) -> bool:
    return re.match(r"^(a|aa)+$", text) is not None


def _diff(text: str) -> bool:
    return difflib.SequenceMatcher(None, text, text[::-1], autojunk=False).ratio() == 1.0


def _decimal(text: str) -> bool:
    return int(Decimal(text)) == 1


def _fraction(text: str) -> bool:
    return Fraction(text) == 1


def _memory(text: str) -> bool:
    return len("x" * int(text)) == 1


def _recursion(text: str) -> bool:
    return text == "" or _recursion(text[1:])


def _exit(text: str) -> bool:
    if text:
        raise SystemExit(0)
    return False


def _not_a_score(text: str) -> bool:
    raise StopIteration(text)


def _json(text: str) -> bool:
    return json.loads(text) == 1


def _power(text: str) -> bool:
    base, exponent = text.split("^")
    return int(base) ** int(exponent) == 1


def _format(text: str) -> bool:
    return format(1, text) == "1"


KINDS = {
    "regex": _regex, "nested": _nested, "diff": _diff, "decimal": _decimal, "fraction": _fraction,
    "memory": _memory, "recursion": _recursion, "exit": _exit, "stop": _not_a_score, "json": _json,
    "power": _power, "format": _format,
}  # fmt: skip


class Poison(Env):
    """Say something."""

    Config = Kind
    config = Kind()

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task:
        return Task(prompt="Say something.", gold={"kind": cls.config.kind})

    @staticmethod
    def grade(evidence: Evidence, gold: dict) -> Score:
        if gold["kind"] == "always":
            raise RuntimeError("this grader is broken")
        if evidence.answer == "right":
            return Score.all(right=True)
        if evidence.answer == "":
            return Score.all(right=False)
        return Score.all(right=KINDS[gold["kind"]](evidence.answer))

    @staticmethod
    def solve(task: Task) -> Script:
        yield say("right")
