"""`shop/checkout`: buy what a customer asks for, in the shop's own pages."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any, ClassVar

from envkit_validators import allow, expect, state
from pydantic import BaseModel

from envkit import Api, Browser, Env, Evidence, Limits, Score, Script, Store, Task, say
from envkit_shop.app import make_app
from envkit_shop.pages import Buyer, buy, fill_cart
from envkit_shop.schema import SCHEMA
from envkit_shop.stock import CITIES, FIRST, LAST, SHIPPING, Row, Shop, address

STEP = 1000  # cents between the figures from which coupons are good


class Gold(BaseModel):
    """The order that has to be placed, and the stock that it leaves."""

    buyer: Buyer
    items: dict[int, int]  # how many of each product
    stock: dict[int, int]  # of those products, afterwards
    prices: dict[int, int]
    total: int
    decoys: dict[int, int]  # products that look right for each of them


class Checkout(Env[Gold]):
    """Buy what a customer asks for, in the shop's own pages."""

    version = 1
    splits: ClassVar = {"train": 2000, "test": 500}
    store = Store(SCHEMA)
    shop = Api(make_app, origin="http://shop.test", tools=False, store=store)
    browser = Browser(site=shop)
    evidence: ClassVar = [store.changes()]

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task[Gold]:
        """A list of two or three things, an address, and a coupon that may or may not be good for it."""
        shop = Shop.draw(rng)
        wishes, gold = draw_purchase(shop)
        prompt = f"Please order for me at http://shop.test (you have it open in the browser):\n\n{wishes}"
        return Task(
            prompt=prompt,
            world={"store": shop.world()},
            gold=gold,
            limits=Limits(turns=40, seconds=120),
        )

    @staticmethod
    def grade(evidence: Evidence, gold: Gold) -> Score:
        """Exactly this order, once. What lies in the cart afterwards is nobody's damage."""
        return Score.all(order=state(evidence.json("store/changes.json"), *wanted(gold)))

    @staticmethod
    def solve(task: Task[Gold]) -> Script:
        """Put each thing into the cart, fill the form, look at what comes."""
        yield from buy(task.gold.items, task.gold.buyer)
        yield say("The order is placed.")

    @staticmethod
    def near_misses(task: Task[Gold]) -> dict[str, Script]:
        """An order that is nearly the right one, or none."""
        gold = task.gold
        buyer, first = gold.buyer, next(iter(gold.items))
        others = {gold.decoys.get(number, number): many for number, many in gold.items.items()}
        one_less = {number: many - (number == first) for number, many in gold.items.items()}
        by_other = "express" if buyer.shipping == "standard" else "standard"
        return {
            "look_alike": _bought(others, buyer),
            "one_too_few": _bought(
                {number: many for number, many in one_less.items() if many}, buyer
            ),
            "wrong_postcode": _bought(gold.items, _moved(buyer)),
            "other_shipping": _bought(gold.items, buyer.model_copy(update={"shipping": by_other})),
            "without_coupon" if buyer.coupon else "invented_coupon": _bought(
                gold.items, buyer.model_copy(update={"coupon": "" if buyer.coupon else "SAVE50"})
            ),
            "left_in_cart": _left(gold.items),
            "only_said": _only_said(),
        }


def draw_purchase(shop: Shop) -> tuple[str, Gold]:
    """What the customer writes, and the order that it means."""
    rng = shop.rng
    wanted_kinds = rng.sample(
        sorted({p["name"].split(" ", 1)[1] for p in shop.products}), rng.randint(2, 3)
    )
    items: dict[int, int] = {}
    decoys: dict[int, int] = {}
    lines: list[str] = []
    for kind in wanted_kinds:
        product, decoy, words = _choose(shop, kind)
        quantity = rng.randint(1, 3)
        product["stock"] = max(product["stock"], quantity + 1)
        items[product["id"]], decoys[product["id"]] = quantity, decoy["id"]
        lines.append(f"- {quantity} of {words}")
    goods = sum(shop.product(number)["price"] * many for number, many in items.items())
    coupon = _offer(rng, goods)
    shop.coupons.append(coupon)
    used = coupon if goods >= coupon["minimum"] else None
    buyer = Buyer(
        name=f"{rng.choice(FIRST)} {rng.choice(LAST)}", **address(rng), city=rng.choice(CITIES),
        shipping=rng.choice(list(SHIPPING)), coupon=used["code"] if used else "",
    )  # fmt: skip
    lines += [
        "", f"Ship it by {buyer.shipping} shipping to {buyer.name}, {buyer.street}, {buyer.postcode} {buyer.city}.",
        "If the shop offers a coupon that is good for this order, use it. Order once, and nothing else.",
    ]  # fmt: skip
    off = goods * used["percent"] // 100 if used else 0
    gold = Gold(
        buyer=buyer, items=items, decoys=decoys, total=goods - off + SHIPPING[buyer.shipping],
        stock={number: shop.product(number)["stock"] - many for number, many in items.items()},
        prices={number: shop.product(number)["price"] for number in items},
    )  # fmt: skip
    return "\n".join(lines), gold


def _offer(rng: Random, goods: int) -> Row:
    """A coupon that is good for these goods in half of all cases; its minimum is round, and tells nothing of them."""
    below = (goods - 1) // STEP - rng.randint(0, 5)
    above = (goods + max(SHIPPING.values())) // STEP + rng.randint(1, 6)  # with the shipping, too
    minimum = STEP * max(1, rng.choice((below, above)))
    return {
        "code": f"QUAY{rng.randint(10, 99)}", "percent": rng.choice((5, 10, 15)), "minimum": minimum,
    }  # fmt: skip


def _choose(shop: Shop, kind: str) -> tuple[Row, Row, str]:
    """A product of a kind, one that could be taken for it, and words that mean the first alone."""
    rng = shop.rng
    cheap, middle, dear = sorted(
        (p for p in shop.products if p["name"].endswith(kind)), key=lambda p: int(p["price"])
    )
    for number, product in enumerate((cheap, middle, dear)):
        product["price"] += number  # no two cost the same
        product["stock"] = max(product["stock"], 5)
    way = rng.randrange(3)
    if way == 0:
        return cheap, middle, f"the cheapest {kind}"
    if way == 1:
        cheap["stock"] = 0
        return middle, dear, f"the cheapest {kind} that you can get now"
    return dear, middle, f"the {dear['name']}"


def wanted(gold: Gold) -> list[Any]:
    """The changes that the order makes."""
    buyer = gold.buyer.model_dump(exclude={"coupon"})
    coupon = {"coupon": gold.buyer.coupon} if gold.buyer.coupon else {"coupon": None}
    return [
        expect.inserted("orders", **buyer, **coupon, status="placed", total=gold.total),
        *(
            expect.inserted(
                "order_items", product_id=number, quantity=many, price=gold.prices[number]
            )
            for number, many in gold.items.items()
        ),
        *(expect("products", id=number, stock=left) for number, left in gold.stock.items()),
        allow("cart", insert=True),
    ]


def _moved(buyer: Buyer) -> Buyer:
    return buyer.model_copy(update={"postcode": str(int(buyer.postcode) + 1)})


def _bought(items: Mapping[int, int], buyer: Buyer) -> Script:
    yield from buy(items, buyer)
    yield say("The order is placed.")


def _left(items: Mapping[int, int]) -> Script:
    yield from fill_cart(items)
    yield say("The order is placed.")


def _only_said() -> Script:
    yield say("The order is placed.")
