"""One HTTP exchange in process: a request, an ASGI app, an answer. No client library, no socket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import unquote

MAX_BODY = 1 << 20  # bytes of a request
MAX_ANSWER = 4 << 20  # bytes of an answer

AsgiApp: TypeAlias = Callable[..., Awaitable[None]]
Headers: TypeAlias = "tuple[tuple[bytes, bytes], ...]"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked. `path` is as it was sent: percent-encoded."""

    method: str
    path: str
    query: str = ""
    headers: Headers = ()
    body: bytes = b""

    def scope(self, host: str, state: dict[str, Any]) -> dict[str, Any]:
        """The ASGI scope; the state is what the app's dependencies find the episode's world by."""
        return {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
            "method": self.method, "scheme": "http", "path": unquote(self.path),
            "raw_path": self.path.encode("latin-1", "replace"), "query_string": self.query.encode(),
            "root_path": "", "headers": list(self.headers), "client": ("agent", 0),
            "server": (host, 80), **state,
        }  # fmt: skip


@dataclass(slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")


async def exchange(app: AsgiApp, scope: dict[str, Any], body: bytes) -> Answer:
    """Ask an app. Raises whatever its handler raises, once an answer of its own was not begun."""
    answer = Answer(0)
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            return {"type": "http.disconnect"}
        asked = True
        return {"type": "http.request", "body": body, "more_body": False}

    parts: list[bytes] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = tuple((bytes(n).lower(), bytes(v)) for n, v in message["headers"])
        elif sum(map(len, parts)) <= MAX_ANSWER:
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    answer.body = b"".join(parts)
    return answer
