"""The judge's own notes: what a regrade needs and what only people may read.

They lie beside the run, out of the runner's sight: reasons quote gold, replies hold hidden inputs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from envkit.errors import UsageError
from envkit.judge.keys import MIN_BYTES, draw_salt

NOTES = "verdicts.jsonl"


class Sealed:
    """A folder that its owner alone may read. Raises UsageError where it can't be had."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._notes = os.open(folder / NOTES, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            _cut_torn_line(self._notes)
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}; choose another output folder") from None
        self._folder = folder

    def salt(self) -> bytes:
        """The salt of this run: the one drawn before, or a new one."""
        kept = self._folder / "salt"
        salt = kept.read_bytes() if kept.exists() else draw_salt(kept)
        if len(salt) < MIN_BYTES:
            raise UsageError(f"{kept} holds {len(salt)} bytes, so it is no salt; begin another run")
        return salt

    def note(self, evidence: str, entry: Mapping[str, Any]) -> None:
        """Append one verdict; `evidence` is JSON already and stands in it as it was graded."""
        head = json.dumps({"schema_version": 1, **entry}, separators=(",", ":"))
        line = f'{head[:-1]},"evidence":{evidence}}}\n'.encode("utf-8", "replace")
        while line:
            line = line[os.write(self._notes, line) :]

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._notes)


def _cut_torn_line(descriptor: int) -> None:
    """Remove what a kill in mid-write left behind the last whole line."""
    size = os.fstat(descriptor).st_size
    at = size
    while at > 0:
        start = max(0, at - 65_536)
        end = os.pread(descriptor, at - start, start).rfind(b"\n")
        if end >= 0:
            os.ftruncate(descriptor, start + end + 1)
            return
        at = start
    os.ftruncate(descriptor, 0)
