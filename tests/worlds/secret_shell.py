"""A shell whose task has a GUID as gold: nothing in the world, the runner or the record may hold it."""

import uuid
from random import Random

from envkit import Env, Evidence, Limits, Score, Script, Task, Terminal, call, failed, passed


class SecretShell(Env):
    """Write the secret, which you can't know, to answer.txt."""

    shell = Terminal()
    evidence = [shell.files("answer.txt")]

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task:
        secret = str(uuid.UUID(int=rng.getrandbits(128), version=4))
        world = {"shell": {"readme.txt": "nothing here"}}
        return Task(
            prompt="Write the secret.",
            world=world,
            gold={"secret": secret},
            limits=Limits(seconds=60),
        )

    @staticmethod
    def grade(evidence: Evidence, gold: dict) -> Score:
        text = evidence.text("shell/answer.txt")
        if text == gold["secret"]:
            return Score.all(written=passed())
        return Score.all(written=failed(f"expected {gold['secret']!r}, saw {text!r}"))

    @staticmethod
    def solve(task: Task) -> Script:
        yield call("shell_run", command=f"printf %s {task.gold['secret']} > answer.txt")
