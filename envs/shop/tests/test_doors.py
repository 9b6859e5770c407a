"""One state behind every door, the same observations for the same seed, and screenshots that show a shop."""

import contextlib
import json

import pytest
from envkit_shop.checkout import Checkout
from envkit_shop.pages import buy, ref
from envkit_shop.refund import Refunds
from envkit_shop.shift import BOOK_IN, Shift
from envkit_shop.stock import SHIPPING, euros

from envkit import PublicTask, call
from envkit.adapters.api.exchange import Request
from envkit.data.keyed import KeyedRandom
from envkit.host import Host, HostSettings

pytestmark = [pytest.mark.browser, pytest.mark.docker]


@contextlib.asynccontextmanager
async def opened(env, backend="docker"):
    async with Host(HostSettings(backend=backend, concurrency=1)) as host, playing(host, env) as it:
        yield it


@contextlib.asynccontextmanager
async def playing(host, env):
    task = env.task("train", 0, KeyedRandom(b"doors", "task"))
    seeds = {
        n: env._adapters[n].Seed.model_validate(w).model_dump(mode="json")
        for n, w in task.world.items()
    }
    public = PublicTask(
        id="t", prompt=task.prompt, world=seeds, limits=task.limits, seed=11, digest="d"
    )
    world = env()
    try:
        await world.reset(public, host, pack="shop", group="g")
        yield world, task
    finally:
        await world.close()


async def do(world, tool, **arguments):
    return (await world.step(call(tool, **arguments))).text()


async def test_a_change_through_one_door_is_seen_through_all():
    async with opened(Shift) as (world, task):
        (number, left), *_ = task.gold.stock.items()
        sku, good, _ = task.gold.lines[0]
        page = await do(world, "browser_goto", url=f"/p/{number}")
        assert f"{left - good} in stock" in page
        body = json.dumps({"note": task.gold.note, "sku": sku, "quantity": good})
        said = await do(world, "shell_run", command=f"curl -sS {BOOK_IN} --json '{body}'")
        assert f'"stock":{left}' in said.replace(" ", "")
        assert f"{left} in stock" in await do(world, "browser_goto", url=f"/p/{number}")
        assert [(c.table, c.actor) for c in world.store.log] == [
            ("deliveries", "shell"),
            ("products", "shell"),
        ]

        refunded = task.gold.claim.ticket_id
        await do(
            world, "shop_decide_ticket", ticket_id=refunded, status="declined", reason="too_late"
        )
        over_http = await do(
            world, "shell_run", command=f"curl -sS http://shop.test/api/tickets/{refunded}"
        )
        assert '"declined"' in over_http

        await do(world, "browser_goto", url=f"/p/{number}")
        outline = await do(world, "browser_goto", url=f"/p/{number}")
        await do(world, "browser_click", ref=ref_in(outline, "button", "Add to cart"))
        assert world.store.query("SELECT product_id FROM cart") == [{"product_id": number}]
        assert [change.actor for change in world.store.log] == ["shell", "shell", "tool", "browser"]
        assert {record.actor for record in world.shop.requests} == {"browser", "shell", "tool"}


def ref_in(outline, role, name):
    class Seen:
        @staticmethod
        def text():
            return outline

    return ref(Seen, role, name)


async def test_each_door_has_its_own_rights():
    async with opened(Shift) as (world, task):
        claim = task.gold.claim
        refund = json.dumps({"item_id": claim.item_id, "quantity": 1, "amount": 1})
        url = f"http://shop.test/api/orders/{claim.order_id}/refunds"
        assert "not from here" in await do(
            world, "shell_run", command=f"curl -sS {url} --json '{refund}'"
        )
        forged = f"curl -sS {url} -H 'envkit.actor: tool' -H 'X-Actor: tool' --json '{refund}'"
        assert "not from here" in await do(world, "shell_run", command=forged)
        number = next(iter(task.gold.order.items))
        cart = f"curl -sS http://shop.test/cart/add -d product_id={number} -d quantity=1"
        assert "not from here" in await do(world, "shell_run", command=cart)
        assert world.store.log == ()


async def test_what_goes_wrong_is_a_page_of_the_shop_in_a_browser_and_json_elsewhere():
    async with opened(Checkout) as (world, task):
        for path, why in [
            ("/p/9999", "Nothing in products has the id 9999."),
            ("/p/abc", "product_id: Input should be a valid integer"),
            ("/c/Garden", "No such department."),
            ("/nowhere", "Not Found."),
            ("/cart/add", "Method Not Allowed."),
        ]:
            page = await do(world, "browser_goto", url=path)
            assert why in page
            assert 'navigation "Departments"' in page
            assert "detail" not in page
        await run(
            world, buy(task.gold.items, task.gold.buyer.model_copy(update={"postcode": "9" * 30}))
        )
        assert "postcode: String should have at most 20 characters." in await do(
            world, "browser_read"
        )
        asked = Request("POST", "/cart/add", "", (), b"")
        assert json.loads((await world.shop.ask(asked)).body)["detail"][0]["loc"] == [
            "body",
            "product_id",
        ]
        missing = await world.shop.ask(Request("GET", "/nowhere", "", (), b""))
        assert (missing.status, missing.body) == (404, b'{"detail":"Not Found"}')


async def test_an_order_says_what_its_total_is_made_of():
    async with opened(Checkout) as (world, task):
        await run(world, buy(task.gold.items, task.gold.buyer))
        page = await do(world, "browser_read")
        assert "Thank you: your order" in page
        assert "Shipping" in page
        assert euros(SHIPPING[task.gold.buyer.shipping]) in page
        assert ("Coupon QUAY" in page) == bool(task.gold.buyer.coupon)
        (old, *_) = world.store.query("SELECT number FROM orders WHERE status <> 'placed'")
        page = await do(world, "browser_goto", url=f"/order/{old['number']}")
        assert f'heading "Order {old["number"]}"' in page


async def test_the_front_page_shows_every_department():
    async with opened(Checkout) as (world, _):
        page = await do(world, "browser_read")
        names = [p["name"] for p in world.store.query("SELECT name FROM products")]
        shown = [name for name in names if name in page]
        where = ", ".join("?" for _ in shown)
        kinds = f"SELECT DISTINCT category FROM products WHERE name IN ({where})"  # noqa: S608 - question marks
        assert len(shown) == 8
        assert len(world.store.query(kinds, *shown)) == 4


async def test_more_than_there_is_cannot_be_ordered_and_one_cart_is_one_order():
    async with opened(Checkout) as (world, task):
        gold = task.gold
        (number, left), *_ = gold.stock.items()
        for _ in range(2):
            page = await world.step(call("browser_goto", url=f"/p/{number}"))
            many = call("browser_fill", ref=ref(page, "spinbutton", "Quantity"), text="20")
            await world.step(many)
            await world.step(call("browser_click", ref=ref(page, "button", "Add to cart")))
        await run(world, buy({}, gold.buyer))
        assert "Not enough in stock" in await do(world, "browser_read")
        cart = await world.step(call("browser_goto", url="/cart"))
        await world.step(call("browser_click", ref=ref(cart, "button", "Remove")))
        await run(world, buy({number: 1}, gold.buyer.model_copy(update={"coupon": ""})))
        assert "Thank you" in await do(world, "browser_read")
        await do(world, "browser_goto", url="/checkout")
        orders = "SELECT count(*) AS n FROM orders WHERE status = 'placed'"
        assert world.store.query(orders) == [{"n": 1}]
        stock = "SELECT stock FROM products WHERE id = ?"
        assert world.store.query(stock, number) == [{"stock": left + gold.items[number] - 1}]


async def run(world, script):
    with contextlib.suppress(StopIteration):
        action = next(script)
        while True:
            action = script.send(await world.step(action))


@pytest.mark.parametrize("env", [Refunds, Checkout])
async def test_the_same_seed_shows_the_same(env):
    seen = [
        first_look(env, count) for count in (1, 9)
    ]  # in a browser of its own, and in one after others
    assert len(set().union(*[await looks for looks in seen])) == 1


async def first_look(env, count):
    seen = set()
    async with Host(HostSettings(concurrency=1)) as host:
        for _ in range(count):
            async with playing(host, env) as (world, task):
                if env is Refunds:
                    ticket = task.gold.ticket_id
                    seen.add(
                        await do(world, "shop_get_ticket", ticket_id=ticket)
                        + await do(world, "shop_list_tickets")
                    )
                else:
                    first = await do(world, "browser_read")
                    seen.add(first + await do(world, "browser_goto", url="/c/Kitchen"))
    return seen


async def test_a_screenshot_is_a_picture_of_the_shop():
    async with opened(Checkout) as (world, _):
        observation = await world.step(call("browser_screenshot"))
        ((_, image),) = [message.content for message in observation.messages]
        assert image.data.startswith(b"\x89PNG")
        assert len(image.data) > 20_000
