"""A site of plain handlers, for tests of what visits sites."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from envkit.adapter import Adapter, Context


@dataclass
class Asked:
    """One request as the site saw it."""

    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    body: bytes
    headers: dict[str, str]


Page = str | bytes | tuple[int, dict[str, str], bytes]


@dataclass
class PagesSession:
    """Answers from a table of paths; a callable is asked, anything else is the answer."""

    origin: str
    pages: dict[str, Page | Callable[[Asked], Page]]
    log: list[Asked] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    async def respond(self, scope, receive, send):
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        asked = Asked(
            scope["method"],
            scope["path"],
            dict(parse_qsl(scope["query_string"].decode())),
            dict(parse_qsl(body.decode("utf-8", "replace"))),
            body,
            headers,
        )
        self.log.append(asked)
        page = self.pages.get(asked.path, (404, {}, b"<title>Not found</title>no such page"))
        if callable(page):
            page = page(asked)
            if hasattr(page, "__await__"):
                page = await page
        status, extra, content = page if isinstance(page, tuple) else (200, {}, page)
        content = content.encode() if isinstance(content, str) else content
        kept = {"content-type": "text/html; charset=utf-8", **extra}
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(k.encode(), v.encode()) for k, v in kept.items()],
            }
        )
        await send({"type": "http.response.body", "body": content})

    async def freeze(self, patterns):
        return ()

    async def surfaces(self):
        return {}


class Pages(Adapter[PagesSession]):
    """`site = Pages({"/": "<h1>Hello</h1>"})`."""

    session: ClassVar[type[Any]] = PagesSession

    def __init__(self, pages, origin: str = "http://shop.test") -> None:
        self._pages = pages
        self._origin = origin

    async def open(self, seed: Any, context: Context) -> PagesSession:
        return PagesSession(self._origin, dict(self._pages))
