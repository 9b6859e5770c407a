"""`Api`: a FastAPI app over an episode's state. One app, one state, one request log, and several doors to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from envkit.adapters.api.adapter import Api
from envkit.adapters.api.log import RequestRecord
from envkit.adapters.api.session import ApiSession

if TYPE_CHECKING:
    from envkit.adapters.api.world import World

__all__ = ["Api", "ApiSession", "RequestRecord", "World"]


def __getattr__(name: str) -> Any:
    """`World` alone: it is made of FastAPI's `Depends`, which a declaration should not load before a world opens."""
    if name != "World":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from envkit.errors import MissingError

    try:
        from envkit.adapters.api.world import World
    except ImportError as error:
        raise MissingError("an Api needs FastAPI: pip install 'envkit[api]'") from error
    return World
