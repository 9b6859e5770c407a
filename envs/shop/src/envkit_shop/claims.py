"""Claims: what customers write who want money back, and what the policy makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from envkit_shop.stock import Row, Shop

Kind = Literal[
    "unopened", "opened", "damaged", "not_theirs", "too_late", "final_sale", "already_refunded"
]
GOOD: tuple[Kind, ...] = ("unopened", "opened", "damaged")
# in the policy's order
BAD: tuple[Kind, ...] = ("not_theirs", "too_late", "final_sale", "already_refunded")

_STATE = {
    "unopened": (
        "I changed my mind; it is still sealed in its box.",
        "It is unopened, I simply do not need it.",
    ),
    "opened": (
        "We unpacked and tried it, but it does not suit us.",
        "It is opened, but otherwise as new.",
    ),
    "damaged": ("It arrived broken, the box was crushed.", "It was cracked when I unpacked it."),
}
_ASKS = ("I would like my money back.", "Please refund me.", "Could you return the money, please?")


@dataclass(frozen=True)
class Terms:
    """What may change in the policy from time to time."""

    fee: int = 15  # percent, of opened items
    days: int = 30  # after delivery


USUAL = Terms()


@dataclass(frozen=True)
class Claim:
    """One claim in its shop, and how it ends: an amount in cents, or 0 and the reason."""

    shop: Shop
    kind: Kind
    ticket_id: int
    order: Row
    item: Row
    quantity: int
    amount: int
    reason: str | None


def draw_claim(
    rng: Random, terms: Terms = USUAL, good: Sequence[Kind] = GOOD, bad: Sequence[Kind] = BAD
) -> Claim:
    """A shop with four open messages, one of which is the claim. Half of all claims are good."""
    shop = Shop.draw(rng)
    kind: Kind = rng.choice(good if rng.random() < 0.5 else bad)
    customer = rng.choice(shop.customers)
    reasons = _reasons(rng, kind, bad)
    late = terms.days + rng.randint(1, 9) if "too_late" in reasons else rng.randint(1, terms.days)
    order = shop.order(customer, delivered_days=late, count=2)
    item = rng.choice(shop.items_of(order))
    shop.product(item["product_id"])["final_sale"] = int("final_sale" in reasons)
    quantity = rng.randint(1, item["quantity"])
    condition = kind if kind in GOOD else rng.choice(good)
    if "already_refunded" in reasons:
        quantity = item["quantity"]
        shop.refunds.append(_refund(rng, order, item))
    writer = customer
    if "not_theirs" in reasons:
        writer = rng.choice([other for other in shop.customers if other is not customer])
    ticket_id = _tickets(shop, writer, _letter(shop, order, item, (quantity, condition)))
    amount = _amount(kind, item["price"] * quantity, terms)
    return Claim(shop, kind, ticket_id, order, item, quantity, amount, None if amount else kind)


def _reasons(rng: Random, kind: Kind, bad: Sequence[Kind]) -> tuple[Kind, ...]:
    """Why a claim is declined: for its own reason, and now and then for one that comes later in the policy, too."""
    later = bad[bad.index(kind) + 1 :] if kind in bad else ()
    both = later and rng.random() < 0.4
    return (kind, rng.choice(later)) if both else (kind,)


def _amount(kind: Kind, price: int, terms: Terms) -> int:
    if kind not in GOOD:
        return 0
    return price * (100 - terms.fee) // 100 if kind == "opened" else price


def _refund(rng: Random, order: Row, item: Row) -> Row:
    amount = item["price"] * item["quantity"]
    made = f"rf_{rng.getrandbits(32):08x}"
    return {
        "id": made,
        "order_id": order["id"],
        "item_id": item["id"],
        "quantity": item["quantity"],
        "amount": amount,
    }


def _letter(shop: Shop, order: Row, item: Row, claimed: tuple[int, str]) -> tuple[str, str]:
    """Subject and body."""
    rng, (quantity, condition) = shop.rng, claimed
    name = shop.product(item["product_id"])["name"]
    what = (
        f"the {name}"
        if quantity == item["quantity"] == 1
        else f"{quantity} of the {item['quantity']} {name}"
    )
    body = (
        f"Hello,\n\nthis is about my order {order['number']}, {what}. {rng.choice(_STATE[condition])} "
        f"{rng.choice(_ASKS)}\n\nKind regards"
    )
    return f"{name}, order {order['number']}", body


def _tickets(shop: Shop, writer: Row, letter: tuple[str, str]) -> int:
    """Four open messages, the claim somewhere among them; its id."""
    rng, first = shop.rng, 100 * shop.rng.randint(2, 90)
    place = rng.randrange(4)
    for number in range(4):
        customer = writer if number == place else rng.choice(shop.customers)
        subject, body = letter if number == place else _small_talk(shop, customer)
        shop.tickets.append(
            {
                "id": first + number, "customer_id": customer["id"], "subject": subject, "body": body,
                "status": "open", "reason": None,
            }
        )  # fmt: skip
    return first + place


def _small_talk(shop: Shop, customer: Row) -> tuple[str, str]:
    """A message that is somebody else's to answer, though it may ask for money."""
    rng = shop.rng
    own = [order for order in shop.orders if order["customer_id"] == customer["id"]]
    order = rng.choice(own)
    texts = (
        ("Opening hours", "Hello, are you open on Saturday? I would pick something up."),
        ("Invoice", f"Could you send me the invoice of order {order['number']} again?"),
        ("Money back", f"I sent order {order['number']} back last week. Please pay for all of it."),
    )
    return rng.choice(texts)
