"""What a mock API's call costs: a typed tool in process, beside httpx's ASGI transport on the same app and route."""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

from envkit.adapter import Clock, Context
from envkit.adapters.api import Api, ApiSession
from envkit.adapters.store import Store
from envkit.data.message import call
from envkit.errors import MissingError
from envkit.host import Host
from envkit.toolbox import Toolbox

SCHEMA = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT NOT NULL, status TEXT NOT NULL, total REAL NOT NULL);
INSERT INTO orders
    WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < 1000)
    SELECT id, 'customer ' || (id % 97), 'paid', id * 1.25 FROM n;
"""
ROWS = 1_000
BATCH = 100

Batch = tuple[float, float]

Ask = Callable[[int], Awaitable[bool]]


async def bench_api(*, calls: int = 1_000, opens: int = 200, rounds: int = 5) -> dict[str, Any]:
    """Medians over batches of `BATCH` calls, one call after the other, each a read of one row by its id; the log is on.

    `best_` figures are those of the least disturbed batch: what the machine does when it does nothing else.

    Raises MissingError without FastAPI and httpx.
    """
    ours: list[Batch] = []
    floors: list[Batch] = []
    writes: list[Batch] = []
    store = Store(SCHEMA)
    store.name = "store"
    api = Api(_app, store=store)
    api.name = "api"
    for _ in range(rounds):  # turn by turn, so that both see the same machine
        async with AsyncExitStack() as stack:
            session = await _opened(store, api, stack)
            toolbox = _toolbox(api, session)
            ours += await _each(calls, _reads(toolbox))
            writes += await _each(calls, _marks(toolbox))
            floors += await _each(calls, await _httpx(api, session, stack))
    opened = [await _opening(store, api) for _ in range(opens)]
    (call_s, call_cpu), (write_s, _), (floor_s, floor_cpu) = map(_median, (ours, writes, floors))
    return {
        "calls_per_second": round(1 / call_s),
        "best_calls_per_second": round(1 / min(ours)[0]),
        "call_us": round(call_s * 1e6, 1),
        "call_cpu_us": round(call_cpu * 1e6, 1),
        "write_us": round(write_s * 1e6, 1),
        "httpx_calls_per_second": round(1 / floor_s),
        "best_httpx_calls_per_second": round(1 / min(floors)[0]),
        "httpx_call_us": round(floor_s * 1e6, 1),
        "httpx_call_cpu_us": round(floor_cpu * 1e6, 1),
        "httpx_ratio_to_call": round(floor_s / call_s, 2),
        "httpx_cpu_ratio_to_call": round(floor_cpu / call_cpu, 2),
        "open_and_first_call_ms": round(statistics.median(opened) * 1e3, 3),
        "counts": {"calls": calls, "opens": opens, "rounds": rounds},
    }


def _app() -> Any:
    from fastapi import FastAPI, HTTPException
    from pydantic import BaseModel

    from envkit.adapters.api import World

    class Mark(BaseModel):
        status: str

    app = FastAPI()

    def read(order_id: int, world: World) -> Any:
        """One order."""
        rows = world.store.query("SELECT * FROM orders WHERE id = ?", order_id)
        if not rows:
            raise HTTPException(404, "no such order")
        return rows[0]

    def mark(order_id: int, body: Mark, world: World) -> Any:
        """Change an order's status."""
        changed = world.store.execute(
            "UPDATE orders SET status = ? WHERE id = ?", body.status, order_id
        )
        return {"id": order_id, "changed": changed}

    # the hints name what is local here, so they are given as objects
    read.__annotations__.update(world=World)
    mark.__annotations__.update(world=World, body=Mark)
    app.get("/orders/{order_id}", operation_id="read")(read)
    app.patch("/orders/{order_id}", operation_id="mark")(mark)
    return app


async def _opened(store: Store, api: Api, stack: AsyncExitStack) -> ApiSession:
    context = Context("bench", "episode", "group", Random(7), Clock(0.0), stack, Host())
    context.sessions["store"] = await store.open(store.Seed.model_validate({}), context)
    return await api.open(api.Seed(), context)


async def _opening(store: Store, api: Api) -> float:
    async with AsyncExitStack() as stack:
        started = time.perf_counter()
        await _reads(_toolbox(api, await _opened(store, api, stack)))(1)
        return time.perf_counter() - started


def _toolbox(api: Api, session: ApiSession) -> Toolbox:
    toolbox = Toolbox()
    for method, offered in api.tools().items():
        toolbox.add(offered, api.handler(session, method))
    return toolbox


def _reads(toolbox: Toolbox) -> Ask:
    async def ask(number: int) -> bool:
        asked = call("api_read", order_id=number % ROWS + 1).calls[0]
        result = await toolbox.call(asked, 10_000)
        return f'"id":{number % ROWS + 1},' in result.text

    return ask


def _marks(toolbox: Toolbox) -> Ask:
    async def ask(number: int) -> bool:
        asked = call("api_mark", order_id=number % ROWS + 1, status=f"s{number}").calls[0]
        return '"changed":1' in (await toolbox.call(asked, 10_000)).text

    return ask


async def _httpx(api: Api, session: ApiSession, stack: AsyncExitStack) -> Ask:
    """The way there is without envkit; handlers on the shared loop's thread pool, as FastAPI has them."""
    try:
        import httpx
    except ImportError as error:
        raise MissingError("the other side of this bench needs httpx: pip install httpx") from error
    app = session.app

    async def bound(scope: Any, receive: Any, send: Any) -> None:
        scope["envkit.world"] = session.world
        await app(scope, receive, send)

    transport = httpx.ASGITransport(app=bound)
    client = httpx.AsyncClient(transport=transport, base_url=api.origin)
    await stack.enter_async_context(client)

    async def ask(number: int) -> bool:
        answer = await client.get(f"/orders/{number % ROWS + 1}")
        return f'"id":{number % ROWS + 1},' in answer.text

    return ask


async def _each(count: int, ask: Ask) -> list[Batch]:
    """Seconds a call, on the clock and of this process's CPU, batch by batch."""
    for number in range(20):
        await ask(number)
    batches = []
    for _ in range(count // BATCH):
        started, used = time.perf_counter(), time.process_time()
        for number in range(BATCH):
            if not await ask(number):
                raise RuntimeError("the bench's own call went wrong")
        spent = time.perf_counter() - started, time.process_time() - used
        batches.append((spent[0] / BATCH, spent[1] / BATCH))
    return batches


def _median(batches: list[Batch]) -> Batch:
    return statistics.median(b[0] for b in batches), statistics.median(b[1] for b in batches)
