"""How changes get into the log: temporary triggers that hand both rows to a function of this process.

The triggers are the connection's own and fire before any of the schema's; the function's name is drawn anew for every
process, so that no SQL can call it to forge an entry.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from functools import cache

from envkit.adapters.store.log import Op
from envkit.adapters.store.schema import Schema, Table, quoted
from envkit.adapters.store.values import Row

Seen = Callable[[Table, Op, "Row | None", "Row | None"], None]

_OPS: Sequence[Op] = ("insert", "update", "delete")
_FUNCTION = f"f_{secrets.token_hex(12)}"


def watch(connection: sqlite3.Connection, schema: Schema, seen: Seen) -> None:
    """From now on `seen` is told of every row that is written. What it raises stops the statement."""
    tables = tuple(schema.tables.values())

    def told(code: int, *values: int | float | str | bytes | None) -> None:
        table, op = tables[code // 3], _OPS[code % 3]
        width = len(table.columns)
        before = dict(zip(table.columns, values, strict=False)) if op != "insert" else None
        after = dict(zip(table.columns, values[-width:], strict=True)) if op != "delete" else None
        seen(table, op, before, after)

    connection.create_function(_FUNCTION, -1, told)
    connection.executescript(_triggers(tables))


def is_named_in(sql: str) -> bool:
    """Whether SQL names the function after all: then it must not run."""
    return _FUNCTION in sql.lower()


@cache
def _triggers(tables: tuple[Table, ...]) -> str:
    return "\n".join(
        statement for number, table in enumerate(tables) for statement in _of(table, number * 3)
    )


def _of(table: Table, code: int) -> Iterator[str]:
    old = ", ".join(f"OLD.{quoted(column)}" for column in table.columns)
    new = ", ".join(f"NEW.{quoted(column)}" for column in table.columns)
    for op, rows in zip(_OPS, (new, f"{old}, {new}", old), strict=True):
        yield (
            f"CREATE TEMP TRIGGER {_FUNCTION}_{code} AFTER {op} ON main.{quoted(table.name)}"
            f" BEGIN SELECT {_FUNCTION}({code}, {rows}); END;"
        )
        code += 1
