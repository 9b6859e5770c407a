"""One HTTP exchange in process: a request, an ASGI app, an answer. No client library, no socket."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

MAX_BODY = 1 << 20  # bytes of a request
MAX_ANSWER = 4 << 20  # bytes of an answer
BODILESS = frozenset({204, 304})  # statuses whose answers have no body, whatever an app sends
MAX_HEADERS = 32 << 10  # bytes of an answer's headers; a client takes hardly more

AsgiApp: TypeAlias = Callable[..., Awaitable[None]]
Headers: TypeAlias = "tuple[tuple[bytes, bytes], ...]"

_ASGI = {"version": "3.0", "spec_version": "2.3"}
_CLIENT = ("agent", 0)  # the same for all: who asks is world.actor
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_OURS = frozenset(  # what the server says, or the connection
    {b"connection", b"content-length", b"date", b"keep-alive", b"server", b"trailer", b"transfer-encoding", b"upgrade"}
)  # fmt: skip


class BadAnswer(Exception):
    """The app answered with what no server could send on; the text says why, for its author."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a site stands: `http://shop.test`."""

    url: str
    header: tuple[bytes, bytes] = field(init=False)
    server: tuple[str, int] = field(init=False)

    def __post_init__(self) -> None:
        """Take it apart once."""
        parts = urlsplit(self.url)
        object.__setattr__(self, "header", (b"host", parts.netloc.encode()))
        object.__setattr__(self, "server", (parts.hostname or "", parts.port or 80))


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `path` is as it was sent: percent-encoded."""

    method: str
    path: str
    query: str = ""
    headers: Headers = ()
    body: bytes = b""

    def scope(self, origin: Origin, state: dict[str, Any]) -> dict[str, Any]:
        """The ASGI scope; the state is what the app's dependencies find the episode's world by."""
        # whoever comes through a door was let in for this very origin, however he spelled it
        headers = [origin.header, *(header for header in self.headers if header[0] != b"host")]
        return {
            "type": "http", "asgi": _ASGI, "http_version": "1.1", "method": self.method, "scheme": "http",
            "path": unquote(self.path), "raw_path": self.path.encode("latin-1", "replace"),
            "query_string": self.query.encode("latin-1", "replace"), "root_path": "", "headers": headers,
            "client": _CLIENT, "server": origin.server, "state": {}, **state,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    @classmethod
    def told(cls, status: int, detail: str = "", headers: Headers = ()) -> Answer:
        """An answer of our own, shaped as FastAPI's are; what the status means by default."""
        body = json.dumps({"detail": detail or _phrase(status)}).encode()
        return cls(status, ((b"content-type", b"application/json"), *headers), body)


async def exchange(app: AsgiApp, scope: dict[str, Any], body: bytes) -> Answer:
    """Ask an app. Raises whatever its handler raises, and BadAnswer."""
    asked = False
    status, headers = 0, ()
    parts: list[bytes] = []
    size = 0

    async def receive() -> dict[str, Any]:
        nonlocal asked
        # nobody hangs up: frameworks stop an answer that is on its way where somebody does
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status, headers, size
        if message["type"] == "http.response.start":
            status, headers = message["status"], message.get("headers", ())
        elif message["type"] == "http.response.body":
            part = message.get("body", b"")
            size += len(part)
            if size > MAX_ANSWER:
                raise BadAnswer(f"answers over {MAX_ANSWER} bytes are not sent")
            parts.append(part)

    await app(scope, receive, send)
    text = b"" if status in BODILESS else b"".join(parts)
    return Answer(_final(status), _fit(headers), text)


def _final(status: int) -> int:
    if not 200 <= status <= 599:
        raise BadAnswer(f"status {status} is no final answer")
    return status


def _fit(headers: Any) -> Headers:
    """An answer's own headers. Raises BadAnswer for what would break the connection or forge another answer."""
    found = tuple((bytes(name).lower(), bytes(value)) for name, value in headers)
    kept = tuple(header for header in found if header[0] not in _OURS)
    if sum(len(name) + len(value) for name, value in kept) > MAX_HEADERS:
        raise BadAnswer(f"headers over {MAX_HEADERS} bytes are not sent")
    for name, value in kept:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise BadAnswer(
                f"the header {name.decode('latin-1')[:80]!r} has characters that no header may have"
            )
    return kept


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
