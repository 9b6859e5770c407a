"""Plain JSON values: what is one, when two are the same, and what an author may expect."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias, cast

from envkit_validators._show import plain, show
from envkit_validators.near import Near, is_number

MAX_DEPTH = 64  # as deep as `strict_json` reads
MAX_NODES = 1 << 20  # as many as its bytes could hold; also ends a value that contains itself

Expected: TypeAlias = (
    "bool | int | float | str | Near | list[Expected] | dict[str, Expected] | None"
)

_SCALARS = (type(None), bool, int, str)


def trouble(value: object) -> str:
    """Why `value` is not plain, finite JSON; empty where it is. Iterative: no nesting breaks it."""
    stack = [(value, 0)]
    nodes = 0
    while stack:
        item, depth = stack.pop()
        nodes += 1
        why = _trouble_here(item, depth)
        if why:
            return why
        if type(item) is list or type(item) is dict:
            nodes += len(item)
            if nodes > MAX_NODES:
                return f"more than {MAX_NODES} values"
            stack.extend(
                (child, depth + 1) for child in (item.values() if type(item) is dict else item)
            )
    return ""


def _trouble_here(item: object, depth: int) -> str:
    if depth > MAX_DEPTH:
        return f"nested deeper than {MAX_DEPTH}"
    if type(item) is float:
        return "" if math.isfinite(item) else f"{item!r} is not a finite number"
    if type(item) is dict:
        return (
            "" if all(type(key) is str for key in item) else "an object with a key that is no text"
        )
    return "" if type(item) in _SCALARS or type(item) is list else f"{show(item)} is not JSON"


def canonical(value: object) -> str:
    """One text per JSON value, the same for two values only if they are of equal type and content.

    Text, so that sets of agent-chosen values hash by SipHash: Python's ints collide at will (mod
    2**61-1), which would make a set of them quadratic. `value` must be without `trouble`.
    """
    if type(value) is str:
        return f"s{len(value)}:{value}"
    if type(value) is float:
        return f"f{(value + 0.0).hex()}"  # adding zero makes -0.0 the 0.0 that it equals
    if type(value) is int:
        # hexadecimal, because decimal is quadratic and refused over 4,300 digits
        return f"i{value:x}"
    if type(value) is list:
        return f"[{','.join(canonical(item) for item in value)}]"
    if type(value) is dict:
        keys = sorted(value)
        return "{" + ",".join(f"{canonical(key)}={canonical(value[key])}" for key in keys) + "}"
    return repr(value)  # None, True, False


def difference(seen: object, expected: Expected, path: str = "$") -> str:
    """The first place where `seen` is not what was expected, in types and content; empty if none.

    `seen` must be without `trouble`, and `expected` from `expectation`.
    """
    if isinstance(expected, Near):
        met = is_number(seen) and expected.holds(seen)
    elif isinstance(expected, list) and type(seen) is list and len(seen) == len(expected):
        pairs = enumerate(zip(seen, expected, strict=True))
        return first_of(difference(a, b, f"{path}[{i}]") for i, (a, b) in pairs)
    elif isinstance(expected, dict) and type(seen) is dict and seen.keys() == expected.keys():
        return first_of(difference(seen[key], b, f"{path}.{key}") for key, b in expected.items())
    else:  # containers that come here differ in type, length or keys, so that `==` says no at once
        met = type(seen) is type(expected) and seen == expected
    return "" if met else f"at {plain(path)}: saw {show(seen)}, expected {show(expected)}"


def first_of(differences: Iterator[str]) -> str:
    """The first that says something; empty if none does."""
    return next(filter(None, differences), "")


def expectation(value: object, what: str, *, near: bool = True) -> Expected:
    """An author's expectation as plain JSON: tuples as arrays, `Near` kept where `near` allows it.

    Raises:
        ValueError: not JSON, NaN or infinite, nested deeper than evidence may be.
    """
    return _expectation(value, what, near, 0)


def _expectation(value: object, what: str, near: bool, depth: int) -> Expected:
    if isinstance(value, Near) and near:
        return value
    why = _trouble_here(list(value) if type(value) is tuple else value, depth)
    if why:
        raise ValueError(f"{what} can't be expected: {why}")
    if isinstance(value, list | tuple):
        return [_expectation(item, what, near, depth + 1) for item in value]
    if isinstance(value, dict):
        return {key: _expectation(item, what, near, depth + 1) for key, item in value.items()}
    return cast("bool | int | float | str | None", value)
