"""`envkit audit`: prove, without a model, that a reward can't be had without doing the task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envkit.cli.output import Json, console, counting, document, escaped, say, table

if TYPE_CHECKING:
    from envkit.audit.audit import Report
    from envkit.audit.seen import AuditSettings
    from envkit.data.score import Finding

SEVERITIES = ("info", "low", "medium", "high", "critical")


def audit(  # noqa: PLR0913 - a parameter is a flag
    spec: Annotated[
        str, typer.Argument(help="PACK/ENV[?key=value], a pack's name, or file:PATH.py:Class.")
    ],
    *,
    fail_on: Annotated[
        str, typer.Option(help="Exit 1 at a finding of this severity or worse.")
    ] = "high",
    tasks: Annotated[int, typer.Option(help="Tasks of each split.", min=1)] = 4,
    concurrency: Annotated[int, typer.Option(help="Episodes at once.", min=1)] = 4,
    backend: Annotated[str, typer.Option(help="Sandbox: auto, docker or bubblewrap.")] = "auto",
    md: Annotated[
        Path | None, typer.Option(help="Write the report as Markdown to this file.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for audit.json and audit.md.")] = None,
    as_json: Json = False,
) -> int:
    """Audit an environment or a whole pack: oracle, floors, near-misses, attacks, leaks, determinism, and the card."""
    import asyncio

    from envkit.audit.report import markdown
    from envkit.errors import UsageError

    if fail_on not in SEVERITIES:
        raise UsageError(f"--fail-on {fail_on!r}; it is one of {', '.join(SEVERITIES)}")
    for path in (md, None if out is None else out / "audit.json"):
        _writable(path)
    structure, settings = _targets(spec, tasks, concurrency, backend)
    with counting("audit") as tell:
        reports = asyncio.run(_all(settings, tell))
    told = _document(spec, structure, reports)
    text = markdown(reports)
    for path, content in _files(md, out, text, told):
        _write(path, content)
    if as_json:
        document(told)
    else:
        _show(structure, reports)
    rank = SEVERITIES.index(fail_on)
    bad = any(SEVERITIES.index(finding.severity) >= rank for finding in structure)
    return int(bad or any(report.falls_short(fail_on) for report in reports))  # type: ignore[arg-type] # looked at above


def _targets(
    spec: str, tasks: int, concurrency: int, backend: str
) -> tuple[list[Finding], list[AuditSettings]]:
    """Findings about the pack's structure where a pack is named, and what is to be audited."""
    from envkit.audit.seen import AuditSettings
    from envkit.cli.settings import configure
    from envkit.guards.static.structure import check
    from envkit.guards.static.view import view

    specs: list[str] = [spec]
    structure: list[Finding] = []
    if ":" not in spec and ("/" not in spec or Path(spec).is_dir()):
        specs = [str(resolved.spec) for resolved in view(spec).resolved.values()]
        structure, _ = check(spec)
    told = [
        configure(
            None, {"spec": one, "tasks": tasks, "concurrency": concurrency, "backend": backend}
        )
        for one in specs
    ]
    return structure, [
        AuditSettings(one.spec, one.tasks, concurrency=one.concurrency, backend=one.backend)
        for one in told
    ]


async def _all(settings: list[AuditSettings], tell: Callable[[object], None]) -> list[Report]:
    from envkit.audit.audit import audit as run

    return [await run(one, tell) for one in settings]


def _document(spec: str, structure: list[Finding], reports: list[Report]) -> dict[str, Any]:
    """`card` for one environment, `cards` by spec for a pack."""
    cards = {report.spec: report.card.model_dump(mode="json") for report in reports}
    whole = len(reports) == 1 and ("/" in spec or ":" in spec)
    findings = [*structure, *(finding for report in reports for finding in report.findings)]
    return {
        "spec": spec,
        "findings": [asdict(finding) for finding in findings],
        **({"card": next(iter(cards.values()))} if whole else {"cards": cards}),
        "measures": {report.spec: report.measures for report in reports},
        "digest": reports[0].card.digest if reports else "",
        "complete": bool(reports) and all(report.complete for report in reports),
    }


def _files(
    md: Path | None, out: Path | None, text: str, told: dict[str, Any]
) -> list[tuple[Path, str]]:
    import json

    files = [] if md is None else [(md, text)]
    if out is not None:
        files += [(out / "audit.json", json.dumps(told, indent=2) + "\n"), (out / "audit.md", text)]
    return files


def _writable(path: Path | None) -> None:
    """Find out before minutes of play whether the report can be kept."""
    import os

    from envkit.errors import UsageError

    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; choose another place") from None
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise UsageError(f"{path}: can't be written; choose another place")


def _write(path: Path, content: str) -> None:
    from envkit.errors import UsageError

    try:
        path.write_text(content, "utf-8", "replace")
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}; choose another place") from None


def _show(structure: list[Finding], reports: list[Report]) -> None:
    columns = ("severity", "rule", "~place", "~what was seen", "~what to do")
    for report in reports:
        found = [*structure, *report.findings]
        structure = []
        console().print(escaped(f"{report.spec}  digest {report.card.digest[:16]}"))
        if found:
            rows = [(f.severity, f.rule, f.place, f.evidence, f.remedy) for f in found]
            console().print(table(columns, rows))
        _show_card(report)
        for why in report.card.missing:
            say(f"not run: {why}")
        state = "complete" if report.complete else "incomplete, which is not clean"
        attacks = report.measures.get("attacks", {})
        scored = len(attacks.get("scored", ()))
        say(f"{len(found)} findings; {attacks.get('applied', 0)} attacks, {scored} scored; {state}")


def _show_card(report: Report) -> None:
    from envkit.audit.card import DIMENSIONS, Measured

    rows = []
    for name in DIMENSIONS:
        one = getattr(report.card, name)
        measured = isinstance(one, Measured)
        said = (
            ", ".join(f"{key} {_short(value)}" for key, value in one.values.items())
            if measured
            else one.why
        )
        rows.append(
            (name, said if measured else f"not measured: {said}", str(one.n) if measured else "")
        )
    console().print(table(("dimension", "~measured", ">n"), rows))


def _short(value: object) -> str:
    text = f"{value:.3g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
