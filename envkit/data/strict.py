"""`strict_json`: the one JSON reader for bytes that an agent may have written. It is total.

Python's own reader accepts NaN, lets the last duplicate key win, overflows 1e999 to infinity and can be
driven into RecursionError or ValueError. Here every input gives a value or a `Malformed`, never an exception.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, NoReturn, TypeAlias

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_DIGITS = (
    400  # a float needs at most 309 digits before the point; int() refuses 4,300 with an exception
)

_MAX_BITS = MAX_DIGITS * 10 // 3  # about as many digits; over 4,300 of them Python refuses to write
# Possessive, and the closing quote may lack: linear in the text, whatever an agent writes.
_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKETS = re.compile(r"[\[\]{}]")


@dataclass(frozen=True, slots=True)
class Malformed:
    """What an accessor returns instead of a value: the place, and why it is no value.

    It compares equal to nothing but itself and is false, so that a careless `if` fails closed.
    """

    where: str
    why: str

    def __bool__(self) -> bool:
        """Malformed is never truthy."""
        return False

    def __str__(self) -> str:
        """One line for reasons and logs."""
        return f"{self.where}: {self.why}"


@dataclass(frozen=True, slots=True)
class Oversize(Malformed):
    """An artefact over a declared cap: the agent's doing, and a score."""


class _Refused(ValueError):
    """Internal: carries the reason out of a json hook."""


def _refuse_constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise _Refused(f"{text[:20]} is not a finite number")
    return number


def _short_int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _Refused(f"a number of {len(text)} digits")
    return int(text)


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise _Refused("an object with the same key twice")
    return unique


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def strict_json(
    raw: bytes | str, *, where: str = "json", max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH
) -> JSON | Malformed:
    """Read one JSON document, or say why it is none. Never raises.

    Refused: more than `max_bytes`, nesting over `max_depth`, bytes that are not UTF-8, NaN and infinities,
    numbers that overflow or have over 400 digits, duplicate keys, lone surrogates.
    """
    if len(raw) > max_bytes:
        return Oversize(where, f"{len(raw)} bytes, at most {max_bytes} are read")
    try:
        text = raw.decode("utf-8") if isinstance(raw, bytes) else raw
        if _depth(text) > max_depth:
            return Malformed(where, f"nested deeper than {max_depth}")
        value: JSON = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_short_int,
            object_pairs_hook=_unique,
        )
        if "\\u" in text or isinstance(raw, str):
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # lone surrogates fail to encode
    except UnicodeError:
        return Malformed(where, "not valid UTF-8 text")
    except (ValueError, RecursionError) as refused:
        return Malformed(where, f"not JSON: {str(refused)[:200]}")
    return value


def scrub(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A JSON-like value with lone surrogates replaced and what is nested deeper than `depth` cut off.

    For what an agent sent and the host will write down: afterwards it encodes as UTF-8 for certain.
    """
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return (
            value
            if value.bit_length() <= _MAX_BITS
            else f"[an integer of {value.bit_length()} bits]"
        )
    if isinstance(value, dict | list | tuple):
        return _scrub_items(value, depth - 1) if depth > 0 else "[nested too deep]"
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def _scrub_items(value: dict[Any, Any] | list[Any] | tuple[Any, ...], depth: int) -> Any:
    if isinstance(value, dict):
        return {scrub(str(key)): scrub(item, depth) for key, item in value.items()}
    return [scrub(item, depth) for item in value]
