"""Which tasks a run has consumed, and which come next: all of it follows from (seed, step), and is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any

from envkit.data.task import Frozen
from envkit.errors import RecordError, UsageError
from envkit.rollout.play import Work

HELD_OUT = 1 << 30  # where the held-out tasks of an endless split begin, if there is no other split


class Consumed(Frozen):
    """One step of the ledger: its (task, member) pairs, in the order in which they were begun."""

    step: int
    pairs: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """From a step to its work.

    Every task comes once before any comes again, in an order of its own each time; `member` tells all episodes of a
    task apart, so a pair is never played twice in a run.
    """

    split: str
    size: int | None  # tasks that may be trained on; None: endless
    groups: int
    members: int
    seed: int

    def groups_of(self, step: int) -> list[list[Work]]:
        """The groups of a step, which begins at 0."""
        return [self._group(place) for place in range(step * self.groups, (step + 1) * self.groups)]

    def _group(self, place: int) -> list[Work]:
        epoch, at = divmod(place, self.size) if self.size else (0, place)
        index = _order(self.size, self.seed, epoch)[at] if self.size else at
        return [Work(self.split, index, epoch * self.members + m) for m in range(self.members)]


@lru_cache(maxsize=2)
def _order(size: int, seed: int, epoch: int) -> tuple[int, ...]:
    return tuple(Random(f"{seed}/{epoch}/order").sample(range(size), size))


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The tasks that are tested on and never trained on."""

    split: str
    first: int
    tasks: int

    def works(self, samples: int) -> list[Work]:
        """Each task so many times."""
        indices = range(self.first, self.first + self.tasks)
        return [Work(self.split, index, repeat) for index in indices for repeat in range(samples)]


def divide(splits: dict[str, int | None], tasks: int) -> tuple[str, int | None, HeldOut]:
    """The split to train on, how much of it, and what is held out.

    Where there is no split `test`, the last tasks of `train` are held out. Raises UsageError where too few are left.
    """
    if "train" not in splits:
        raise UsageError(f"no split `train` to train on; there are {', '.join(splits)}")
    size = splits["train"]
    if "test" in splits:
        most = splits["test"]
        return "train", size, HeldOut("test", 0, tasks if most is None else min(tasks, most))
    if size is None:
        return "train", None, HeldOut("train", HELD_OUT, tasks)
    if size <= tasks:
        raise UsageError(
            f"`train` has {size} tasks and {tasks} are to be held out; give a lower --eval-tasks"
        )
    return "train", size - tasks, HeldOut("train", size - tasks, tasks)


class Ledger:
    """The consumed pairs of a run, a JSON line a step, in a file that is replaced as a whole on resume."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> list[Consumed]:
        """All whole lines."""
        if not self._path.exists():
            return []
        with self._path.open(encoding="utf-8") as stream:
            return [Consumed.model_validate_json(line) for line in stream if line.endswith("\n")]

    def add(self, step: int, groups: Sequence[Sequence[Work]]) -> None:
        """One step was learned from. Raises RecordError for a pair that was consumed before."""
        pairs = tuple((work.index, work.repeat) for group in groups for work in group)
        if len(set(pairs)) != len(pairs):
            raise RecordError(f"step {step} has a pair of task and member twice")
        line = Consumed(step=step, pairs=pairs).model_dump_json()
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")

    def cut(self, steps: int) -> None:
        """Forget what was consumed after so many steps: it is undone, and will be played again."""
        keep_lines(self._path, lambda entry: entry["step"] < steps)


def keep_lines(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrite a file of JSON lines with those that are wanted; a torn last line goes, too."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as stream:
        lines = [line for line in stream if line.endswith("\n")]
    waiting = path.with_suffix(".tmp")
    waiting.write_text("".join(line for line in lines if wanted(json.loads(line))), "utf-8")
    waiting.replace(path)
