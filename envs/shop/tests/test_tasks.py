"""What a task asks for has one right outcome, found here again from the prompt and the world alone."""

import functools
import json
import re

import pytest
from envkit_shop.checkout import Checkout
from envkit_shop.claims import BAD, GOOD
from envkit_shop.refund import Refunds
from envkit_shop.shift import Shift
from envkit_shop.stock import SHIPPING

from envkit.data.keyed import KeyedRandom

MANY = range(200)


@functools.cache
def drawn(env):
    return [
        env.task("train", index, KeyedRandom(b"tasks", f"{env.__name__}/{index}")) for index in MANY
    ]


@pytest.mark.parametrize("env", [Refunds, Checkout, Shift])
def test_no_two_tasks_are_alike_and_every_number_is_used_once(env):
    tasks = drawn(env)
    assert len({json.dumps([t.prompt, t.world]) for t in tasks}) == len(tasks)
    for task in tasks:
        store = task.world["store"]
        for table, column in (("orders", "number"), ("products", "sku"), ("products", "name")):
            values = [row[column] for row in store[table]]
            assert len(values) == len(set(values))


def test_a_claim_has_one_outcome_by_the_policy():
    several = 0
    for task in drawn(Refunds):
        gold, store = task.gold, task.world["store"]
        (ticket,) = (row for row in store["tickets"] if row["id"] == gold.ticket_id)
        number, many, name = re.search(
            r"my order (\w+), (?:the|(\d+) of the \d+) (.*?)\. ", ticket["body"]
        ).groups()
        (order,) = (row for row in store["orders"] if row["number"] == number)
        (product,) = (row for row in store["products"] if row["name"] == name)
        (item,) = (
            row
            for row in store["order_items"]
            if (row["order_id"], row["product_id"]) == (order["id"], product["id"])
        )
        applies = (
            order["customer_id"] != ticket["customer_id"],
            order["delivered_days"] > 30,
            bool(product["final_sale"]),
            any(row["item_id"] == item["id"] for row in store["refunds"]),
        )
        reasons = [reason for reason, holds in zip(BAD, applies, strict=True) if holds]
        several += len(reasons) > 1
        opened = "unpacked and tried" in ticket["body"] or "It is opened" in ticket["body"]
        price = item["price"] * int(many or 1)
        amount = 0 if reasons else price * 85 // 100 if opened else price
        assert (gold.item_id, gold.amount) == (item["id"], amount)
        assert gold.reason == (reasons[0] if reasons else None)
        assert task.tags[0] in (GOOD if amount else [gold.reason])
    assert several > 10  # the policy's order matters


def test_a_wish_means_one_product_and_the_coupon_is_never_close():
    used = 0
    for task in drawn(Checkout):
        gold, products = task.gold, task.world["store"]["products"]
        items = {}
        for many, words in re.findall(r"^- (\d) of (.*)$", task.prompt, re.MULTILINE):
            cheapest = re.fullmatch(r"the cheapest (.*?)( that you can get now)?", words)
            if cheapest:
                alike = [p for p in products if p["name"].split(" ", 1)[1] == cheapest[1]]
                there = [p for p in alike if p["stock"] or not cheapest[2]]
                least = min(p["price"] for p in there)
                (product,) = (p for p in there if p["price"] == least)
            else:
                (product,) = (p for p in products if p["name"] == words.removeprefix("the "))
            assert product["stock"] > int(many)
            items[product["id"]] = int(many)
        assert items == gold.items
        goods = sum(gold.prices[number] * many for number, many in items.items())
        (coupon,) = task.world["store"]["coupons"]
        assert coupon["minimum"] % 1000 == 0
        above = coupon["minimum"] - goods
        assert above > max(SHIPPING.values()) if not gold.buyer.coupon else above <= 0
        used += bool(gold.buyer.coupon)
    assert 0.3 < used / len(MANY) < 0.7


def test_a_delivery_has_breakage_and_its_products_are_nobody_elses():
    for task in drawn(Shift):
        gold, store = task.gold, task.world["store"]
        assert any(good < came for _, good, came in gold.lines)
        assert all(0 < good <= came for _, good, came in gold.lines)
        (claimed,) = (
            i["product_id"] for i in store["order_items"] if i["id"] == gold.claim.item_id
        )
        touched = [claimed, *gold.order.items, *gold.stock]
        assert len(touched) == len(set(touched)) == 2 + len(gold.lines)
