"""What a site answers to somebody who asks for more than its pages link to."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from envkit.audit.battery.api import ROUTES

MOST = 60  # routes of one site that are asked for
_NOTHING = (404, 405)


async def probe(session: Any) -> dict[str, bytes]:
    """What is answered to guessed routes and to the app's own plain ones, headers too; empty where this is no site."""
    if not hasattr(session, "respond") or not hasattr(session, "origin"):
        return {}
    found: dict[str, bytes] = {}
    for path in [*_declared(session), *(f"/{route}" for route in ROUTES)][:MOST]:
        status, headers, body = await _get(session, path)
        if status not in _NOTHING and body:
            found[path] = body
        if headers:  # of an error too, such as an entity tag or a cookie
            found[f"{path} (headers)"] = headers
    return found


def _declared(session: Any) -> list[str]:
    """Routes of the app that can be asked for without knowing anything."""
    routes = getattr(getattr(session, "app", None), "routes", ())
    paths = (
        str(getattr(route, "path", ""))
        for route in routes
        if "GET" in (getattr(route, "methods", None) or ())
    )
    return [path for path in paths if path.startswith("/") and "{" not in path]


async def _get(session: Any, path: str) -> tuple[int, bytes, bytes]:
    host = session.origin.partition("//")[2]
    path, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET",
        "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": query.encode(),
        "root_path": "", "headers": [(b"host", host.encode())], "server": (host, 80),
        "client": ("127.0.0.1", 1), "state": {},
    }  # fmt: skip
    status, parts, headers = 404, [], b""

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status, headers
        if message["type"] == "http.response.start":
            status = int(message["status"])
            headers = b"\n".join(b"%s: %s" % (k, v) for k, v in message.get("headers", ()))
        elif message["type"] == "http.response.body":
            parts.append(bytes(message.get("body", b"")))

    await session.respond(scope, receive, send)
    return status, headers, b"".join(parts)
