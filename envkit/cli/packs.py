"""`envkit list`: the environments that are installed."""

from __future__ import annotations

from typing import Any

from envkit.cli.output import Json, console, document, say, table


def list_environments(*, as_json: Json = False) -> None:
    """List the environments that are installed, without importing any."""
    from envkit.registry import Pack, packs

    installed = packs()
    double = {pack.name for pack in installed if sum(p.name == pack.name for p in installed) > 1}

    def problem(pack: Pack) -> str:
        if pack.name in double:
            return (
                f"two packs are called {pack.name!r} (this one is from {pack.dist}); uninstall one"
            )
        return f"broken, from {pack.dist}: {pack.problem}" if pack.problem else ""

    good = [pack for pack in installed if not problem(pack)]
    rows = [row for pack in good for row in _rows(pack)]
    for pack in installed:
        if problem(pack):
            say(f"envkit: warning: pack {pack.name!r}: {problem(pack)}")
    if as_json:
        document(rows)
    elif rows:
        columns = ("environment", ">version", "~adapters", "~splits", "~what it asks for")
        cells = [[*map(str, (r["env"], r["version"])), *_lists(r)] for r in rows]
        for line, row in zip(cells, rows, strict=True):
            line.append(row["summary"])
        console().print(table(columns, cells))
    else:
        say("no environment is installed; pip install a pack, or make one: envkit new NAME")


def _rows(pack: Any) -> list[dict[str, Any]]:
    return [
        {
            "env": f"{pack.name}/{name}",
            "version": entry.version,
            "dist": pack.dist,
            "adapters": list(entry.adapters),
            "splits": dict(entry.splits),
            "summary": entry.summary,
        }
        for name, entry in sorted(pack.manifest.envs.items())
    ]


def _lists(row: dict[str, Any]) -> list[str]:
    splits = (f"{name} {'endless' if n is None else n}" for name, n in row["splits"].items())
    return [", ".join(row["adapters"]) or "-", ", ".join(splits)]
