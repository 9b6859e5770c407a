"""A world whose gold is a GUID that nothing in it can derive."""

import asyncio
import uuid
from random import Random

from envkit import Data, Env, Evidence, Score, Script, Task, call, say, tool


class Secret(Env):
    """Say the secret, which you can't know."""

    notes = Data(dict[str, str])

    @tool
    async def wait(self, seconds: float) -> str:
        """Wait.

        Args:
            seconds: how long
        """
        await asyncio.sleep(seconds)
        return "waited"

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task:
        secret = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        return Task(
            prompt="Say the secret.", world={"notes": {"hint": "none"}}, gold={"secret": secret}
        )

    @staticmethod
    def grade(evidence: Evidence, gold: dict) -> Score:
        from envkit import failed, passed

        if evidence.answer == gold["secret"]:
            return Score.all(said=passed(f"said {gold['secret']}"))
        return Score.all(said=failed(f"expected {gold['secret']!r}, saw {evidence.answer!r}"))

    @staticmethod
    def solve(task: Task) -> Script:
        yield call("wait", seconds=0.0)
        yield say(task.gold["secret"])
