"""The door: how a browser or a terminal of one episode reaches the sites of that episode, and nothing else.

It is a forward proxy on a loopback port of its own. What asks for a site of the episode gets an answer from it; every
other host is refused, and the refusal noted. So there is no route to anywhere by construction, names like
`http://shop.test` need no resolver, and nothing an agent sees depends on which port was free.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias
from urllib.parse import unquote, urlsplit

from envkit.data.score import Finding
from envkit.errors import MissingError

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ACTOR = "envkit.actor"
"""The key of an ASGI scope that says through which adapter a request came, by the adapter's name."""

log = logging.getLogger("envkit.door")

_CONNECTIONS = 64  # at once; what is over it is dropped
_KERNEL_BUFFER = 65_536
_SILENCE = 10.0  # seconds in which a connection has to get a request across, or is dropped
_BODY = 8 << 20  # bytes of a request; sites may take less
_GRACE = 1.0  # seconds that what a site still does may take to end, once it is cancelled
_MOST_ALERTS = 16  # of one episode
_REFUSAL = b"This host cannot be reached from here.\n"
_TOO_LARGE = b"Content Too Large\n"
_BROKEN = b"Internal Server Error\n"


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
        """Route one request by the host that it names. What a site raises is answered by a constant 500."""
        host = _take_host(scope)
        site = self._sites.get(host)
        if site is None or scope["method"] == "CONNECT":
            self.refuse(host.removeprefix(":80") or "no host at all")
            await _answer(send, 403, _REFUSAL)
            return
        scope[ACTOR] = self._actor
        body = _Body(receive)
        try:
            await site.respond(scope, body.receive, send)
        except _TooLarge:
            await _answer(send, 413, _TOO_LARGE, close=True)
        except asyncio.CancelledError:  # the episode is over: nobody is there to be answered
            return
        except Exception as error:
            log.warning("a site raised", exc_info=error)
            await _answer(send, 500, _BROKEN, close=True)


class _TooLarge(Exception):
    """A request's body is over the cap."""


class _Body:
    """A request's body on its way to a site, as far as it is taken."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0

    async def receive(self) -> MutableMapping[str, Any]:
        """The next part. Raises _TooLarge."""
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > _BODY:
            raise _TooLarge
        return message


@asynccontextmanager
async def open_door(sites: Sequence[Site], actor: str) -> AsyncGenerator[Door]:
    """Listen on a free loopback port until the episode ends. Raises MissingError without uvicorn."""
    door = Door(sites, actor)
    opened: set[asyncio.Transport] = set()
    make, tasks = _protocols(door, opened)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(make, "127.0.0.1", 0)
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
            for transport in list(opened):  # kept-alive ones, and those whose peer does not read
                transport.abort()
            for task in list(tasks):
                task.cancel()
        if tasks:
            await asyncio.wait(list(tasks), timeout=_GRACE)


def _protocols(
    door: Door, opened: set[asyncio.Transport]
) -> tuple[Callable[[], asyncio.Protocol], set[asyncio.Task[None]]]:
    """What makes a connection's protocol, and the tasks of all of their requests."""
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
    # an agent sends what it likes, which is no news for whoever runs this
    mute = logging.Logger("envkit.door.wire", logging.CRITICAL + 1)

    class Connection(H11Protocol):
        """One connection. It is dropped where it gets no request across, and over the most that there may be."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            self.logger = mute
            self._seen: object = None  # the request that was being sent as it was last looked at
            opened.add(transport)
            self._watch = self.loop.call_later(_SILENCE, self._look)
            super().connection_made(transport)
            if len(opened) > _CONNECTIONS:
                transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            opened.discard(self.transport)
            self._watch.cancel()
            super().connection_lost(exc)

        def _look(self) -> None:
            """Drop it if it is where it was: no request yet, the same unfinished one, or no new one since."""
            at = self.cycle
            waits_for_us = at is not None and not at.more_body and not at.response_complete
            if at is self._seen and not waits_for_us:
                self.transport.abort()
                return
            self._seen = at
            self._watch = self.loop.call_later(_SILENCE, self._look)

    return lambda: Connection(config=config, server_state=state, app_state={}), state.tasks


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
    scope["path"] = unquote(parts.path) or "/"
    scope["raw_path"] = (parts.path or "/").encode("latin-1")
    rest = [(name, value) for name, value in scope["headers"] if name != b"host"]
    named = parts.netloc.rpartition("@")[2]
    scope["headers"] = [(b"host", named.encode("latin-1")), *rest]
    return host


async def _answer(send: Send, status: int, body: bytes, *, close: bool = False) -> None:
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")] if close else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
