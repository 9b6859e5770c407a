"""Needles: what an agent must not find, derived from one task's gold, and the search for it.

An answer may be *derivable* from the world: that is what a task is. What may not be is an answer that stands in the
open, so a plain occurrence of a gold value is no finding. It is one where the place says that it is the answer (a
whole file, a key such as "expected"), where it hides behind a disguise, or where a tool's description tells it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from envkit.data.score import Finding
from envkit.guards.scan.decode import Room, View, is_disguise, unfold

RULE = "leak.needle"
SHORTEST = 6  # characters of a value that can be told from chance
DIGITS = 5  # of a number
LONG_NUMBER = 10  # digits of one that no other number is by chance, read backwards
ANSWER_WORDS = (
    "answer", "answers", "correct", "expected", "gold", "golden", "ground_truth", "groundtruth",
    "oracle", "reference", "solution", "target", "truth",
)  # fmt: skip
_SAYS_SO = (
    rb"(?i)(?<![a-z])(?!(?:target|reference)s?/)(?:"  # folders that many builds and manuals have
    + "|".join(ANSWER_WORDS).encode()
    + rb")s?(?:[_-][\w-]{1,24}(?=[\"']?\s{0,9}[:=]))?[\"']?\s{0,9}(?:=>|[:=/_-]|is|</?\w{1,30}>)?"
)
_BETWEEN = rb"[\s\"'>\[({]{0,4}"


@dataclass(frozen=True, slots=True)
class Needle:
    """One value of the gold: where it stands there, and how it is written."""

    field: str
    text: str


def needles(gold: Any) -> list[Needle]:
    """The values of a gold (as JSON) that are long enough to be told from chance; the whole of it as the last."""
    found = [Needle(field, text) for field, value in _leaves("", gold) if (text := _text(value))]
    if isinstance(gold, dict | list) and len(found) > 1:
        found.append(Needle("the whole gold", json.dumps(gold, sort_keys=True)))
    return list(dict.fromkeys(found))


def look(
    place: str,
    data: bytes,
    wanted: Iterable[Needle],
    room: Room | None = None,
    *,
    plain: bool = True,
) -> Iterator[Finding]:
    """Findings about one content, the worst reading of each needle; `room` tells what of it was not looked at.

    Without `plain` only what is disguised counts.
    """
    sought = [(needle, needle.text.encode()) for needle in wanted]
    told: set[str] = set()
    for view in unfold(data, room=room):
        if not plain and not view.disguised:
            continue
        for needle, text in sought:
            if needle.field not in told and (why := _why(view, needle, text)):
                told.add(needle.field)
                chain = " > ".join(view.chain) or "plain"
                seen = f"{needle.field} = {needle.text[:80]!r} ({chain}): {why}"
                remedy = "keep it out of the world: gold belongs to the judge alone"
                yield Finding(RULE, "high", place, seen, remedy)


def look_at_tools(
    tools: Iterable[Mapping[str, Any]], wanted: Iterable[Needle]
) -> Iterator[Finding]:
    """A tool's schema is the same for every task, so a gold value in it is told to whoever reads it."""
    texts = {str(tool["function"]["name"]): json.dumps(tool, ensure_ascii=False) for tool in tools}
    for needle in wanted:
        for name, text in texts.items():
            if re.search(rf"(?<!\w){re.escape(needle.text)}(?!\w)", text):
                seen = f"{needle.field} = {needle.text[:80]!r} stands in its schema"
                remedy = "describe the tool without this task's answer"
                yield Finding("leak.tool-schema", "high", name, seen, remedy)


def _why(view: View, needle: Needle, text: bytes) -> str:
    """Why this reading is more than a derivable occurrence; empty where it is none."""
    if needle.field == "the whole gold":
        return "the whole gold as JSON" if _holds_object(view.data, needle.text) else ""
    if text not in view.data:
        return ""
    if view.disguised and not _by_chance(view, needle.text) and _stands(text, view.data):
        return "behind a disguise"
    if view.data.strip().strip(b"\"'") == text:
        return "it is all that stands there"
    if re.search(_SAYS_SO + _BETWEEN + re.escape(text) + rb"(?!\w)", view.data):
        return "the place calls it the answer"
    return ""


def _stands(text: bytes, data: bytes) -> bool:
    """Whether it stands there as a word, not as a part of a longer one."""
    return re.search(rb"(?<![A-Za-z0-9])" + re.escape(text) + rb"(?![A-Za-z0-9])", data) is not None


def _by_chance(view: View, text: str) -> bool:
    """Whether reading backwards is all that was done, to what honest content holds backwards as well."""
    backwards = [label for label in view.chain if label == "reversed"]
    if not backwards or len(backwards) < sum(is_disguise(label) for label in view.chain):
        return False
    return text == text[::-1] or (text.isdigit() and len(text) < LONG_NUMBER)


def _holds_object(data: bytes, canonical: str) -> bool:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return canonical.encode() in data
    left = [value]
    while left:
        item = left.pop()
        if isinstance(item, dict | list):
            if json.dumps(item, sort_keys=True) == canonical:
                return True
            left += item.values() if isinstance(item, dict) else item
    return False


def _leaves(field: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{field}.{key}" if field else str(key), inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _leaves(f"{field}[{number}]", inner)
    else:
        yield field or "gold", value


def _text(value: Any) -> str:
    """How a value is written, where it can be told from chance; else empty."""
    if isinstance(value, bool) or value is None:
        return ""
    if isinstance(value, int | float):
        text = repr(value)
        digits = re.sub(r"\D", "", text).strip("0")
        return text if math.isfinite(value) and len(digits) >= DIGITS else ""
    return (
        str(value) if len(str(value)) >= SHORTEST and len(set(str(value))) >= SHORTEST // 2 else ""
    )
