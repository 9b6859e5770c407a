"""`envkit validate`: the structure of a pack, without opening a world."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from envkit.cli.output import Json, console, document, escaped, table


def validate(
    pack: Annotated[str, typer.Argument(help="An installed pack's name, or a pack's folder.")],
    *,
    as_json: Json = False,
) -> None:
    """Check the structure of a pack; no world is opened. Exit 1 at a finding of medium or worse."""
    from envkit.guards.static.structure import check, falls_short

    findings, digest = check(pack)
    if as_json:
        document({"findings": [asdict(finding) for finding in findings], "digest": digest})
    elif findings:
        columns = ("rule", "severity", "place", "~what was seen", "~what to do")
        rows = [(f.rule, f.severity, f.place, f.evidence, f.remedy) for f in findings]
        console().print(table(columns, rows))
    else:
        console().print(escaped(f"{pack}: nothing found; its digest is {digest[:16]}"))
    raise typer.Exit(int(falls_short(findings)))
