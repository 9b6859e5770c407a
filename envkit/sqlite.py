"""SQLite for worlds: in-memory copies, and connections on which agent-written text can do no harm.

Whatever SQL reaches a world, it can't attach a host file, change settings, look at the tables that keep watch over
it, or run for ever.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Generator
from contextlib import contextmanager

STEPS = 20_000_000  # virtual machine instructions of one operation; about a second
_EVERY = 1_000  # instructions between two looks at the budget

_REFUSED_ACTIONS = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA})
_REFUSED_FUNCTIONS = frozenset(
    {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}
)


class Guard:
    """Keeps one connection within bounds. Statements run inside `operation`, each with a budget of its own.

    Args:
        connection: it belongs to the guard from now on
        hidden: tables that no statement may name, `sqlite_master` among them by default
        steps: virtual machine instructions that one operation may take
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        hidden: Collection[str] = ("sqlite_master", "sqlite_schema", "sqlite_temp_master"),
        steps: int = STEPS,
    ) -> None:
        self._hidden = frozenset(name.lower() for name in hidden)
        self._steps = steps
        self._left = steps
        connection.set_authorizer(self._authorize)
        connection.set_progress_handler(self._tick, _EVERY)

    @contextmanager
    def operation(self) -> Generator[None]:
        """Everything inside shares one budget; sqlite3.OperationalError ("interrupted") where it runs out."""
        self._left = self._steps
        yield

    def _tick(self) -> int:
        self._left -= _EVERY
        return int(self._left < 0)

    def _authorize(
        self,
        action: int,
        first: str | None,
        second: str | None,
        _where: str | None,
        _by: str | None,
    ) -> int:
        if action in _REFUSED_ACTIONS:
            return sqlite3.SQLITE_DENY
        if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _REFUSED_FUNCTIONS:
            return sqlite3.SQLITE_DENY
        if (first or "").lower() in self._hidden:
            return sqlite3.SQLITE_DENY
        return sqlite3.SQLITE_OK


def fork(image: bytes) -> sqlite3.Connection:
    """A private in-memory copy of a serialized database, usable from any one thread at a time."""
    connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    connection.deserialize(image)
    return connection


def fts_phrase(text: str, *, words: int = 16) -> str:
    """Agent text as an FTS5 query that means its words and nothing else; empty where it has none.

    Each word becomes a quoted string, so that no operator, column filter or syntax error can come from it.
    """
    found = ["".join(c for c in word if c.isalnum()) for word in text.split()]
    return " ".join(f'"{word}"' for word in found[:words] if word)
