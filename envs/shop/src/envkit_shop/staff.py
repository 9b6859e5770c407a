"""The staff's side: operations that become typed tools."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from envkit import World
from envkit_shop.books import day, one, only, rows

REASONS = ("not_theirs", "too_late", "final_sale", "already_refunded")


class Refund(BaseModel):
    """Money back for one item of an order."""

    item_id: int = Field(description="the item of the order")
    quantity: int = Field(gt=0, description="how many of it")
    amount: int = Field(gt=0, description="cents in all")


class Decision(BaseModel):
    """How a claim ended."""

    status: str = Field(pattern="^(refunded|declined)$", description="refunded or declined")
    reason: str | None = Field(
        None,
        pattern=f"^({'|'.join(REASONS)})$",
        description=f"where declined: {', '.join(REASONS)}",
    )


class Address(BaseModel):
    """Where an order goes."""

    street: str = Field(min_length=1, max_length=200)
    postcode: str = Field(min_length=1, max_length=20)


staff = APIRouter()


@staff.get("/api/tickets", operation_id="list_tickets")
def list_tickets(world: World, status: str = "open") -> list[dict[str, Any]]:
    """List customers' messages by status: open, refunded or declined."""
    return rows(
        world, "SELECT id, subject, status FROM tickets WHERE status = ? ORDER BY id", status
    )


@staff.get("/api/tickets/{ticket_id}", operation_id="get_ticket")
def get_ticket(ticket_id: int, world: World) -> dict[str, Any]:
    """Read a customer's message: what it says, who wrote it, and today's date."""
    ticket = one(world, "tickets", ticket_id)
    return {
        **ticket,
        "customer": one(world, "customers", ticket["customer_id"]),
        "today": day(world, 0),
    }


@staff.get("/api/orders", operation_id="find_orders")
def find_orders(world: World, email: str = "", number: str = "") -> list[dict[str, Any]]:
    """Find orders by the customer's e-mail address or by the order number."""
    return rows(
        world,
        "SELECT o.id, o.number, o.status, c.email FROM orders o JOIN customers c ON c.id = o.customer_id"
        " WHERE (? <> '' AND c.email = ?) OR (? <> '' AND o.number = ?) ORDER BY o.id",
        email, email, number, number,
    )  # fmt: skip


@staff.get("/api/orders/{order_id}", operation_id="get_order")
def get_order(order_id: int, world: World) -> dict[str, Any]:
    """Read an order: its dates, its items with their prices in cents, and what was refunded."""
    order = one(world, "orders", order_id)
    age, delivered = order.pop("age_days"), order.pop("delivered_days")
    items = rows(
        world,
        "SELECT i.id, i.product_id, p.name, p.final_sale, i.quantity, i.price FROM order_items i"
        " JOIN products p ON p.id = i.product_id WHERE i.order_id = ? ORDER BY i.id", order_id,
    )  # fmt: skip
    refunds = rows(world, "SELECT * FROM refunds WHERE order_id = ? ORDER BY id", order_id)
    dates = {
        "placed": day(world, age),
        "delivered": None if delivered is None else day(world, delivered),
    }
    return {**order, **dates, "items": items, "refunds": refunds}


@staff.post("/api/orders/{order_id}/refunds", operation_id="create_refund")
def create_refund(order_id: int, body: Refund, world: World) -> dict[str, Any]:
    """Pay money back for an item of an order. It can't be taken back."""
    only(world, "tool")
    one(world, "orders", order_id)
    items = rows(
        world, "SELECT * FROM order_items WHERE id = ? AND order_id = ?", body.item_id, order_id
    )
    if not items:
        raise HTTPException(404, f"order {order_id} has no item {body.item_id}")
    if body.quantity > items[0]["quantity"] or body.amount > body.quantity * items[0]["price"]:
        raise HTTPException(409, "more than was bought")
    made = world.new_id("rf")
    world.store.execute(
        "INSERT INTO refunds (id, order_id, item_id, quantity, amount) VALUES (?, ?, ?, ?, ?)",
        made, order_id, body.item_id, body.quantity, body.amount,
    )  # fmt: skip
    return {"id": made, "order_id": order_id, **body.model_dump()}


@staff.post("/api/tickets/{ticket_id}/decision", operation_id="decide_ticket")
def decide_ticket(ticket_id: int, body: Decision, world: World) -> dict[str, Any]:
    """Close a customer's message: refunded, or declined with the reason."""
    only(world, "tool")
    one(world, "tickets", ticket_id)
    world.store.execute(
        "UPDATE tickets SET status = ?, reason = ? WHERE id = ?",
        body.status,
        body.reason,
        ticket_id,
    )
    return one(world, "tickets", ticket_id)


@staff.post("/api/orders/{order_id}/cancel", operation_id="cancel_order")
def cancel_order(order_id: int, world: World) -> dict[str, Any]:
    """Cancel an order."""
    only(world, "tool")
    one(world, "orders", order_id)
    world.store.execute("UPDATE orders SET status = 'cancelled' WHERE id = ?", order_id)
    return one(world, "orders", order_id)


@staff.put("/api/orders/{order_id}/address", operation_id="change_address")
def change_address(order_id: int, body: Address, world: World) -> dict[str, Any]:
    """Change the address of an order."""
    only(world, "tool")
    one(world, "orders", order_id)
    world.store.execute(
        "UPDATE orders SET street = ?, postcode = ? WHERE id = ?",
        body.street,
        body.postcode,
        order_id,
    )
    return one(world, "orders", order_id)
