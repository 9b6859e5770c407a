"""Tables: rows of named cells, from CSV (`evidence.table`) or JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias, cast

from envkit.data.score import Check, failed, passed
from envkit.data.strict import Malformed
from envkit_validators._json import canonical, expectation, first_of, trouble
from envkit_validators._show import plain, show, unreadable
from envkit_validators.near import Near, is_number, parse_number

Cell: TypeAlias = "bool | int | float | str | Near | None"
Row: TypeAlias = "dict[str, Cell]"
Keys: TypeAlias = "dict[str, type]"


def table_equal(
    seen: object, expected: Sequence[Mapping[str, object]], *, key: Sequence[str] = ()
) -> Check:
    """The same rows with the same columns: no row or column missing, none more.

    Rows are compared in order, or, with `key`, matched by those columns in any order, no key twice.
    The expected cell decides how a cell is read, so that CSV (all text) and JSON both fit:

    - text: the same text, outer whitespace aside;
    - an int: that int, or text that is it in decimal digits (`3`, `"3"`; not `3.0`, not `True`);
    - a float: an equal number, or text that is one; `Near` where a tolerance is meant;
    - a bool or None: exactly that (CSV has neither: expect the text).

    Raises:
        ValueError: no rows, rows of different columns, cells that are no finite scalars; a key that
            is no column, holds other than text or ints, changes type, or occurs twice.
    """
    rows = _rows(expected)
    keys = _keys(rows, key)
    if isinstance(seen, Malformed):
        return unreadable(seen)
    if type(seen) is not list or len(seen) != len(rows):
        count = f"{len(seen)} rows" if type(seen) is list else show(seen)
        return failed(f"saw {count}, expected {len(rows)} rows")
    why = trouble(seen) or _columns(seen, set(rows[0]))
    if why:
        return failed(why)
    why = _by_key(seen, rows, keys) if keys else _in_order(seen, rows)
    return failed(why) if why else passed(f"saw all {len(rows)} rows")


def _rows(expected: Sequence[Mapping[str, object]]) -> list[Row]:
    rows = [_row(row) for row in expected]
    if not rows or not rows[0]:
        raise ValueError("table_equal needs a row and a column: an empty table takes no work")
    if any(row.keys() != rows[0].keys() for row in rows):
        raise ValueError("table_equal: every expected row must have the same columns")
    return rows


def _row(row: Mapping[str, object]) -> Row:
    cells = cast("Row", expectation(dict(row), "table_equal: an expected row"))
    nested = [name for name, cell in cells.items() if isinstance(cell, list | dict)]
    if nested:
        raise ValueError(f"table_equal: the cell {nested[0]!r} holds a list or an object")
    return cells


def _keys(rows: list[Row], key: Sequence[str]) -> Keys:
    if isinstance(key, str):
        raise ValueError(f"table_equal: key is a sequence of columns; write ({key!r},)")  # noqa: TRY004
    keys: dict[str, type] = {}
    for name in key:
        kinds = {type(row.get(name)) for row in rows}
        if len(kinds) != 1 or not kinds <= {str, int}:
            raise ValueError(
                f"table_equal: key {name!r} must be a column of text alone or ints alone"
            )
        keys[name] = kinds.pop()
    if keys and len({_key_of(row, keys) for row in rows}) != len(rows):
        raise ValueError(f"table_equal: two expected rows have the same key {list(keys)}")
    return keys


def _columns(rows: list[object], names: set[str]) -> str:
    for i, row in enumerate(rows):
        if type(row) is not dict:
            return f"row {i}: saw {show(row)}, expected an object"
        if row.keys() != names:
            missing, more = sorted(names - row.keys()), sorted(row.keys() - names)
            return f"row {i}: missing columns {show(missing)}, more columns {show(more)}"
    return ""


def _in_order(seen: list[Row], rows: list[Row]) -> str:
    return first_of(
        _cells(f"row {i}", a, b) for i, (a, b) in enumerate(zip(seen, rows, strict=True))
    )


def _by_key(seen: list[Row], rows: list[Row], keys: Keys) -> str:
    found = {_key_of(row, keys): row for row in seen}
    if len(found) != len(seen):
        return f"two rows with the same key {show(list(keys))}, or rows without a readable one"
    for row in rows:
        name = f"row {show([row[key] for key in keys])}"
        match = found.get(_key_of(row, keys))
        why = f"{name}: missing" if match is None else _cells(name, match, row)
        if why:
            return why
    return ""


def _key_of(row: Row, keys: Keys) -> str:
    """The row's key as one text; a cell that is not of its column's type matches none."""
    return canonical([_key_cell(row[name], kind) for name, kind in keys.items()])


def _key_cell(cell: Cell, kind: type) -> Cell:
    if kind is str:
        return cell.strip() if type(cell) is str else None
    number = parse_number(cell) if type(cell) is str else cell
    return number if type(number) is int else None


def _cells(name: str, seen: Row, expected: Row) -> str:
    return first_of(
        ""
        if _same(seen[column], cell)
        else f"{name}, column {plain(column)}: saw {show(seen[column])}, expected {show(cell)}"
        for column, cell in expected.items()
    )


def _same(seen: Cell, expected: Cell) -> bool:
    if isinstance(expected, str):
        return type(seen) is str and seen.strip() == expected.strip()
    if expected is None or isinstance(expected, bool):
        return seen is expected
    number = parse_number(seen) if type(seen) is str else seen
    if isinstance(expected, Near):
        return is_number(number) and expected.holds(number)
    return (
        is_number(number)
        and number == expected
        and (type(number) is int or type(expected) is float)
    )
