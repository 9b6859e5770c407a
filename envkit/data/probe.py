"""Probes: what a grader asks of agent-written artefacts, as data; and the replies it gets.

A grader never runs anything. It yields batches of probes; a probe host beside the judge runs each in a
fresh process on a fresh file system that no agent shares, and sends the replies back.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from pydantic import Field

from envkit.data.score import Score
from envkit.data.strict import Malformed, strict_json
from envkit.data.task import FileContent, Frozen


class Probe(Frozen):
    """Base of the four kinds; `kind` tells them apart on the pipe."""

    kind: str


class SubjectCall(Probe):
    """Call `function` of the agent's `module` with JSON arguments, in a process of its own.

    `batch` keeps one process for several probes of a batch; it is refused for round-trip checks.
    """

    kind: Literal["call"] = "call"
    files: Mapping[str, FileContent]
    module: str  # a file path such as "textkit/wrap.py"
    function: str
    arguments: tuple[Any, ...] = ()
    seconds: float = Field(default=5.0, gt=0, le=300)
    image: str | None = None
    batch: str | None = None  # probes with the same non-empty name may share a process


class SubjectRun(Probe):
    """Run `argv` over the agent's files with `stdin`."""

    kind: Literal["run"] = "run"
    files: Mapping[str, FileContent]
    argv: tuple[str, ...]
    stdin: str = ""
    seconds: float = Field(default=10.0, gt=0, le=300)
    image: str | None = None


class Tests(Probe):
    """Run tests in a fresh slot of `image`. Weaker than a subject: tests and agent code share a sandbox."""

    __test__ = False  # pytest would take the name for a test class

    kind: Literal["tests"] = "tests"
    image: str | None = None
    files: Mapping[str, FileContent]
    argv: tuple[str, ...]
    seconds: float = Field(default=60.0, gt=0, le=1800)


class Ask(Probe):
    """Ask a language model; its answer can only lower the score that `grade` returns."""

    kind: Literal["ask"] = "ask"
    model: str
    rubric: str
    material: str  # agent-written: fenced, never followed
    seconds: float = Field(default=60.0, gt=0, le=600)


class Reply(Frozen):
    """What a probe came to. `ok` says that the process ended by itself with status 0."""

    ok: bool
    status: int | None = None
    stdout: str = ""  # what the subject printed, or its return value as JSON for a call
    stderr: str = ""
    problem: str = ""  # why there is no value: timeout, crash, not JSON, too long
    ceiling: float = Field(
        default=1.0, ge=0.0, le=1.0
    )  # of `ask` alone: the most the reward may be

    def value(self) -> Any | Malformed:
        """The value that a `call` returned, read by `strict_json`; `Malformed` where there is none."""
        if not self.ok:
            return Malformed("subject", self.problem or f"status {self.status}")
        return strict_json(self.stdout, where="subject")


Grading: TypeAlias = "Score | Generator[Sequence[Probe], list[Reply], Score]"
"""What `grade` may return: a score, or a generator that yields batches of probes and returns one."""

PROBES: Mapping[str, type[Probe]] = {
    "call": SubjectCall,
    "run": SubjectRun,
    "tests": Tests,
    "ask": Ask,
}
