"""Evidence: what is left of an episode once every agent process is dead. The only thing `grade` sees."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from pydantic import Field

from envkit.data.keyed import KeyedRandom
from envkit.data.message import ToolCall
from envkit.data.strict import JSON, Malformed, Oversize, scrub, strict_json
from envkit.data.task import Frozen
from envkit.data.tool import ToolResult


class FrozenItem(Frozen):
    """One frozen thing. `name` is the adapter's name, a slash, and the path inside it."""

    name: str  # bytes that are no UTF-8 come as surrogate escapes, encoded to \\xNN
    kind: Literal["file", "oversize", "refused"] = "file"
    data: bytes = b""
    detail: str = ""


class CallRecord(Frozen):
    """One tool call as the world saw it: what was asked, and whether the tool refused it."""

    tool: str
    arguments: Mapping[str, Any] | str
    result: str
    error: bool = False
    seat: str = "agent"


class FrozenEvidence(Frozen):
    """Evidence as it travels and is recorded: items, the final answer, the calls."""

    items: tuple[FrozenItem, ...] = ()
    answer: str = ""
    calls: tuple[CallRecord, ...] = Field(default=())


MAX_ANSWER = 1 << 20  # characters
MAX_CALLS = 4 << 20  # characters of arguments and results, all calls together
MAX_ITEMS = 8 << 20  # bytes, all frozen items together
_LEFT_OUT = "[left out: the calls of this episode are over what evidence holds]"


def spoken(answer: str, calls: Iterable[tuple[str, ToolCall, ToolResult]]) -> FrozenEvidence:
    """The answer and the calls (each with its seat) as evidence: scrubbed, and within caps that nobody honest meets."""
    made = [(s, asked, scrub(asked.arguments), scrub(r.text), r.error) for s, asked, r in calls]
    sizes = [len(text) + len(repr(arguments)) for _, _, arguments, text, _ in made]
    rooms = _rooms([seat for seat, *_ in made], sizes)
    records: list[CallRecord] = []
    for (seat, asked, arguments, text, error), size in zip(made, sizes, strict=True):
        rooms[seat] -= size
        if rooms[seat] < 0:
            arguments, text = {}, _LEFT_OUT  # noqa: PLW2901
        # nothing is left to validate: this runs for every call of every episode
        records.append(
            CallRecord.model_construct(
                tool=scrub(asked.name[:200]),
                arguments=arguments,
                result=text,
                error=error,
                seat=seat,
            )
        )
    return FrozenEvidence(answer=scrub(answer[:MAX_ANSWER]), calls=tuple(records))


def _rooms(seats: Sequence[str], sizes: Sequence[int]) -> dict[str, int]:
    """What each seat's calls may take: an equal share, and what those who need less leave of theirs.

    So a seat that floods the log loses its own calls, never another's.
    """
    needs = dict.fromkeys(seats, 0)
    for seat, size in zip(seats, sizes, strict=True):
        needs[seat] += size
    left, rooms = MAX_CALLS, dict[str, int]()
    for waiting, seat in zip(
        range(len(needs), 0, -1), sorted(needs, key=needs.__getitem__), strict=True
    ):
        rooms[seat] = min(needs[seat], left // waiting)
        left -= rooms[seat]
    return rooms


def capped(items: Iterable[FrozenItem]) -> tuple[FrozenItem, ...]:
    """Items within the cap of all together; what is over it is `oversize`, which reads as `Oversize`."""
    room = MAX_ITEMS
    kept: list[FrozenItem] = []
    for item in items:
        room -= len(item.data)
        if room < 0:
            detail = f"{len(item.data)} bytes are over what the evidence of an episode holds"
            item = FrozenItem(name=item.name, kind="oversize", detail=detail)  # noqa: PLW2901
        kept.append(item)
    return tuple(kept)


@dataclass(frozen=True)
class Evidence:
    """What `grade` reads. Accessors return a value or `Malformed` (false, with a reason); they never raise."""

    frozen: FrozenEvidence = field(default_factory=FrozenEvidence)
    nonce: bytes = b""  # of this episode, drawn by the judge after the agent was dead
    _items: dict[str, FrozenItem] = field(init=False, repr=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Index the items by name."""
        self._items.update({item.name: item for item in self.frozen.items})

    @property
    def answer(self) -> str:
        """The final answer: the text of the turn that ended the episode, else empty."""
        return self.frozen.answer

    @property
    def calls(self) -> Sequence[CallRecord]:
        """Every tool call, in order."""
        return self.frozen.calls

    def names(self, prefix: str = "") -> list[str]:
        """Names of the frozen regular files under `prefix`, sorted."""
        return sorted(
            n for n, i in self._items.items() if i.kind == "file" and n.startswith(prefix)
        )

    def content(self, name: str) -> bytes | Malformed:
        """A frozen file's content."""
        item = self._items.get(name)
        if item is None:
            return Malformed(name, "missing")
        if item.kind == "oversize":
            return Oversize(name, item.detail)
        if item.kind == "refused":
            return Malformed(name, item.detail)
        return item.data

    def text(self, name: str) -> str | Malformed:
        """A frozen file as UTF-8 text."""
        data = self.content(name)
        if isinstance(data, Malformed):
            return data
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return Malformed(name, "not UTF-8 text")

    def json(self, name: str) -> JSON | Malformed:
        """A frozen file as JSON, by `strict_json`."""
        data = self.content(name)
        return data if isinstance(data, Malformed) else strict_json(data, where=name)

    def table(self, name: str, *, delimiter: str = ",") -> list[dict[str, str]] | Malformed:
        """A frozen CSV file with a header row: one dict a row. Ragged rows and double columns are Malformed."""
        text = self.text(name)
        if isinstance(text, Malformed):
            return text
        try:
            rows = [
                row
                for row in csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
                if row
            ]
        except csv.Error as refused:
            return Malformed(name, f"not CSV: {refused}")
        if not rows:
            return Malformed(name, "empty")
        header, *body = rows
        if len(set(header)) != len(header):
            return Malformed(name, "two columns of one name")
        if any(len(row) != len(header) for row in body):
            return Malformed(name, "a row with more or fewer cells than the header")
        return [dict(zip(header, row, strict=True)) for row in body]

    def files(self, prefix: str) -> dict[str, bytes]:
        """The frozen regular files under `prefix` (such as "shell/"), by their path inside it."""
        return {name[len(prefix) :]: self._items[name].data for name in self.names(prefix)}

    def rng(self, label: str = "hidden") -> Random:
        """Draws for hidden inputs: the same for a regrade, unknown to the agent while it lived."""
        return KeyedRandom(self.nonce, label)
