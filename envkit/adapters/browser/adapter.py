"""The declaration: `browser = Browser(site=shop)`."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, ClassVar, cast

from pydantic import BaseModel, Field, field_validator

from envkit.adapter import Adapter, Context
from envkit.adapters.browser.drive import Drive
from envkit.adapters.browser.engine import Engines, Lease, open_engines
from envkit.adapters.browser.gate import Gate
from envkit.adapters.browser.session import BrowserSession
from envkit.adapters.browser.tabs import Tabs
from envkit.adapters.browser.uploads import UploadingSession
from envkit.adapters.browser.view import View
from envkit.adapters.browser.world import ALL, Layers, fix, open_context
from envkit.data.task import Blob, FileContent, Frozen
from envkit.data.tool import Tool
from envkit.door import Door, Receive, Scope, Send, Site, open_door
from envkit.errors import DeclarationError, EngineLost, SandboxUnavailable

_OPEN_SECONDS = 30.0
_CLOSE_SECONDS = 10.0
_HEADER_ROOM = 2000  # characters of an observation that are no outline


class BrowserSeed(Frozen):
    """`world["browser"]`: where the agent starts, and the files that it has."""

    start: str | None = None  # a path on the first site; the declaration's by default
    files: Mapping[str, FileContent] = Field(default_factory=dict)

    @field_validator("start")
    @classmethod
    def _is_a_path(cls, start: str | None) -> str | None:
        if start is not None and Gate(["http://site"]).resolve(start) != f"http://site{start}":
            raise ValueError("a path such as '/cart' is needed")
        return start


class Browser(Adapter[BrowserSession]):
    """Chromium on one or several sites of the same class, such as an `Api` declared above it.

    Args:
        site: the adapter whose site is browsed
        sites: further ones
        start: the path of the first site that is open when the agent begins
        files: whether the agent can upload the files of `world["browser"]["files"]`
        viewport: width and height of the page in pixels
        max_chars: of an outline; `read` and `find` get at the rest
    """

    Seed: ClassVar[type[BaseModel]] = BrowserSeed
    session: ClassVar[type[Any]] = UploadingSession
    layers: Layers = ALL  # for the tests of containment

    def __init__(
        self,
        site: Adapter[Any] | None = None,
        *,
        sites: Sequence[Adapter[Any]] = (),
        start: str = "/",
        files: bool = False,
        viewport: tuple[int, int] = (1280, 720),
        max_chars: int = 8000,
    ) -> None:
        self._sites = (*(() if site is None else (site,)), *sites)
        if not self._sites:
            raise DeclarationError("a Browser needs a site: Browser(site=shop)")
        if not start.startswith("/"):
            raise DeclarationError(f"a Browser starts at a path such as '/', not {start!r}")
        self._start = start
        self._files = files
        self._viewport = viewport
        self._max_chars = max_chars

    def tools(self) -> Mapping[str, Tool]:
        """All of the session's; `upload` where there are files."""
        offered = super().tools()
        return offered if self._files else {n: t for n, t in offered.items() if n != "upload"}

    async def open(self, seed: BrowserSeed, context: Context) -> BrowserSession:
        """A context of its own on the host's browser, behind a door to the episode's sites."""
        from envkit.adapters.browser.refusals import reason

        sites = [self._site(declared, context) for declared in self._sites]
        layers = self.layers
        door = await context.stack.enter_async_context(
            open_door([_Iconless(site) for site in sites], self.name)
        )
        engines: Engines = await context.host.shared(
            ("browser", layers.door), lambda: open_engines(not layers.door)
        )
        lease = await context.stack.enter_async_context(
            engines.lease((context.pack, context.group))
        )
        gate = Gate(site.origin for site in sites)
        try:
            async with asyncio.timeout(_OPEN_SECONDS):
                session = await self._opened(seed, context, (lease, door, gate))
                await session.start(sites[0].origin + (seed.start or self._start))
        except TimeoutError as error:
            raise SandboxUnavailable("the first page did not open in time") from error
        except _playwright_error() as error:
            if lease.engine.dead:
                raise EngineLost("the browser died while a page was opened") from error
            raise SandboxUnavailable(f"the first page did not open: {reason(error)}") from error
        return session

    async def _opened(
        self, seed: BrowserSeed, context: Context, parts: tuple[Lease, Door, Gate]
    ) -> BrowserSession:
        lease, door, gate = parts
        making = asyncio.ensure_future(
            open_context(
                lease.engine.browser, door.port, viewport=self._viewport, layers=self.layers
            )
        )
        context.stack.push_async_callback(_closed, making)
        opened = await asyncio.shield(making)  # cut short, it would be made all the same
        await fix(opened, context.clock.now, context.rng)
        tabs = Tabs(opened, gate, self.layers)
        context.stack.callback(tabs.stop)
        drive = Drive(tabs, lease, context.clock)
        budget = min(self._max_chars, max(500, context.limits.output_chars - _HEADER_ROOM))
        session = UploadingSession(drive, View(drive, budget), door, self.name)
        session.files = {name: _bytes(content) for name, content in seed.files.items()}
        return session

    def _site(self, declared: Adapter[Any], context: Context) -> Site:
        session = context.sessions.get(declared.name)
        if session is None:
            raise DeclarationError(
                f"{self.name}: its site {declared.name or type(declared).__name__!r} is not open;"
                " declare it in the same class, above the browser"
            )
        if not hasattr(session, "respond") or not hasattr(session, "origin"):
            raise DeclarationError(f"{self.name}: {declared.name!r} is no site: it answers no HTTP")
        return cast("Site", session)


@dataclass(frozen=True, slots=True)
class _Iconless:
    """A site whose log holds what its pages and its agent asked for, not the icon that some browsers ask for."""

    site: Site

    @property
    def origin(self) -> str:
        return self.site.origin

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] != "/favicon.ico":
            await self.site.respond(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def _bytes(content: str | Blob) -> bytes:
    return content.encode() if isinstance(content, str) else content.data


def _playwright_error() -> type[Exception]:
    from playwright.async_api import Error

    return Error


async def _closed(making: asyncio.Future[Any]) -> None:
    """Close a context, in bounded time: its browser may be gone, or its pages hung."""
    with suppress(Exception):  # the engine is replaced where it does not answer
        async with asyncio.timeout(_CLOSE_SECONDS):
            await (await making).close()
