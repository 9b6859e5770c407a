"""The session: trusted handlers read and write through it, from any thread."""

from __future__ import annotations

import asyncio
import math
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from fnmatch import fnmatchcase
from random import Random

from envkit.adapter import Clock
from envkit.adapters.store.frozen import fault_of, item, key_of, rows_of
from envkit.adapters.store.functions import install, iso
from envkit.adapters.store.log import Change, ChangeLog, Op
from envkit.adapters.store.schema import Schema, Table
from envkit.adapters.store.sql import fetched, is_denied, kind_of
from envkit.adapters.store.values import Row, Value, encoded
from envkit.adapters.store.watch import watch
from envkit.data.evidence import FrozenItem
from envkit.data.score import Finding
from envkit.errors import WorldError
from envkit.sqlite import Guard
from envkit.toolbox import ToolRefusal

CHANGES = "changes.json"

_ACTOR: ContextVar[str] = ContextVar("envkit.store.actor", default="agent")
_INFINITE = (math.inf, -math.inf)
_GRACE = 1.0  # seconds that a handler in another thread has to notice the end
_PATIENCE = (
    30.0  # seconds that a statement has, which nothing interrupts within one of its instructions
)
_MOST_ALERTS = 16  # of one episode
_OVER = "the episode is over: nothing is written any more"
_SETTINGS = "PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON;"


def rows_file(table: str) -> str:
    """The artefact of a table's final rows."""
    return f"rows/{table}.json"


class StoreSession:
    """One episode's tables. It has no tools: what an agent may do with them is for the pack to say.

    `query` and `execute` raise sqlite3.Error as SQLite words it: IntegrityError where a constraint is broken,
    DatabaseError for SQL that is not allowed, OperationalError ("interrupted") where it runs too long. They raise
    ToolRefusal for what an agent's values cause: LogFull, a number over 64 bits, text that is no Unicode.
    """

    def __init__(
        self, name: str, connection: sqlite3.Connection, schema: Schema, clock: Clock, rng: Random
    ) -> None:
        self.clock = clock
        self._name = name
        self._connection = connection
        self._schema = schema
        self._rng = rng
        self._log = ChangeLog()
        self._lock = threading.RLock()
        self._marks: list[int] = []  # how long the log was as each open transaction began
        self._owner: object = None  # the asyncio task of the open transaction, if it is in one
        self._steps = 0
        self._refusal: ToolRefusal | None = None  # of the log, on its way through SQLite
        self._frozen = self._closed = self._at_work = False
        self._crowded = (
            False  # whether another thread may still be at the connection, without the lock
        )
        self._alerts: dict[str, Finding] = {}
        install(connection, clock, rng)
        connection.executescript(_SETTINGS)

    def begin(self) -> None:
        """From here on changes are logged, and SQL is kept within bounds."""
        # built into SQLite, but made on first use, which the guard would refuse
        self._connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')").fetchall()
        watch(self._connection, self._schema, self._seen)
        tables = {*self._schema.tables, *self._schema.views, "json_each", "json_tree"}
        self._guard = Guard(self._connection, tables=tables)

    # ---- for handlers ----

    def query(self, sql: str, *params: Value) -> list[Row]:
        """The rows of one statement: SELECT, or a write with RETURNING."""
        return self._run(sql, params)[0]

    def execute(self, sql: str, *params: Value) -> int:
        """Run one statement; how many rows it changed, those by triggers and references not counted."""
        return self._run(sql, params)[1]

    @contextmanager
    def transaction(self) -> Generator[None]:
        """All or nothing: where the block raises, its changes are undone, in the log too. Don't await inside."""
        with self._lock:
            depth, mark = len(self._marks), len(self._log)
            self._refuse_strangers()
            self._connection.execute(f"SAVEPOINT s{depth}" if depth else "BEGIN")
            self._marks.append(mark)
            self._owner = _current_task() if not depth else self._owner
            try:
                yield
                self._refuse_strangers()
                if self._frozen and len(self._log) > mark:
                    raise ToolRefusal(_OVER)
                self._connection.execute(f"RELEASE s{depth}" if depth else "COMMIT")
            except BaseException:
                self._undo(depth, mark)
                raise
            finally:
                del self._marks[depth:]
            self._steps += not depth and len(self._log) > mark

    def now(self) -> str:
        """The episode's time as ISO text in UTC."""
        return iso(self.clock)

    def new_id(self, prefix: str = "") -> str:
        """An id nobody can guess, such as `ref_9f86d081884c`; the same seed draws the same ones in the same order."""
        with self._lock:
            drawn = f"{self._rng.getrandbits(48):012x}"
        return f"{prefix}_{drawn}" if prefix else drawn

    @property
    def actor(self) -> str:
        """Who writes, in this context."""
        return _ACTOR.get()

    @contextmanager
    def acting(self, actor: str) -> Generator[None]:
        """Changes inside are logged as this actor's, in this context alone."""
        before = _ACTOR.set(actor)
        try:
            yield
        finally:
            _ACTOR.reset(before)

    @property
    def log(self) -> tuple[Change, ...]:
        """Every change so far that was not rolled back, oldest first."""
        return tuple(self._log.changes)

    @property
    def full(self) -> str:
        """Why nothing can be written any more, once the log is full; else empty."""
        return self._log.full

    @property
    def alerts(self) -> tuple[Finding, ...]:
        """SQL that was not allowed: a handler puts an agent's text into it."""
        return tuple(self._alerts.values())

    # ---- for the episode ----

    async def freeze(self, patterns: Sequence[str]) -> Sequence[FrozenItem]:
        """The change log and the final rows, where declared. Nothing is written any more."""
        async with self._stopped():
            if self._at_work:
                raise WorldError("a statement does not end")
            for mark in self._marks[:1]:
                self._undo(0, mark)
            names = {CHANGES: None, **{rows_file(t.name): t for t in self._schema.tables.values()}}
            return [
                item(name, self._written(table))
                for name, table in names.items()
                if any(fnmatchcase(name, pattern) for pattern in patterns)
            ]

    async def surfaces(self) -> Mapping[str, bytes]:
        """Every row of every table; what of it an agent can see is for the handlers."""
        with self._lock:
            tables = self._schema.tables.values()
            return {rows_file(table.name): self._written(table) for table in tables}

    async def aclose(self) -> None:
        """Let go of the database. Safe to call twice."""
        if not self._closed:
            self._closed = True
            async with self._stopped() as alone:
                # closing waits for a statement, and all of Python with it: whoever is still there lets go of it later
                if alone:
                    self._connection.close()

    # ---- inside ----

    @asynccontextmanager
    async def _stopped(self) -> AsyncGenerator[bool]:
        """Handlers that still run come to nothing: a statement is interrupted. Gives whether all of them have left.

        Other episodes go on meanwhile. Whoever touches the connection waits for a statement that is at work, so that
        one is waited for here; a handler that does something else is not: SQLite itself allows for several threads.
        Nothing may be awaited inside: the lock belongs to this thread.
        """
        self._frozen = True
        began = time.monotonic()
        while not (alone := self._lock.acquire(blocking=False)):
            if time.monotonic() - began > (_PATIENCE if self._at_work else _GRACE):
                break
            self._connection.interrupt()  # again and again: it is lost between two statements
            await asyncio.sleep(_GRACE / 50)
        try:
            yield alone
        finally:
            if alone:
                self._lock.release()

    def _run(self, sql: str, params: tuple[Value, ...]) -> tuple[list[Row], int]:
        with self._lock:
            try:
                if kind_of(sql) == "read":
                    self._refuse_strangers()
                    return self._carried_out(sql, params)
                with self.transaction():
                    return self._carried_out(sql, params)
            except sqlite3.DatabaseError as error:
                refusal, self._refusal = self._refusal, None
                if refusal is not None:
                    raise refusal from None
                self._note(sql, error)
                raise
            except OverflowError:
                raise ToolRefusal("a number of more than 64 bits can't be kept") from None
            except UnicodeEncodeError:
                raise ToolRefusal("text with lone surrogates can't be kept") from None

    def _carried_out(self, sql: str, params: tuple[Value, ...]) -> tuple[list[Row], int]:
        self._at_work = True
        try:
            with self._guard.operation():
                return fetched(self._connection, sql, params)
        finally:
            self._at_work = False

    def _refuse_strangers(self) -> None:
        """Refuse to go on in a transaction that is not there any more, or that another asyncio task has open."""
        if self._marks and not self._connection.in_transaction:
            raise sqlite3.OperationalError("the transaction is over: SQLite rolled it back")
        if self._marks and _current_task() is not self._owner:
            raise RuntimeError("another task's transaction is open: don't await inside of one")

    def _undo(self, depth: int, mark: int) -> None:
        if not self._connection.in_transaction:  # OR ROLLBACK, or a write was interrupted
            self._log.cut(min(mark, *self._marks))
            return
        # the end of the episode was first, in another thread
        with suppress(sqlite3.OperationalError):
            if depth:
                self._connection.execute(f"ROLLBACK TO s{depth}")
            self._connection.execute(f"RELEASE s{depth}" if depth else "ROLLBACK")
        self._log.cut(mark)

    def _note(self, sql: str, error: sqlite3.Error) -> None:
        if is_denied(error) and len(self._alerts) < _MOST_ALERTS:
            remedy = "bind an agent's text as a parameter; never put it into SQL"
            seen = f"{error}: {sql[:200]}"
            self._alerts[seen] = Finding("sql-denied", "medium", self._name, seen, remedy)

    # ---- the log ----

    def _seen(self, table: Table, op: Op, before: Row | None, after: Row | None) -> None:
        """A row was written: SQLite calls it in the middle of a statement, and keeps what it raises to itself."""
        try:
            self._append(table, op, before, after)
        except ToolRefusal as refusal:
            self._refusal = refusal
            raise

    def _append(self, table: Table, op: Op, before: Row | None, after: Row | None) -> None:
        if self._frozen:
            raise ToolRefusal(_OVER)
        if after is not None and any(value in _INFINITE for value in after.values()):
            raise ToolRefusal("an infinite number can't be kept")
        if before is None or after is None:
            self._keep(table, op, before, after)
        elif repr(key_of(table, before)) != repr(key_of(table, after)):  # that is another row
            self._keep(table, "delete", before, None)
            self._keep(table, "insert", None, after)
        elif repr(before) != repr(after):
            self._keep(table, op, before, after)

    def _keep(self, table: Table, op: Op, before: Row | None, after: Row | None) -> None:
        key = key_of(table, before or after or {})
        made = Change(table.name, key, op, before, after, self.actor, self.now(), self._steps + 1)
        self._log.append(made)

    def _written(self, table: Table | None) -> bytes:
        """The rows of a table as JSON, or the log."""
        with self._guard.operation():
            if table is not None:
                return encoded(rows_of(self._connection, table))
            return self._log.document(fault_of(self._connection, self._schema, self._log.changes))


def _current_task() -> object:
    try:
        return asyncio.current_task()
    except RuntimeError:  # a thread without a loop: the lock keeps the others out
        return None
