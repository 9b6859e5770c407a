"""`envkit attack`: try to be paid for nothing."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from envkit.cli.output import Json, console, counting, document, say, table


def attack(  # noqa: PLR0913 - a parameter is a flag
    spec: Annotated[str, typer.Argument(help="PACK/ENV[?key=value], or file:PATH.py:Class.")],
    *,
    split: Annotated[str, typer.Option(help="Split to take tasks from.")] = "train",
    tasks: Annotated[int, typer.Option(help="Tasks that each attack is tried on.", min=1)] = 2,
    concurrency: Annotated[int, typer.Option(help="Episodes at once.", min=1)] = 4,
    backend: Annotated[str, typer.Option(help="Sandbox: auto, docker or bubblewrap.")] = "auto",
    only: Annotated[
        list[str] | None, typer.Option(help="Play this attack alone; may be given more than once.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Play every scripted attack against an environment; exit 1 if any scores or never gets a verdict."""
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
        done = asyncio.run(play(settings, tell, only or ()))
    rows = [one.as_json() for one in done]
    scored = sum(one.scored for one in done)
    unsettled = sum(one.unsettled for one in done)
    if as_json:
        document({"spec": spec, "attacks": rows, "scored": scored, "unsettled": unsettled})
    else:
        _show(rows, scored, unsettled)
    return int(scored > 0 or unsettled > 0)


def _show(rows: list[dict[str, Any]], scored: int, unsettled: int) -> None:
    applied = [row for row in rows if row["applies"]]
    cells = [
        [
            row["name"],
            row["family"],
            "-" if row["reward"] is None else f"{row['reward']:.2f}",
            _outcome(row),
        ]
        for row in applied
    ]
    console().print(table(("attack", "family", ">reward", "~stopped by"), cells))
    others = ", ".join(row["name"] for row in rows if not row["applies"])
    if others:
        say(f"do not apply (no such tools): {others}")
    open_ = f", {unsettled} without a verdict" if unsettled else ""
    say(f"{len(applied)} attacks played, {scored} scored{open_}")


def _outcome(row: dict[str, Any]) -> str:
    if row["reward"] is None:
        return f"NO VERDICT: {row['invalid']} episodes are invalid"
    lost = f" ({row['invalid']} more episodes are invalid)" if row["invalid"] else ""
    return (row["stopped_by"] or "NOTHING STOPPED IT") + lost
