"""What a task puts into a store: rows by table."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, RootModel, model_validator

from envkit.adapters.store.schema import Schema, Table, quoted
from envkit.adapters.store.values import cell_of, seed_cell
from envkit.errors import TaskError

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


def seed_of(schema: Schema) -> type[BaseModel]:
    """The seed model of one schema: it knows the tables and their columns."""

    class Seed(RootModel[dict[str, list[dict[str, Any]]]]):
        model_config = ConfigDict(frozen=True)

        @model_validator(mode="after")
        def _rows_fit_the_schema(self) -> Seed:
            for name, rows in self.root.items():
                if name not in schema.tables:
                    raise ValueError(f"no table {name!r}; it has {', '.join(schema.tables)}")
                for number, row in enumerate(rows):
                    _check(row, schema.tables[name], f"{name}[{number}]")
            return self

    return Seed


def _check(row: dict[str, Any], table: Table, place: str) -> None:
    for column, value in row.items():
        if column not in table.given:
            known = ", ".join(c for c in table.columns if c in table.given)
            raise ValueError(f"{place}: no column {column!r} to give; there are {known}")
        try:
            row[column] = seed_cell(value)
        except ValueError as error:
            raise ValueError(f"{place}.{column}: {error}") from None


def fill(connection: sqlite3.Connection, rows: Rows, name: str) -> None:
    """Insert the rows of a task; references may point to rows further down. Raises TaskError."""
    if not any(rows.values()):
        return
    place = ""
    connection.execute("BEGIN")
    connection.execute("PRAGMA defer_foreign_keys = ON")
    try:
        for table, given in rows.items():
            for number, row in enumerate(given):
                place = f"{table}[{number}]: "
                _insert(connection, table, row)
        place = ""
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        place = place or _broken_reference(connection)
        raise TaskError(f"world[{name!r}]: {place}{error}") from None


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    names, marks = ", ".join(map(quoted, row)), ", ".join("?" * len(row))
    given = f"({names}) VALUES ({marks})" if row else "DEFAULT VALUES"
    # both names were found in the schema
    sql = f"INSERT INTO main.{quoted(table)} {given}"
    connection.execute(sql, [cell_of(value) for value in row.values()])


def _broken_reference(connection: sqlite3.Connection) -> str:
    """Which row refers to none; a look at every row, so only where the commit was refused."""
    broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    return f"a row of {broken[0]!r} refers to no row of {broken[2]!r}: " if broken else ""
