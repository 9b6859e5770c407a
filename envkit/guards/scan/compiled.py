"""Compiled Python, read without `marshal.loads`: that one trusts what it reads, and can be made to take all memory."""

from __future__ import annotations

import struct
from collections.abc import Iterator

HEADER = 16  # bytes before the marshalled code
_LENGTHS = {  # strings and integers, by type: how their length is written, and how many bytes one unit of it has
    "s": ("<I", 1), "u": ("<I", 1), "t": ("<I", 1), "a": ("<I", 1), "A": ("<I", 1),
    "z": ("<B", 1), "Z": ("<B", 1), "l": ("<i", 2),
}  # fmt: skip
_FIXED = {"i": 4, "g": 8, "y": 16, "r": 4}  # int, float, complex, a reference to what was read
_NUMBERS = {"i": "<i", "g": "<d"}
_DIGITS = 64  # of 15 bits: 289 decimal digits; a longer number is no answer
_EMPTY = frozenset("NTFS.0")
_ITEMS = {"(": "<I", "[": "<I", "<": "<I", ">": "<I", ")": "<B"}
# a code object since Python 3.11: five numbers, eight objects, a number, two objects
_CODE = (("skip", 20), ("read", 8), ("skip", 4), ("read", 2))


def constants(data: bytes) -> Iterator[bytes]:
    """Strings and numbers of marshalled code in their order, numbers as they are written in source.

    Iterative, and never more than what stands there: a claimed length or count takes nothing by itself. Stops at
    the first thing that it does not know.
    """
    at, due = 0, [("read", 1)]
    while due:
        what, count = due.pop()
        if what == "skip":
            at += count
        elif count and at < len(data):
            due.append((what, count - 1))
            kind = chr(data[at] & 0x7F)  # the top bit says that it will be referred to
            try:
                value, at = _read(data, at + 1, kind, due)
            except (struct.error, KeyError):  # cut off, or of no kind that a constant has
                return
            if value is not None:
                yield value


def _read(data: bytes, at: int, kind: str, due: list[tuple[str, int]]) -> tuple[bytes | None, int]:
    """A value where there is one, and where the next thing begins; what it is made of is `due`."""
    if kind in _EMPTY:
        return None, at
    if kind == "c":
        due += reversed(_CODE)
        return None, at
    if kind in _ITEMS:
        (count,) = struct.unpack_from(_ITEMS[kind], data, at)
        due.append(("read", count))
        return None, at + struct.calcsize(_ITEMS[kind])
    if kind in _NUMBERS:
        return repr(struct.unpack_from(_NUMBERS[kind], data, at)[0]).encode(), at + _FIXED[kind]
    if kind in _FIXED:
        return None, at + _FIXED[kind]
    return _sized(data, at, kind)


def _sized(data: bytes, at: int, kind: str) -> tuple[bytes, int]:
    """What has its length before it."""
    form, unit = _LENGTHS[kind]
    (length,) = struct.unpack_from(form, data, at)
    start = at + struct.calcsize(form)
    end = start + abs(length) * unit
    if end > len(data):
        raise struct.error("cut off")
    if kind != "l":
        return data[start:end], end
    if abs(length) > _DIGITS:
        return b"", end
    digits = struct.unpack(f"<{abs(length)}H", data[start:end])
    value = sum(digit << (15 * place) for place, digit in enumerate(digits))
    return str(-value if length < 0 else value).encode(), end
