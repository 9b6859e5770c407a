"""What handlers share: rows of the store, who may do what, and dates."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from fastapi import HTTPException


def rows(world: Any, sql: str, *parameters: Any) -> list[dict[str, Any]]:
    """The rows of a statement."""
    rows: list[dict[str, Any]] = world.store.query(sql, *parameters)
    return rows


def one(world: Any, table: str, number: int) -> dict[str, Any]:
    """A row by its id; 404 where there is none."""
    sql = f"SELECT * FROM {table} WHERE id = ?"  # noqa: S608 - tables are named by handlers
    found = rows(world, sql, number) if abs(number) < 1 << 62 else []
    if not found:
        raise HTTPException(404, f"nothing in {table} has the id {number}")
    return found[0]


def by_sku(world: Any, sku: str) -> dict[str, Any]:
    """A product by its number; 404 where there is none."""
    found = rows(world, "SELECT id, sku, name, stock FROM products WHERE sku = ?", sku)
    if not found:
        raise HTTPException(404, f"no product has the number {sku[:40]!r}")
    return found[0]


def only(world: Any, actor: str) -> None:
    """Staff work at their desk, the warehouse at its terminal; the web is for customers."""
    if world.actor != actor:
        raise HTTPException(403, "not from here")


def day(world: Any, days_ago: int) -> str:
    """The date that many days before the episode's now."""
    now = datetime.fromisoformat(world.now().replace("Z", "+00:00"))
    return (now - timedelta(days=days_ago)).date().isoformat()
