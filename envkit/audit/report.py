"""The audit as people read it: Markdown, with whatever an agent or an author wrote made harmless."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from envkit.audit.audit import Report
from envkit.audit.card import DIMENSIONS, Measured


def markdown(reports: list[Report]) -> str:
    """One document for one or several environments."""
    return "\n".join(line for report in reports for line in _lines(report)) + "\n"


def _lines(report: Report) -> Iterator[str]:
    card = report.card
    yield f"# Audit of {plain(report.spec)}"
    yield ""
    yield f"Digest `{card.digest[:16]}`, envkit {card.envkit}. " + (
        "Complete." if card.complete else "**Incomplete.**"
    )
    yield from (f"Not run: {plain(why)}" for why in card.missing)
    yield ""
    yield f"## Findings ({len(report.findings)})"
    yield ""
    if report.findings:
        yield "| severity | rule | place | what was seen | what to do |"
        yield "|---|---|---|---|---|"
    for one in report.findings:
        cells = (one.severity, one.rule, one.place, one.evidence, one.remedy)
        yield "| " + " | ".join(plain(cell) for cell in cells) + " |"
    yield ""
    yield "## Card"
    yield ""
    yield "| dimension | measured | how | n |"
    yield "|---|---|---|---|"
    for name in DIMENSIONS:
        yield "| " + " | ".join((name, *cells_of(getattr(card, name)))) + " |"
    yield ""
    yield "## Checks"
    yield ""
    for name, measures in report.measures.items():
        yield f"- {name}: {_values(measures)}"
    yield ""


def cells_of(dimension: Any) -> tuple[str, str, str]:
    """A dimension in three cells."""
    if isinstance(dimension, Measured):
        return _values(dimension.values), plain(dimension.how), str(dimension.n)
    return "not measured", plain(dimension.why), ""


def _values(values: Any) -> str:
    return ", ".join(f"{plain(name)} {plain(_short(value))}" for name, value in values.items())


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= 120 else f"{text[:117]}..."


def plain(text: str) -> str:
    """Text that is no markup, starts no cell and acts on no terminal."""
    visible = "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )
    for mark in "\\`*_[]<>|#!":
        visible = visible.replace(
            mark, f"\\{mark}" if mark in "\\`*[]|#!" else visible_entity(mark)
        )
    return visible


def visible_entity(mark: str) -> str:
    """A character that Markdown or HTML would act on, spelled so that it does not."""
    return {"<": "&lt;", ">": "&gt;", "_": "\\_"}[mark]
