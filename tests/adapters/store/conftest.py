"""Stores that tests open: one episode each, closed at its end."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from random import Random

import pytest

from envkit.adapter import Clock, Context
from envkit.adapters.store import Store
from envkit.host import Host

SHOP = """
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, status TEXT NOT NULL CHECK (status <> ''), total REAL NOT NULL DEFAULT 0, note
);
CREATE TABLE lines (
    order_id INTEGER NOT NULL REFERENCES orders (id) ON DELETE CASCADE ON UPDATE CASCADE,
    sku TEXT NOT NULL,
    count INTEGER,
    PRIMARY KEY (order_id, sku)
) WITHOUT ROWID;
CREATE TABLE users (email TEXT NOT NULL PRIMARY KEY, name TEXT UNIQUE, made TEXT DEFAULT CURRENT_TIMESTAMP);
CREATE VIEW paid AS SELECT id FROM orders WHERE status = 'paid';
INSERT INTO orders (id, status, total) VALUES (1, 'open', 3), (2, 'paid', 4.5);
INSERT INTO lines VALUES (1, 'pen', 2), (1, 'ink', 1), (2, 'pen', 9);
"""


@pytest.fixture
async def opened() -> AsyncGenerator[Callable]:
    """Open a store; the same seed opens the same episode."""
    async with AsyncExitStack() as stack:

        async def open_(sql=SHOP, rows=None, *, seed=1):
            store = sql if isinstance(sql, Store) else Store(sql)
            store.name = "store"
            context = Context("p", "e", "g", Random(seed), Clock(1.75e9), stack, Host())
            return await store.open(store.Seed.model_validate(rows or {}), context)

        yield open_


@pytest.fixture
async def shop(opened):
    return await opened()
