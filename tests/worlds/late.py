"""A world that one time zone slows down so much that its time is over: the machine's fault, not the world's."""

import os
import time

from envkit import Env, Limits, Score, Task, call, say, tool


class Late(Env):
    """Say a number, after a nap."""

    splits = {"train": 50}

    @tool
    def nap(self) -> str:
        """Rest."""
        time.sleep(30 if os.environ.get("TZ") == "Pacific/Kiritimati" else 0)
        return "rested"

    @classmethod
    def task(cls, split, index, rng):
        number = rng.randrange(10**9)
        return Task(
            prompt=f"Nap, then say {number}.", gold={"number": number}, limits=Limits(seconds=2)
        )

    @staticmethod
    def grade(evidence, gold):
        return Score.all(said=evidence.answer == str(gold["number"]))

    @staticmethod
    def solve(task):
        yield call("nap")
        yield say(str(task.gold["number"]))

    @staticmethod
    def near_misses(task):
        return {"other": _say(task.gold["number"] + 1), "more": _say(task.gold["number"] + 2)}


def _say(number):
    yield say(str(number))
