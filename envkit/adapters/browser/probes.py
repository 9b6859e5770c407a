"""Escape probes: ways to make a browser leave its sites, and how to tell that one did.

A probe is tried by an agent's tools, by what a hostile page does, or by both. It counts what comes back: bytes of the
host, bytes or hits of a foreign server, source that no page shows, a change of the site's state that no form allows.
Run them against a browser of your own with `try_probe`; with all layers on, every one must bring back nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

Call = Callable[..., Awaitable[str]]
"""How a tool is called: `await call("goto", url="...")` gives what the agent is shown, refusal or not."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a probe plays on: a site that serves its page at `/probe`, a secret file, a foreign server.

    The tokens differ, so that it is plain what came back. The site answers `/redirect` with a redirect to `foreign`,
    and `/download` with an attachment that holds `disk_token`.
    """

    origin: str  # of the site
    foreign: str  # `http://127.0.0.1:PORT`, of a server that is none of the sites and says `foreign_token`
    file: str  # the path of a file on the host that holds `host_token`
    host_token: str = field(default_factory=lambda: uuid4().hex)
    foreign_token: str = field(default_factory=lambda: uuid4().hex)
    source_token: str = field(default_factory=lambda: uuid4().hex)  # in a comment of the page
    state_token: str = field(default_factory=lambda: uuid4().hex)  # in paths that no link leads to
    disk_token: str = field(default_factory=lambda: uuid4().hex)

    def fill(self, text: str) -> str:
        """A text of a probe with the names of this ground; tokens come in halves, for refusals quote addresses."""
        half = len(self.foreign_token) // 2
        names = {
            "origin": self.origin, "foreign": self.foreign, "file": self.file,
            "host": self.foreign.removeprefix("http://"), "state": self.state_token,
            "one": self.foreign_token[:half], "two": self.foreign_token[half:],
        }  # fmt: skip
        for name, value in names.items():
            text = text.replace(f"${name}$", value)
        return text

    def came_back(self, shown: str, paths: Iterable[str], hits: int) -> tuple[str, ...]:
        """What a probe brought back, from what the agent was shown, the site was asked and the foreign server saw."""
        found = {
            "host bytes": self.host_token in shown or "Executable Path" in shown,
            "foreign bytes": self.foreign_token in shown,
            "foreign hits": hits > 0,
            "page source": self.source_token in shown,
            "state": any(self.state_token in path for path in paths),
        }
        return tuple(name for name, came in found.items() if came)


@dataclass(frozen=True, slots=True)
class Probe:
    """One way out. `address` is what the agent asks for, `script` what the hostile page runs."""

    name: str
    address: str = ""
    script: str = ""
    body: str = ""
    clicks: bool = False  # whether the page needs a click on "Go"

    def page(self, ground: Ground) -> str:
        """The hostile page."""
        return (
            f"<!doctype html><title>Probe</title><!-- {ground.source_token} -->{ground.fill(self.body)}"
            f'<button onclick="window.go && go()">Go</button><p id=out></p>'
            f"<script>{ground.fill(self.script)}</script>"
        )


_TAKEN = ".then(r => r.text()).then(t => out.textContent = t)"

PROBES: tuple[Probe, ...] = (
    Probe("file", "file://$file$"),
    Probe("file, in capitals", "FILE:///$file$"),
    Probe("file, behind blanks", " \x01\n\tfile://$file$"),
    Probe("file, split by a tab", "fi\tle://$file$"),
    Probe("file, by one slash", "file:$file$"),
    Probe("view-source", "view-source:$origin$/probe"),
    Probe("javascript", "javascript:fetch('/grant/$state$',{method:'POST'})"),
    Probe("javascript, split by a line break", "java\nscript:fetch('/grant/$state$',{method:'POST'})"),
    Probe("data", "data:text/html,<script>document.write('$one$'+'$two$')</script>"),
    Probe("chrome", "chrome://version"),
    Probe("other port", "$foreign$/"),
    Probe("other port, behind a user", "http://shop.test@$host$/"),
    Probe("other port, by backslashes", "http:\\\\$host$\\"),
    Probe("blob", script="go = () => window.open(URL.createObjectURL(new Blob(["
          "'<p>$one$' + '$two$'], {type: 'text/html'})))", clicks=True),
    Probe("fetch", script=f"fetch('$foreign$/'){_TAKEN}"),
    Probe("fetch without cors", script="fetch('$foreign$/', {mode: 'no-cors'})"),
    Probe("websocket", script="new WebSocket('ws://$host$/')"),
    Probe("beacon", script="navigator.sendBeacon('$foreign$/', 'x')"),
    Probe("event source", script="new EventSource('$foreign$/')"),
    Probe("image", body="<img src='$foreign$/'>"),
    Probe("script tag", body="<script src='$foreign$/'></script>"),
    Probe("worker", script="new Worker(URL.createObjectURL(new Blob([`fetch('$foreign$/', {mode: 'no-cors'})`])))"),
    Probe("frame", body="<iframe src='$foreign$/'></iframe>"),
    Probe("file in a frame", body="<iframe src='file://$file$'></iframe>"),
    Probe("popup", script="go = () => window.open('$foreign$/')", clicks=True),
    Probe("popup of a file", script="go = () => window.open('file://$file$')", clicks=True),
    Probe("redirect", "$origin$/redirect"),
    Probe("meta refresh", body="<meta http-equiv=refresh content='0;url=$foreign$/'>"),
    Probe("location", script="setTimeout(() => location = '$foreign$/', 10)"),
    Probe("form", body="<form id=f method=post action='$foreign$/'><input name=a></form>",
          script="go = () => f.submit()", clicks=True),
    Probe("preconnect", body="<link rel=preconnect href='$foreign$'><link rel=dns-prefetch href='$foreign$'>"),
    Probe("prefetch", body="<link rel=prefetch href='$foreign$/'>"),
    Probe("stun", script="const p = new RTCPeerConnection({iceServers: [{urls: 'stun:$host$'}]});"
          "p.createDataChannel('a'); p.createOffer().then(o => p.setLocalDescription(o))"),
    Probe("turn", script="const t = new RTCPeerConnection({iceTransportPolicy: 'relay', iceServers: [{urls: ["
          "'turn:$host$?transport=tcp', 'turn:$host$?transport=udp'], username: 'a', credential: 'b'}]});"
          "t.createDataChannel('a'); t.createOffer().then(o => t.setLocalDescription(o))"),
    Probe("web transport", script="new WebTransport('https://$host$/').ready.catch(() => 0)"),
    Probe("styles", body="<style>@import url('$foreign$/'); @font-face { font-family: a; src: url('$foreign$/') }"
          " body { font-family: a; background: url('$foreign$/') }</style>"),
    Probe("ping", body="<a id=a href='#' ping='$foreign$/'>x</a>", script="go = () => a.click()", clicks=True),
    Probe("download", body="<a id=a download=x.txt href='/download'>x</a>", script="go = () => a.click()",
          clicks=True),
    Probe("service worker", script="navigator.serviceWorker && navigator.serviceWorker.register('/worker/$state$.js')"),
)  # fmt: skip
"""Without those that need a file field: what a pack lets upload is in `UPLOADS`."""

UPLOADS = ("$file$", "../../..$file$", "file://$file$")
"""Names that `upload` must not take."""


@dataclass(slots=True)
class Foreign:
    """A server that is none of the episode's sites; it counts everything that reaches it, over TCP and UDP."""

    token: str
    port: int = 0
    hits: int = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Count a connection, whatever it says, and answer it with the token."""
        self.hits += 1
        body = f"<p>{self.token}</p>".encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n"
        open_to_all = "Access-Control-Allow-Origin: *\r\nConnection: close\r\n\r\n"
        try:
            await asyncio.wait_for(reader.read(1 << 16), 2)
            writer.write((head + open_to_all).encode() + body)
            await writer.drain()
        except (OSError, TimeoutError):
            pass
        finally:
            writer.close()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, foreign: Foreign) -> None:
        self._foreign = foreign

    def datagram_received(self, data: bytes, addr: object) -> None:
        self._foreign.hits += 1


@asynccontextmanager
async def foreign_server(token: str) -> AsyncGenerator[Foreign]:
    """One on a free loopback port, saying a token."""
    foreign = Foreign(token)
    server = await asyncio.start_server(foreign.answer, "127.0.0.1", 0)
    foreign.port = server.sockets[0].getsockname()[1]
    loop = asyncio.get_running_loop()
    udp, _ = await loop.create_datagram_endpoint(
        lambda: _Datagrams(foreign), local_addr=("127.0.0.1", foreign.port)
    )
    try:
        yield foreign
    finally:
        udp.close()
        server.close()


async def try_probe(probe: Probe, ground: Ground, call: Call) -> str:
    """Play a probe on a site that serves it; everything that the agent was shown."""
    shown: list[str] = []
    if probe.body or probe.script:
        shown.append(await call("goto", url=f"{ground.origin}/probe"))
        shown.append(await call("wait", ms=100))
    if probe.clicks:
        shown.append(await call("read"))
        ref = next(
            (x.split("ref=")[1].split("]")[0] for x in shown[-1].splitlines() if '"Go"' in x), "e0"
        )
        shown.append(await call("click", ref=ref))
    if probe.address:
        shown.append(await call("goto", url=ground.fill(probe.address)))
    for index in range(3):  # whatever it opened
        shown.append(await call("tab", op="select", index=index))
    shown.append(await call("read"))
    return "\n".join(shown)
