"""The customers' side: the shop's pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.templating import Jinja2Templates
from pydantic import BaseModel, Field

from envkit import World
from envkit_shop.books import one, only, rows
from envkit_shop.stock import KINDS, SHIPPING, euros

MOST = 20  # of one product, put into the cart at once

TEMPLATES = Jinja2Templates(Path(__file__).with_name("templates"))
TEMPLATES.env.filters["euros"] = euros


class Purchase(BaseModel):
    """The form of the checkout."""

    name: str = Field(min_length=1, max_length=200)
    street: str = Field(min_length=1, max_length=200)
    postcode: str = Field(min_length=1, max_length=20)
    city: str = Field(min_length=1, max_length=100)
    shipping: str = Field(max_length=20)
    coupon: str = Field("", max_length=40)


pages = APIRouter()


@pages.get("/", response_class=HTMLResponse, include_in_schema=False)
def home(request: Request, world: World) -> Any:
    """The front page."""
    picks = rows(
        world,
        "SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY category ORDER BY id) AS place"
        " FROM products WHERE stock > 0) ORDER BY place, id LIMIT 8",
    )
    return _page(request, world, "home.html", products=picks)


@pages.get("/c/{category}", response_class=HTMLResponse, include_in_schema=False)
def category(request: Request, category: str, world: World) -> Any:
    """A department."""
    if category not in KINDS:
        raise HTTPException(404, "no such department")
    products = rows(world, "SELECT * FROM products WHERE category = ? ORDER BY name", category)
    return _page(request, world, "list.html", title=category, products=products)


@pages.get("/search", response_class=HTMLResponse, include_in_schema=False)
def search(request: Request, world: World, q: str = "") -> Any:
    """Products by a part of their name."""
    found = rows(
        world,
        "SELECT * FROM products WHERE instr(lower(name), lower(?)) > 0 ORDER BY name",
        q[:100],
    )
    return _page(
        request,
        world,
        "list.html",
        title=f"Results for “{q[:100]}”" if q else "Search",
        products=found if q else [],
    )


@pages.get("/p/{product_id}", response_class=HTMLResponse, include_in_schema=False)
def product(request: Request, product_id: int, world: World) -> Any:
    """One product."""
    return _page(request, world, "product.html", product=one(world, "products", product_id))


@pages.get("/cart", response_class=HTMLResponse, include_in_schema=False)
def cart(request: Request, world: World) -> Any:
    """The cart."""
    return _page(request, world, "cart.html")


@pages.get("/checkout", response_class=HTMLResponse, include_in_schema=False)
def checkout(request: Request, world: World) -> Any:
    """The form that ends a purchase."""
    if not _cart(world)["lines"]:
        return RedirectResponse("/cart", 303)
    return _page(request, world, "checkout.html", shipping=SHIPPING, problem="")


@pages.get("/order/{number}", response_class=HTMLResponse, include_in_schema=False)
def order(request: Request, number: str, world: World) -> Any:
    """An order that was placed."""
    found = rows(world, "SELECT * FROM orders WHERE number = ?", number)
    if not found:
        raise HTTPException(404, "no such order")
    items = rows(
        world,
        "SELECT p.name, i.quantity, i.price FROM order_items i JOIN products p ON p.id = i.product_id"
        " WHERE i.order_id = ? ORDER BY i.id", found[0]["id"],
    )  # fmt: skip
    goods, sent = sum(i["price"] * i["quantity"] for i in items), SHIPPING[found[0]["shipping"]]
    sums = {"sent": sent, "off": goods + sent - found[0]["total"]}
    return _page(request, world, "order.html", order=found[0], items=items, **sums)


@pages.post("/cart/add", include_in_schema=False)
def add(
    world: World,
    product_id: Annotated[int, Form()],
    quantity: Annotated[int, Form(gt=0, le=MOST)],
) -> Any:
    """Put a product into the cart."""
    only(world, "browser")
    one(world, "products", product_id)
    world.store.execute(
        "INSERT INTO cart (product_id, quantity) VALUES (?, ?) ON CONFLICT (product_id)"
        " DO UPDATE SET quantity = quantity + excluded.quantity", product_id, quantity,
    )  # fmt: skip
    return RedirectResponse("/cart", 303)


@pages.post("/cart/remove", include_in_schema=False)
def remove(world: World, product_id: Annotated[int, Form()]) -> Any:
    """Take a product out of the cart."""
    only(world, "browser")
    world.store.execute("DELETE FROM cart WHERE product_id = ?", product_id)
    return RedirectResponse("/cart", 303)


@pages.post("/checkout", response_class=HTMLResponse, include_in_schema=False)
def buy(request: Request, world: World, form: Annotated[Purchase, Form()]) -> Any:
    """Place the order, or say what is in the way."""
    only(world, "browser")
    cart = _cart(world, form.coupon.strip().upper())
    if not cart["lines"]:
        return RedirectResponse("/cart", 303)
    problem = _in_the_way(form, cart)
    if problem:
        page = {"shipping": SHIPPING, "problem": problem, "filled": form.model_dump()}
        return _page(request, world, "checkout.html", **page)
    return RedirectResponse(f"/order/{_place(world, form, cart)}", 303)


def _in_the_way(form: Purchase, cart: dict[str, Any]) -> str:
    if form.shipping not in SHIPPING:
        return "Choose how it should be sent."
    short = [line["name"] for line in cart["lines"] if line["quantity"] > line["stock"]]
    return f"Not enough in stock: {', '.join(short)}." if short else str(cart["refused"])


def _place(world: Any, form: Purchase, cart: dict[str, Any]) -> str:
    """Turn the cart into an order; its number."""
    store = world.store
    number = f"H{world.rng.randint(100_000, 999_999)}"
    total = cart["total"] + SHIPPING[form.shipping]
    with store.transaction():
        (made,) = store.query(
            "INSERT INTO orders (number, status, age_days, name, street, postcode, city, shipping, coupon, total)"
            " VALUES (?, 'placed', 0, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
            number, *_clean(form), cart["coupon"], total,
        )  # fmt: skip
        for line in cart["lines"]:
            store.execute(
                "INSERT INTO order_items (order_id, product_id, quantity, price) VALUES (?, ?, ?, ?)",
                made["id"], line["id"], line["quantity"], line["price"],
            )  # fmt: skip
            store.execute(
                "UPDATE products SET stock = stock - ? WHERE id = ?", line["quantity"], line["id"]
            )
        store.execute("DELETE FROM cart")
    return number


def _clean(form: Purchase) -> tuple[str, ...]:
    return tuple(
        v.strip() for v in (form.name, form.street, form.postcode, form.city, form.shipping)
    )


def _cart(world: Any, code: str = "") -> dict[str, Any]:
    """The cart's lines and what they come to, with a coupon where one is given."""
    lines = rows(
        world,
        "SELECT p.id, p.name, p.price, p.stock, c.quantity, p.price * c.quantity AS sum FROM cart c"
        " JOIN products p ON p.id = c.product_id ORDER BY p.id",
    )
    total, refused = sum(line["sum"] for line in lines), ""
    coupons = rows(world, "SELECT * FROM coupons WHERE code = ?", code) if code else []
    if coupons and total >= coupons[0]["minimum"]:
        total -= total * coupons[0]["percent"] // 100
    elif code:
        refused = "That coupon can't be used for this order."
    return {"lines": lines, "total": total, "coupon": code or None, "refused": refused}


def _page(request: Request, world: Any, name: str, **context: Any) -> Any:
    shown = {
        "categories": list(KINDS),
        "cart": _cart(world),
        "coupons": rows(world, "SELECT * FROM coupons"),
    }
    return TEMPLATES.TemplateResponse(request, name, {**shown, "filled": {}, **context})
