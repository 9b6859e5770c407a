"""Text by pattern and by similarity, in bounded time."""

from __future__ import annotations

from envkit.data.score import Check, failed, passed
from envkit.data.strict import Malformed
from envkit_validators._regex import admit
from envkit_validators._show import show, unreadable

MAX_SIMILAR = 2_000
_MAX_MATCHED = 4_096
_TWO_THIRDS = 2 / 3


def matches(
    seen: object, pattern: str, *, ignore_case: bool = False, max_chars: int = 1_000
) -> Check:
    r"""Text that the regular expression matches whole, outer whitespace aside (`re.fullmatch`).

    A longer text than `max_chars` does not match. Patterns are admitted only if their work on that
    many characters is bounded, since `re` can't be interrupted; give a lower `max_chars` to a
    pattern with several open repeats. Look-around, back-references and inline flags are not read,
    and neither is a running dot: `.*42.*` would accept 42 among all other answers.

    Raises:
        ValueError: a pattern that is invalid, may take too long, or accepts the empty text.
    """
    if not 0 < max_chars <= _MAX_MATCHED:
        raise ValueError(f"max_chars must be in 1..{_MAX_MATCHED}, not {max_chars}")
    compiled = admit(pattern, ignore_case, max_chars)
    if isinstance(seen, Malformed):
        return unreadable(seen)
    if type(seen) is not str:
        return failed(f"saw {show(seen)}, expected text like {show(pattern)}")
    text = seen.strip()
    if len(text) > max_chars:
        return failed(f"saw {len(text)} characters, at most {max_chars} are matched")
    if compiled.fullmatch(text) is None:
        return failed(f"saw {show(text)}, expected text like {show(pattern)}")
    return passed(f"saw {show(text)}")


def similar(seen: object, expected: str, *, threshold: float, ignore_case: bool = False) -> Check:
    """Text at least `threshold` similar to the expected, outer whitespace aside; no part otherwise.

    The measure is `2 * LCS / (len(a) + len(b))`, with LCS the length of the longest common
    subsequence of characters: 1.0 for equal texts only, 0.0 where no character is shared. It is 1
    less the normalised indel distance (insertions and deletions; RapidFuzz calls it
    `Indel.normalized_similarity`), and it knows nothing of meaning: "paid" and "unpaid" are 0.8
    similar, and unrelated English texts 0.3 to 0.5. At 2/3 and below, the answer with as much again
    beside it would pass, so such thresholds are refused. Both texts have at most 2,000 characters.

    Raises:
        ValueError: an expected text that is empty or too long, a threshold outside (2/3, 1].
    """
    want = expected.strip()
    if not 0 < len(want) <= MAX_SIMILAR:
        raise ValueError(f"similar: expected 1 to {MAX_SIMILAR} characters, not {len(want)}")
    if not _TWO_THIRDS < threshold <= 1:
        raise ValueError(f"similar: a threshold must be over 2/3 and at most 1, not {threshold!r}")
    if isinstance(seen, Malformed):
        return unreadable(seen)
    if type(seen) is not str:
        return failed(f"saw {show(seen)}, expected text like {show(want)}")
    text = seen.strip()
    if len(text) > MAX_SIMILAR:
        return failed(f"saw {len(text)} characters, at most {MAX_SIMILAR} are compared")
    if ignore_case:
        text, want = text.casefold(), want.casefold()
    common = _common(text, want)
    total = len(text) + len(want)
    if 2 * common >= threshold * total:
        return passed(f"saw {show(text)}, {2 * common / total:.3f} similar")
    return failed(
        f"saw {show(text)}, {2 * common / total:.3f} similar to {show(want)}, not {threshold}"
    )


def _common(a: str, b: str) -> int:
    """Length of the longest common subsequence, bit-parallel: len(a) additions of len(b) bits.

    Hyyro, "Bit-parallel LCS-length computation revisited", AWOCA 2004, after Crochemore et al.
    2001: a zero in `row` marks a place in `b` where the longest common subsequence with the prefix
    of `a` grows.
    """
    places: dict[str, int] = {}
    for i, char in enumerate(b):
        places[char] = places.get(char, 0) | 1 << i
    full = (1 << len(b)) - 1
    row = full
    for char in a:
        hit = row & places.get(char, 0)
        row = ((row + hit) | (row - hit)) & full
    return len(b) - row.bit_count()
