"""What a store costs: forking it for an episode, a write, a read; beside a deep copy of the same rows as dicts."""

from __future__ import annotations

import copy
import json
import statistics
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

from envkit.adapter import Clock, Context
from envkit.adapters.store import Store, StoreSession
from envkit.host import Host

SCHEMA = """
CREATE TABLE orders (
    id INTEGER PRIMARY KEY, customer TEXT NOT NULL, status TEXT NOT NULL, total REAL NOT NULL, note TEXT
);
INSERT INTO orders
    WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < {rows})
    SELECT id, 'customer ' || (id % 997), 'paid', id * 1.25, 'leave it at the door' FROM n;
"""
READ = "SELECT * FROM orders WHERE id = ?"
WRITE = "UPDATE orders SET status = ? WHERE id = ?"


async def bench_store(
    *, rows: int = 20_000, forks: int = 200, copies: int = 5, calls: int = 2_000
) -> dict[str, Any]:
    """Medians, on one core. A fork is all that an episode opens: the copy, its triggers and its guard."""
    store = Store(SCHEMA.format(rows=rows))
    store.name = "store"
    opened = [await _opened(store) for _ in range(forks)]
    async with AsyncExitStack() as stack:
        session = await store.open(store.Seed.model_validate({}), _context(stack))
        plain = session.query("SELECT * FROM orders")
        copied = _median(lambda _: copy.deepcopy(plain), copies)
        dumped = _median(lambda _: json.loads(json.dumps(plain)), copies)
        read = _median(lambda n: session.query(READ, n % rows + 1), calls)
        write = _median(lambda n: _write(session, n, rows), calls)
    fork = statistics.median(opened)
    return {
        "fork_ms": round(fork * 1e3, 3),
        "deepcopy_ms": round(copied * 1e3, 1),
        "json_copy_ms": round(dumped * 1e3, 1),
        "deepcopy_ratio_to_fork": round(copied / fork, 1),
        "read_us": round(read * 1e6, 1),
        "logged_write_us": round(write * 1e6, 1),
        "rows": rows,
        "counts": {"forks": forks, "copies": copies, "calls": calls},
    }


def _context(stack: AsyncExitStack) -> Context:
    return Context("bench", "episode", "group", Random(7), Clock(0.0), stack, Host())


async def _opened(store: Store) -> float:
    async with AsyncExitStack() as stack:
        context = _context(stack)
        started = time.perf_counter()
        session = await store.open(store.Seed.model_validate({}), context)
        session.query(READ, 1)  # the copy is there, and not only promised
        return time.perf_counter() - started


def _write(session: StoreSession, number: int, rows: int) -> None:
    if session.execute(WRITE, f"status {number}", number % rows + 1) != 1:
        raise RuntimeError("the bench's own write changed no row")


def _median(work: Callable[[int], Any], count: int) -> float:
    samples = []
    for number in range(count):
        started = time.perf_counter()
        work(number)
        samples.append(time.perf_counter() - started)
    return statistics.median(samples)
