"""Which regular expressions are safe to match against an adversary's text.

Python's `re` backtracks and can't be interrupted, so a pattern is admitted only if a bound on its
work can be computed from its syntax tree. The bound counts the ways in which the pattern can be
laid over a text of `max_chars` characters: alternatives add up, neighbours multiply, and a repeat
multiplies by the number of counts it may take, unless what follows can't be matched by the repeat
itself (`[a-z]+@`), which leaves it one. Repeats without end of something that itself fits in
several ways (`(a+)+`, `(a|aa)+`) are refused.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from envkit_validators._show import show

BUDGET = 20_000_000  # steps: well under a second
MAX_PATTERN = 500
_MAX_GROUP_REPEAT = 16  # of a group that fits in several ways
_MAX_DOTS = 16  # a longer run of "anything" is substring matching

_TOO_LONG = (
    "may take over {} steps on {} characters: bound its repeats, part them by characters that they "
    "can't match, or lower max_chars"
)
_END = -1
# undocumented, but the one tree that `re` itself uses
_parser: Any = importlib.import_module("re._parser")
_CATEGORIES = {
    f"CATEGORY_{name}": re.compile(escape)
    for name, escape in (
        ("DIGIT", r"\d"),
        ("NOT_DIGIT", r"\D"),
        ("SPACE", r"\s"),
        ("NOT_SPACE", r"\S"),
        ("WORD", r"\w"),
        ("NOT_WORD", r"\W"),
    )
}
_SINGLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})

Item: TypeAlias = "tuple[Any, Any]"
First: TypeAlias = "frozenset[int] | None"
"""Characters that may come next (`_END` for the end), or None where that is not known."""


@dataclass(frozen=True, slots=True)
class _Cost:
    ways: int  # of laying this part over a text
    size: int  # steps that one such way may take
    first: First


@lru_cache(maxsize=256)
def admit(pattern: str, ignore_case: bool, max_chars: int) -> re.Pattern[str]:
    """The compiled pattern, if its work on `max_chars` characters is bounded.

    Raises:
        ValueError: it does not compile, may take too long, or accepts the empty text.
    """
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"a pattern has at most {MAX_PATTERN} characters, not {len(pattern)}")
    flags = re.IGNORECASE if ignore_case else re.NOFLAG
    try:
        compiled = re.compile(pattern, flags)
        tree = _parser.parse(pattern, flags)
    except (re.error, RecursionError, OverflowError) as refused:
        raise ValueError(f"pattern {show(pattern)} does not compile: {refused}") from refused
    if tree.state.flags & ~re.UNICODE != flags:
        raise ValueError(
            f"pattern {show(pattern)}: flags inside a pattern are not read; use ignore_case"
        )
    bound = _Bound(pattern, ignore_case, max_chars)
    cost = bound.sequence(tree.data, frozenset({_END}))
    if 2 * cost.ways * (cost.size + 1) > BUDGET:
        raise bound.refusal(_TOO_LONG.format(BUDGET, max_chars))
    if compiled.fullmatch(""):
        raise ValueError(
            f"pattern {show(pattern)} accepts the empty text: doing nothing would meet it"
        )
    return compiled


@dataclass(frozen=True, slots=True)
class _Bound:
    """The walk over one pattern's tree, from right to left, so that it is known what follows."""

    pattern: str
    ignore_case: bool
    max_chars: int

    def sequence(self, items: Sequence[Item], follow: First) -> _Cost:
        ways, size = 1, 0
        for op, value in reversed(items):
            cost = self.item(str(op), value, follow)
            ways, size, follow = ways * cost.ways, size + cost.size, cost.first
            if ways > BUDGET:
                raise self.refusal(_TOO_LONG.format(BUDGET, self.max_chars))
        return _Cost(ways, size, follow)

    def item(self, op: str, value: Any, follow: First) -> _Cost:
        if op in _SINGLE:
            return _Cost(1, 1, self.characters(op, value))
        if op == "AT":
            return _Cost(1, 1, follow)
        if op == "SUBPATTERN" and not value[1] and not value[2]:
            return self.sequence(value[3].data, follow)
        if op == "BRANCH":
            costs = [self.sequence(branch.data, follow) for branch in value[1]]
            first = _union(*(cost.first for cost in costs))
            return _Cost(sum(cost.ways for cost in costs), sum(cost.size for cost in costs), first)
        if op in _REPEATS:
            return self.repeat(value, follow)
        raise self.refusal(f"uses {op.lower()}, whose work has no simple bound")

    def repeat(self, value: tuple[Any, Any, Any], follow: First) -> _Cost:
        low, high, body = int(value[0]), min(int(value[1]), self.max_chars), _unwrap(value[2].data)
        if low > self.max_chars or high == 0:
            raise self.refusal("has a repeat that no text can fill")
        if len(body) == 1 and str(body[0][0]) in _SINGLE:
            return self.run(low, high, body[0], follow)
        if value[2].getwidth()[0] == 0 and high > 1:
            raise self.refusal("repeats something that may be empty")
        after = _union(self.first(body), follow) if high > 1 else follow
        inner = self.sequence(body, after)
        if inner.ways == 1:
            ways = high - low + 1
        elif high <= _MAX_GROUP_REPEAT:
            ways = sum(inner.ways**count for count in range(low, high + 1))
        else:
            raise self.refusal("repeats something that fits in several ways itself")
        size = inner.size * (high if low == high else 1) + 1
        return _Cost(ways, size, inner.first if low else _union(inner.first, follow))

    def run(self, low: int, high: int, item: Item, follow: First) -> _Cost:
        """A repeat of one character: one way if nothing that follows could be part of the run."""
        op, value = str(item[0]), item[1]
        if op == "ANY" and high > _MAX_DOTS:
            raise self.refusal(
                "lets `.` run on: an answer among any others would pass; name the characters"
            )
        first = self.characters(op, value)
        first = first if low else _union(first, follow)
        if low == high or (follow and not any(_may_be(op, value, code) for code in follow)):
            return _Cost(1, high, first)
        return _Cost(high - low + 1, 1, first)

    def characters(self, op: str, value: Any) -> First:
        """What a single item stands for, where that is a few characters without another case."""
        codes = [value] if op == "LITERAL" else []
        if op == "IN" and all(str(kind) == "LITERAL" for kind, _ in value):
            codes = [code for _, code in value]
        if not codes or (
            self.ignore_case and any(code > 127 or chr(code).isalpha() for code in codes)
        ):
            return None
        return frozenset(codes)

    def first(self, items: Sequence[Item]) -> First:
        """What a part that is never empty may begin with, where its first item tells."""
        op, value = str(items[0][0]), items[0][1]
        if op == "SUBPATTERN":
            return self.first(value[3].data) if value[3].data else None
        if op in _REPEATS:
            return self.first(value[2].data) if value[0] > 0 and value[2].data else None
        return self.characters(op, value) if op in _SINGLE else None

    def refusal(self, why: str) -> ValueError:
        return ValueError(f"pattern {show(self.pattern)} {why}")


def _unwrap(items: Sequence[Item]) -> Sequence[Item]:
    """The content of a group that is all there is, flags aside."""
    while (
        len(items) == 1
        and str(items[0][0]) == "SUBPATTERN"
        and not (items[0][1][1] or items[0][1][2])
    ):
        items = items[0][1][3].data
    return items


def _union(*firsts: First) -> First:
    known = [first for first in firsts if first is not None]
    return frozenset().union(*known) if len(known) == len(firsts) else None


def _may_be(op: str, value: Any, code: int) -> bool:
    """Whether a single item can match the character."""
    if code == _END:
        return False
    if op == "LITERAL":
        return bool(value == code)
    if op == "NOT_LITERAL":
        return bool(value != code)
    return True if op == "ANY" else _in_set(value, code)


def _in_set(members: Sequence[Item], code: int) -> bool:
    negated = str(members[0][0]) == "NEGATE"
    return negated != any(_is_member(str(kind), value, code) for kind, value in members)


def _is_member(kind: str, value: Any, code: int) -> bool:
    if kind == "LITERAL":
        return bool(value == code)
    if kind == "RANGE":
        return bool(value[0] <= code <= value[1])
    return kind == "CATEGORY" and bool(_CATEGORIES[str(value)].match(chr(code)))
