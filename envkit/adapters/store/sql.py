"""One statement of a handler: that it is about rows, and what comes of it, within bounds."""

from __future__ import annotations

import re
import sqlite3
from typing import Literal

from envkit.adapters.store.values import Row, Value
from envkit.adapters.store.watch import is_named_in

MAX_RESULT = 32 << 20  # about as many bytes one result may take

_CELL, _ROW = 64, 256  # bytes of Python's own for a number, for a row
_FIRST_WORD = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/)*([A-Za-z]*)", re.DOTALL)
_READS = frozenset({"SELECT", "VALUES"})
_WRITES = frozenset({"DELETE", "INSERT", "REPLACE", "UPDATE", "WITH"})
_DENIED = re.compile(r"not authorized|authorization denied|is prohibited|vtable constructor failed")


def kind_of(sql: str) -> Literal["read", "write"]:
    """By the first word, because EXPLAIN would show the triggers, and BEGIN or COMMIT break into a transaction.

    Raises sqlite3.DatabaseError for all that is no SELECT, VALUES, INSERT, REPLACE, UPDATE, DELETE or WITH.
    """
    found = _FIRST_WORD.match(sql)
    word = found[1].upper() if found and not is_named_in(sql) else ""
    if word in _READS:
        return "read"
    if word in _WRITES:
        return "write"
    raise sqlite3.DatabaseError(f"not authorized: a statement that begins with {word[:20]!r}")


def is_denied(error: sqlite3.Error) -> bool:
    """Whether the guard refused it, rather than SQLite."""
    return _DENIED.search(str(error)) is not None


def fetched(
    connection: sqlite3.Connection, sql: str, params: tuple[Value, ...]
) -> tuple[list[Row], int]:
    """The rows, and how many were changed. Raises sqlite3.DataError where the rows are too large together."""
    before = connection.total_changes
    cursor = connection.execute(sql, params)
    try:
        rows = _rows(cursor)
        changed = max(cursor.rowcount, 0)
    finally:
        cursor.close()
    # Python takes WITH ... UPDATE for no write
    if not changed and connection.total_changes > before:
        changed = connection.execute("SELECT changes()").fetchone()[0]
    return rows, changed


def _rows(cursor: sqlite3.Cursor) -> list[Row]:
    names = [column[0] for column in cursor.description or ()]
    rows: list[Row] = []
    room = MAX_RESULT
    for row in cursor:
        room -= _ROW + sum(len(v) if isinstance(v, str | bytes) else _CELL for v in row)
        if room < 0:
            raise sqlite3.DataError(f"the result takes more than {MAX_RESULT >> 20} MiB")
        rows.append(dict(zip(names, row, strict=True)))
    return rows
