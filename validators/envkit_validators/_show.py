"""How reasons quote values: escaped, shortened, never raising or calling a value's own code."""

from __future__ import annotations

from itertools import islice

from envkit.data.score import Check, failed
from envkit.data.strict import Malformed
from envkit_validators.near import Near

_CHARS = 80
_ITEMS = 4
_DEPTH = 3
_BITS = 256  # an int of more is described: Python refuses to print one of 4,300 digits


def show(value: object) -> str:
    """A short quotation of `value`; control characters and lone surrogates are escaped."""
    text = _quote(value, _DEPTH)
    return text if len(text) <= 2 * _CHARS else text[: 2 * _CHARS] + "..."


def plain(text: str) -> str:
    """`text` without quotes, escaped and shortened: for what stands in a sentence already."""
    return _cut(text)[1:-1]


def unreadable(seen: Malformed) -> Check:
    """The check for an artefact that holds no value; its own reason becomes ours."""
    return failed(plain(f"{seen.where}: {seen.why}"))


def _cut(text: str) -> str:
    if len(text) <= _CHARS:
        return repr(text)
    return repr(text[:_CHARS] + f"... ({len(text)} characters)")


def _quote(value: object, depth: int) -> str:
    # Exact types only: a subclass could bring a `__repr__` of its own.
    if type(value) is str:
        return _cut(value)
    if type(value) is bytes:
        return repr(value[:_CHARS]) + (f"... ({len(value)} bytes)" if len(value) > _CHARS else "")
    if type(value) is list or type(value) is dict:
        return _quote_items(value, depth)
    return _quote_scalar(value)


def _quote_scalar(value: object) -> str:
    if type(value) is int and value.bit_length() > _BITS:
        return f"an integer of {value.bit_length()} bits"
    if value is None or type(value) in (bool, int, float):
        return repr(value)
    return str(value) if type(value) is Near else f"a value of type {plain(type(value).__name__)}"


def _quote_items(value: list[object] | dict[object, object], depth: int) -> str:
    pair = "{}" if type(value) is dict else "[]"
    if depth == 0:
        return f"{pair[0]}...{pair[1]}"
    if type(value) is dict:
        some = islice(value.items(), _ITEMS)
        shown = [f"{_quote(k, depth - 1)}: {_quote(v, depth - 1)}" for k, v in some]
    else:
        shown = [_quote(item, depth - 1) for item in islice(value, _ITEMS)]
    if len(value) > _ITEMS:
        shown.append(f"... ({len(value)} in all)")
    return pair[0] + ", ".join(shown) + pair[1]
