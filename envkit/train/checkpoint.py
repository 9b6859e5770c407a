"""Checkpoints: folders that are there whole or not at all.

Nothing here keeps the state of a random generator, for there is none: what is sampled, planned, shuffled or permuted
is a function of the run's seed and the step.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from envkit.errors import RecordError

FOLDER = "checkpoints"
MODEL, STATE, LEDGER = "model", "state.pt", "ledger.jsonl"
KEPT = 2
_NAME = re.compile(r"step-(\d{6,})")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One that is whole."""

    step: int
    folder: Path

    @property
    def model(self) -> Path:
        """A folder that `--model` and `hf:` take."""
        return self.folder / MODEL

    def state(self) -> dict[str, Any]:
        """What was kept beside the model. Raises RecordError where it can't be read."""
        import torch

        try:
            state = torch.load(self.folder / STATE, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
            raise RecordError(f"{self.folder / STATE}: not read: {error}") from None
        return dict(state)


def save(out: Path, step: int, model: Callable[[Path], None], state: dict[str, Any]) -> Checkpoint:
    """Write one, then forget all but the last few.

    Args:
        out: the run's folder; its ledger is copied along
        step: steps that were done
        model: writes the model and its tokenizer into a folder
        state: tensors and plain values
    """
    import torch

    folder = out / FOLDER / f"step-{step:06d}"
    waiting = folder.with_suffix(".tmp")
    shutil.rmtree(waiting, ignore_errors=True)
    waiting.mkdir(parents=True)
    model(waiting / MODEL)
    torch.save(state, waiting / STATE)
    if (out / LEDGER).exists():
        shutil.copyfile(out / LEDGER, waiting / LEDGER)
    for path in sorted(waiting.rglob("*"), reverse=True):
        _sync(path)
    _sync(waiting)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was undone
    waiting.rename(folder)
    _sync(folder.parent)
    for old in found(out)[:-KEPT]:
        shutil.rmtree(old.folder, ignore_errors=True)
    return Checkpoint(step, folder)


def found(out: Path) -> list[Checkpoint]:
    """All that are whole, the oldest first."""
    folder = out / FOLDER
    named = [(path, _NAME.fullmatch(path.name)) for path in folder.glob("step-*")]
    return sorted(
        (Checkpoint(int(name[1]), path) for path, name in named if name), key=lambda c: c.step
    )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
