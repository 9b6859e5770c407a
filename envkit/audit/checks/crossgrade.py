"""Cross-grading: the oracle's evidence of one task must fail under the gold of another, whole and field by field.

A pair counts only where its golds differ in every field that grade reads and that differs anywhere: two tasks with the
same answer prove nothing. Then single fields are exchanged. A field whose value the oracle hands in, and which can be
exchanged without anybody noticing, is one that nobody checks.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Generator, Mapping
from typing import Any

from envkit.audit.checks.base import Found
from envkit.audit.record import recorded
from envkit.audit.seen import Drawn, Seen
from envkit.data.evidence import Evidence, FrozenEvidence
from envkit.data.score import Finding, Score

NONCE = b"audit"
SHORTEST = 3  # characters of a value that is sought in what the oracle handed in
_REMEDY = "compare every field of the gold with the evidence"


def crossgrade(seen: Seen) -> Found:
    """Evidence of one task under the gold of another; then one field at a time."""
    if inspect.isgeneratorfunction(seen.resolved.env.grade):
        return (yield from _by_probes(seen))
    played = [(drawn, play.evidence) for drawn in seen.drawn if (play := seen.oracle(drawn))]
    read = fields_read(seen)
    pairs = [
        (a, evidence, b) for a, evidence in played for b, _ in played if _apart(seen, read, a, b)
    ]
    passing = [(a, b) for a, evidence, b in pairs if _passes(seen, evidence, b.task.gold)]
    # a coincidence is one pair; a grader that looks at nothing lets most of them pass
    if passing and 2 * len(passing) > len(pairs):
        a, b = passing[0]
        told = f"{len(passing)} of {len(pairs)} pairs pass, such as the evidence of {a.place} for {b.place}"
        yield Finding("crossgrade.any-gold", "high", seen.place, told, _REMEDY)
    unchecked = yield from _fields(seen, read, played)
    lenient = yield from _lenient(seen, played)
    return {
        "pairs": len(pairs), "passing": len(passing), "fields_read": sorted(read),
        "fields_unchecked": unchecked, "lenient": lenient,
    }  # fmt: skip


def _by_probes(seen: Seen) -> Found:
    passing = [(a, b) for a, b, graded in seen.crossed if graded.reward == 1.0]
    if passing and 2 * len(passing) > len(seen.crossed):
        a, b = passing[0]
        told = f"{len(passing)} of {len(seen.crossed)} pairs pass, such as {a.place} for {b.place}"
        yield Finding("crossgrade.any-gold", "high", seen.place, told, _REMEDY)
    read = sorted(fields_read(seen))
    return {
        "pairs": len(seen.crossed),
        "passing": len(passing),
        "fields_read": read,
        "fields_unchecked": None,
    }


def _fields(
    seen: Seen, read: set[str], played: list[tuple[Drawn, str]]
) -> Generator[Finding, None, list[str]]:
    """Exchange each field alone; the names of those that nobody checks."""
    unchecked: list[str] = []
    for field in sorted(_varying(seen)):
        tried = passed = handed_in = 0
        for drawn, evidence in played:
            for other, _ in played:
                if drawn.gold[field] == other.gold[field] or _covered(drawn, field, read):
                    continue
                tried += 1
                passed += _passes(seen, evidence, _exchanged(seen, drawn, other, field))
                handed_in += _hands_in(evidence, drawn.gold[field])
        if tried and passed == tried and handed_in == tried:
            unchecked.append(field)
            told = f"gold.{field} can be exchanged in {tried} of {tried} gradings, and the oracle hands it in"
            yield Finding("crossgrade.unchecked-field", "high", seen.place, told, _REMEDY)
    return unchecked


def _lenient(
    seen: Seen, played: list[tuple[Drawn, str]]
) -> Generator[Finding, None, dict[str, str]]:
    """Answers that are more, or less, than the right one: how often each passes, of those where the answer counts."""
    passed, tried = dict.fromkeys(_LENIENT, 0), dict.fromkeys(_LENIENT, 0)
    for drawn, evidence in played:
        others = [other for apart, other in played if apart.gold != drawn.gold][:2]
        if len(others) < 2 or not _counts(seen, drawn, evidence, others[0]):
            continue
        for name, make in _LENIENT.items():
            if name == "fragment" and _shortest(evidence) < SHORTEST:
                continue  # the first character may be all of it
            tried[name] += 1
            passed[name] += _passes(seen, _answered(evidence, others, make), drawn.task.gold)
    for name, count in passed.items():
        if tried[name] and 2 * count > tried[name]:
            told = f"{_LENIENT_TOLD[name]} passes in {count} of {tried[name]} tasks"
            yield Finding(f"crossgrade.{name}", "high", seen.place, told, "compare the whole value")
    return {name: f"{count} of {tried[name]}" for name, count in passed.items()}


def _shortest(evidence: str) -> int:
    """Characters of the shortest text that was handed in."""
    kept = FrozenEvidence.model_validate_json(evidence)
    texts = [kept.answer, *(_text_of(item.data) or "" for item in kept.items)]
    return min((len(text.strip()) for text in texts if text.strip()), default=0)


def _counts(seen: Seen, drawn: Drawn, evidence: str, other: str) -> bool:
    """Whether what was said or written counts: with another task's in its place, this one fails."""
    swapped = _answered(evidence, [other], lambda mine, others: others[0])
    return not _passes(seen, swapped, drawn.task.gold)


def _answered(evidence: str, others: list[str], make: Callable[[str, list[str]], str]) -> str:
    """The evidence with its texts made anew from them and other tasks' texts; host-made JSON stays as it is."""
    kept = FrozenEvidence.model_validate_json(evidence)
    apart = [FrozenEvidence.model_validate_json(other) for other in others]
    items = []
    for item in kept.items:
        texts = [_text_of(item.data)] + [
            _text_of(next((i.data for i in one.items if i.name == item.name), b"")) for one in apart
        ]
        told = [text for text in texts if text is not None]
        whole = len(told) == len(texts)
        data = make(told[0], told[1:]).encode() if whole else item.data
        items.append(item.model_copy(update={"data": data}))
    answer = make(kept.answer, [one.answer for one in apart])
    return kept.model_copy(update={"answer": answer, "items": tuple(items)}).model_dump_json()


def _text_of(data: bytes) -> str | None:
    """A text that is no JSON document; None of anything else."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return None
    return None if text.lstrip()[:1] in ("{", "[") else text


_LENIENT: Mapping[str, Callable[[str, list[str]], str]] = {
    # in the middle, so that neither a first nor a last line is the answer
    "listing": lambda mine, others: "\n".join([others[0], mine, *others[1:]]),
    "fragment": lambda mine, others: mine.strip()[:1],
}
_LENIENT_TOLD = {
    "listing": "a listing of several tasks' answers",
    "fragment": "the first character of the answer",
}


# ---- golds ---------------------------------------------------------------------------------------


def _varying(seen: Seen) -> set[str]:
    """Fields of the gold that are not the same in all tasks; none where it is no mapping."""
    golds = [drawn.gold for drawn in seen.drawn]
    if not all(isinstance(gold, dict) for gold in golds):
        return set()
    keys = set.intersection(*(set(gold) for gold in golds))
    return {key for key in keys if any(gold[key] != golds[0][key] for gold in golds)}


def _apart(seen: Seen, read: set[str], a: Drawn, b: Drawn) -> bool:
    """Whether two golds differ in every field that grade reads (in all of it, where none can be told)."""
    if a is b or a.gold == b.gold:
        return False
    varying = _varying(seen)
    return all(a.gold[key] != b.gold[key] for key in (read & varying) or varying)


def _exchanged(seen: Seen, drawn: Drawn, other: Drawn, field: str) -> Any:
    gold = {**drawn.gold, field: other.gold[field]}
    return seen.worker._golds.validate_json(json.dumps(gold))


def _covered(drawn: Drawn, field: str, read: set[str]) -> bool:
    """Whether all that a field says stands in another field too, which grade reads: a note for scripts."""
    others = {text for key in read - {field} for text in _texts(drawn.gold.get(key))}
    joined = "\n".join(others)
    return all(text in joined for text in _texts(drawn.gold[field]))


def fields_read(seen: Seen) -> set[str]:
    """The fields of the gold that grade reads; as far as its first probes, where it asks for any."""
    if seen.read is None:
        seen.read = set()
        for drawn in seen.drawn:
            if (play := seen.oracle(drawn)) is not None:
                gold, told = recorded(drawn.task.gold)
                _reward(seen, play.evidence, gold)
                seen.read |= told()
    return seen.read


# ---- gradings ------------------------------------------------------------------------------------


def _passes(seen: Seen, evidence: str, gold: Any) -> bool:
    return _reward(seen, evidence, gold) == 1.0


def _reward(seen: Seen, evidence: str, gold: Any) -> float | None:
    """The reward, in this process; None where the author's code raises."""
    frozen = FrozenEvidence.model_validate_json(evidence)
    try:
        score: Any = seen.resolved.env.grade(Evidence(frozen, NONCE), gold)
        if inspect.isgenerator(score):
            next(score)
            score.close()
    except Exception:  # noqa: BLE001 - an author's code may raise anything
        return None
    return score.reward if isinstance(score, Score) else None


def _hands_in(evidence: str, value: Any) -> bool:
    """Whether a value stands in what the oracle left: its answer or its artefacts, not its calls."""
    frozen = FrozenEvidence.model_validate_json(evidence)
    left = (
        frozen.answer
        + "\n"
        + "\n".join(item.data.decode("utf-8", "replace") for item in frozen.items)
    )
    texts = [text for text in _texts(value) if len(text) >= SHORTEST]
    return bool(texts) and all(text in left for text in texts)


def _texts(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [text for inner in value.values() for text in _texts(inner)]
    if isinstance(value, list | tuple):
        return [text for inner in value for text in _texts(inner)]
    return [] if value is None or isinstance(value, bool) else [str(value)]
