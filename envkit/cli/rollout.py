"""`envkit rollout`: its flags. What they do is in `run`, what is shown in `progress` and `show`."""

# typer reads these hints when the command is made, so what they name is imported here
from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from envkit.cli.output import Json

MODELS = "Models"
RECORD = "Record"


def rollout(  # noqa: PLR0913 - the flags of the contract, each an argument to typer
    spec: Annotated[
        str | None,
        typer.Argument(
            help="pack/env, pack/env?level=hard, file:PATH.py:CLASS", show_default=False
        ),
    ] = None,
    *,
    policy: Annotated[
        str | None,
        typer.Option(
            help="oracle, noop, random, near-misses, script:FILE, openai:MODEL or hf:PATH (default: oracle)."
        ),
    ] = None,
    tasks: Annotated[
        int | None, typer.Option(help="How many tasks of the split (default: 8).")
    ] = None,
    first: Annotated[int | None, typer.Option(help="Index of the first one (default: 0).")] = None,
    split: Annotated[str | None, typer.Option(help="Which split (default: train).")] = None,
    repeats: Annotated[int | None, typer.Option(help="Episodes of each task (default: 1).")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the policy's draws (default: 0).")] = None,
    salt_file: Annotated[
        str | None, typer.Option(help="Keys the tasks; without it they are the public examples.")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Episodes at once (default: 8).")] = None,
    backend: Annotated[
        str | None, typer.Option(help="auto, docker or bubblewrap (default: auto).")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of these flags; a flag wins over it.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the record (default: runs/...).", rich_help_panel=RECORD),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with the run in --out.", rich_help_panel=RECORD),
    ] = False,
    task: Annotated[
        str | None,
        typer.Option(help="This task alone: its index or its id.", rich_help_panel=RECORD),
    ] = None,
    show: Annotated[
        bool,
        typer.Option(
            "--show",
            help="Show that task's conversation and the judge's reasons; of a run that is"
            " in --out already, without playing.",
            rich_help_panel=RECORD,
        ),
    ] = False,
    base_url: Annotated[
        str | None,
        typer.Option(help="The endpoint (default: OPENAI_BASE_URL).", rich_help_panel=MODELS),
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Of sampling.", rich_help_panel=MODELS)
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Of one answer.", rich_help_panel=MODELS)
    ] = None,
    price: Annotated[
        str | None,
        typer.Option(
            metavar="IN:OUT", help="Per million tokens; gives the cost.", rich_help_panel=MODELS
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Play tasks of an environment by a policy, judge them, and keep the record."""
    from envkit.cli.run import Order, carry_out

    flags: dict[str, Any] = {
        "spec": spec, "policy": policy, "tasks": tasks, "first": first, "split": split,
        "repeats": repeats, "seed": seed, "salt_file": salt_file, "concurrency": concurrency,
        "backend": backend, "base_url": base_url, "temperature": temperature,
        "max_tokens": max_tokens, "price": price, "out": None if out is None else str(out),
    }  # fmt: skip
    order = Order(flags, config=config, resume=resume, task=task, show=show, as_json=as_json)
    raise typer.Exit(carry_out(order))
