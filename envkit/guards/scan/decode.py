"""Decoders: bytes as an agent could read them, and everything that is packed or disguised inside them.

`unfold` yields views of one content: itself, then whatever a decoder makes of it, to a depth of three. One function a
decoder; each takes bytes and the room that is left, yields (label, bytes) pairs, and never raises: what it can't read
it skips. Room is of one content, all its views together, so that no bomb takes more time or memory than any other
content of its size; what was left out for want of it is noted, never dropped in silence.
"""

from __future__ import annotations

import base64
import binascii
import bz2
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import MAGIC_NUMBER
from typing import Any, TypeAlias

from envkit.guards.scan.compiled import HEADER, constants
from envkit.guards.scan.rows import remains, rows

DEPTH = 3
MAX_BYTES = 8 << 20  # of one view; a bomb is cut off here
MAX_TOTAL = 32 << 20  # of all views of one content, itself included
MAX_VIEWS = 20_000  # of one content
MAX_RUNS = 2_000  # that look like one encoding, in one view
MAX_MEMBERS = 2_000  # of an archive


@dataclass(slots=True)
class Room:
    """How much may still be made of one content, and what was left out because nothing more fitted."""

    left: int = MAX_TOTAL
    views: int = MAX_VIEWS
    cut: dict[str, None] = field(default_factory=dict)  # reasons, each once

    @property
    def most(self) -> int:
        """Bytes that the next part may have."""
        return min(MAX_BYTES, self.left)

    def short(self, why: str) -> None:
        """Note that something was left out."""
        if len(self.cut) < _MOST_REASONS:
            self.cut[why] = None

    def take(self, part: bytes) -> bytes | None:
        """As much of a part as there is room for; None where there is none."""
        if not self.views or (part and not self.left):
            self.short(f"over {MAX_TOTAL >> 20} MiB or {MAX_VIEWS} readings of one content")
            return None
        if len(part) > self.most:
            self.short(f"over {MAX_BYTES >> 20} MiB in one piece")
        kept = part[: self.most]
        self.left -= len(kept)
        self.views -= 1
        return kept


_MOST_REASONS = 20
Part: TypeAlias = tuple[str, bytes]
Decoder: TypeAlias = Callable[[bytes, Room], Iterator[Part]]


@dataclass(frozen=True, slots=True)
class View:
    """One reading of a content: by which decoders, and what came out."""

    chain: tuple[str, ...]
    data: bytes

    @property
    def disguised(self) -> bool:
        """Whether a decoder was needed that nothing honest needs; an archive alone is no disguise."""
        return any(is_disguise(label) for label in self.chain)


def is_disguise(label: str) -> bool:
    """Whether the decoder of this label undoes a disguise."""
    return label.partition(":")[0] in DISGUISES


def unfold(data: bytes, depth: int = DEPTH, room: Room | None = None) -> Iterator[View]:
    """All views of a content, breadth first, each distinct content once; `room.cut` then tells what was left out."""
    room = room or Room()
    first = room.take(data)
    seen = {first}
    level = [] if first is None else [View((), first)]
    for remaining in range(depth, -1, -1):
        yield from level
        if not remaining:
            return
        inner: list[View] = []
        for view in level:
            for label, part in _parts(view, room):
                if part in seen:
                    continue
                kept = room.take(part)
                if kept is None:
                    break
                seen.add(kept)
                inner.append(View((*view.chain, label), kept))
        level = inner


def _parts(view: View, room: Room) -> Iterator[Part]:
    for name, decoder in DECODERS.items():
        if view.chain and name == "reversed" == view.chain[-1].partition(":")[0]:
            continue  # there and back again
        for label, part in decoder(view.data, room):
            yield f"{name}:{label}" if label else name, part


# ---- disguises -----------------------------------------------------------------------------------

# each begins where a word begins: no match can begin later in the same word, and looking there costs a square
_BASE64 = re.compile(rb"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{12,}(?:\r?\n[A-Za-z0-9+/_-]+)*={0,2}")
_HEX = re.compile(rb"(?<![0-9a-fA-F])[0-9a-fA-F]{12,}")


def base64_runs(data: bytes, room: Room) -> Iterator[Part]:
    """Every run that looks like base64, standard or URL-safe, over lines too."""
    for match in _some(_BASE64, data, room):
        lines = match.group().split()
        # lines that belong together, or a line with words under it
        for run in dict.fromkeys((b"".join(lines), *(lines[:_LINES] if len(lines) > 1 else ()))):
            yield from _base64(run.rstrip(b"=").translate(_STANDARD))


def _base64(run: bytes) -> Iterator[Part]:
    for start in range(4):  # a run may begin inside a longer word
        chunk = run[start:]
        chunk = chunk[: len(chunk) - (len(chunk) % 4 == 1)]
        try:
            decoded = base64.b64decode(chunk + b"=" * (-len(chunk) % 4))
        except binascii.Error:
            continue
        if _means_something(decoded):
            yield "", decoded


def hex_runs(data: bytes, room: Room) -> Iterator[Part]:
    """Every run of hexadecimal digits; of a run that begins with a digit of something else, too."""
    for match in _some(_HEX, data, room):
        run = match.group().decode()
        for start in (0, 1):
            decoded = bytes.fromhex(run[start : start + (len(run) - start) // 2 * 2])
            if _means_something(decoded):
                yield "", decoded


def reversed_text(data: bytes, room: Room) -> Iterator[Part]:
    """The content backwards."""
    if data:
        yield "", data[::-1]


def utf16(data: bytes, room: Room) -> Iterator[Part]:
    """UTF-16 in either order, with or without a mark, as UTF-8."""
    if b"\0" not in data:
        return
    for codec in ("utf-16-le", "utf-16-be"):
        for start in (0, 1):
            text = data[start : start + (len(data) - start) // 2 * 2].decode(codec, "replace")
            plain = text.encode("utf-8", "replace")
            if (len(plain) - len(plain.translate(None, _PRINTED))) * 2 > len(plain):
                yield codec, plain


def pyc_constants(data: bytes, room: Room) -> Iterator[Part]:
    """The constants and names of compiled Python: of this interpreter's version; of another the bytes as they are."""
    if len(data) < HEADER or data[2:4] != b"\r\n":
        return
    if data[:4] != MAGIC_NUMBER:
        yield "raw", data[HEADER:]
        return
    text: list[bytes] = []
    for constant in constants(data[HEADER:]):
        if _is_text(constant):
            text.append(constant)
        else:
            yield "", constant  # bytes, perhaps packed
    yield "", b"\n\n".join(text)  # an empty line: no run of an encoding goes on over it


# ---- containers ----------------------------------------------------------------------------------


def inflated(data: bytes, room: Room) -> Iterator[Part]:
    """gzip, zlib, bzip2 and xz streams, wherever they begin."""
    for match in _some(_STREAMS, data, room):
        magic = match.group()
        opener = next(opener for start, opener in _OPENERS if magic.startswith(start))
        try:
            stream = opener()
            yield "", stream.decompress(data[match.start() :], room.most + 1)
        except (zlib.error, OSError, EOFError, lzma.LZMAError):
            continue


def unzip(data: bytes, room: Room) -> Iterator[Part]:
    """The members of a zip file, and so of wheels and office documents; names and comments too."""
    if b"PK\x03\x04" not in data:
        return
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except _UNZIPPED:
        return
    members = archive.infolist()
    if len(members) > MAX_MEMBERS:
        room.short(f"over {MAX_MEMBERS} members of a zip file")
    yield "?comment", archive.comment
    yield "?names", "\n".join(m.filename for m in members[:MAX_MEMBERS]).encode("utf-8", "replace")
    for member in members[:MAX_MEMBERS]:
        if member.flag_bits & 1:
            room.short("a member of a zip file that is locked by a password")
            continue
        try:
            with archive.open(member) as stream:
                yield member.filename, stream.read(room.most + 1)
        except _UNZIPPED:  # one that can't be read hides no other
            room.short("a member of a zip file that can't be read")


def untar(data: bytes, room: Room) -> Iterator[Part]:
    """The members of a tar file that are regular files; all names."""
    if data[257:262] != b"ustar":
        return
    names: list[str] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                if len(names) >= MAX_MEMBERS:
                    room.short(f"over {MAX_MEMBERS} members of a tar file")
                    break
                names.append(member.name)
                # a sparse file says how large it is, and takes no room for it
                stream = archive.extractfile(member) if member.isreg() else None
                if stream is not None and not member.sparse:
                    yield member.name, stream.read(room.most + 1)
    except (tarfile.TarError, OSError, ValueError, EOFError):
        room.short("a tar file that can't be read to its end")
    yield "?names", "\n".join(names).encode("utf-8", "replace")


def sqlite_rows(data: bytes, room: Room) -> Iterator[Part]:
    """Every table of a SQLite file as text, a cell that is no text by itself."""
    if not data.startswith(b"SQLite format 3\0"):
        return
    for name, row_text, packed in rows(data, room.most, room.short):
        yield name, row_text
        yield from ((name, cell) for cell in packed)


def sqlite_remains(data: bytes, room: Room) -> Iterator[Part]:
    """What deleted rows left in a SQLite file."""
    if data.startswith(b"SQLite format 3\0"):
        yield from (("", left) for left in remains(data) if left)


def _means_something(data: bytes) -> bool:
    """Text, or something packed: any word decodes to some bytes, and those are noise."""
    if data.startswith(_MAGIC) or data.endswith(_MAGIC_BACKWARDS):
        return True
    if b"\r\n" in (data[2:4], data[-4:-2][::-1]):  # compiled Python, either way round
        return True
    if data[257:262] == b"ustar":
        return True
    text = data.translate(None, b"\0")
    return (len(text) - len(text.translate(None, _TEXT))) * 10 >= len(text) * 9 > 0


def _is_text(data: bytes) -> bool:
    return not data.translate(None, _TEXT) or (b"\0" not in data and _decodes(data))


def _decodes(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _some(pattern: re.Pattern[bytes], data: bytes, room: Room) -> Iterator[re.Match[bytes]]:
    for number, match in enumerate(pattern.finditer(data)):
        if number >= MAX_RUNS:
            room.short(f"over {MAX_RUNS} runs that look encoded")
            return
        yield match


_LINES = 200  # of one run that are also tried by themselves
_UNZIPPED = (
    zipfile.BadZipFile, OSError, zlib.error, NotImplementedError, EOFError, ValueError, RuntimeError,
    lzma.LZMAError,
)  # fmt: skip
_OPENERS: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x1f\x8b\x08", lambda: zlib.decompressobj(31)),
    (b"\x78", lambda: zlib.decompressobj(15)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\0", lambda: lzma.LZMADecompressor(memlimit=64 << 20)),
)
_STREAMS = re.compile(rb"\x1f\x8b\x08|\x78[\x01\x5e\x9c\xda]|BZh[1-9]1AY&SY|\xfd7zXZ\0")
_MAGIC = (
    b"\x1f\x8b\x08", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda", b"BZh", b"\xfd7zXZ\0",
    b"PK\x03\x04", b"SQLite format 3\0",
)  # fmt: skip
_MAGIC_BACKWARDS = tuple(magic[::-1] for magic in _MAGIC)
_PRINTED = bytes(range(32, 127))
_TEXT = _PRINTED + b"\t\r\n"
_STANDARD = bytes.maketrans(b"-_", b"+/")
DISGUISES: dict[str, Decoder] = {
    "base64": base64_runs,
    "hex": hex_runs,
    "reversed": reversed_text,
    "utf-16": utf16,
    "pyc": pyc_constants,
    "sqlite-deleted": sqlite_remains,
}
CONTAINERS: dict[str, Decoder] = {
    "packed": inflated,
    "zip": unzip,
    "tar": untar,
    "sqlite": sqlite_rows,
}
DECODERS: dict[str, Decoder] = {**DISGUISES, **CONTAINERS}
