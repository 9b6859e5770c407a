"""A small API that the tests of this folder share."""

import time

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from envkit import Env, Score, Task
from envkit.adapters.api import Api
from envkit.adapters.api.world import World
from envkit.adapters.store import Store

ORIGIN = "http://shop.test"


class Refund(BaseModel):
    amount: int
    reason: str = "none"


def make_app():
    app = FastAPI()

    @app.get("/orders", operation_id="list_orders")
    def list_orders(world: World, status: str | None = None):
        """All orders."""
        return world.store.query(
            "SELECT * FROM orders WHERE ? IS NULL OR status = ? ORDER BY id", status, status
        )

    @app.post("/orders/{order_id}/refund", operation_id="refund_order")
    def refund_order(order_id: int, body: Refund, world: World):
        """Refund an order."""
        if not world.store.execute("UPDATE orders SET status = 'refunded' WHERE id = ?", order_id):
            raise HTTPException(404, "no such order")
        return {
            "id": world.new_id("rf"),
            "at": world.now(),
            "amount": body.amount,
            "by": world.actor,
        }

    @app.get("/broken", operation_id="broken")
    def broken(world: World):
        """A bug."""
        raise RuntimeError("secret-path /srv/app.py")

    @app.get("/slow", operation_id="slow")
    async def slow(seconds: float):
        """Blocks its loop."""
        time.sleep(seconds)
        return "done"

    @app.get("/unnamed")
    def unnamed():
        return "not a tool"

    return app


class Shop(Env[dict]):
    """Refund an order."""

    store = Store("CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT NOT NULL)")
    shop = Api(make_app, origin=ORIGIN, store=store)
    evidence = [store.changes(), shop.requests()]

    @classmethod
    def task(cls, split, index, rng):
        rows = [{"id": number, "status": "paid"} for number in range(1, 4)]
        return Task(prompt="Refund order 2.", world={"store": {"orders": rows}}, gold={})

    @staticmethod
    def grade(evidence, gold):
        return Score.all(asked=bool(evidence.json("shop/requests.json")))
