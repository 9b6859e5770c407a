"""`Api`: the declaration of a mock API or a web site."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from envkit.adapter import Adapter, Artefact, Context
from envkit.adapters.api.session import REQUESTS, ApiSession
from envkit.data.keyed import KeyedRandom
from envkit.data.tool import Tool
from envkit.errors import DeclarationError, MissingError
from envkit.toolbox import Handler

if TYPE_CHECKING:
    from fastapi import FastAPI

    from envkit.adapters.api.app import Prepared


class Api(Adapter[ApiSession]):
    """`shop = Api(make_app, store=store)`: a FastAPI app, made once a process; its state is the episode's.

    Agents reach it by typed tools made from its OpenAPI (`<name>_<operation_id>`), and as a web site through the
    doors of a `Browser` or a `Terminal` that names it. A handler asks for its episode by a parameter of the type
    `World`: `world.store`, `world.now()`, `world.new_id("rf")`, `world.rng`, `world.actor`. Nothing of an episode may
    be kept in a module or on the app: many episodes use it at once. Handlers of one episode take turns on a thread of
    that episode's, so they may block; they share the interpreter with everybody, so they should not compute for long.
    The app is never started as a server: it has no lifespan, and no web sockets.

    Args:
        make_app: makes the app; called once in each process
        origin: what agents type, such as "http://shop.test"; http, without a path
        tools: True: every documented operation that has an operation_id of its own; some of them by name; False: none
        seconds: what one request may take; then it is answered 504
        **sessions: other adapters, declared before, by the name that handlers know them by
    """

    session: ClassVar[type[Any]] = ApiSession

    def __init__(
        self,
        make_app: Callable[[], FastAPI],
        *,
        origin: str = "http://api.test",
        tools: bool | Sequence[str] = True,
        seconds: float = 10.0,
        **sessions: Adapter[Any],
    ) -> None:
        if not callable(make_app):
            raise DeclarationError(
                "Api: give it the function that makes the app, not what it makes"
            )
        if isinstance(tools, str):
            raise DeclarationError(
                f"Api: tools={tools!r} must be True, False or a sequence of names"
            )
        for keyword, adapter in sessions.items():
            if not isinstance(adapter, Adapter):
                raise DeclarationError(f"Api: {keyword}= must be an adapter declared before it")
        self.origin = _origin(origin)
        self._make_app = make_app
        self._wanted = tools
        self._seconds = seconds
        self._sessions = sessions
        self._prepared: Prepared | None = None

    def requests(self) -> Artefact:
        """Declare the request log as evidence; the judge reads `<name>/requests.json`.

        Path and query are whole, of a body it is the beginning. What had no answer as the episode ended has a 504.
        """
        return self.artefact(REQUESTS)

    def tools(self) -> Mapping[str, Tool]:
        """A tool for each operation, by its id. Raises MissingError without FastAPI."""
        if self._tools is None:
            found = self._app().operations if self._wanted else {}
            self._tools = {name: one.tool(f"{self.name}_") for name, one in found.items()}
        return self._tools

    def handler(self, session: Any, method: str) -> Handler:
        """The operation, asked in process."""
        handler: Handler = session.handler(self._app().operations[method])
        return handler

    async def open(self, seed: Any, context: Context) -> ApiSession:
        """Bind the app to this episode's clock, draws and sessions."""
        app = self._app().app
        from envkit.adapters.api.world import RESERVED, EpisodeWorld

        sessions: dict[str, Any] = {}
        logging = []
        for keyword, adapter in self._sessions.items():
            if keyword in RESERVED:
                raise DeclarationError(
                    f"{self.name}: handlers know something else as world.{keyword}"
                )
            session = context.sessions.get(adapter.name)
            if session is None:
                other = repr(adapter.name) if adapter.name else f"a {type(adapter).__name__}"
                raise DeclarationError(
                    f"{self.name}: {keyword}= is {other}, which is not open; declare it in the same class, above"
                )
            sessions[keyword] = adapter.value(session)
            if not adapter.hears and callable(getattr(session, "acting", None)):
                logging.append(session)
        rng = KeyedRandom(context.rng.randbytes(32), "api")
        world = EpisodeWorld(context.clock, rng, self.origin, sessions, tuple(logging))
        opened = ApiSession(
            app,
            world,
            seconds=self._seconds,
            bait=context.bait,
            tools=tuple(self.tools().values()),
        )
        context.stack.push_async_callback(opened.aclose)
        return opened

    def _app(self) -> Prepared:
        """The app made ready, and its operations; once in a process."""
        if self._prepared is None:
            try:
                from envkit.adapters.api.app import prepare
            except ImportError as error:
                raise MissingError("an Api needs FastAPI: pip install 'envkit[api]'") from error
            self._prepared = prepare(self._make_app, self._wanted)
        return self._prepared


def _origin(origin: str) -> str:
    try:
        parts = urlsplit(origin)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    extra = parts.path not in ("", "/") or parts.query or parts.fragment or parts.username
    if parts.scheme != "http" or not parts.hostname or extra:
        raise DeclarationError(
            f"Api: origin={origin!r} must look like http://shop.test: http, a host, no path"
        )
    return f"http://{parts.hostname}" + (f":{port}" if port not in (None, 80) else "")
