"""An API over the real store: a change by any door is seen by all, and the change log says whose it was."""

import asyncio
import contextlib
import json
import time

import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from envkit import Env, Score, Task
from envkit.adapters.api import Api, World
from envkit.adapters.store import Store
from envkit.data.message import call
from envkit.door import open_door
from tests.adapters.api.conftest import opened

SCHEMA = "CREATE TABLE orders (id INTEGER PRIMARY KEY, status TEXT NOT NULL, note TEXT UNIQUE)"


class Status(BaseModel):
    status: str


def make_app():
    app = FastAPI()

    @app.get("/orders/{order_id}", operation_id="read")
    def read(order_id: int, world: World):
        return world.store.query("SELECT id, status FROM orders WHERE id = ?", order_id)

    @app.patch("/orders/{order_id}", operation_id="mark")
    def mark(order_id: int, body: Status, world: World):
        changed = world.store.execute(
            "UPDATE orders SET status = ? WHERE id = ?", body.status, order_id
        )
        return {"changed": changed, "at": world.now(), "id": world.new_id("ch")}

    @app.post("/slow", operation_id="slow")
    def slow(world: World):
        world.store.execute("UPDATE orders SET status = 'slow' WHERE id = 1")
        time.sleep(0.5)

    @app.post("/swap", operation_id="swap")
    async def swap(world: World):
        with world.store.transaction():
            world.store.execute("UPDATE orders SET note = 'x' WHERE id = 1")
            world.store.execute("UPDATE orders SET note = 'x' WHERE id = 2")  # it is unique

    @app.get("/search", operation_id="search")
    def search(q: str, world: World):
        return world.store.query(f"SELECT id FROM orders WHERE status = '{q}'")  # noqa: S608 - a careless author

    return app


class Desk(Env[dict]):
    """Mark orders."""

    store = Store(SCHEMA)
    desk = Api(make_app, origin="http://desk.test", store=store)
    evidence = [store.changes(), desk.requests()]

    @classmethod
    def task(cls, split, index, rng):
        rows = [{"id": n, "status": "new"} for n in range(1, 6)]
        return Task(prompt="Mark.", world={"store": {"orders": rows}}, gold={})

    @staticmethod
    def grade(evidence, gold):
        return Score.all(done=True)


@pytest.fixture
async def world():
    async with opened(env=Desk) as one:
        yield one


async def use(world, name, **arguments):
    return (await world.step(call(f"desk_{name}", **arguments))).text()


async def patch(port, order, status):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = json.dumps({"status": status})
    writer.write(
        f"PATCH /orders/{order} HTTP/1.1\r\nhost: desk.test\r\nconnection: close\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()
    )
    answer = await reader.read()
    writer.close()
    return json.loads(answer.partition(b"\r\n\r\n")[2])


async def test_a_change_by_a_door_is_seen_by_a_tool_and_in_the_change_log(world):
    async with open_door([world.desk], "shell") as shell, open_door([world.desk], "web") as web:
        assert (await patch(shell.port, 1, "sent"))["changed"] == 1
        assert (await patch(web.port, 2, "lost"))["changed"] == 1
        assert await use(world, "read", order_id=1) == '[{"id":1,"status":"sent"}]'
        await use(world, "mark", order_id=3, status="back")
    assert [(c.actor, c.key, c.after["status"]) for c in world.store.log] == [
        ("shell", {"id": 1}, "sent"), ("web", {"id": 2}, "lost"), ("tool", {"id": 3}, "back"),
    ]  # fmt: skip
    assert [(r.actor, r.operation, r.status) for r in world.desk.requests] == [
        ("shell", "mark", 200), ("web", "mark", 200), ("tool", "read", 200), ("tool", "mark", 200),
    ]  # fmt: skip
    evidence = await world.freeze()
    names = {item.name: json.loads(item.data) for item in evidence.items}
    assert len(names["store/changes.json"]) > 0
    assert [r["n"] for r in names["desk/requests.json"]] == [0, 1, 2, 3]


async def test_actors_of_requests_at_once_are_not_mixed_up(world):
    async with open_door([world.desk], "shell") as shell, open_door([world.desk], "web") as web:
        await asyncio.gather(
            *(patch(shell.port, 1, f"shell{n}") for n in range(8)),
            *(patch(web.port, 2, f"web{n}") for n in range(8)),
            *(use(world, "mark", order_id=3, status=f"tool{n}") for n in range(8)),
        )
    seen = {(c.actor, c.after["status"].rstrip("0123456789")) for c in world.store.log}
    assert seen == {("shell", "shell"), ("web", "web"), ("tool", "tool")}


async def test_thirty_two_episodes_of_one_declaration_never_see_each_other():
    async def episode(number):
        async with opened(env=Desk, seed=number) as world, open_door([world.desk], "web") as door:
            said = []
            for turn in range(4):
                said.append(await use(world, "mark", order_id=1, status=f"{number}-{turn}"))
                await patch(door.port, 2, f"{number}-{turn}")
                rows = [
                    json.loads(await use(world, "read", order_id=n))[0]["status"] for n in (1, 2)
                ]
                assert rows == [f"{number}-{turn}"] * 2
            assert len(world.store.log) == len(world.desk.requests) - 8
            return tuple(json.loads(text)["id"] for text in said)

    ids = await asyncio.gather(*(episode(number) for number in range(32)))
    assert len(set(ids)) == 32
    assert await episode(5) == ids[5]


async def test_what_the_store_refuses_is_no_bug_of_the_app(world):
    assert (await use(world, "mark", order_id=1 << 70, status="x")).startswith("HTTP 422")
    assert world.desk.alerts == ()


async def test_a_transaction_that_breaks_leaves_nothing(world):
    assert (await use(world, "swap")) == 'HTTP 500: {"detail": "Internal Server Error"}'
    assert world.store.log == ()
    assert "IntegrityError" in world.desk.alerts[0].evidence


async def test_a_careless_query_stays_inside_its_store(world):
    for q in (
        "' UNION SELECT sql FROM sqlite_master --",
        "'; ATTACH '/tmp/x' AS x; --",
        "x' OR '1'='1",
    ):
        said = await use(world, "search", q=q)
        assert said.startswith(("HTTP 500", "[{"))
        assert "CREATE" not in said


@pytest.mark.parametrize("cancelled", [False, True])
async def test_no_change_is_without_its_request_though_the_answer_came_too_late(world, cancelled):
    asked = asyncio.create_task(use(world, "slow"))
    async with asyncio.timeout(10):
        while not world.store.log:
            await asyncio.sleep(0.01)
    if cancelled:
        asked.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asked
    evidence = await world.freeze()
    frozen = {item.name: json.loads(item.data) for item in evidence.items}
    assert [c["after"]["status"] for c in frozen["store/changes.json"]["changes"]] == ["slow"]
    assert [(r["operation"], r["status"]) for r in frozen["desk/requests.json"]] == [("slow", 504)]
    if not cancelled:
        assert (await asked).startswith("HTTP 504")
