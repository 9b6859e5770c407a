"""The shop's app: one state, worked at by staff, by the warehouse and by customers."""

from __future__ import annotations

from fastapi import FastAPI

from envkit_shop.errors import tell_errors
from envkit_shop.site import pages
from envkit_shop.staff import staff
from envkit_shop.warehouse import warehouse


def make_app() -> FastAPI:
    """The app; it keeps nothing of an episode."""
    app = FastAPI(title="Harbour & Hearth")
    for router in (staff, warehouse, pages):
        app.include_router(router)
    tell_errors(app)
    return app
