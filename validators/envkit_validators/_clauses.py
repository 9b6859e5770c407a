"""What an author may say of a change log: what must happen, what may, and what never."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from envkit_validators._json import Expected, expectation
from envkit_validators._net import Change, Op, Row, row_name
from envkit_validators.near import Near, is_number

_ANY = 1 << 62  # rows: more than a log holds
Cells: TypeAlias = "dict[str, Expected]"


@dataclass(frozen=True, slots=True)
class Expect:
    """One row that comes, goes or ends with values."""

    table: str
    op: Op
    values: Cells

    @property
    def name(self) -> str:
        """As reasons name it."""
        return row_name(self.table, dict(self.values))

    @property
    def columns(self) -> frozenset[str]:
        """What may differ in a row that was there before."""
        return frozenset(self.values)

    @property
    def room(self) -> int:
        """One row."""
        return 1

    def is_of(self, net: Change) -> bool:
        """Whether it speaks of this row; an update is found by its key, the others by their values."""
        if net.table != self.table or net.op != self.op:
            return False
        if self.op == "update":
            return net.key.keys() <= self.values.keys() and holds(net.key, self.within(net.key))
        return holds(net.row, self.values)

    def within(self, columns: Mapping[str, object]) -> Cells:
        """The values of these columns alone."""
        return {c: value for c, value in self.values.items() if c in columns}


@dataclass(frozen=True, slots=True)
class Allow:
    """One kind of change that may happen, in so many rows at most."""

    table: str
    op: Op
    values: Cells
    columns: frozenset[str]
    most: int | None

    @property
    def room(self) -> int:
        """How many rows."""
        return _ANY if self.most is None else self.most

    def is_of(self, net: Change) -> bool:
        """Whether it speaks of this row."""
        return net.table == self.table and net.op == self.op and holds(net.row, self.values)


@dataclass(frozen=True, slots=True)
class Forbid:
    """Rows that nobody may touch, not even to put them back."""

    table: str
    values: Cells

    def broken_by(self, changes: Sequence[Change]) -> Iterator[str]:
        """Each change that breaks it, in words."""
        for change in changes:
            if self.table in ("*", change.table) and any(
                row is not None and holds(row, self.values) for row in (change.before, change.after)
            ):
                yield f"forbidden: {change.told()}"


def holds(row: Row, values: Cells) -> bool:
    """Whether a row has these columns with these values, in type and content."""
    return all(c in row and meets(row[c], value) for c, value in values.items())


def meets(seen: object, expected: Expected) -> bool:
    """Whether a cell is what was expected, in type and content; a million times a second."""
    if isinstance(expected, Near):
        return is_number(seen) and expected.holds(seen)
    return type(seen) is type(expected) and seen == expected


def values_of(what: str, table: str, values: Mapping[str, object]) -> Cells:
    """An author's values as cells. Raises ValueError for what no column holds."""
    if not isinstance(table, str) or not table:
        raise ValueError(f"{what} begins with the name of a table, not {table!r}")
    return {column: _cell(f"{what}({table!r}): {column}", v) for column, v in values.items()}


def _cell(what: str, value: object) -> Expected:
    if isinstance(value, bytes):
        return {"base64": b64encode(value).decode()}
    if isinstance(value, bool):
        raise ValueError(f"{what} can't be {value}: SQLite keeps no booleans; write {int(value)}")  # noqa: TRY004
    if isinstance(value, list | tuple | dict):
        raise ValueError(f"{what} is no cell: a column of JSON holds text")  # noqa: TRY004
    return expectation(value, what)
