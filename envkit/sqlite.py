"""SQLite for worlds: in-memory copies, and connections on which agent-written text can do no harm.

Whatever SQL reaches a world, it can't attach a host file, change settings, look at the tables that keep watch over
it, or run for ever.
"""

from __future__ import annotations

import resource
import sqlite3
import time
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path

STEPS = 20_000_000  # virtual machine instructions of one operation; about a second
LONGEST = 1 << 20  # bytes of one text or blob
MEMORY = 256 << 20  # bytes that the process may grow by during one operation

SECONDS = 10.0  # of one operation: functions that take long need few instructions

_PAGE = resource.getpagesize()
_PATTERN = 1_000  # bytes of a LIKE or GLOB: their product with a text's is what matching costs
_EVERY = 1_000  # instructions between two looks at the budget
_LOOKS = 16  # of those between two looks at the memory: a look costs as much as 300 instructions

_REFUSED_ACTIONS = frozenset({sqlite3.SQLITE_ATTACH, sqlite3.SQLITE_DETACH, sqlite3.SQLITE_PRAGMA})
_ROW_ACTIONS = frozenset(
    {sqlite3.SQLITE_READ, sqlite3.SQLITE_INSERT, sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE}
)
_PLAIN_ACTIONS = _ROW_ACTIONS | {
    sqlite3.SQLITE_SELECT, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE,
    sqlite3.SQLITE_TRANSACTION, sqlite3.SQLITE_SAVEPOINT,
}  # fmt: skip
_REFUSED_FUNCTIONS = frozenset(
    {"load_extension", "readfile", "writefile", "edit", "fts3_tokenizer"}
    | {"json_patch", "jsonb_patch"}  # one instruction, quadratic in the keys of both
)


class Guard:
    """Keeps one connection within bounds. Statements run inside `operation`, each with a budget of its own.

    Args:
        connection: it belongs to the guard from now on
        hidden: tables that no statement may name, `sqlite_master` among them by default
        tables: where given, the only tables and views that a statement may name; no statement may then change
            the schema either
        steps: virtual machine instructions that one operation may take
        longest: bytes of one text or blob
        memory: bytes that the process may grow by during one operation
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        *,
        hidden: Collection[str] = ("sqlite_master", "sqlite_schema", "sqlite_temp_master"),
        tables: Collection[str] | None = None,
        steps: int = STEPS,
        longest: int = LONGEST,
        memory: int = MEMORY,
    ) -> None:
        self._hidden = frozenset(name.lower() for name in hidden)
        self._tables = None if tables is None else frozenset(name.lower() for name in tables)
        self._steps, self._memory = steps, memory
        self._left = steps
        self._looks = self._size = 0
        self._until = 0.0
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, _PATTERN)
        connection.set_authorizer(self._authorize)
        connection.set_progress_handler(self._tick, _EVERY)

    @contextmanager
    def operation(self) -> Generator[None]:
        """Everything inside shares one budget; sqlite3.OperationalError ("interrupted") where it runs out."""
        self._left, self._looks = self._steps, 0
        self._until = time.monotonic() + SECONDS
        yield

    def _tick(self) -> int:
        self._left -= _EVERY
        self._looks += 1
        spent = self._left < 0 or time.monotonic() > self._until
        return int(spent or (self._looks % _LOOKS == 1 and self._has_grown()))

    def _has_grown(self) -> bool:
        """Whether this operation took too much memory: a sorter of long texts needs few instructions for it."""
        size = _resident()
        if self._looks == 1:
            self._size = size
        return size - self._size > self._memory

    def _authorize(
        self,
        action: int,
        first: str | None,
        second: str | None,
        _where: str | None,
        _by: str | None,
    ) -> int:
        name = (first or "").lower()
        refused = (
            action in _REFUSED_ACTIONS
            or name in self._hidden
            or (action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _REFUSED_FUNCTIONS)
            or (self._tables is not None and not self._is_plain(action, name, second))
        )
        return sqlite3.SQLITE_DENY if refused else sqlite3.SQLITE_OK

    def _is_plain(self, action: int, name: str, column: str | None) -> bool:
        """Rows of the tables that may be named, read or written; nothing else."""
        if action not in _ROW_ACTIONS or name in (self._tables or ()):
            return action in _PLAIN_ACTIONS
        # `WITH n AS (...) SELECT count(*) FROM n` reads no column of something called n
        return action == sqlite3.SQLITE_READ and not column and not name.startswith("sqlite_")


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    try:
        pages = Path("/proc/self/statm").read_bytes().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * _PAGE


def fork(image: bytes) -> sqlite3.Connection:
    """A private in-memory copy of a serialized database, usable from any one thread at a time."""
    connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    connection.deserialize(image)
    connection.execute("PRAGMA temp_store = MEMORY")  # a large sort would fill the host's disk
    return connection


def fts_phrase(text: str, *, words: int = 16) -> str:
    """Agent text as an FTS5 query that means its words and nothing else; empty where it has none.

    Each word becomes a quoted string, so that no operator, column filter or syntax error can come from it.
    """
    found = ["".join(c for c in word if c.isalnum()) for word in text.split()]
    return " ".join(f'"{word}"' for word in found[:words] if word)
