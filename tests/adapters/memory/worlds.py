"""Worlds with a memory: one that needs it, and two that only look so."""

from random import Random

from envkit.adapters.chain import SessionChain
from envkit.adapters.memory import Memory
from envkit.data.evidence import Evidence
from envkit.data.message import Script, call, say
from envkit.data.score import Score
from envkit.data.task import Limits, Task
from envkit.env import Env


class Honest(Env):
    """Say in the last session what the first one told."""

    chain = SessionChain()
    notes = Memory(chain=chain)
    evidence = [chain.said(), notes.records()]

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task:
        code = f"{rng.getrandbits(64):016x}"
        return Task(
            prompt=f"The code is {code}. Remember it.",
            world={"chain": ["Say hello.", "Which code was it?"]},
            gold={"code": code},
            limits=Limits(turns=12),
        )

    @staticmethod
    def grade(evidence: Evidence, gold: dict) -> Score:
        said = evidence.json("chain/said.json")
        return Score.all(code=isinstance(said, list) and said[-1] == gold["code"])

    @staticmethod
    def solve(task: Task) -> Script:
        yield call("notes_create", path="/memories/code", file_text=task.gold["code"])
        yield say("Noted.")
        asked = yield say("Hello.")
        assert asked.fresh
        assert asked.text() == task.world["chain"][-1]
        seen = yield call("notes_view", path="/memories/code")
        yield say(seen.text().rsplit("\t", 1)[-1])


class FromGold(Honest):
    """Its oracle knows the answer, whatever its memory says."""

    @staticmethod
    def solve(task: Task) -> Script:
        yield call("notes_create", path="/memories/code", file_text=task.gold["code"])
        yield say("Noted.")
        yield say("Hello.")
        yield say(task.gold["code"])


class Unfinished(Honest):
    """What its oracle writes down is not what it reads."""

    @staticmethod
    def solve(task: Task) -> Script:
        first, last = task.gold["code"][:8], task.gold["code"][8:]
        yield call("notes_create", path="/memories/code", file_text=first)
        yield say("Noted.")
        yield say("Hello.")
        seen = yield call("notes_view", path="/memories/code")
        known = seen.text().rsplit("\t", 1)[-1]
        yield call("notes_delete", path="/memories/code")
        yield say(known + last)
