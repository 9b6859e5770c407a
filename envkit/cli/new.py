"""`envkit new`: the folder of a new pack."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from envkit.cli.output import Json, console, document, escaped


def new(
    name: Annotated[str, typer.Argument(help="Of the pack: small letters, digits and _.")],
    *,
    directory: Annotated[
        Path, typer.Option("--dir", help="Where the folder NAME is made.")
    ] = Path(),
    as_json: Json = False,
) -> None:
    """Write a new pack: one small environment with tests, complete, to be changed into yours."""
    from envkit.scaffold import new_pack

    files = new_pack(name, directory)
    folder = directory / name
    steps = [
        f"pip install -e {shlex.quote(f'{folder}[dev]')}",
        f"envkit validate {name}",
        f"envkit rollout {name}/{name} --policy oracle",
        f"pytest {shlex.quote(str(folder))}",
    ]
    if as_json:
        paths = [path.relative_to(folder).as_posix() for path in files]
        document({"name": name, "folder": str(folder), "files": paths, "next": steps})
        return
    lines = [f"{folder}:", *(f"  {path.relative_to(folder)}" for path in files), "next:"]
    for line in (*lines, *(f"  {step}" for step in steps)):
        console().print(escaped(line), soft_wrap=True)
