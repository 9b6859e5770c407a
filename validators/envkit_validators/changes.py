"""State: what became of a world's tables, judged by the log of all that changed in them.

    state(
        evidence.json("store/changes.json"),
        expect("orders", id=7, status="cancelled"),
        expect.inserted("refunds", order_id=7, amount=1999),
        allow("orders", id=7, columns=("updated_at",)),
        forbid("payments"),
    )

Every change that no clause covers is collateral damage, and fails. Changes are judged net, row by row: what was undone
exactly is no damage, unless it was forbidden. Several acceptable ends are `any_of(state(...), state(...))`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from envkit.data.score import Check, failed, passed
from envkit.data.strict import Malformed
from envkit_validators._clauses import Allow, Expect, Forbid, values_of
from envkit_validators._json import difference
from envkit_validators._net import DONE, Change, Op, net_of, read_log, row_name
from envkit_validators._pairs import placed
from envkit_validators._show import plain, unreadable

Clause: TypeAlias = "Expect | Allow | Forbid"

_SHOWN = 4  # of the things that are wrong, how many a reason names


class _Expecting:
    """`expect(...)`, `expect.inserted(...)`, `expect.deleted(...)`: each is met by exactly one row."""

    def __call__(self, table: str, /, **values: object) -> Expect:
        """The row of this key was there before, changed, and ends with these values; its other columns stay.

        Args:
            table: Its name.
            values: The whole primary key, and what other columns hold in the end. `Near` for a tolerance.

        Raises:
            ValueError: fewer than two columns, or a value that no column holds (a bool: SQLite keeps 0 and 1).
        """
        if len(values) < 2:
            raise ValueError(f"expect({table!r}) needs the key and the value of another column")
        return Expect(table, "update", values_of("expect", table, values))

    def inserted(self, table: str, /, **values: object) -> Expect:
        """One new row holds these values; its other columns are free."""
        return Expect(table, "insert", values_of("expect.inserted", table, values))

    def deleted(self, table: str, /, **values: object) -> Expect:
        """One row that held these values is gone."""
        if not values:
            raise ValueError(f"expect.deleted({table!r}) needs values, to say which row")
        return Expect(table, "delete", values_of("expect.deleted", table, values))


expect = _Expecting()


def allow(
    table: str,
    /,
    *,
    columns: Sequence[str] = (),
    insert: bool = False,
    delete: bool = False,
    most: int | None = None,
    **values: object,
) -> Allow:
    """Something that may happen besides, and need not: one kind of change for each clause.

    Args:
        table: Its name.
        columns: These columns may change in rows that were there before.
        insert: New rows may appear.
        delete: Rows may go.
        most: In how many rows at most; by default in any number.
        values: Only in rows that hold these values (before the change; after it where they are new).

    Raises:
        ValueError: not exactly one of `columns`, `insert` and `delete`; `most` below 1.
    """
    if isinstance(columns, str):
        raise ValueError(f"allow: columns is a sequence; write ({columns!r},)")  # noqa: TRY004
    if bool(columns) + bool(insert) + bool(delete) != 1:
        raise ValueError(f"allow({table!r}) needs one of columns=(...), insert=True, delete=True")
    if most is not None and (isinstance(most, bool) or most < 1):
        raise ValueError(f"allow({table!r}): most must be at least 1, not {most!r}")
    op: Op = "update" if columns else "insert" if insert else "delete"
    return Allow(table, op, values_of("allow", table, values), frozenset(columns), most)


def forbid(table: str, /, **values: object) -> Forbid:
    """No row of this table may ever change, even if it is put back later; `"*"` means all tables.

    Args:
        table: Its name.
        values: Only rows that held these values before or after a change.
    """
    return Forbid(table, values_of("forbid", table, values))


def state(log: object, *clauses: Clause) -> Check:
    """Everything that was expected happened, nothing else did, and nothing that was forbidden.

    Args:
        log: `evidence.json("<store>/changes.json")`.
        clauses: What was wanted, in any order.

    Raises:
        ValueError: no clauses: a task without criteria.
    """
    if not clauses:
        raise ValueError(
            'state needs a clause: a task without criteria; forbid("*") if nothing may change'
        )
    for clause in clauses:
        if not isinstance(clause, Expect | Allow | Forbid):
            raise TypeError(f"state takes expect, allow and forbid, not {type(clause).__name__}")
    if isinstance(log, Malformed):
        return unreadable(log)
    changes = read_log(log)
    nets = changes if isinstance(changes, str) else net_of(changes)
    if isinstance(changes, str) or isinstance(nets, str):
        return failed(str(nets))
    expects = [clause for clause in clauses if isinstance(clause, Expect)]
    wrong = [w for c in clauses if isinstance(c, Forbid) for w in c.broken_by(changes)]
    wrong += [*_unmet(expects, nets), *_collateral(clauses, nets)]
    if wrong:
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        return failed("; ".join(wrong[:_SHOWN]) + more)
    return passed(f"saw all {len(expects)} expected changes, and no damage")


def _unmet(expects: Sequence[Expect], nets: Sequence[Change]) -> Iterator[str]:
    """Expectations that no row meets; each of an inserted or deleted row needs one of its own."""
    found = [[n for n, net in enumerate(nets) if clause.is_of(net)] for clause in expects]
    rows = [
        [] if clause.op == "update" else wish for clause, wish in zip(expects, found, strict=True)
    ]
    places = placed(rows, [1] * len(nets))
    for number, clause in enumerate(expects):
        if clause.op == "update":
            yield from _unlike(clause, [nets[n] for n in found[number]], nets)
        elif places[number] is None:
            yield f"expected {clause.name} to be {DONE[clause.op]}, {_saw(clause, nets)}"


def _unlike(clause: Expect, mine: Sequence[Change], nets: Sequence[Change]) -> Iterator[str]:
    """How the row of an expected update differs from it."""
    if not mine:
        yield f"expected {clause.name} in the end, {_saw(clause, nets)}"
    for net in mine:
        after = net.after or {}
        if clause.values.keys() <= net.key.keys():
            yield f"expected {clause.name}, which names nothing but the key"
        for column, value in clause.values.items():
            why = difference(after[column], value) if column in after else "no such column"
            if why:
                yield f"{row_name(net.table, net.key)}, {plain(column)}: {why.removeprefix('at $: ')}"


def _saw(clause: Expect, nets: Sequence[Change]) -> str:
    here = [net for net in nets if net.table == clause.table]
    return f"saw {'; '.join(net.told() for net in here[:2])}" if here else "saw no change there"


def _collateral(clauses: Sequence[Clause], nets: Sequence[Change]) -> Iterator[str]:
    """Net changes that no clause covers: whole rows where they came or went, else by column."""
    allowed = [clause for clause in clauses if not isinstance(clause, Forbid)]
    rows = [net for net in nets if net.op != "update"]
    wishes = [[n for n, clause in enumerate(allowed) if clause.is_of(net)] for net in rows]
    places = placed(wishes, [clause.room for clause in allowed])
    damage = [net for net, place in zip(rows, places, strict=True) if place is None]
    damage += _overdone(allowed, [net for net in nets if net.op == "update"])
    yield from (f"collateral damage: {net.told()}" for net in damage)


def _overdone(allowed: Sequence[Expect | Allow], nets: Sequence[Change]) -> Iterator[Change]:
    """Changed rows with the columns that should not be. Room that is limited goes to as many rows as it can."""
    limited = [c for c in allowed if isinstance(c, Allow) and c.most is not None]
    free = [c for c in allowed if not (isinstance(c, Allow) and c.most is not None)]
    room = [clause.room for clause in free]
    left = [_uncovered(net, set(net.changed), free, room) for net in nets]
    over = [(net, columns) for net, columns in zip(nets, left, strict=True) if columns]
    wishes = [
        [n for n, c in enumerate(limited) if columns <= c.columns and c.is_of(net)]
        for net, columns in over
    ]
    places = placed(wishes, [clause.room for clause in limited])
    room = [clause.room - places.count(n) for n, clause in enumerate(limited)]
    for (net, columns), place in zip(over, places, strict=True):
        if place is None:  # several clauses together may do
            wrong = _uncovered(net, columns, limited, room)
            if wrong:
                yield replace(net, columns=tuple(c for c in net.changed if c in wrong))


def _uncovered(
    net: Change, columns: set[str], clauses: Sequence[Expect | Allow], room: list[int]
) -> set[str]:
    """The columns that none of the clauses covers; `room` of those that cover others is used."""
    left = set(columns)
    for number, clause in enumerate(clauses):
        if room[number] and left & clause.columns and clause.is_of(net):
            room[number] -= 1
            left -= clause.columns
    return left
