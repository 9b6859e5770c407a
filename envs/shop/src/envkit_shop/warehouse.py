"""The warehouse's side: reached from its terminal, by curl."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from envkit import World
from envkit_shop.books import by_sku, only


class Delivery(BaseModel):
    """One line of a supplier's delivery note."""

    note: str = Field(min_length=1, max_length=40)
    sku: str = Field(min_length=1, max_length=40)
    quantity: int = Field(gt=0, le=1000)


warehouse = APIRouter()


@warehouse.get("/warehouse/stock/{sku}")
def stock(sku: str, world: World) -> dict[str, Any]:
    """What there is of a product."""
    return by_sku(world, sku)


@warehouse.post("/warehouse/deliveries")
def book_in(body: Delivery, world: World) -> dict[str, Any]:
    """Book a line of a delivery note in; the stock goes up."""
    only(world, "shell")
    product, made = by_sku(world, body.sku), world.new_id("dl")
    with world.store.transaction():
        world.store.execute(
            "INSERT INTO deliveries (id, note, sku, quantity) VALUES (?, ?, ?, ?)",
            made, body.note, body.sku, body.quantity,
        )  # fmt: skip
        world.store.execute(
            "UPDATE products SET stock = stock + ? WHERE id = ?", body.quantity, product["id"]
        )
    return by_sku(world, body.sku)
