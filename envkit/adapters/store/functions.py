"""Functions of SQL that differ in an episode: time and chance are its own, and none takes for ever.

So the same seed gives the same rows on any day. A budget of instructions does not bound what one instruction costs:
`printf('%.*c', 1000000000, 'x')` is a single one, and `trim` and `instr` multiply the lengths of both texts.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache, partial
from random import Random
from typing import Any

from envkit.adapter import Clock
from envkit.sqlite import LONGEST

EPOCH = 1_750_000_000.0  # of what the schema's own SQL dates

_DATED = {"date": 0, "time": 0, "datetime": 0, "julianday": 0, "unixepoch": 0, "strftime": 1}
_MOST = 1_000  # characters of what is looked for, and of a format
_BOUNDED = {"instr": 1, "replace": 1, "trim": 1, "ltrim": 1, "rtrim": 1, "printf": 0, "format": 0}
_WIDE = re.compile(r"\*|\d{4}")  # a width that is given as an argument, or is over 999
_CURRENT = {"current_date": "date", "current_time": "time", "current_timestamp": "datetime"}


def iso(clock: Clock) -> str:
    """The clock as ISO text in UTC, to the second."""
    return datetime.fromtimestamp(int(clock.now), UTC).isoformat().replace("+00:00", "Z")


def install(connection: sqlite3.Connection, clock: Clock, rng: Random) -> None:
    """Override what would read the host's clock or its randomness, or could take minutes."""
    for name, place in _DATED.items():
        connection.create_function(
            name, -1, partial(_dated, clock, name, place), deterministic=True
        )
    for name, function in _CURRENT.items():
        connection.create_function(name, 0, partial(_dated, clock, function, 0), deterministic=True)
    for name, place in _BOUNDED.items():
        connection.create_function(name, -1, partial(_bounded, name, place), deterministic=True)
    connection.create_function("random", 0, lambda: rng.getrandbits(64) - (1 << 63))
    connection.create_function("randomblob", 1, lambda n: rng.randbytes(min(max(int(n), 1), 1024)))


def _dated(clock: Clock, name: str, place: int, *given: Any) -> Any:
    """SQLite's own function, told what `now` is."""
    arguments = list(given)
    if len(arguments) <= place:
        arguments[place:] = ["now"]
    if isinstance(arguments[place], str) and arguments[place].strip().lower() == "now":
        arguments[place] = datetime.fromtimestamp(clock.now, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    return _builtin(name, arguments)


def _bounded(name: str, place: int, *given: Any) -> Any:
    """SQLite's own function, where what is looked for is short and no field of a format is wide."""
    what = given[place] if len(given) > place else ""
    if isinstance(what, str | bytes) and len(what) > _MOST:
        raise ValueError(f"{name} takes at most {_MOST} characters there")
    if place == 0 and isinstance(what, str) and _WIDE.search(what):
        raise ValueError(f"{name}: a field that is too wide")
    return _builtin(name, given)


def _builtin(name: str, arguments: Sequence[Any]) -> Any:
    """The same on a connection where it is not overridden."""
    marks = ", ".join("?" * len(arguments))
    sql = f"SELECT {name}({marks})"
    return _plain().execute(sql, arguments).fetchone()[0]


@cache
def _plain() -> sqlite3.Connection:
    """A connection with the functions that SQLite came with; it holds no state."""
    connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    return connection
