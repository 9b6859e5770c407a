"""A change log read, and what it comes to for each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from envkit_validators._json import canonical, trouble
from envkit_validators._show import plain, show

Op: TypeAlias = Literal["insert", "update", "delete"]
Row: TypeAlias = "dict[str, object]"

DONE = {"insert": "inserted", "update": "changed", "delete": "deleted"}
_ROWS = {"insert": (False, True), "update": (True, True), "delete": (True, False)}


@dataclass(frozen=True, slots=True)
class Change:
    """One row changed: once, as the log has it, or all in all."""

    table: str
    key: Row
    op: Op
    before: Row | None
    after: Row | None
    columns: tuple[str, ...] = ()  # which of those that changed to tell of; all by default

    @property
    def changed(self) -> tuple[str, ...]:
        """The columns that an update left different."""
        old, new = self.before or {}, self.after or {}
        return tuple(c for c in new if c not in old or not same(old[c], new[c]))

    @property
    def row(self) -> Row:
        """The row by which a clause knows it: as it was, or as it came."""
        return self.before if self.before is not None else self.after or {}

    def told(self) -> str:
        """For a reason: which row, and what was done to it."""
        text = f"{row_name(self.table, self.key)} was {DONE[self.op]}"
        if self.op != "update":
            return text
        old, new = self.before or {}, self.after or {}
        names = (self.columns or self.changed)[:3]
        some = [f"{plain(c)} from {show(old.get(c))} to {show(new.get(c))}" for c in names]
        return f"{text} ({', '.join(some)})"


def row_name(table: str, values: Row) -> str:
    """A row as reasons name it: `orders id=7`."""
    return " ".join([plain(table), *(f"{plain(c)}={show(v)}" for c, v in list(values.items())[:4])])


def same(one: object, other: object) -> bool:
    """Equal, and of one type: 1 is neither 1.0 nor true."""
    return canonical(one) == canonical(other)


def read_log(log: object) -> list[Change] | str:
    """The changes of a `changes.json`, or why it is none. Total."""
    why = trouble(log)
    if why:
        return f"the change log: {why}"
    if type(log) is not dict or type(log.get("changes")) is not list or "fault" not in log:
        return f"no change log: saw {show(log)}"
    if log["fault"] != "":
        return f"the change log can't be relied on: {plain(str(log['fault'])[:200])}"
    for number, entry in enumerate(log["changes"]):
        why = _odd(entry)
        if why:
            return f"the change log's entry {number}: {why}"
    return [Change(e["table"], e["key"], e["op"], e["before"], e["after"]) for e in log["changes"]]


def _odd(entry: Any) -> str:
    if type(entry) is not dict or type(entry.get("table")) is not str:
        return f"saw {show(entry)}"
    op, key = entry.get("op"), entry.get("key")
    if type(op) is not str or op not in _ROWS or type(key) is not dict or not key:
        return f"no such change, or no key: {show(op)}, {show(key)}"
    rows = [entry.get("before", ""), entry.get("after", "")]
    wanted = [dict if there else type(None) for there in _ROWS[op]]
    if [type(row) for row in rows] != wanted:
        return f"no rows of a change {show(op)}: {show(rows)}"
    there = [row for row in rows if row is not None]
    if any(c not in row or not same(row[c], v) for row in there for c, v in key.items()):
        return f"a row of another key than {show(key)}: {show(there)}"
    return "" if there[0].keys() == there[-1].keys() else "the row has other columns than before"


def net_of(changes: Sequence[Change]) -> list[Change] | str:
    """What the changes come to, one for each row that is not as it was; or where they contradict each other."""
    ends: dict[str, tuple[Change, Change]] = {}
    for change in changes:
        place = canonical([change.table, change.key])
        first, last = ends.get(place, (change, change))
        if last is not change and not same(last.after, change.before):
            return f"the change log contradicts itself: {row_name(change.table, change.key)}"
        ends[place] = first, change
    nets = (_net(first, last) for first, last in ends.values())
    return [net for net in nets if not same(net.before, net.after)]


def _net(first: Change, last: Change) -> Change:
    op = "insert" if first.before is None else "delete" if last.after is None else "update"
    return Change(first.table, first.key, cast("Op", op), first.before, last.after)
