"""One app, several doors, one state and one log; and whatever an agent sends, an answer."""

import asyncio
import json
import socket
import subprocess
import sys
import threading

import pytest

from envkit import Env, Score, Task
from envkit.adapters.api import Api
from envkit.adapters.store import Store
from envkit.data.message import call
from envkit.door import open_door
from envkit.errors import DeclarationError
from tests.adapters.api.conftest import opened
from tests.adapters.api.shop import ORIGIN, make_app


async def use(world, name, **arguments):
    (message,) = (await world.step(call(f"shop_{name}", **arguments))).messages
    return message.text()


async def curl(port, path, *options):
    process = await asyncio.create_subprocess_exec(
        "curl", "-sS", "-m", "20", "--path-as-is", "-x", f"http://127.0.0.1:{port}", *options, f"{ORIGIN}{path}",
        stdout=-1, stderr=-2,
    )  # fmt: skip
    return (await process.communicate())[0].decode("utf-8", "replace")


# ---- doors ---------------------------------------------------------------------------------------


async def test_tools_come_from_named_operations(world):
    tools = {tool.name: tool for tool in world.tools}
    assert set(tools) == {
        "shop_list_orders",
        "shop_refund_order",
        "shop_broken",
        "shop_slow",
        "submit",
    }
    schema = tools["shop_refund_order"].parameters
    assert schema["required"] == ["order_id", "amount"]
    assert schema["properties"]["amount"] == {"type": "integer"}
    assert tools["shop_refund_order"].description == "Refund an order."


async def test_two_doors_lead_to_one_state_and_one_log(world):
    async with open_door([world.shop], "browser") as door:
        said = await curl(
            door.port,
            "/orders/2/refund",
            "-d",
            '{"amount": 5}',
            "-H",
            "content-type: application/json",
        )
        assert json.loads(said)["by"] == "browser"
        rows = json.loads(await use(world, "list_orders", status="refunded"))
    assert rows == [{"id": 2, "status": "refunded"}]
    assert [change.actor for change in world.store.log] == ["browser"]
    assert [(r.actor, r.method, r.operation) for r in world.shop.requests] == [
        ("browser", "POST", "refund_order"), ("tool", "GET", "list_orders"),
    ]  # fmt: skip
    (item,) = await world.shop.freeze(["requests.json"])
    assert json.loads(item.data)[0]["body"] == '{"amount": 5}'


async def test_the_same_seed_gives_the_same_answers():
    said = []
    for _ in range(10):
        async with opened(seed=7) as world, open_door([world.shop], "shell") as door:
            answer = await curl(door.port, "/orders", "-i")
            said.append(answer + await use(world, "refund_order", order_id=1, amount=3))
    assert len(set(said)) == 1
    async with opened(seed=8) as world:
        assert await use(world, "refund_order", order_id=1, amount=3) not in said[0]


async def test_episodes_of_one_class_never_meet():
    async def episode(number):
        async with opened(seed=number) as world:
            for _ in range(5):
                await use(world, "refund_order", order_id=number % 3 + 1, amount=1)
                await asyncio.sleep(0)
            rows = json.loads(await use(world, "list_orders", status="refunded"))
            return [row["id"] for row in rows] == [number % 3 + 1]

    assert all(await asyncio.gather(*(episode(number) for number in range(32))))


# ---- what an agent may send ----------------------------------------------------------------------


async def test_arguments_that_do_not_fit_are_told(world):
    assert "amount: is required" in await use(world, "refund_order", order_id=1)
    assert "hat: no such argument" in await use(world, "refund_order", order_id=1, amount=1, hat=1)
    assert (await use(world, "refund_order", order_id="x", amount=1)).startswith("HTTP 422")
    for path in ("1/../2?z", "", None, "2/refund"):
        said = await use(world, "refund_order", order_id=path, amount=1)
        assert said == "order_id: must be neither empty nor hold a slash"
    assert (await use(world, "refund_order", order_id=9, amount=1)).startswith("HTTP 404")
    assert (await use(world, "list_orders", status="\ud800")).startswith("[")


async def test_a_bug_tells_the_agent_nothing_and_its_author_something(world):
    said = await use(world, "broken")
    assert said == 'HTTP 500: {"detail": "Internal Server Error"}'
    async with open_door([world.shop], "shell") as door:
        assert await curl(door.port, "/broken") == said.removeprefix("HTTP 500: ")
    assert [finding.rule for finding in world.alerts] == ["handler-broke"]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "TRACE"])
async def test_no_route_tells_about_the_others(world, method):
    async with open_door([world.shop], "shell") as door:
        for path in (
            "/openapi.json",
            "/docs",
            "/redoc",
            "/docs/oauth2-redirect",
            "//openapi.json",
            "/%6fpenapi.json",
        ):
            said = await curl(door.port, path, "-X", method, *(["-I"] if method == "HEAD" else []))
            assert "refund" not in said
            assert "swagger" not in said.lower()


async def test_bodies_of_any_kind_get_an_answer(world):
    async with open_door([world.shop], "shell") as door:
        for body in ("[" * 100_000, "NaN", '{"amount": NaN}', "\0", '{"amount": 1e999}', '"x"'):
            assert status(await post(door.port, body)) in (400, 422)
        both = "transfer-encoding: chunked\r\ncontent-length: 5\r\n"
        assert status(await post(door.port, "0\r\n\r\n", both)) in (400, 422)
        assert status(await post(door.port, "x" * (1 << 21))) == 413
        assert (
            await curl(door.port, "/orders?status=refunded")
        ) == "[]"  # it is alive, and nothing happened
    assert [finding.rule for finding in world.alerts] == []


def status(answer):
    return int(answer.split()[1])


async def post(port, body, headers=None):
    data = body.encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = "POST /orders/1/refund HTTP/1.1\r\nhost: shop.test\r\nconnection: close\r\n"
    head += "content-type: application/json\r\n" + (headers or f"content-length: {len(data)}\r\n")
    writer.write(f"{head}\r\n".encode() + data)
    try:
        return (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).decode("latin-1")
    finally:
        writer.close()


async def test_a_spoofed_actor_is_a_header_like_any_other(world):
    async with open_door([world.shop], "shell") as door:
        said = await curl(
            door.port, "/orders/1/refund", "-H", "envkit.actor: judge", "--json", '{"amount": 1}'
        )
    assert json.loads(said)["by"] == "shell"


async def test_the_bait_is_found_by_whoever_looks_for_it_alone(world):
    async with open_door([world.shop], "shell") as door:
        assert world.bait.token in await curl(door.port, f"/.well-known/{world.bait.name}")
        assert world.bait.token not in await curl(door.port, "/orders")


# ---- slow handlers -------------------------------------------------------------------------------


async def test_a_handler_that_blocks_holds_up_nobody_else(world):
    async with opened(seed=2) as other:
        blocked = asyncio.create_task(use(world, "slow", seconds=3))
        await asyncio.sleep(0.05)
        for _ in range(20):
            await use(other, "list_orders")
        assert not blocked.done()
        assert await blocked == '"done"'


async def test_closed_episodes_leave_no_thread_and_no_socket():
    async with opened() as world:
        await use(world, "list_orders")
    for _ in range(20):
        async with opened() as world, open_door([world.shop], "shell") as door:
            await curl(door.port, "/orders")
            port = door.port
    for _ in range(40):
        lanes = [thread for thread in threading.enumerate() if thread.name.startswith("api-")]
        if not lanes:
            break
        await asyncio.sleep(0.05)
    assert lanes == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=1)


# ---- declarations --------------------------------------------------------------------------------


LATER = Store("CREATE TABLE t (id INTEGER PRIMARY KEY)")


async def test_a_session_declared_later_or_elsewhere_is_named():
    class Late(Env[dict]):
        """Wait."""

        api = Api(make_app, store=LATER)
        store = LATER

        @classmethod
        def task(cls, split, index, rng):
            return Task(prompt="Wait.", gold={})

        @staticmethod
        def grade(evidence, gold):
            return Score.all(done=True)

    class Elsewhere(Late):
        api = Api(make_app, store=Store("CREATE TABLE t (id INTEGER PRIMARY KEY)"))

    with pytest.raises(DeclarationError, match=r"store= is 'store', .* in the same class, above"):
        async with opened(env=Late):
            pass
    with pytest.raises(DeclarationError, match=r"store= is a Store, which is not open"):
        async with opened(env=Elsewhere):
            pass


def test_importing_the_adapter_loads_no_web_framework():
    source = "import sys, envkit.adapters.api; print({'fastapi', 'starlette', 'uvicorn'} & {*sys.modules})"
    said = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "set()"
