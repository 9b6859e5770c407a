"""What the shop is filled with: products, people and past orders, all drawn from one generator."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

Row = dict[str, Any]

KINDS = {
    "Lighting": ("Desk Lamp", "Floor Lamp", "Wall Light", "Lantern"),
    "Kitchen": ("Kettle", "Skillet", "Stock Pot", "Cutting Board"),
    "Textiles": ("Wool Blanket", "Linen Sheet", "Bath Towel", "Cushion"),
    "Storage": ("Wicker Basket", "Wall Shelf", "Tool Box", "Coat Rack"),
}
MAKES = (
    "Aalto", "Birk", "Cove", "Dune", "Ember", "Fjord", "Gable", "Heron", "Isle", "Juno", "Karst",
    "Linnet", "Moor", "Nord", "Osier", "Petrel",
)  # fmt: skip
BLURBS = (
    "Made in small series; the finish varies a little from piece to piece.",
    "Ships flat. Two people are a help when it is put up.",
    "The one that we have at home ourselves.",
    "Repairs are free for as long as we can get the parts.",
)
FIRST = (
    "Ada",
    "Bruno",
    "Chiara",
    "Dmitri",
    "Elif",
    "Farah",
    "Goran",
    "Hana",
    "Ivo",
    "Jonna",
    "Kofi",
    "Lena",
)
LAST = (
    "Aydin",
    "Bauer",
    "Costa",
    "Duarte",
    "Eriksen",
    "Fabre",
    "Gruber",
    "Hoang",
    "Ilves",
    "Jansen",
    "Kowal",
)
STREETS = ("Harbour Street", "Mill Lane", "Station Road", "Orchard Way", "Castle Street", "Quay")
CITIES = ("Bergen", "Ghent", "Porto", "Graz", "Lund", "Tartu", "Cork", "Basel")
SHIPPING = {"standard": 490, "express": 990}
"""What shipping costs, by method."""


@dataclass
class Shop:
    """The rows of one task's world."""

    rng: Random
    products: list[Row] = field(default_factory=list)
    customers: list[Row] = field(default_factory=list)
    orders: list[Row] = field(default_factory=list)
    items: list[Row] = field(default_factory=list)
    refunds: list[Row] = field(default_factory=list)
    tickets: list[Row] = field(default_factory=list)
    coupons: list[Row] = field(default_factory=list)

    @classmethod
    def draw(cls, rng: Random) -> Shop:
        """A shop with its shelves full, some customers, and what they ordered before."""
        shop = cls(rng)
        shop._fill_shelves()
        shop._invite_customers()
        for customer in shop.customers:
            for _ in range(rng.randint(1, 2)):
                shop.order(customer)
        return shop

    def world(self) -> dict[str, list[Row]]:
        """The rows by table, as the store's seed."""
        return {
            "customers": self.customers, "products": self.products, "orders": self.orders,
            "order_items": self.items, "refunds": self.refunds, "tickets": self.tickets,
            "coupons": self.coupons,
        }  # fmt: skip

    def order(self, customer: Row, *, delivered_days: int | None = None, count: int = 0) -> Row:
        """A past order of a customer, with one to three different products."""
        rng, number = self.rng, len(self.orders) + 1
        days = rng.randint(2, 28) if delivered_days is None else delivered_days
        order = {
            "id": 1000 + number, "number": f"{rng.choice('BDFGKM')}{rng.randint(10_000, 99_999)}{number}",
            "customer_id": customer["id"], "status": "delivered", "age_days": days + rng.randint(2, 6),
            "delivered_days": days, "name": customer["name"], **address(rng), "city": customer["city"],
            "shipping": rng.choice(list(SHIPPING)), "coupon": None, "total": 0,
        }  # fmt: skip
        for product in rng.sample(self.products, count or rng.randint(1, 3)):
            self.items.append(
                {
                    "id": 5000 + len(self.items), "order_id": order["id"], "product_id": product["id"],
                    "quantity": rng.randint(1, 3), "price": product["price"],
                }
            )  # fmt: skip
            order["total"] += self.items[-1]["quantity"] * product["price"]
        order["total"] += SHIPPING[order["shipping"]]
        self.orders.append(order)
        return order

    def items_of(self, order: Row) -> list[Row]:
        """The items of an order."""
        return [item for item in self.items if item["order_id"] == order["id"]]

    def product(self, number: int) -> Row:
        """The product of an id."""
        return next(product for product in self.products if product["id"] == number)

    def _fill_shelves(self) -> None:
        rng = self.rng
        for category, kinds in KINDS.items():
            for kind in kinds:
                for make in rng.sample(MAKES, 3):
                    number = len(self.products) + 1
                    self.products.append(
                        {
                            "id": number, "sku": f"{kind[0]}{make[0]}-{rng.randint(100, 999)}{number:02d}",
                            "name": f"{make} {kind}", "category": category,
                            "price": rng.randint(19, 240) * 100 + rng.choice((0, 50, 90, 95)),
                            "stock": rng.choice((0, 3, 4, 6, 9, 14, 20)),
                            "final_sale": int(rng.random() < 0.15), "blurb": rng.choice(BLURBS),
                        }
                    )  # fmt: skip

    def _invite_customers(self) -> None:
        rng = self.rng
        firsts, lasts = rng.sample(FIRST, 6), rng.sample(LAST, 6)
        for number, (first, last) in enumerate(zip(firsts, lasts, strict=True), 1):
            email = f"{first}.{last}{rng.randint(1, 99)}@mail.test".lower()
            city = rng.choice(CITIES)
            row = {"id": number, "name": f"{first} {last}", "email": email, "city": city}
            self.customers.append(row)


def address(rng: Random) -> dict[str, str]:
    """A street and a postcode."""
    street = f"{rng.choice(STREETS)} {rng.randint(1, 180)}"
    return {"street": street, "postcode": f"{rng.randint(10_000, 99_999)}"}


def euros(cents: int) -> str:
    """Cents as the shop writes them: 12345 as "€123.45"."""
    return f"€{cents // 100}.{cents % 100:02d}"
