"""Keeps FastAPI from handing plain handlers to yet another thread."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from envkit.lane import on_lane


def stay_on_lanes() -> None:
    """Have FastAPI call `def` handlers and dependencies on the lane itself, where they are called from one.

    It would hand each to one more thread, so as not to block its event loop. A lane is there to be blocked: staying on
    it saves two thread switches a call, and handlers of one episode don't run into each other.
    """
    from fastapi import routing
    from fastapi.dependencies import utils

    for module in (routing, utils):
        away = getattr(module, "run_in_threadpool", None)
        if away is not None and not hasattr(away, "__wrapped__"):
            module.run_in_threadpool = _staying(away)  # type: ignore[attr-defined]  # not exported


def _staying(away: Callable[..., Any]) -> Callable[..., Any]:
    async def run(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if on_lane():
            return function(*args, **kwargs)
        return await away(function, *args, **kwargs)

    run.__wrapped__ = away  # type: ignore[attr-defined]  # so that it is done once
    return run
