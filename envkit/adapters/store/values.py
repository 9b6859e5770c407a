"""What a cell holds, and how it is written as JSON: bytes are `{"base64": ...}`, all else is itself."""

from __future__ import annotations

import json
import math
from base64 import b64decode, b64encode
from typing import Any, TypeAlias

from envkit.data.task import Blob

Value: TypeAlias = int | float | str | bytes | None
Row: TypeAlias = dict[str, Value]

_LONGEST = 1 << 63


def encoded(document: Any) -> bytes:
    """A JSON document in UTF-8, cells of bytes included."""
    return json.dumps(document, ensure_ascii=False, default=_base64).encode()


def _base64(value: Any) -> dict[str, str]:
    if isinstance(value, bytes):
        return {"base64": b64encode(value).decode()}
    raise TypeError(f"a cell holds no {type(value).__name__}")


def seed_cell(value: Any) -> Any:
    """A cell of a task's world as plain JSON. Raises ValueError for what no column can hold."""
    if isinstance(value, Blob):
        value = value.data
    if isinstance(value, bytes):
        return _base64(value)
    if isinstance(value, int) and not -_LONGEST <= value < _LONGEST:
        raise ValueError("a number of more than 64 bits")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    if isinstance(value, str):
        value.encode()  # of a lone surrogate: UnicodeEncodeError, which is a ValueError
    elif not isinstance(value, int | float | None):
        _bytes_of(value)
    return value


def cell_of(value: Any) -> Value:
    """What a column takes, from a cell as `seed_cell` left it."""
    if isinstance(value, dict):
        return _bytes_of(value)
    return int(value) if isinstance(value, bool) else value


def _bytes_of(value: Any) -> bytes:
    if isinstance(value, dict) and value.keys() == {"base64"}:
        return b64decode(value["base64"], validate=True)
    raise ValueError(
        f"a cell is text, a number, bytes or None, not a {type(value).__name__};"
        " a column of JSON takes text: json.dumps(...)"
    )
