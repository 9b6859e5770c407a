"""`shop/refund`: a customer wants money back; the policy says whether and how much."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any, ClassVar

from envkit_validators import expect, state
from pydantic import BaseModel

from envkit import Action, Api, Env, Evidence, Limits, Score, Script, Store, Task, call, say
from envkit_shop.app import make_app
from envkit_shop.claims import Claim, draw_claim
from envkit_shop.schema import SCHEMA

POLICY = """\
Refund policy
1. A claim is about one item of one order, and only the customer who ordered may claim.
2. The order was delivered at most 30 days before today.
3. Items that were on final sale are not taken back.
4. What was refunded once is not refunded again.
5. An item that came damaged: its full price. One that was opened: its price less 15 %, rounded down to the cent for
   all pieces together. One that is unopened: its full price.
"""


class Gold(BaseModel):
    """What has to be in the books afterwards."""

    ticket_id: int
    order_id: int
    item_id: int
    quantity: int
    amount: int  # cents; 0 where the claim is declined
    reason: str | None


class Refunds(Env[Gold]):
    """Decide a customer's claim by the refund policy, and do what it says."""

    version = 1
    splits: ClassVar = {"train": 2000, "test": 500}
    store = Store(SCHEMA)
    shop = Api(
        make_app,
        origin="http://shop.test",
        tools=(
            "list_tickets", "get_ticket", "find_orders", "get_order", "create_refund", "decide_ticket",
            "cancel_order", "change_address",
        ),
        store=store,
    )  # fmt: skip
    evidence: ClassVar = [store.changes()]

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task[Gold]:
        """A shop with some open messages, one of which is to be dealt with."""
        claim = draw_claim(rng)
        prompt = (
            f"Please deal with ticket {claim.ticket_id}, and with nothing else.\n\n{POLICY}\n{HOW}"
        )
        return Task(
            prompt=prompt,
            world={"store": claim.shop.world()},
            gold=gold_of(claim),
            limits=Limits(turns=20, seconds=60),
            tags=(claim.kind,),
        )

    @staticmethod
    def grade(evidence: Evidence, gold: Gold) -> Score:
        """The one refund that is due and the ticket closed, or the ticket declined; nothing else has changed."""
        return Score.all(books=state(evidence.json("store/changes.json"), *wanted(gold)))

    @staticmethod
    def solve(task: Task[Gold]) -> Script:
        """Read the claim and the order, then do what the policy says."""
        gold = task.gold
        yield call("shop_get_ticket", ticket_id=gold.ticket_id)
        yield call("shop_get_order", order_id=gold.order_id)
        yield from settle(gold)
        yield say("Done.")

    @staticmethod
    def near_misses(task: Task[Gold]) -> dict[str, Script]:
        """What one does who did not read the whole of the policy, or does too much."""
        gold = task.gold
        opposite = (
            gold.model_copy(update={"amount": 0, "reason": "too_late"})
            if gold.amount
            else gold.model_copy(update={"amount": 1000, "reason": None, "quantity": 1})
        )
        other_reason = "final_sale" if gold.reason != "final_sale" else "too_late"
        misses = {
            "opposite": _finished(settle(opposite)),
            "only_said": _said(f"Refunded {gold.amount} cents; the ticket is closed."),
            "another_ticket": _finished(
                settle(gold.model_copy(update={"ticket_id": _other(gold)}))
            ),
            "also_cancelled": _finished(
                settle(gold), call("shop_cancel_order", order_id=gold.order_id)
            ),
        }
        if gold.amount:
            misses |= {
                "a_cent_less": _finished(
                    settle(gold.model_copy(update={"amount": gold.amount - 1}))
                ),
                "ticket_left_open": _finished(list(settle(gold))[:-1]),
                "twice": _finished([*settle(gold), *settle(gold)]),
            }
        else:
            wrong = gold.model_copy(update={"reason": other_reason})
            misses["wrong_reason"] = _finished(settle(wrong))
        return misses


HOW = """\
Amounts are in cents. Where the claim is good, pay the refund and set the ticket to refunded. Where it is not, set the
ticket to declined with the reason: not_theirs, too_late, final_sale or already_refunded. If several apply, it is the
first of them in the policy's order."""


def gold_of(claim: Claim) -> Gold:
    """What a claim comes to."""
    return Gold(
        ticket_id=claim.ticket_id, order_id=claim.order["id"], item_id=claim.item["id"],
        quantity=claim.quantity, amount=claim.amount, reason=claim.reason,
    )  # fmt: skip


def wanted(gold: Gold) -> list[Any]:
    """The changes that settle a claim."""
    if not gold.amount:
        return [expect("tickets", id=gold.ticket_id, status="declined", reason=gold.reason)]
    return [
        expect("tickets", id=gold.ticket_id, status="refunded"),
        expect.inserted(
            "refunds", order_id=gold.order_id, item_id=gold.item_id, quantity=gold.quantity, amount=gold.amount
        ),
    ]  # fmt: skip


def settle(gold: Gold) -> Script:
    """The calls that write a decision down."""
    decision: dict[str, object] = {"status": "declined", "reason": gold.reason}
    if gold.amount:
        yield call(
            "shop_create_refund", order_id=gold.order_id, item_id=gold.item_id, quantity=gold.quantity,
            amount=gold.amount,
        )  # fmt: skip
        decision = {"status": "refunded"}
    yield call("shop_decide_ticket", ticket_id=gold.ticket_id, **decision)


def _finished(calls: Iterable[Action], *more: Action) -> Script:
    for action in (*calls, *more):  # noqa: UP028 - a tuple takes no observations
        yield action
    yield say("Done.")


def _said(text: str) -> Script:
    yield say(text)


def _other(gold: Gold) -> int:
    return gold.ticket_id + 1 if gold.ticket_id % 10 < 3 else gold.ticket_id - 1
