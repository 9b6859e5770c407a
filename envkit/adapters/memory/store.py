"""`Store`: the files of one scope in an in-memory SQLite database of their own.

No column says whose a record is: another episode's records are in another database. Agent text reaches SQL only as
a bound value, and a search only as quoted words.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from envkit.adapters.memory.paths import below, inside
from envkit.adapters.memory.text import best_line
from envkit.sqlite import fork, fts_phrase

_SCHEMA = """
CREATE TABLE record (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    bytes INTEGER NOT NULL,
    created TEXT NOT NULL,
    changed TEXT NOT NULL
);
CREATE VIRTUAL TABLE entry USING fts5(path, text, tokenize = 'porter unicode61 remove_diacritics 2');
"""


class Full(Exception):
    """A quota would be passed; the text is for the agent."""


@dataclass(frozen=True, slots=True)
class Quota:
    """What a store may hold. Names count as bytes too: they can carry as much as contents."""

    bytes: int
    records: int


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where a change came from."""

    seat: str
    session: int  # of a chain, from 1; 0: the seed
    step: int  # calls that the memory had got by then, this one included
    at: float  # the episode's clock


@dataclass(frozen=True, slots=True)
class Hit:
    """One result of a search: a file, and the line of it that holds most of the words."""

    path: str
    number: int
    line: str


@cache
def _template() -> bytes:
    """An empty database; a copy of it is about ten times faster than making the tables again."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(_SCHEMA)
    image = connection.serialize()
    connection.close()
    return image


class Store:
    """Files by normal path. Directories are what paths have in common; an empty one does not exist."""

    def __init__(self, quota: Quota) -> None:
        self._quota = quota
        self._db = fork(_template())
        self._db.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)  # whatever happens, no host file

    def close(self) -> None:
        """Forget everything."""
        self._db.close()

    def read(self, path: str) -> str | None:
        """A file's text; None where there is no such file."""
        sql = "SELECT text FROM entry WHERE rowid = (SELECT id FROM record WHERE path = ?)"
        row = self._db.execute(sql, (path,)).fetchone()
        return None if row is None else str(row[0])

    def sizes(self, directory: str) -> dict[str, int]:
        """Every file below a directory, however deep, with its bytes; in the order of paths."""
        return {path: size for path, size, _, _ in self._below(directory)}

    def write(self, path: str, text: str, stamp: Stamp) -> None:
        """Create a file or replace its text. Raises Full, and then nothing has changed."""
        size, note = _weight(path, text), json.dumps(asdict(stamp))
        row = self._db.execute("SELECT id, bytes FROM record WHERE path = ?", (path,)).fetchone()
        self._refuse_over(size - (row[1] if row else 0), 0 if row else 1)
        if row:
            sql = "UPDATE record SET bytes = ?, changed = ? WHERE id = ?"
            self._db.execute(sql, (size, note, row[0]))
            self._db.execute("UPDATE entry SET text = ? WHERE rowid = ?", (text, row[0]))
        else:
            sql = "INSERT INTO record(path, bytes, created, changed) VALUES (?, ?, ?, ?)"
            number = self._db.execute(sql, (path, size, note, note)).lastrowid
            sql = "INSERT INTO entry(rowid, path, text) VALUES (?, ?, ?)"
            self._db.execute(sql, (number, inside(path), text))

    def remove(self, path: str) -> None:
        """Delete a file, or everything below a directory."""
        for found in (path, *self.sizes(path)):
            sql = "DELETE FROM entry WHERE rowid = (SELECT id FROM record WHERE path = ?)"
            self._db.execute(sql, (found,))
            self._db.execute("DELETE FROM record WHERE path = ?", (found,))

    def move(self, moves: Mapping[str, str], stamp: Stamp) -> None:
        """Give files new paths that are free. Raises Full (names are bytes), and then nothing has changed."""
        grown = sum(len(new.encode()) - len(old.encode()) for old, new in moves.items())
        self._refuse_over(grown, 0)
        note = json.dumps(asdict(stamp))
        for old, new in moves.items():
            longer = len(new.encode()) - len(old.encode())
            sql = "SELECT id FROM record WHERE path = ?"
            (number,) = self._db.execute(sql, (old,)).fetchone()
            sql = "UPDATE record SET path = ?, bytes = bytes + ?, changed = ? WHERE id = ?"
            self._db.execute(sql, (new, longer, note, number))
            self._db.execute("UPDATE entry SET path = ? WHERE rowid = ?", (inside(new), number))

    def search(self, query: str, most: int) -> list[Hit]:
        """The files that hold any of the words, best first by bm25; names count like contents."""
        plain = "".join(c if c.isalnum() else " " for c in query)
        quoted = fts_phrase(plain).split()
        if not quoted:
            return []
        # No snippet() of FTS5: its time grows with the square of the matches, and an agent writes the texts.
        sql = "SELECT path, text FROM entry WHERE entry MATCH ? ORDER BY bm25(entry), path LIMIT ?"
        found = self._db.execute(sql, (" OR ".join(quoted), most)).fetchall()
        words = [word.strip('"').lower() for word in quoted]
        return [Hit(below(path), *best_line(text, words)) for path, text in found]

    def records(self, root: str) -> list[dict[str, Any]]:
        """Every record with its provenance, in the order of paths."""
        return [
            {
                "path": inside(path),
                "bytes": size,
                "created": json.loads(made),
                "changed": json.loads(changed),
            }
            for path, size, made, changed in self._below(root)
        ]

    def _below(self, directory: str) -> list[tuple[str, int, str, str]]:
        # everything that begins with "directory/": "0" is the character after the slash
        sql = "SELECT path, bytes, created, changed FROM record WHERE path > ? AND path < ? ORDER BY path"
        return self._db.execute(sql, (f"{directory}/", f"{directory}0")).fetchall()

    def _refuse_over(self, more_bytes: int, more_records: int) -> None:
        sql = "SELECT coalesce(sum(bytes), 0), count(*) FROM record"
        used, records = self._db.execute(sql).fetchone()
        if more_records and records + more_records > self._quota.records:
            raise Full(f"Memory holds {records} files, which is all it may; delete or merge some.")
        if more_bytes > 0 and used + more_bytes > self._quota.bytes:
            raise Full(
                f"Memory may hold {self._quota.bytes} bytes; {used} are used and this needs {more_bytes} more."
                " Shorten or delete something."
            )


def _weight(path: str, text: str) -> int:
    return len(path.encode()) + len(text.encode())
