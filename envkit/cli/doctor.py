"""`envkit doctor`: what this machine can run."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from envkit.cli.output import Json, console, counting, document, say, table


def doctor(
    *,
    build_image: Annotated[
        bool,
        typer.Option("--build-image", help="First build the sandbox image from Debian packages."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Say what this machine can run, by trying it, and what to install for the rest."""
    from envkit import doctor as clinic

    if build_image:
        clinic.build_image()
    with counting("trying what this machine can run"):
        checks = clinic.examine()
    works = clinic.sandboxes(checks)
    if as_json:
        document({"checks": [asdict(check) for check in checks], "backends": works})
    else:
        rows = [(c.name, c.state, c.detail, c.remedy) for c in checks]
        console().print(table(("what", "state", "~seen", "~to do"), rows))
    if not works:
        say("envkit: no sandbox works here: install bubblewrap, or a Docker engine and its image")
        raise typer.Exit(3)
