"""One value: exact, numeric, one of several."""

from __future__ import annotations

from collections.abc import Collection

from envkit.data.score import Check, failed, passed
from envkit.data.strict import Malformed
from envkit_validators._json import Expected, difference, expectation, trouble
from envkit_validators._show import show, unreadable
from envkit_validators.near import close, finite_number, is_number, parse_number, tolerances


def exact(seen: object, expected: object, *, ignore_case: bool = False) -> Check:
    """The whole value, in type and content: `True` is not 1, and 1 is not 1.0.

    Text is compared whole, without its outer whitespace; text inside a list or an object as it
    stands. `expected` is text, bytes (to the byte), or JSON in which `Near` may stand for a number.

    Raises:
        ValueError: an expectation that is empty (doing nothing would meet it) or no finite JSON, or
            `ignore_case` with one that is no text.
    """
    if isinstance(expected, bytes):
        return _exact_bytes(seen, expected, ignore_case)
    want = _one(expected, "exact", ignore_case)
    if isinstance(seen, Malformed):
        return unreadable(seen)
    return passed(f"saw {show(seen)}") if _is(seen, want, ignore_case) else _not(seen, want)


def numeric(seen: object, expected: float, *, abs_tol: float = 0.0, rel_tol: float = 0.0) -> Check:
    """One number within `max(abs_tol, rel_tol * abs(expected))` of the expected one.

    Here 1 is 1.0. A bool is no number. Text counts if all of it, outer whitespace aside, is one
    decimal number of at most 40 characters: no units, separators, NaN, infinity, or second number.

    Raises:
        ValueError: an expectation or tolerance that is no finite number, a negative tolerance, a
            relative one of 1 or more.
    """
    finite_number(expected, "the expected number")
    tolerances(abs_tol, rel_tol)
    if isinstance(seen, Malformed):
        return unreadable(seen)
    number = parse_number(seen) if type(seen) is str else seen
    if not is_number(number):
        return failed(f"saw {show(seen)}, which is not one number; expected {expected!r}")
    if close(number, expected, abs_tol, rel_tol):
        return passed(f"saw {show(number)}")
    margin = f" within {max(abs_tol, rel_tol * abs(expected))!r}" if abs_tol or rel_tol else ""
    return failed(f"saw {show(number)}, expected {expected!r}{margin}")


def one_of(seen: object, options: Collection[object], *, ignore_case: bool = False) -> Check:
    """The whole value is one of `options`, each by the rule of `exact`; several at once are none.

    Raises:
        ValueError: no options, options given as one text, or an option that `exact` would refuse.
    """
    if isinstance(options, str | bytes) or not options:
        raise ValueError("one_of needs a collection of at least one option")
    wanted = [_one(option, "one_of", ignore_case) for option in options]
    if isinstance(seen, Malformed):
        return unreadable(seen)
    if any(_is(seen, want, ignore_case) for want in wanted):
        return passed(f"saw {show(seen)}")
    shown = sorted(show(want) for want in wanted)[:8]  # sorted: a set has no order of its own
    return failed(f"saw {show(seen)}, expected one of {len(wanted)}: {', '.join(shown)}")


def _one(expected: object, rule: str, ignore_case: bool) -> Expected:
    """One expectation of `exact` or `one_of`, checked, text without its outer whitespace."""
    want = expectation(expected, f"{rule}: the expectation")
    if isinstance(want, str):
        want = want.strip()
        want = want.casefold() if ignore_case else want
    elif ignore_case:
        raise ValueError(f"{rule}: ignore_case is for text, not for {show(want)}")
    if want is None or want in ("", [], {}):
        raise ValueError(f"{rule}: {show(want)} is no expectation: doing nothing would meet it")
    return want


def _is(seen: object, want: Expected, ignore_case: bool) -> bool:
    if isinstance(want, str):
        return type(seen) is str and _text(seen, want, ignore_case) == want
    return not trouble(seen) and not difference(seen, want)


def _text(seen: str, want: str, ignore_case: bool) -> str:
    seen = seen.strip()
    # Folding never shortens a text, so a longer one can't be equal and needs no folding.
    return seen.casefold() if ignore_case and len(seen) <= len(want) else seen


def _not(seen: object, want: Expected) -> Check:
    if isinstance(want, str):
        return failed(f"saw {show(seen)}, expected {show(want)}")
    return failed(trouble(seen) or difference(seen, want))


def _exact_bytes(seen: object, expected: bytes, ignore_case: bool) -> Check:
    if not expected or ignore_case:
        raise ValueError("exact: bytes must not be empty, and have no case to ignore")
    if isinstance(seen, Malformed):
        return unreadable(seen)
    if type(seen) is bytes and seen == expected:
        return passed(f"saw {show(seen)}")
    return failed(f"saw {show(seen)}, expected {show(expected)}")
