"""How a script uses the shop's pages: by what the outline shows, as an agent would."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import BaseModel

from envkit import Observation, Script, call


class Buyer(BaseModel):
    """Who buys, and how it is sent."""

    name: str
    street: str
    postcode: str
    city: str
    shipping: str
    coupon: str = ""


_FIELDS = {
    "Name": "name",
    "Street and number": "street",
    "Postcode": "postcode",
    "City": "city",
    "Coupon": "coupon",
}


def fill_cart(items: Mapping[int, int]) -> Script:
    """Put products into the cart, each from its own page."""
    for number, many in items.items():
        seen = yield call("browser_goto", url=f"/p/{number}")
        if 'button "Add to cart"' not in seen.text():
            continue  # sold out
        yield call("browser_fill", ref=ref(seen, "spinbutton", "Quantity"), text=str(many))
        yield call("browser_click", ref=ref(seen, "button", "Add to cart"))


def buy(items: Mapping[int, int], buyer: Buyer) -> Script:
    """Fill the cart, fill the form, place the order."""
    yield from fill_cart(items)
    seen = yield call("browser_goto", url="/checkout")
    for label, field in _FIELDS.items():
        text = str(getattr(buyer, field))
        if text:
            yield call("browser_fill", ref=ref(seen, "textbox", label), text=text)
    yield call("browser_select", ref=ref(seen, "combobox", "Shipping"), values=[buyer.shipping])
    yield call("browser_click", ref=ref(seen, "button", "Place the order"))


def ref(seen: Observation, role: str, name: str) -> str:
    """The reference of an element in an outline. Raises ValueError where it is not shown."""
    found = re.search(rf'{role} "{re.escape(name)}[^"]*".*?\[ref=(\w+)\]', seen.text())
    if found is None:
        raise ValueError(f"no {role} {name!r} on the page:\n{seen.text()[:2000]}")
    return found[1]
