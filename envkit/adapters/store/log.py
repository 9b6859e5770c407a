"""The change log: a list in this process, which no SQL can name, read or write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

from envkit.adapters.store.values import Row, encoded
from envkit.toolbox import ToolRefusal

MAX_ENTRIES = 4_000
MAX_BYTES = 900_000  # as JSON; what is over a mebibyte no judge would read

Op = Literal["insert", "update", "delete"]


class LogFull(ToolRefusal):
    """The change log is full: nothing can be written any more. Refused to the agent, and said in the evidence."""


@dataclass(frozen=True, slots=True)
class Change:
    """One row changed once. `before` and `after` are whole rows; an insert has no `before`, a deletion no `after`."""

    table: str
    key: Row
    op: Op
    before: Row | None
    after: Row | None
    actor: str  # through whom it came: "agent", or an adapter such as "browser"
    at: str  # by the episode's clock
    step: int  # changes that were committed together share it


_FIELDS = tuple(field.name for field in fields(Change))


class ChangeLog:
    """Append only, but for what is rolled back. Over a cap it is full, and stays so."""

    def __init__(self, *, entries: int = MAX_ENTRIES, size: int = MAX_BYTES) -> None:
        self._changes: list[Change] = []
        self._written: list[bytes] = []  # each change as JSON
        self._entries = entries
        self._room = size
        self.full = ""  # why, once it is

    def __len__(self) -> int:
        return len(self._changes)

    @property
    def changes(self) -> Sequence[Change]:
        """Everything that lasted, in order."""
        return self._changes

    def append(self, change: Change) -> None:
        """Keep a change. Raises LogFull where it does not fit any more."""
        written = encoded({name: getattr(change, name) for name in _FIELDS})
        if not self.full and len(self._changes) >= self._entries:
            self.full = f"the change log is full: it holds {self._entries} changes"
        if not self.full and len(written) + 2 > self._room:
            self.full = "the change log is full: its changes are too large together"
        if self.full:
            raise LogFull(f"{self.full}; nothing can be written any more")
        self._room -= len(written) + 2
        self._changes.append(change)
        self._written.append(written)

    def cut(self, length: int) -> None:
        """Forget what came after the first `length` changes: it was rolled back."""
        self._room += sum(len(written) + 2 for written in self._written[length:])
        del self._changes[length:], self._written[length:]

    def document(self, fault: str = "") -> bytes:
        """The log as `changes.json`: `{"changes": [...], "fault": "why it can't be relied on, else empty"}`."""
        head, tail = b'{"changes": [', encoded({"fault": self.full or fault})[1:]
        return head + b", ".join(self._written) + b"], " + tail
