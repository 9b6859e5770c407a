"""SQLite files as text: what their tables hold, and what deleted rows left in them. Neither is trusted."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator

_ROW = (
    16  # bytes that a row counts for at least: a broken file can hold the same one without an end
)
_MOST_TABLES = 200
_LEAF, _INNER = (10, 13), (2, 5)  # pages of a b-tree, by the first byte of their header


def rows(
    data: bytes, most: int, short: Callable[[str], None]
) -> Iterator[tuple[str, bytes, list[bytes]]]:
    """By table: its name, its rows as text of at most `most` bytes, and cells that are no text.

    `short` is told what could not be read: a table that breaks or never ends hides no other.
    """
    connection = sqlite3.connect(":memory:")
    try:
        # a file in WAL mode wants a second file; the mode is two bytes of its header
        connection.deserialize(data[:18] + b"\1\1" + data[20:])
        connection.text_factory = bytes
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(1, most))
        names = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        if len(names) > _MOST_TABLES:
            short(f"over {_MOST_TABLES} tables of a SQLite file")
        for name in names[:_MOST_TABLES]:
            yield _table(connection, bytes(name), most, short)
    except (sqlite3.Error, UnicodeError, TypeError):
        short("a SQLite file that can't be read")
    finally:
        connection.close()


def _table(
    connection: sqlite3.Connection, name: bytes, most: int, short: Callable[[str], None]
) -> tuple[str, bytes, list[bytes]]:
    plain = name.decode("utf-8", "replace")
    lines: list[bytes] = []
    packed: list[bytes] = []
    try:
        quoted = plain.replace('"', '""')
        cursor = connection.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - quoted above
        columns = [str(column[0]).encode("utf-8", "replace") for column in cursor.description]
        for row in cursor:
            cells = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in row]
            most -= sum(map(len, cells)) + _ROW
            if most < 0:
                short(f"rows of {plain[:80]!r} in a SQLite file")
                break
            packed += [cell for cell in cells if not _is_text(cell)]
            # what a value is called: by the cell before it, by its column, by its table
            lines.append(b" = ".join(cells) if len(cells) > 1 else b"")
            lines += [b"%s = %s" % pair for pair in zip(columns, cells, strict=True)]
            lines += [b"%s = %s" % (name, cell) for cell in cells]
    except (sqlite3.Error, UnicodeError, OverflowError):
        short(f"table {plain[:80]!r} of a SQLite file")
    return plain, b"\n".join(lines), packed


def _is_text(cell: bytes) -> bool:
    try:
        return "\0" not in cell.decode()
    except UnicodeDecodeError:
        return False


# ---- what was deleted ----------------------------------------------------------------------------


def remains(data: bytes) -> Iterator[bytes]:
    """Bytes of free pages, and of the free room inside pages that are in use."""
    size = int.from_bytes(data[16:18], "big")
    size = 65_536 if size == 1 else size
    if size < 512 or size & (size - 1):
        return
    free = _free_pages(data, size)
    for number, start in enumerate(range(0, len(data) - size + 1, size), 1):
        page = data[start : start + size]
        if number in free:
            yield from _written(page)
        else:
            yield from _free_room(page, 100 if number == 1 else 0)


def _free_pages(data: bytes, size: int) -> set[int]:
    """Numbers of the pages on the free list; a list that runs in a circle ends where it began."""
    found: set[int] = set()
    trunk = int.from_bytes(data[32:36], "big")
    while trunk and trunk not in found and trunk * size <= len(data):
        found.add(trunk)
        page = data[(trunk - 1) * size : trunk * size]
        count = min(int.from_bytes(page[4:8], "big"), size // 4 - 2)
        found.update(int.from_bytes(page[at : at + 4], "big") for at in range(8, 8 + 4 * count, 4))
        trunk = int.from_bytes(page[:4], "big")
    return found


def _free_room(page: bytes, header: int) -> Iterator[bytes]:
    """The gap before a page's cells, and the blocks that deleted cells left."""
    if page[header] not in (*_LEAF, *_INNER):
        return
    cells = int.from_bytes(page[header + 3 : header + 5], "big")
    content = int.from_bytes(page[header + 5 : header + 7], "big") or 65_536
    pointers = header + (8 if page[header] in _LEAF else 12) + 2 * cells
    yield from _written(page[pointers:content])
    block, before = int.from_bytes(page[header + 1 : header + 3], "big"), 0
    while before < block <= len(page) - 4:  # the blocks stand in their order
        length = int.from_bytes(page[block + 2 : block + 4], "big")
        yield from _written(page[block + 4 : block + length])
        before, block = block, int.from_bytes(page[block : block + 2], "big")


def _written(room: bytes) -> Iterator[bytes]:
    if text := b"\n".join(re.findall(rb"[\x20-\x7e\x80-\xff]{4,}", room)):
        yield text
