"""`Store`: the declaration of an episode's tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from envkit.adapter import Adapter, Artefact, Context
from envkit.adapters.store.schema import Schema
from envkit.adapters.store.seed import fill, seed_of
from envkit.adapters.store.session import CHANGES, StoreSession, rows_file
from envkit.data.keyed import KeyedRandom
from envkit.errors import DeclarationError
from envkit.sqlite import fork


class Store(Adapter[StoreSession]):
    """`store = Store(Path(__file__).with_name("schema.sql"))`: tables, forked for every episode.

    It has no tools of its own: an API's handlers and the `@tool` methods of an Env read and write it. SQL that an agent
    wrote may take a second: a plain `@tool` method has a thread of its own; in an async one, which all episodes wait
    for, `await asyncio.to_thread(self.store.query, sql)`.
    `world["store"]` is rows by table, added to those that the schema's SQL inserts. Triggers of the schema run
    recursively; their changes are logged as everybody's.

    Args:
        schema: SQL, or the path of a file of it: CREATE TABLE (each with a primary key), base rows
    """

    session: ClassVar[type[Any]] = StoreSession

    def __init__(self, schema: str | Path) -> None:
        self._schema = Schema.of(schema)
        self.Seed = seed_of(self._schema)  # type: ignore[misc]  # one seed model per declaration

    @property
    def tables(self) -> Mapping[str, tuple[str, ...]]:
        """The columns of each table."""
        return {table.name: table.columns for table in self._schema.tables.values()}

    def changes(self) -> Artefact:
        """Declare the change log as evidence; the judge reads `<name>/changes.json`."""
        return self.artefact(CHANGES)

    def rows(self, table: str) -> Artefact:
        """Declare a table's final rows as evidence; the judge reads `<name>/rows/<table>.json`.

        For tables whose rows are below a mebibyte of JSON together; the change log suits any.
        """
        if table not in self._schema.tables:
            known = ", ".join(self._schema.tables)
            raise DeclarationError(f"Store: no table {table!r} to be evidence; it has {known}")
        return self.artefact(rows_file(table))

    async def open(self, seed: Any, context: Context) -> StoreSession:
        """A fork of the base image with the task's rows; the log begins after them."""
        connection = fork(self._schema.image)
        rng = KeyedRandom(context.rng.randbytes(32), "store")
        session = StoreSession(self.name, connection, self._schema, context.clock, rng)
        context.stack.push_async_callback(session.aclose)
        fill(connection, seed.root, self.name)
        session.begin()
        return session
