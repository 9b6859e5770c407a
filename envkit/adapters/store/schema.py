"""The schema of a store: SQL run once, looked at, and kept as the image that episodes are forked from."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

from envkit.adapter import Clock
from envkit.adapters.store.functions import EPOCH, install
from envkit.errors import DeclarationError

MAX_COLUMNS = 63  # a function of SQLite takes 127 arguments: what changed, and both rows
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Table:
    """One table: all its columns in order, those of its primary key, those that an insert may give."""

    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]
    given: frozenset[str]


@dataclass(frozen=True, slots=True)
class Schema:
    """What a store holds. Episodes are forked from `image`, base rows included."""

    tables: Mapping[str, Table]
    views: frozenset[str]
    image: bytes

    @classmethod
    def of(cls, source: str | Path) -> Schema:
        """Run the SQL and look at what it made. Raises DeclarationError, naming what is wrong."""
        sql = _read(source)
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            # what the SQL draws or dates is the same in every process
            install(connection, Clock(EPOCH), Random(0))
            for statement in _statements(sql):
                try:
                    connection.executescript(statement)
                except sqlite3.Error as error:
                    shown = " ".join(statement.split())[:60]
                    raise DeclarationError(f"Store: {error}, in its SQL: {shown!r}") from None
            if connection.in_transaction:
                connection.execute("COMMIT")
            tables, views = _look(connection)
            return cls(tables, views, connection.serialize())


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _read(source: str | Path) -> str:
    if isinstance(source, str):
        return source
    try:
        return source.read_text("utf-8")
    except (OSError, UnicodeError) as error:
        raise DeclarationError(f"Store: its schema {source} can't be read: {error}") from None


def _statements(sql: str) -> Iterator[str]:
    """The SQL in pieces that end where a line ends a statement; a trigger's body stays whole."""
    piece = ""
    for line in sql.splitlines(keepends=True):
        piece += line
        if sqlite3.complete_statement(piece):
            yield piece
            piece = ""
    yield piece


def _look(connection: sqlite3.Connection) -> tuple[dict[str, Table], frozenset[str]]:
    listed = connection.execute("SELECT name, type FROM pragma_table_list WHERE schema = 'main'")
    kinds = {name: kind for name, kind in listed if not name.startswith("sqlite_")}
    for name, kind in kinds.items():
        if kind == "virtual":
            raise DeclarationError(
                f"Store: {name!r} is a virtual table; its writes can't be logged"
            )
    tables = {n: _table(connection, n) for n, kind in sorted(kinds.items()) if kind == "table"}
    if not tables:
        raise DeclarationError("Store: its SQL makes no table: CREATE TABLE ... is missing")
    _check_references(connection, tables)
    return tables, frozenset(name for name, kind in kinds.items() if kind == "view")


def _table(connection: sqlite3.Connection, name: str) -> Table:
    if not _NAME.fullmatch(name):
        raise DeclarationError(f"Store: table {name!r}: use letters, digits and underscores")
    rows = connection.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall()
    seen = [row for row in rows if row[6] != 1]  # 1: a hidden column of a virtual table
    key = {row[5]: row for row in seen if row[5]}
    if not key:
        raise DeclarationError(f"Store: table {name!r} needs a primary key: changes are told by it")
    if len(seen) > MAX_COLUMNS:
        raise DeclarationError(f"Store: table {name!r} has over {MAX_COLUMNS} columns")
    if any(not row[3] for row in key.values()) and not _is_rowid(connection, name):
        raise DeclarationError(
            f"Store: table {name!r}: its primary key may be NULL; declare the column NOT NULL"
        )
    columns = tuple(str(row[1]) for row in seen)
    given = frozenset(str(row[1]) for row in seen if row[6] == 0)  # the others are generated
    return Table(name, columns, tuple(str(key[n][1]) for n in sorted(key)), given)


def _is_rowid(connection: sqlite3.Connection, name: str) -> bool:
    """Whether the key is an alias of the rowid, which is never NULL: then it has no index of its own."""
    rows = connection.execute(f"PRAGMA index_list({quoted(name)})").fetchall()
    return all(row[3] != "pk" for row in rows)


def _check_references(connection: sqlite3.Connection, tables: Mapping[str, Table]) -> None:
    for name in tables:
        for row in connection.execute(f"PRAGMA foreign_key_list({quoted(name)})").fetchall():
            parent, on_update = row[2], row[5]
            if parent.lower() not in {known.lower() for known in tables}:
                raise DeclarationError(f"Store: table {name!r} refers to {parent!r}: no such table")
            if parent.lower() == name.lower() and on_update not in ("NO ACTION", "RESTRICT"):
                raise DeclarationError(
                    f"Store: table {name!r} refers to itself ON UPDATE {on_update}: one update would"
                    " change a row twice in no certain order; leave that clause out"
                )
    try:
        broken = connection.execute("PRAGMA foreign_key_check").fetchone()
    except sqlite3.Error as error:
        raise DeclarationError(f"Store: {error}") from None
    if broken:
        raise DeclarationError(
            f"Store: a base row of {broken[0]!r} refers to no row of {broken[2]!r}"
        )
