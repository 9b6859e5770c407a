"""The door: how a browser or a terminal of one episode reaches the sites of that episode, and nothing else.

It is a forward proxy on a loopback port of its own. What asks for a site of the episode gets an answer from it; every
other host is refused, and the refusal noted. So there is no route to anywhere by construction, names like
`http://shop.test` need no resolver, and nothing an agent sees depends on which port was free.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from envkit.data.score import Finding
from envkit.errors import MissingError

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ACTOR = "envkit.actor"
"""The key of an ASGI scope that says through which adapter a request came, by the adapter's name."""

_CONNECTIONS = 64  # at once; what is over it is dropped
_KERNEL_BUFFER = 65_536
_SILENCE = 10.0  # seconds that a connection may take for its first request
_MOST_ALERTS = 16  # of one episode
_REFUSAL = b"This host cannot be reached from here.\n"


class Site(Protocol):
    """A session that answers HTTP, such as an API. It has to keep slow handlers off the shared event loop."""

    @property
    def origin(self) -> str:
        """What agents type: `http://shop.test`, lower case, without a path."""
        ...

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI 3 application, scopes of type `http` only."""
        ...


class Door:
    """An open door. `port` is on 127.0.0.1; `alerts` are the hosts that were refused."""

    def __init__(self, sites: Sequence[Site], actor: str) -> None:
        self._sites = {_host(site.origin): site for site in sites}
        self._actor = actor
        self._refused: dict[str, Finding] = {}
        self.port = 0

    @property
    def alerts(self) -> tuple[Finding, ...]:
        """One for each host that was asked for and refused."""
        return tuple(self._refused.values())

    def refuse(self, what: str) -> None:
        """Note that something outside the episode's sites was asked for."""
        if what not in self._refused and len(self._refused) < _MOST_ALERTS:
            remedy = (
                "nothing to mend: it was refused; read the episode if the task does not explain it"
            )
            seen = f"asked for {what[:200]}"
            self._refused[what] = Finding("egress-denied", "low", self._actor, seen, remedy)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one request by the host that it names."""
        host = _take_host(scope)
        site = self._sites.get(host)
        if site is None or scope["method"] == "CONNECT":
            self.refuse(host or "no host at all")
            await _answer(send, 403, _REFUSAL)
            return
        scope[ACTOR] = self._actor
        await site.respond(scope, receive, send)


@asynccontextmanager
async def open_door(sites: Sequence[Site], actor: str) -> AsyncGenerator[Door]:
    """Listen on a free loopback port until the episode ends. Raises MissingError without uvicorn."""
    door = Door(sites, actor)
    opened: set[asyncio.BaseTransport] = set()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_protocols(door, opened), "127.0.0.1", 0)
    (listener,) = server.sockets
    # Its connections inherit this: the kernel's own buffer grows to megabytes for each that nobody reads.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _KERNEL_BUFFER)
    door.port = listener.getsockname()[1]
    try:
        yield door
    finally:
        # A connection that was just taken gets its transport first: asyncio forgets it in a closed server.
        loop.remove_reader(listener.fileno())
        try:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        finally:
            server.close()
            for transport in opened:  # kept-alive ones would outlive the episode
                transport.close()


def _protocols(door: Door, opened: set[asyncio.BaseTransport]) -> Callable[[], asyncio.Protocol]:
    try:
        from uvicorn import Config
        from uvicorn.protocols.http.h11_impl import H11Protocol
        from uvicorn.server import ServerState
    except ImportError as error:
        raise MissingError("a site needs uvicorn: pip install 'envkit[api]'") from error
    config = Config(
        door, lifespan="off", ws="none", access_log=False, log_config=None, proxy_headers=False,
        server_header=False, date_header=False, interface="asgi3",
    )  # fmt: skip
    config.load()
    state = ServerState()

    class Connection(H11Protocol):
        """One connection. It is dropped where it asks for nothing, and over the most that there may be."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            opened.add(transport)
            self._silent = self.loop.call_later(_SILENCE, transport.abort)
            super().connection_made(transport)
            if len(opened) > _CONNECTIONS:
                transport.abort()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is not None:  # a whole head has come
                self._silent.cancel()

        def connection_lost(self, exc: Exception | None) -> None:
            opened.discard(self.transport)
            self._silent.cancel()
            super().connection_lost(exc)

    return lambda: Connection(config=config, server_state=state, app_state={})


def _host(origin: str) -> str:
    """`http://shop.test` and `http://shop.test:80` as `shop.test:80`."""
    parts = urlsplit(origin)
    return f"{(parts.hostname or '').lower()}:{parts.port or 80}"


def _take_host(scope: Scope) -> str:
    """The host that a request names, in its target before its header; the scope is left with a plain path."""
    raw = bytes(scope["raw_path"]).decode("latin-1")
    if scope["method"] == "CONNECT":
        return raw.lower()
    try:
        if raw.startswith("/"):
            named = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            return _host(f"http://{named}")
        parts = urlsplit(raw)
        host = _host(raw) if parts.scheme == "http" else f"{parts.scheme}:{parts.netloc}"
    except ValueError:  # no port, brackets that do not close
        return raw[:200]
    prefix = len(raw) - len(parts.path)
    scope["path"] = scope["path"][prefix:] or "/"
    scope["raw_path"] = (parts.path or "/").encode("latin-1")
    rest = [(name, value) for name, value in scope["headers"] if name != b"host"]
    scope["headers"] = [(b"host", parts.netloc.encode("latin-1")), *rest]
    return host


async def _answer(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
