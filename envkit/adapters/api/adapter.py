"""`Api`: the declaration of a mock API or a web site."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal
from urllib.parse import urlsplit

from envkit.adapter import Adapter, Artefact, Context
from envkit.adapters.api.operations import Operation, operations, tool_for
from envkit.adapters.api.session import REQUESTS, ApiSession
from envkit.data.keyed import KeyedRandom
from envkit.data.tool import Tool
from envkit.errors import DeclarationError, MissingError
from envkit.toolbox import Handler

if TYPE_CHECKING:
    from fastapi import FastAPI


class Api(Adapter[ApiSession]):
    """`shop = Api(make_app, store=store)`: a FastAPI app, once a process; its state is the episode's.

    Agents reach it by typed tools made from its OpenAPI (`<name>_<operation_id>`), and as a web site through the
    doors of a `Browser` or a `Terminal` that names it. A handler asks for its episode by a parameter of the type
    `World`: `world.store`, `world.now()`, `world.new_id("rf")`, `world.rng`. Nothing of an episode may be kept in a
    module or on the app: many episodes use it at once.

    Args:
        make_app: makes the app; called once in each process
        origin: what agents type, such as "http://shop.test"; http, without a path
        tools: True: every operation that has an operation_id in the schema; some of them by name; False: none
        **sessions: other adapters, declared before, by the name that handlers know them by
    """

    session: ClassVar[type[Any]] = ApiSession

    def __init__(
        self,
        make_app: Callable[[], FastAPI],
        *,
        origin: str = "http://api.test",
        tools: Literal[True, False] | Sequence[str] = True,
        **sessions: Adapter[Any],
    ) -> None:
        parts = urlsplit(origin)
        if parts.scheme != "http" or not parts.hostname or parts.path not in ("", "/"):
            raise DeclarationError(f"Api: origin={origin!r} must look like http://shop.test")
        for keyword, adapter in sessions.items():
            if not isinstance(adapter, Adapter):
                raise DeclarationError(f"Api: {keyword}= must be an adapter declared before it")
        self.origin = f"http://{parts.netloc.lower()}"
        self._make_app = make_app
        self._wanted = tools
        self._sessions = sessions
        self._prepared: tuple[FastAPI, dict[str, Operation]] | None = None

    def requests(self) -> Artefact:
        """Declare the request log as evidence; the judge reads `<name>/requests.json`."""
        return self.artefact(REQUESTS)

    def tools(self) -> Mapping[str, Tool]:
        """A tool for each operation, by its id."""
        if self._tools is None:
            found = self._app()[1].values()
            self._tools = {one.id: tool_for(one, f"{self.name}_") for one in found}
        return self._tools

    def handler(self, session: Any, method: str) -> Handler:
        """The operation, asked in process."""
        handler: Handler = session.handler(self._app()[1][method])
        return handler

    async def open(self, seed: Any, context: Context) -> ApiSession:
        """Bind the app to this episode's clock, draws and sessions."""
        app, _ = self._app()
        from envkit.adapters.api.world import EpisodeWorld

        sessions: dict[str, Any] = {}
        for keyword, adapter in self._sessions.items():
            if adapter.name not in context.sessions:
                raise DeclarationError(
                    f"{self.name}: {keyword}={adapter.name or 'an adapter'!r} must be declared above it"
                )
            sessions[keyword] = adapter.value(context.sessions[adapter.name])
        rng = KeyedRandom(context.rng.getrandbits(256).to_bytes(32, "big"), "api")
        world = EpisodeWorld(context.clock, rng, self.origin, sessions)
        session = ApiSession(app, world, origin=self.origin, bait=context.bait)
        context.stack.callback(session.close)
        return session

    def _app(self) -> tuple[FastAPI, dict[str, Operation]]:
        """The app without its schema routes, and its operations; made once in a process."""
        if self._prepared is None:
            try:
                from fastapi.exceptions import RequestValidationError
            except ImportError as error:
                raise MissingError("an Api needs FastAPI: pip install 'envkit[api]'") from error
            app = self._make_app()
            app.debug = False
            app.exception_handlers.setdefault(RequestValidationError, _unfitting)
            # FastAPI makes an id up for every route: an operation is a tool where its author named it
            named = [getattr(r, "operation_id", None) for r in app.routes if _documented(r)]
            wanted = [n for n in named if n] if self._wanted is True else list(self._wanted or ())
            found = operations(app.openapi(), wanted)
            hidden = {
                app.openapi_url,
                app.docs_url,
                app.redoc_url,
                app.swagger_ui_oauth2_redirect_url,
            }
            app.router.routes[:] = [
                route for route in app.router.routes if getattr(route, "path", None) not in hidden
            ]
            self._prepared = app, {one.id: one for one in found}
        return self._prepared


async def _unfitting(request: Any, error: Any) -> Any:
    """What does not fit, without what was sent: it may be no JSON at all, such as NaN."""
    from fastapi.responses import JSONResponse

    problems = [{"loc": list(e["loc"]), "msg": e["msg"]} for e in error.errors()]
    return JSONResponse({"detail": problems}, 422)


def _documented(route: Any) -> bool:
    return bool(getattr(route, "include_in_schema", False))
