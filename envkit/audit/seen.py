"""What an audit has gathered about one environment, for the checks to judge: tasks, plays, verdicts, repeats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from envkit.audit.play import Played
from envkit.data.score import Invalid, Verdict
from envkit.data.task import PublicTask, Task
from envkit.host import Backend
from envkit.judge.keys import PUBLIC_SALT
from envkit.judge.worker import Worker
from envkit.registry import Resolved

OTHER_SALT = b"envkit audit: another salt, to see whether tasks depend on it"
PERTURBATIONS: Mapping[str, Mapping[str, str]] = {
    "hash seed": {"PYTHONHASHSEED": "4711"},
    "time zone": {"TZ": "Pacific/Kiritimati", "PYTHONHASHSEED": "1"},
    "locale": {"LC_ALL": "C", "LANG": "tr_TR.UTF-8"},
    "busy core": {},
    "concurrency 4": {},
}
"""What is changed around a repetition, by name: variables; two of them are not done by variables."""


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """What an audit does."""

    spec: str
    tasks: int = 4  # of each split
    attack_tasks: int = 2  # that each attack is tried on
    concurrency: int = 4
    backend: Backend = "auto"
    perturbations: tuple[str, ...] = tuple(PERTURBATIONS)
    worlds: bool = True  # False: only what can be told without opening one; never complete


@dataclass(frozen=True, slots=True)
class Drawn:
    """A task as the judge makes it under the public salt."""

    split: str
    index: int
    task: Task[Any]
    public: PublicTask
    gold: Any  # as JSON

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.split}/{self.index}"

    @property
    def content(self) -> tuple[str, str]:
        """What an agent is given: prompt and world."""
        return self.public.prompt, repr(self.public.world)


@dataclass(frozen=True, slots=True)
class Graded:
    """A verdict over evidence that no episode had: poison, or another task's."""

    what: str
    verdict: Verdict
    rules: tuple[str, ...] = ()
    whole: bool = True  # nothing of the oracle's own outcome is left in it

    @property
    def reward(self) -> float | None:
        """The reward; None where there is no verdict."""
        return None if isinstance(self.verdict, Invalid) else self.verdict.reward


@dataclass(frozen=True, slots=True)
class Repeat:
    """The oracle's episodes once more under a perturbation: by task, what came of it."""

    name: str
    outcomes: Mapping[str, Mapping[str, Any]]
    seconds: float = 0.0  # that the episodes took


@dataclass
class Seen:
    """Everything that was gathered. `missing` says what could not be, and why."""

    resolved: Resolved
    settings: AuditSettings
    worker: Worker
    drawn: list[Drawn] = field(default_factory=list)
    plays: list[Played] = field(default_factory=list)
    poisoned: list[Graded] = field(default_factory=list)
    crossed: list[tuple[Drawn, Drawn, Graded]] = field(default_factory=list)
    repeats: list[Repeat] = field(default_factory=list)
    applicable: list[str] = field(default_factory=list)  # attacks
    others: list[str] = field(default_factory=list)  # that do not apply
    missing: list[str] = field(default_factory=list)
    read: set[str] | None = None  # fields of the gold that grade reads, once that is known

    @property
    def place(self) -> str:
        """Where a finding about all of it stands."""
        return str(self.resolved.spec)

    def played(self, *policies: str) -> Iterator[Played]:
        """The episodes of these policies."""
        return (play for play in self.plays if play.policy in policies)

    def oracle(self, drawn: Drawn) -> Played | None:
        """The oracle's episode of a task, where it earned everything."""
        for play in self.played("oracle"):
            if (play.split, play.index) == (drawn.split, drawn.index) and play.reward == 1.0:
                return play
        return None


def draw(resolved: Resolved, worker: Worker, split: str, index: int) -> Drawn:
    """Make one task here. Raises TaskError or AuthorError, as the judge would."""
    made = worker._task(split, index)
    gold = worker._golds.dump_python(made.task.gold, mode="json")
    return Drawn(split, index, made.task, made.public, gold)


def worker_for(resolved: Resolved, salt: bytes = PUBLIC_SALT) -> Worker:
    """Judge-side code in this process: the salt is public, so there is nothing to keep."""
    return Worker(resolved, salt)


def sizes(resolved: Resolved, most: int) -> Iterator[tuple[str, int]]:
    """Each split, and how many of its tasks are looked at."""
    for split, size in resolved.env.splits.items():
        yield split, most if size is None else min(most, size)
