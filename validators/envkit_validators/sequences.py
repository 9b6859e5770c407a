"""Lists and sets of plain values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import islice

from envkit.data.score import Check, failed, passed
from envkit.data.strict import Malformed
from envkit_validators._json import canonical, difference, expectation, trouble
from envkit_validators._show import show, unreadable


def lines(seen: object) -> list[str] | Malformed:
    """The lines of a text, each without outer whitespace, the whole without blank ends.

    Not a check, but a value for one: `set_equal(lines(evidence.text("shell/hosts.txt")), hosts)`.
    """
    if isinstance(seen, Malformed):
        return seen
    if type(seen) is not str:
        return Malformed("lines", f"saw {show(seen)}, expected text")
    text = seen.strip()
    return [line.strip() for line in text.split("\n")] if text else Malformed("lines", "empty")


def list_equal(seen: object, expected: Sequence[object]) -> Check:
    """The same items in the same order, each exact in type and content; `Near` may stand in it.

    Raises:
        ValueError: an expectation that is empty, a text, or no finite JSON.
    """
    if isinstance(expected, str | bytes) or not expected:
        raise ValueError(
            "list_equal needs a sequence of at least one item: an empty list takes no work"
        )
    want = expectation(list(expected), "list_equal: the expectation")
    if isinstance(seen, Malformed):
        return unreadable(seen)
    if type(seen) is not list or len(seen) != len(expected):
        return failed(f"saw {show(seen)}, expected {len(expected)} items {show(want)}")
    why = trouble(seen) or difference(seen, want)
    return failed(why) if why else passed(f"saw {show(seen)}")


def set_equal(seen: object, expected: Collection[object]) -> Check:
    """The same items in any order: none missing, none more, none twice.

    `seen` is a list (or a tuple, set or frozenset that the grader made); items are compared
    exactly.

    Raises:
        ValueError: an expectation that is empty, a text, holds an item twice, or is no finite JSON.
    """
    if isinstance(expected, str | bytes) or not expected:
        raise ValueError(
            "set_equal needs a collection of at least one item: an empty set takes no work"
        )
    want = {canonical(expectation(x, "set_equal: an item", near=False)): x for x in expected}
    if len(want) != len(expected):
        raise ValueError("set_equal: the expectation holds an item twice")
    if isinstance(seen, Malformed):
        return unreadable(seen)
    if type(seen) not in (list, tuple, set, frozenset):
        return failed(f"saw {show(seen)}, expected a list of {len(want)} items")
    items = list(seen)  # type: ignore[call-overload]  # one of the four
    if len(items) != len(want):  # first, so that a huge answer costs nothing
        return failed(f"saw {len(items)} items {show(items)}, expected {len(want)}")
    why = trouble(items)
    return failed(why) if why else _compare(items, want)


def _compare(items: list[object], want: dict[str, object]) -> Check:
    counts = Counter(map(canonical, items))
    if counts.keys() == want.keys():
        return passed(f"saw all {len(want)} items")
    twice = [item for item in items if counts[canonical(item)] > 1]
    if twice:
        return failed(f"saw {show(twice[0])} more than once")
    wrong = [item for item in items if canonical(item) not in want]
    missing = [item for key, item in want.items() if key not in counts]
    return failed(f"saw {_some(wrong)}, which is not expected; missing {_some(missing)}")


def _some(items: list[object]) -> str:
    shown = ", ".join(sorted(show(item) for item in islice(items, 3)))
    return f"{shown} and {len(items) - 3} more" if len(items) > 3 else shown
