"""Decoders: bytes as an agent could read them, and everything that is packed or disguised inside them.

`unfold` yields views of one content: itself, then whatever a decoder makes of it, to a depth of three. One function a
decoder; each takes bytes and yields (label, bytes) pairs, and never raises: what it can't read it skips.
"""

from __future__ import annotations

import base64
import binascii
import io
import marshal
import re
import sqlite3
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import MAGIC_NUMBER
from types import CodeType
from typing import TypeAlias

DEPTH = 3
MAX_BYTES = 8 << 20  # of one view; a bomb is cut off here
MAX_VIEWS = 2_000  # of one content
MAX_MEMBERS = 500  # of an archive, rows of a table, constants of a code object

Part: TypeAlias = tuple[str, bytes]
Decoder: TypeAlias = Callable[[bytes], Iterator[Part]]


@dataclass(frozen=True, slots=True)
class View:
    """One reading of a content: by which decoders, and what came out."""

    chain: tuple[str, ...]
    data: bytes

    @property
    def disguised(self) -> bool:
        """Whether a decoder was needed that nothing honest needs; an archive alone is no disguise."""
        return any(label.partition(":")[0] in DISGUISES for label in self.chain)


def unfold(data: bytes, depth: int = DEPTH) -> Iterator[View]:
    """All views of a content, breadth first, each distinct content once."""
    seen = {data}
    level = [View((), data[:MAX_BYTES])]
    for remaining in range(depth, -1, -1):
        yield from level
        if not remaining:
            return
        inner: list[View] = []
        for view in level:
            for label, part in _parts(view):
                if part not in seen and len(seen) < MAX_VIEWS:
                    seen.add(part)
                    inner.append(View((*view.chain, label), part))
        level = inner


def _parts(view: View) -> Iterator[Part]:
    for name, decoder in DECODERS.items():
        if view.chain and name == "reversed" == view.chain[-1].partition(":")[0]:
            continue  # there and back again
        for label, part in decoder(view.data):
            yield f"{name}:{label}" if label else name, part[:MAX_BYTES]


# ---- disguises -----------------------------------------------------------------------------------

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{12,}(?:\r?\n[A-Za-z0-9+/_-]+)*={0,2}")
_HEX = re.compile(rb"(?:[0-9a-fA-F]{2}){6,}")


def base64_runs(data: bytes) -> Iterator[Part]:
    """Every run that looks like base64, standard or URL-safe, over lines too."""
    for match in _some(_BASE64, data):
        run = re.sub(rb"\s", b"", match.group()).rstrip(b"=").translate(_STANDARD)
        for start in range(4 if len(run) < 4096 else 1):  # a run may begin inside a longer word
            chunk = run[start:]
            chunk = chunk[: len(chunk) - (len(chunk) % 4 == 1)]
            try:
                decoded = base64.b64decode(chunk + b"=" * (-len(chunk) % 4))
            except binascii.Error:
                continue
            if _means_something(decoded):
                yield "", decoded


def hex_runs(data: bytes) -> Iterator[Part]:
    """Every run of hexadecimal digits."""
    for match in _some(_HEX, data):
        decoded = bytes.fromhex(match.group().decode())
        if _means_something(decoded):
            yield "", decoded


def reversed_text(data: bytes) -> Iterator[Part]:
    """The content backwards."""
    if data:
        yield "", data[::-1]


def utf16(data: bytes) -> Iterator[Part]:
    """UTF-16 in either order, with or without a mark, as UTF-8."""
    if b"\0" not in data:
        return
    for codec in ("utf-16-le", "utf-16-be"):
        for start in (0, 1):
            text = data[start : start + (len(data) - start) // 2 * 2].decode(codec, "replace")
            plain = text.encode("utf-8", "replace")
            if sum(32 <= byte < 127 for byte in plain) * 2 > len(plain):
                yield codec, plain


def pyc_constants(data: bytes) -> Iterator[Part]:
    """The constants and names of compiled Python: of this interpreter's version, by unmarshalling."""
    if len(data) < 16 or data[2:4] != b"\r\n":
        return
    if data[:4] != MAGIC_NUMBER:  # another version's marshal could be anything to ours
        yield "raw", data[16:]
        return
    try:
        code = marshal.loads(data[16:])  # noqa: S302 - builds constants and code objects, runs nothing
    except (EOFError, ValueError, TypeError):
        yield "raw", data[16:]
        return
    left, seen = [code], 0
    while left and seen < MAX_MEMBERS:
        item = left.pop()
        seen += 1
        if isinstance(item, CodeType):
            left += [*item.co_consts, *item.co_names]
        elif isinstance(item, tuple | frozenset):
            left += item
        elif isinstance(item, str | bytes | int | float):
            yield "", item if isinstance(item, bytes) else str(item).encode("utf-8", "replace")


# ---- containers ----------------------------------------------------------------------------------


def gunzip(data: bytes) -> Iterator[Part]:
    """A gzip stream, wherever it begins; zlib streams too."""
    for magic, bits in ((b"\x1f\x8b\x08", 31), (b"\x78\x9c", 15), (b"\x78\xda", 15)):
        start = data.find(magic)
        if start < 0:
            continue
        try:
            yield "", zlib.decompressobj(bits).decompress(data[start:], MAX_BYTES)
        except zlib.error:
            continue


def unzip(data: bytes) -> Iterator[Part]:
    """The members of a zip file, and so of wheels and office documents; names and comments too."""
    if b"PK\x03\x04" not in data:
        return
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        for member in archive.infolist()[:MAX_MEMBERS]:
            yield f"{member.filename}?name", member.filename.encode("utf-8", "replace")
            if not member.flag_bits & 1:
                with archive.open(member) as stream:
                    yield member.filename, stream.read(MAX_BYTES)
        yield "?comment", archive.comment
    except (zipfile.BadZipFile, OSError, zlib.error, NotImplementedError, EOFError, ValueError):
        return


def sqlite_rows(data: bytes) -> Iterator[Part]:
    """Every row of every table of a SQLite file, and each of its cells."""
    if not data.startswith(b"SQLite format 3\0"):
        return
    connection = sqlite3.connect(":memory:")
    try:
        connection.deserialize(data)
        connection.text_factory = bytes
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchmany(MAX_MEMBERS):
            quoted = table.decode("utf-8", "replace").replace('"', '""')
            rows = connection.execute(f'SELECT * FROM "{quoted}"')  # noqa: S608 - quoted above
            for row in rows.fetchmany(MAX_MEMBERS):
                cells = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in row]
                yield quoted, b" = ".join(cells)  # so that a key beside its value is read as one
                yield from ((quoted, cell) for cell in cells)
    except (sqlite3.Error, UnicodeError):
        return
    finally:
        connection.close()


def _means_something(data: bytes) -> bool:
    """Text, or something packed: any word decodes to some bytes, and those are noise."""
    if data.startswith(_MAGIC) or data.endswith(_MAGIC_BACKWARDS):
        return True
    if b"\r\n" in (data[2:4], data[-4:-2][::-1]):  # compiled Python, either way round
        return True
    text = data.replace(b"\0", b"")
    return sum(byte in _TEXT for byte in text) * 10 >= len(text) * 9 > 0


def _some(pattern: re.Pattern[bytes], data: bytes) -> Iterator[re.Match[bytes]]:
    for number, match in enumerate(pattern.finditer(data)):
        if number >= MAX_MEMBERS:
            return
        yield match


_MAGIC = (b"\x1f\x8b\x08", b"\x78\x9c", b"\x78\xda", b"PK\x03\x04", b"SQLite format 3\0")
_MAGIC_BACKWARDS = tuple(magic[::-1] for magic in _MAGIC)
_TEXT = frozenset(range(32, 127)) | frozenset(b"\t\r\n")
_STANDARD = bytes.maketrans(b"-_", b"+/")
DISGUISES: dict[str, Decoder] = {
    "base64": base64_runs,
    "hex": hex_runs,
    "reversed": reversed_text,
    "utf-16": utf16,
    "pyc": pyc_constants,
}
CONTAINERS: dict[str, Decoder] = {"gzip": gunzip, "zip": unzip, "sqlite": sqlite_rows}
DECODERS: dict[str, Decoder] = {**DISGUISES, **CONTAINERS}
