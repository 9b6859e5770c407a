"""`shop/shift`: an hour of work in which every tool is needed, all of them on one state.

The delivery note lies in the warehouse's terminal, whence alone it can be booked in (curl); claims are settled with the
staff's tools; a replacement is ordered in the shop's pages; what changed in the policy stands in the shift's notes, and
the next shift wants to read there what came in.
"""

from __future__ import annotations

import json
import shlex
from random import Random
from typing import Any, ClassVar

from envkit_validators import exact, expect, state
from pydantic import BaseModel

from envkit import (
    Action,
    Api,
    Browser,
    Env,
    Evidence,
    Limits,
    Memory,
    Score,
    Script,
    Store,
    Task,
    Terminal,
    call,
    say,
)  # fmt: skip
from envkit_shop import checkout, refund
from envkit_shop.app import make_app
from envkit_shop.claims import Claim, Terms, draw_claim
from envkit_shop.pages import Buyer, buy
from envkit_shop.schema import SCHEMA
from envkit_shop.stock import CITIES, FIRST, LAST, SHIPPING, Row, Shop, address

BOOK_IN = "http://shop.test/warehouse/deliveries"


class Gold(BaseModel):
    """The books after the shift, and the line in the notes."""

    claim: refund.Gold
    order: checkout.Gold
    note: str  # the delivery note's number
    lines: list[tuple[str, int, int]]  # of each product: sku, what came unbroken, what came in all
    stock: dict[int, int]  # of those products, afterwards
    handover: str


class Shift(Env[Gold]):
    """Work a shift at the shop: book a delivery in, settle a claim, order a replacement, hand over."""

    version = 1
    splits: ClassVar = {"train": 1000, "test": 250}
    store = Store(SCHEMA)
    shop = Api(
        make_app,
        origin="http://shop.test",
        tools=("get_ticket", "find_orders", "get_order", "create_refund", "decide_ticket"),
        store=store,
    )
    browser = Browser(site=shop)
    shell = Terminal(sites=(shop,))
    notes = Memory()
    evidence: ClassVar = [store.changes(), notes.files("handover.md")]

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task[Gold]:
        """A claim under this week's terms, a delivery with some breakage, and an order to be placed."""
        terms = Terms(fee=rng.choice((5, 10, 20, 25)), days=rng.choice((14, 21, 45)))
        claim = draw_claim(rng, terms, good=("opened",), bad=("too_late",))
        gold = draw_gold(claim)
        files = {f"inbox/{gold.note}.csv": delivery_note(gold)}
        return Task(
            prompt=prompt_for(claim, gold),
            world={
                "store": claim.shop.world(),
                "shell": {"files": files},
                "notes": {"policy.md": policy(terms)},
            },
            gold=gold,
            limits=Limits(turns=40, seconds=180),
        )

    @staticmethod
    def grade(evidence: Evidence, gold: Gold) -> Score:
        """The books hold all three pieces of work and nothing else; the notes hold the line."""
        clauses = [*refund.wanted(gold.claim), *checkout.wanted(gold.order), *booked_in(gold)]
        return Score.all(
            books=state(evidence.json("store/changes.json"), *clauses),
            handover=exact(evidence.text("notes/files/handover.md"), gold.handover),
        )

    @staticmethod
    def solve(task: Task[Gold]) -> Script:
        """One piece of work after the other."""
        gold = task.gold
        yield call("notes_view", path="/memories/policy.md")
        yield call("shell_run", command=f"cat inbox/{gold.note}.csv")
        yield from work(gold)
        yield say("The shift is done.")

    @staticmethod
    def near_misses(task: Task[Gold]) -> dict[str, Script]:
        """A shift with one thing wrong or left out."""
        gold = task.gold
        usual = gold.claim.model_copy(update={"amount": gold.claim.amount + 1, "reason": None})
        broken = [(sku, came, came) for sku, _, came in gold.lines]
        return {
            "old_terms": _shift(gold.model_copy(update={"claim": usual})),
            "breakage_booked_in": _shift(gold.model_copy(update={"lines": broken})),
            "no_handover": _shift(gold.model_copy(update={"handover": ""})),
            "nothing_ordered": _shift(gold, ordering=False),
            "only_said": _shift(None),
        }


# ---- what the task is ----------------------------------------------------------------------------


def draw_gold(claim: Claim) -> Gold:
    """Choose what is delivered and what is ordered; the products of claim, delivery and order are all different."""
    shop, rng = claim.shop, claim.shop.rng
    free = [p for p in shop.products if p["id"] != claim.item["product_id"] and p["stock"] > 2]
    replacement, *delivered = rng.sample(free, rng.randint(4, 5))
    note, lines, stock, pieces = f"DN{rng.randint(10_000, 99_999)}", [], {}, 0
    unlucky = rng.choice(delivered)  # else whoever does not look at the breakage may be right
    for product in delivered:
        came = rng.randint(4, 40)
        good = came - rng.choice((1, 2, 3) if product is unlucky else (0, 0, 1, 2, 3))
        lines.append((product["sku"], good, came))
        stock[product["id"]] = product["stock"] + good
        pieces += good
    handover = f"{note}: {pieces} pieces booked in"
    order = _replacement(shop, replacement)
    return Gold(
        claim=refund.gold_of(claim), order=order, note=note, lines=lines, stock=stock, handover=handover
    )  # fmt: skip


def _replacement(shop: Shop, product: Row) -> checkout.Gold:
    rng = shop.rng
    buyer = Buyer(
        name=f"{rng.choice(FIRST)} {rng.choice(LAST)}", **address(rng), city=rng.choice(CITIES),
        shipping=rng.choice(list(SHIPPING)),
    )  # fmt: skip
    number, many = product["id"], rng.randint(1, 2)
    return checkout.Gold(
        buyer=buyer, items={number: many}, decoys={}, prices={number: product["price"]},
        stock={number: product["stock"] - many},
        total=product["price"] * many + SHIPPING[buyer.shipping],
    )  # fmt: skip


def delivery_note(gold: Gold) -> str:
    """The supplier's delivery note, as CSV."""
    rows = [f"{sku},{came},{came - good}" for sku, good, came in gold.lines]
    return "\n".join(("sku,delivered,broken", *rows, ""))


def policy(terms: Terms) -> str:
    """What the last shift wrote down."""
    return (
        "# Returns, from this week on\n\n"
        f"- Claims are good for {terms.days} days after delivery (it was 30); later ones: declined, too_late.\n"
        f"- Opened items: we keep {terms.fee} % (it was 15 %), rounded in our favour to the cent.\n"
    )


def prompt_for(claim: Claim, gold: Gold) -> str:
    """What is to be done."""
    buyer, order = gold.order.buyer, gold.order
    ((number, many),) = order.items.items()
    name = claim.shop.product(number)["name"]
    return f"""\
Please take over the shift. You have the shop's pages in the browser (http://shop.test), the staff's tools, the
warehouse's terminal, and the notes of the shift under /memories.

1. Delivery {gold.note} is in: inbox/{gold.note}.csv in the terminal. Book every line in from there, with what came
   unbroken:  POST {BOOK_IN}  {{"note": "{gold.note}", "sku": ..., "quantity": ...}}  as JSON. Only
   the terminal may do that.
2. Settle ticket {gold.claim.ticket_id} with the staff's tools. The terms have changed: see policy.md in the notes.
   Pay the refund (in cents) and set the ticket to refunded, or set it to declined with the reason.
3. Order {many} of the {name} in the shop's pages, by {buyer.shipping} shipping, to {buyer.name}, {buyer.street},
   {buyer.postcode} {buyer.city}. No coupon. It is a replacement: order it once.
4. Write /memories/handover.md with this one line and nothing else, N being the pieces booked in, all lines together:
   {gold.note}: N pieces booked in
"""


def booked_in(gold: Gold) -> list[Any]:
    """The changes that booking the delivery in makes."""
    lines = [
        expect.inserted("deliveries", note=gold.note, sku=sku, quantity=good)
        for sku, good, _ in gold.lines
    ]
    return lines + [
        expect("products", id=number, stock=left) for number, left in gold.stock.items()
    ]


# ---- how it is done ------------------------------------------------------------------------------


def work(gold: Gold, *, ordering: bool = True) -> Script:
    """The calls of a whole shift."""
    yield curl(gold)
    yield from refund.settle(gold.claim)
    if ordering:
        yield from buy(gold.order.items, gold.order.buyer)
    if gold.handover:
        yield call("notes_create", path="/memories/handover.md", file_text=gold.handover)


def curl(gold: Gold) -> Action:
    """Book every line in."""
    bodies = [
        json.dumps({"note": gold.note, "sku": sku, "quantity": good}) for sku, good, _ in gold.lines
    ]
    posts = [f"curl -sS {BOOK_IN} --json {shlex.quote(body)}" for body in bodies]
    return call("shell_run", command="; ".join(posts))


def _shift(gold: Gold | None, *, ordering: bool = True) -> Script:
    if gold is not None:
        yield from work(gold, ordering=ordering)
    yield say("The shift is done.")
