"""What is measured: three worlds as small as they come, so that what is left is the machinery."""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar

from envkit import (
    Data,
    Env,
    Evidence,
    Grading,
    Limits,
    Score,
    SubjectCall,
    Task,
    Terminal,
    tool,
)

PROBES = 8  # hidden inputs of one grading

SOLUTION = """\
def squeeze(text):
    return " ".join(text.split())
"""


class Adder(Env):
    """Add up numbers with the one tool there is."""

    table = Data(dict[str, int])
    evidence: ClassVar = [table.frozen()]

    @tool(inline=True)
    def add(self, n: int) -> str:
        """Add a number.

        Args:
            n: what to add
        """
        self.table["x"] += n
        return str(self.table["x"])

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task:
        """Any number; the limits are on, and out of reach."""
        limits = Limits(turns=1_000_000, tool_calls=1_000_000)
        gold = {"x": rng.randint(1, 9)}
        return Task(prompt="Add up.", world={"table": {"x": 0}}, gold=gold, limits=limits)

    @staticmethod
    def grade(evidence: Evidence, gold: dict[str, Any]) -> Score:
        """Whether anything was added."""
        return Score.all(added=evidence.json("table/value.json") != {"x": 0})


class Squeeze(Env):
    """Write a function that is then called with hidden inputs."""

    shell = Terminal()
    evidence: ClassVar = [shell.files("answer.py")]

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task:
        """The same for all; the hidden inputs come with the evidence."""
        return Task(prompt="Write squeeze(text) in answer.py.", gold={})

    @staticmethod
    def grade(evidence: Evidence, gold: dict[str, Any]) -> Grading:
        """One batch of probes, all in one process."""
        rng = evidence.rng()
        texts = [" " * rng.randint(1, 5) + "a  b" for _ in range(PROBES)]
        files = {"answer.py": evidence.files("shell/").get("answer.py", b"")}
        replies = yield [
            SubjectCall(
                files=files, module="answer.py", function="squeeze", arguments=(text,), batch="all"
            )
            for text in texts
        ]
        wanted = [" ".join(text.split()) for text in texts]
        return Score.all(squeezed=[reply.value() for reply in replies] == wanted)


class Look(Env):
    """Look around in a shell."""

    shell = Terminal()

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task:
        """The same for all."""
        return Task(prompt="Look around.", gold={})

    @staticmethod
    def grade(evidence: Evidence, gold: dict[str, Any]) -> Score:
        """Whether anything was called."""
        return Score.all(looked=len(evidence.calls) > 0)
