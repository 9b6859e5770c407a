"""Poison: evidence that makes careless graders hang, overflow, eat memory or raise. All of it must be a score."""

from __future__ import annotations

import json
from collections.abc import Iterator

from envkit.data.evidence import FrozenEvidence

ARTEFACTS = {
    "a regular expression's worst case": "a" * 60 + "!",
    "words without an end": "word " * 2_000 + "!",
    "sixty kilobytes to compare": "ab" * 30_000,
    "an exponent": "1e99999999",
    "a fraction": "1e9999999",
    "a large length": str(1 << 40),
    "a long text": "x" * 100_000,
    "deep nesting": "[" * 100_000,
    "a tower of powers": "9^9999999999",
    "a width": "999999999999",
    "five thousand digits": "9" * 5_000,
    "what JSON is not": '{"a": NaN, "a": 1e999, "b": "\\ud800", "\\u0000": -0}',
}


def poisoned(evidence: str) -> Iterator[tuple[str, str]]:
    """Frozen evidence (as JSON) with every text in it replaced by one poison; by the poison's name."""
    kept = FrozenEvidence.model_validate_json(evidence)
    for name, text in ARTEFACTS.items():
        items = tuple(
            item.model_copy(update={"data": _data(item.data, text)}) for item in kept.items
        )
        made = kept.model_copy(update={"answer": text, "items": items})
        yield name, made.model_dump_json()


def kept_form(evidence: str) -> bool:
    """Whether there is host-made JSON in it: its numbers stay, and may rightly earn what they earned."""
    kept = FrozenEvidence.model_validate_json(evidence)
    return any(_data(item.data, "") != b"" for item in kept.items)


def _data(was: bytes, text: str) -> bytes:
    """Host-made JSON (a change log) keeps its form, and holds the poison where it held a text."""
    try:
        value = json.loads(was)
    except (ValueError, RecursionError):
        return text.encode()
    return (
        json.dumps(_replaced(value, text)).encode()
        if isinstance(value, dict | list)
        else text.encode()
    )


def _replaced(value: object, text: str) -> object:
    if isinstance(value, dict):
        return {key: _replaced(inner, text) for key, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, text) for inner in value]
    return text if isinstance(value, str) else value
