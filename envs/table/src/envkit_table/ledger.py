"""What a deal is worth to whom: the sheets of both sides, and the deals that can be drawn from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from random import Random
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

DAYS = (3, 7, 14, 28)
MONTHS = (0, 12, 24, 36)
MOST_PRICE = 100_000

Price = Annotated[int, Field(ge=0, le=MOST_PRICE)]


class Terms(BaseModel):
    """What an offer says; in the tool and in the judge the same."""

    model_config = ConfigDict(frozen=True)

    price: Price
    delivery_days: int
    warranty_months: int

    @property
    def offered(self) -> bool:
        """Whether delivery and warranty are among those that there are."""
        return self.delivery_days in DAYS and self.warranty_months in MONTHS

    def __str__(self) -> str:
        """As both sides read it."""
        days, months = self.delivery_days, self.warranty_months
        return f"price {self.price}, delivery in {days} days, warranty of {months} months"


class Sheet(BaseModel):
    """One side's private numbers: a base, and what each option adds to it."""

    base: int
    days: tuple[int, ...]  # by DAYS
    months: tuple[int, ...]  # by MONTHS

    def limit(self, days: int, months: int) -> int:
        """The price at which these options are worth no more than no deal: a buyer's most, a seller's least."""
        return self.base + self.days[DAYS.index(days)] + self.months[MONTHS.index(months)]


class Gold(BaseModel):
    """Both sheets."""

    buyer: Sheet
    seller: Sheet

    def surplus(self, terms: Terms) -> dict[str, int]:
        """What each side gains over no deal; below 0: it broke its own limit."""
        days, months = terms.delivery_days, terms.warranty_months
        return {
            "buyer": self.buyer.limit(days, months) - terms.price,
            "seller": terms.price - self.seller.limit(days, months),
        }

    def joint(self, days: int, months: int) -> int:
        """What there is to share with these options, at any price."""
        return self.buyer.limit(days, months) - self.seller.limit(days, months)

    def best(self) -> tuple[int, int]:
        """The options with the most to share."""
        return max(product(DAYS, MONTHS), key=lambda options: self.joint(*options))

    def favourite(self, seat: str) -> tuple[int, int]:
        """The options that a seat would like best if they cost the other nothing."""
        return (DAYS[0], MONTHS[-1]) if seat == "buyer" else (DAYS[-1], MONTHS[0])

    def at(self, options: tuple[int, int], share: float = 0.5) -> Terms:
        """Terms with these options that leave the buyer a share of what there is to share."""
        price = self.buyer.limit(*options) - round(share * self.joint(*options))
        return Terms(
            price=min(MOST_PRICE, max(0, price)),
            delivery_days=options[0],
            warranty_months=options[1],
        )


MIDDLE = (DAYS[len(DAYS) // 2], MONTHS[len(MONTHS) // 2])
_CLEAR = 0.85  # the next best options have at most this share of the best


def draw(rng: Random) -> Gold:
    """Sheets with one best pair of options: nobody's favourite, not the middle, and with room for a price."""
    while True:
        gold = _sheets(rng)
        best = gold.best()
        most = gold.joint(*best)
        others = [gold.joint(*options) for options in product(DAYS, MONTHS) if options != best]
        dull = {MIDDLE, gold.favourite("buyer"), gold.favourite("seller")}
        if most >= 80 and max(others) <= _CLEAR * most and best not in dull:
            return gold


def _sheets(rng: Random) -> Gold:
    base = rng.randrange(600, 3000, 5)
    buyer = Sheet(
        base=base,
        days=tuple(reversed(_rising(rng, len(DAYS)))),  # sooner is worth more
        months=tuple(_rising(rng, len(MONTHS))),
    )
    seller = Sheet(
        base=base + rng.randrange(-120, 60, 5),
        days=tuple(reversed(_rising(rng, len(DAYS)))),  # sooner costs more
        months=tuple(_rising(rng, len(MONTHS))),
    )
    return Gold(buyer=buyer, seller=seller)


def _rising(rng: Random, count: int) -> Sequence[int]:
    """Amounts from 0 upwards, in uneven steps."""
    return list(_steps(rng, count))


def _steps(rng: Random, count: int) -> Iterator[int]:
    amount = 0
    for _ in range(count):
        yield amount
        amount += rng.choice((5, 10, 20, 40, 70, 110, 160))
