"""Functions of SQL that differ in an episode: time and chance are its own, and none takes for ever.

So the same seed gives the same rows on any day. A budget of instructions does not bound what one instruction costs:
`printf('%.*c', 1000000000, 'x')` is a single one, and `trim` and `instr` multiply the lengths of both texts. What does
its work on a connection of its own never waits there for another episode's.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

from envkit.adapter import Clock
from envkit.sqlite import LONGEST

EPOCH = 1_750_000_000.0  # of what the schema's own SQL dates

_DATED = {"date": 0, "time": 0, "datetime": 0, "julianday": 0, "unixepoch": 0, "strftime": 1}
if sqlite3.sqlite_version_info >= (3, 43):
    _DATED["timediff"] = 0
_ZONES = ("localtime", "utc")  # the host's
_FINE = ("subsec", "subsecond")  # what stands for `now`, too, where it comes first
_MOST = 1_000  # characters of what is looked for, and of a format
_FEW = 32  # characters that a text is trimmed by: each of its own is compared with all of them
_BOUNDED = {
    "instr": (1, _MOST), "replace": (1, _MOST), "trim": (1, _FEW), "ltrim": (1, _FEW), "rtrim": (1, _FEW),
    "printf": (0, _MOST), "format": (0, _MOST),
}  # fmt: skip
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
    for name, (place, most) in _BOUNDED.items():
        bounded = partial(_bounded, name, place, most)
        connection.create_function(name, -1, bounded, deterministic=True)
    connection.create_function("random", 0, lambda: rng.getrandbits(64) - (1 << 63))
    connection.create_function("randomblob", 1, lambda n: rng.randbytes(min(max(int(n), 1), 1024)))


def _dated(clock: Clock, name: str, place: int, *given: Any) -> Any:
    """SQLite's own function, told what `now` is. Local time is UTC, wherever the host stands."""
    now = datetime.fromtimestamp(clock.now, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")
    arguments = list(given[:place])
    for argument in map(_as_read, given[place:] or ("now",)):
        word = argument.strip().lower() if isinstance(argument, str) else ""
        if word in _FINE and len(arguments) == place:
            arguments.append(now)
        if word not in _ZONES:
            arguments.append(now if word == "now" else argument)
    return _builtin(name, arguments)


def _as_read(argument: Any) -> Any:
    """Text as SQLite's date functions read it: bytes too, and as far as the first NUL."""
    if isinstance(argument, bytes):
        argument = argument.decode("utf-8", "replace")
    return argument.partition("\0")[0] if isinstance(argument, str) else argument


def _bounded(name: str, place: int, most: int, *given: Any) -> Any:
    """SQLite's own function, where what is looked for is short and no field of a format is wide."""
    what = given[place] if len(given) > place else ""
    if isinstance(what, str | bytes) and len(what) > most:
        raise ValueError(f"{name} takes at most {most} characters there")
    if place == 0 and isinstance(what, str) and _WIDE.search(what):
        raise ValueError(f"{name}: a field that is too wide")
    return _builtin(name, given)


_spare: list[sqlite3.Connection] = []  # on which nothing is overridden; as many as were once in use


def _builtin(name: str, arguments: Sequence[Any]) -> Any:
    """The same on a connection where it is not overridden, and which nobody else uses meanwhile.

    A connection has a lock, and Python keeps all of its threads waiting while one waits for that.
    """
    marks = ", ".join("?" * len(arguments))
    sql = f"SELECT {name}({marks})"
    try:
        connection = _spare.pop()
    except IndexError:
        connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
    try:
        return connection.execute(sql, arguments).fetchone()[0]
    finally:
        _spare.append(connection)
