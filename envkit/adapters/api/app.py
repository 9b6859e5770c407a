"""An author's app made ready: no documentation for agents, no debug pages, nothing kept on the app itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI, routing
from fastapi.exception_handlers import request_validation_exception_handler
from fastapi.exceptions import RequestValidationError
from starlette.datastructures import State
from starlette.requests import Request
from starlette.responses import JSONResponse

from envkit.adapters.api.openapi import operations
from envkit.adapters.api.operations import Operation
from envkit.adapters.api.threads import stay_on_lanes
from envkit.errors import DeclarationError
from envkit.toolbox import ToolRefusal

_DEEP = re.compile(r"\{(\w+):path\}")
_CONVERTER = re.compile(r"\{(\w+):\w+\}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """An app, once a process, and its operations that are tools."""

    app: FastAPI
    operations: dict[str, Operation]


def prepare(make_app: Callable[[], Any], tools: bool | Sequence[str]) -> Prepared:
    """Make the app, and make it safe. Raises DeclarationError."""
    app = make_app()
    if not isinstance(app, FastAPI):
        raise DeclarationError(f"Api: make_app returned {type(app).__name__}, not a FastAPI app")
    stay_on_lanes()
    named = list(_named(app))  # before it is closed: whether it is documented is the author's say
    ids = [name for name, _ in named]
    wanted = ids if tools is True else list(tools or ())
    double = next((name for name in wanted if ids.count(name) > 1), None)
    if double is not None:
        raise DeclarationError(f"Api: two operations are called {double!r}; rename one")
    found = operations(app.openapi(), wanted, _slashes(path for _, path in named)) if wanted else {}
    for one in _apps(app):
        _close(one)
    return Prepared(app, found)


def _named(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Operation id and path of each operation that its author named: FastAPI makes an id up for every other one."""
    contexts = getattr(routing, "iter_route_contexts", iter)  # where routers are included lazily
    for route in contexts(app.routes):
        name, path = getattr(route, "operation_id", None), getattr(route, "path", "")
        if name and getattr(route, "include_in_schema", False):
            for _ in getattr(route, "methods", None) or ():
                yield name, path


def _slashes(paths: Iterator[str]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (_CONVERTER.sub(r"{\1}", path), name) for path in paths for name in _DEEP.findall(path)
    )


def _apps(app: Any) -> Iterator[FastAPI]:
    """The app, and those mounted in it at any depth."""
    if isinstance(app, FastAPI):
        yield app
    for route in getattr(app, "routes", ()):
        inner = getattr(route, "app", None), getattr(route, "original_router", None)
        for one in inner:
            if one is not None and hasattr(one, "routes"):
                yield from _apps(one)


def _close(app: FastAPI) -> None:
    hidden = {
        app.openapi_url, app.docs_url, app.redoc_url, app.swagger_ui_oauth2_redirect_url,
    } - {None}  # fmt: skip
    routes = app.router.routes
    routes[:] = [route for route in routes if getattr(route, "path", None) not in hidden]
    app.debug = False
    usual = (None, request_validation_exception_handler)
    if app.exception_handlers.get(RequestValidationError) in usual:
        app.exception_handlers[RequestValidationError] = _unfitting
    app.exception_handlers.setdefault(ToolRefusal, _refused)
    # read, never written: all episodes share it. The hint asks for a dict; what it does with it, a mapping can.
    app.state = State(MappingProxyType(dict(vars(app.state)["_state"])))  # type: ignore[arg-type]


async def _unfitting(_request: Request, error: Exception) -> JSONResponse:
    """What does not fit, without what was sent, or what a validator had to say in its context."""
    problems = error.errors() if isinstance(error, RequestValidationError) else ()
    told = [{"type": p["type"], "loc": list(p["loc"]), "msg": p["msg"]} for p in problems]
    return JSONResponse({"detail": told}, 422)


async def _refused(_request: Request, error: Exception) -> JSONResponse:
    """What the state refuses because of an agent's values, such as a full log: no bug of the handler's."""
    return JSONResponse({"detail": str(error)}, 422)
