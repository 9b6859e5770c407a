"""Rows as they are in the end, and whether the log tells the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from envkit.adapters.store.log import Change
from envkit.adapters.store.schema import Schema, Table, quoted
from envkit.adapters.store.values import Row
from envkit.data.evidence import FrozenItem
from envkit.data.strict import MAX_BYTES


def key_of(table: Table, row: Row) -> Row:
    """The part of a row that says which it is."""
    return {column: row[column] for column in table.key}


def rows_of(connection: sqlite3.Connection, table: Table, key: Row | None = None) -> list[Row]:
    """All rows of a table by its key, or those that its key finds."""
    columns, order = (", ".join(map(quoted, names)) for names in (table.columns, table.key))
    where = " AND ".join(f"{quoted(column)} IS ?" for column in key or {}) or "TRUE"
    # all of it names of the schema
    sql = f"SELECT {columns} FROM main.{quoted(table.name)} WHERE {where} ORDER BY {order}"  # noqa: S608
    rows = connection.execute(sql, tuple((key or {}).values())).fetchall()
    return [dict(zip(table.columns, row, strict=True)) for row in rows]


def fault_of(connection: sqlite3.Connection, schema: Schema, changes: Sequence[Change]) -> str:
    """The first row that is not as the last of its changes left it; empty if the log can be relied on."""
    last = {(change.table, repr(change.key)): change for change in changes}
    for change in last.values():
        table = schema.tables[change.table]
        rows = rows_of(connection, table, change.key)
        # a collation may find another key than this one, and 1 finds 1.0
        found = (row for row in rows if repr(key_of(table, row)) == repr(change.key))
        if repr(next(found, None)) != repr(change.after):
            return f"the log does not tell what became of {change.table} {change.key}"
    return ""


def item(name: str, data: bytes) -> FrozenItem:
    """An artefact, unless no judge would read that much."""
    if len(data) <= MAX_BYTES:
        return FrozenItem(name=name, data=data)
    detail = f"{len(data)} bytes, at most {MAX_BYTES} are read"
    return FrozenItem(name=name, kind="oversize", detail=detail)
