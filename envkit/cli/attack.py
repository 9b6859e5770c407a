"""`envkit attack`: try to be paid for nothing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from envkit.cli.output import Json, console, counting, document, say, table


def attack(
    spec: Annotated[str, typer.Argument(help="PACK/ENV[?key=value], or file:PATH.py:Class.")],
    *,
    split: Annotated[str, typer.Option(help="Split to take tasks from.")] = "train",
    tasks: Annotated[int, typer.Option(help="Tasks that each attack is tried on.", min=1)] = 2,
    concurrency: Annotated[int, typer.Option(help="Episodes at once.", min=1)] = 4,
    backend: Annotated[str, typer.Option(help="Sandbox: auto, docker or bubblewrap.")] = "auto",
    as_json: Json = False,
) -> int:
    """Play every scripted attack against an environment; exit 1 if any scores."""
    import asyncio

    from envkit.audit.attack import attack as play
    from envkit.cli.settings import configure, refuse_too_many
    from envkit.rollout.runner import RunSettings

    flags = {"spec": spec, "split": split, "tasks": tasks, "concurrency": concurrency}
    told = configure(None, {**flags, "backend": backend})
    refuse_too_many(told)
    settings = RunSettings(
        told.spec, told.split, told.tasks, concurrency=told.concurrency, backend=told.backend
    )
    with counting("attacks") as tell:
        done = asyncio.run(play(settings, tell))
    rows = [one.as_json() for one in done]
    scored = sum(one.scored for one in done)
    if as_json:
        document({"spec": spec, "attacks": rows, "scored": scored})
    else:
        _show(rows, scored)
    return int(scored > 0)


def _show(rows: list[dict[str, Any]], scored: int) -> None:
    applied = [row for row in rows if row["applies"]]
    cells = [
        [
            row["name"],
            row["family"],
            "-" if row["reward"] is None else f"{row['reward']:.2f}",
            row["stopped_by"] or "NOTHING STOPPED IT",
        ]
        for row in applied
    ]
    console().print(table(("attack", "family", ">reward", "~stopped by"), cells))
    others = ", ".join(row["name"] for row in rows if not row["applies"])
    if others:
        say(f"do not apply (no such tools): {others}")
    say(f"{len(applied)} attacks played, {scored} scored")
