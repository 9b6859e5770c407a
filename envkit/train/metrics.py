"""What a run has to show: lines of JSON, TensorBoard, and the curve."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envkit.train.ledger import keep_lines

METRICS, BOARD = "metrics.jsonl", "tensorboard"


class Metrics:
    """Appends to `metrics.jsonl` and to TensorBoard. A context manager.

    Args:
        out: the run's folder
        step: steps that were done before; what was written after them is forgotten
    """

    def __init__(self, out: Path, step: int) -> None:
        self._path = out / METRICS
        self._out = out
        self._step = step

    def __enter__(self) -> Metrics:
        """Open both."""
        from torch.utils.tensorboard import SummaryWriter

        keep_lines(self._path, lambda entry: entry["step"] <= self._step)
        self._stream = self._path.open("a", encoding="utf-8")
        self._board = SummaryWriter(str(self._out / BOARD), purge_step=self._step + 1)
        return self

    def __exit__(self, *_: object) -> None:
        """Close both."""
        self._stream.close()
        self._board.close()

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """One line; its numbers also as curves, named `kind/name`."""
        self._stream.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._stream.flush()
        for name, value in _flat(values):
            self._board.add_scalar(f"{kind}/{name}", value, step)
        self._board.flush()


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    told: list[tuple[str, float]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            told += _flat(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            told.append((prefix + name, float(value)))
    return told


def read(out: Path, kind: str) -> list[dict[str, Any]]:
    """All lines of one kind."""
    path = out / METRICS
    with path.open(encoding="utf-8") as stream:
        entries = [json.loads(line) for line in stream if line.endswith("\n")]
    return [entry for entry in entries if entry["kind"] == kind]
