"""`envkit bench`: speed, both sides of each comparison in one run."""

from __future__ import annotations

import asyncio
import importlib
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from envkit.cli.output import Json, console, document, escaped, table

if TYPE_CHECKING:
    from envkit.host import Backend


class What(StrEnum):
    """What can be measured."""

    CORE = "core"
    TERMINAL = "terminal"
    GRADE = "grade"
    STORE = "store"
    API = "api"
    BROWSER = "browser"
    GENERATION = "generation"


class Where(StrEnum):
    """Which sandboxes."""

    AUTO = "auto"
    DOCKER = "docker"
    BUBBLEWRAP = "bubblewrap"


def bench(
    what: Annotated[
        What, typer.Argument(help="core, terminal, grade, store, api, browser or generation.")
    ],
    *,
    backend: Annotated[Where, typer.Option(help="Of terminal and grade.")] = Where.AUTO,
    peer: Annotated[
        str | None,
        typer.Option(
            metavar="PYTHON",
            help="Of browser: a Python that has browsergym-core, to be measured beside.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure envkit on this machine, beside a floor or a peer in the same run."""
    from envkit.bench.report import report
    from envkit.errors import UsageError

    if peer is not None and what is not What.BROWSER:
        raise UsageError(f"--peer: only `bench browser` has one, not {what.value}")
    made = report(what.value, asyncio.run(_measured(what, backend.value, peer)))
    if as_json:
        document(made)
    else:
        _print(made)


async def _measured(what: What, backend: Backend, peer: str | None) -> dict[str, Any]:
    if what is What.BROWSER:
        from envkit.bench.browser import bench_browser

        return await bench_browser(peer=peer)
    if what is What.GRADE:
        from envkit.bench.grade import bench_grade

        return await bench_grade(backend)
    if what is What.TERMINAL:
        from envkit.bench.barrier import bench_barrier
        from envkit.bench.terminal import bench_terminal

        return {**await bench_terminal(backend), **await bench_barrier(backend)}
    # the others take no sandbox: envkit.bench.<what>.bench_<what>
    module = importlib.import_module(f"envkit.bench.{what.value}")
    figures: dict[str, Any] = await getattr(module, f"bench_{what.value}")()
    return figures


def _print(made: dict[str, Any]) -> None:
    budgets = {budget["figure"]: budget for budget in made["budgets"]}
    rows = []
    for name, value in made.items():
        if isinstance(value, dict | list) or name in ("bench", "date"):
            continue
        budget = budgets.get(name)
        limit = f"{budget['is']} {budget['limit']:,}" if budget else ""
        verdicts = {True: "pass", False: "short", None: "not taken"}
        rows.append((name, _figure(value), limit, verdicts[budget["met"]] if budget else ""))
    console().print(table((made["bench"], ">figure", ">budget", ""), rows))
    samples = ", ".join(f"{count:,} {name}" for name, count in made["counts"].items())
    machine = ", ".join(f"{name} {value}" for name, value in made["machine"].items())
    for line in (f"samples: {samples}", machine, *made.get("notes", ())):
        console().print(escaped(line), soft_wrap=True)


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else "-" if value is None else str(value)
