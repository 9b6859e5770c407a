"""A site to visit from a sandbox, and what a host can see of its visitors."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from envkit.adapters.terminal.sandbox import PROXY_PORT, Sandbox, SandboxPool
from envkit.door import Door, Receive, Scope, Send, open_door

from .common import SMALL, run_python

PROXY = f"http://127.0.0.1:{PROXY_PORT}"
BIG = 50_000_000
_PIECE = 100_000
GET_BIG = r"b'GET http://shop.test/big HTTP/1.1\r\nHost: shop.test\r\n\r\n'"
GET = r"b'GET http://shop.test/ HTTP/1.1\r\nHost: shop.test\r\n\r\n'"
OPEN = f"socket.create_connection(('127.0.0.1', {PROXY_PORT}), 20)"
# Connections in any state but closed (waiting for stray packets, 06) and listening (0A), which end soon.
LEFT_INSIDE = (
    'left() { tail -n +2 /proc/net/tcp | awk \'$4 != "06" && $4 != "0A"\' | wc -l; };'
    " for i in $(seq 30); do [ $(left) = 0 ] && break; sleep 0.1; done; left"
)
# The host's own addresses, its bridge, its network, the cloud's metadata, names; each as (family, address).
ELSEWHERE = """
import socket
reached = []
def attempt(family, kind, address):
    one = socket.socket(family, kind); one.settimeout(2)
    try: one.connect(address); one.send(b"x"); reached.append(address)
    except OSError: pass
    one.close()
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
for host in ("172.17.0.1", "172.18.0.1", "10.0.0.1", "10.0.2.2", "192.168.0.1", "169.254.169.254", "1.1.1.1", *HOSTS):
    for port in (22, 53, 80, 2375, *PORTS):
        for kind in (TCP, UDP): attempt(socket.AF_INET, kind, (host, port))
for port in (22, 80, 2375, *PORTS):
    attempt(socket.AF_INET, TCP, ("127.0.0.1", port))
    attempt(socket.AF_INET, TCP, ("127.0.0.2", port))
    attempt(socket.AF_INET6, TCP, ("::1", port))
    attempt(socket.AF_INET6, TCP, ("::ffff:172.17.0.1", port))
attempt(socket.AF_UNIX, TCP, ABSTRACT)
print(reached)
"""


class Shop:
    """A site: `/` says hello, `/big` is 50 MB, `/never` does not answer."""

    origin = "http://shop.test"

    def __init__(self) -> None:
        self.sent = 0

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by the path."""
        if scope["path"] == "/never":
            while (await receive())["type"] != "http.disconnect":
                pass
        size = BIG if scope["path"] == "/big" else len(b"hello\n")
        length = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        if size != BIG:
            await send({"type": "http.response.body", "body": b"hello\n"})
            return
        for start in range(0, BIG, _PIECE):
            more = start + _PIECE < BIG
            await send({"type": "http.response.body", "body": b"x" * _PIECE, "more_body": more})
            self.sent += _PIECE
            await asyncio.sleep(0)  # for the server to see that nobody is there any more


@asynccontextmanager
async def visit(
    pool: SandboxPool, group: str, shop: Shop | None = None
) -> AsyncGenerator[tuple[Sandbox, Door]]:
    """A lease with a way to one shop."""
    async with (
        open_door([shop or Shop()], "shell") as door,
        pool.lease(SMALL, pack="sites", group=group) as box,
    ):
        await box.equip({"http_proxy": PROXY, "no_proxy": "127.0.0.1"}, door=door.port)
        yield box, door


def descriptors() -> set[str]:
    """What this process has open, as /proc names it; some end while they are looked at."""
    found = set()
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(str(one.readlink()))
    return found


def connections() -> int:
    """TCP sockets that this process has open."""
    rows = Path("/proc/self/net/tcp").read_text().splitlines()[1:]
    return len({f"socket:[{row.split()[9]}]" for row in rows} & descriptors())


async def back_to(count: int) -> None:
    """Assert that no more connections are open than before; the event loop gets a moment."""
    for _ in range(100):
        if connections() <= count:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{connections()} connections, were {count}")


async def socketed(box: Sandbox, source: str, *, timeout: float = 30) -> str:
    """What Python source that uses `socket` prints; it must end well."""
    return await run_python(box, "import socket\n" + source, timeout=timeout)


def own_addresses() -> Sequence[str]:
    """This machine's addresses, as far as its name tells them."""
    try:
        found = {
            str(row[4][0]) for row in socket.getaddrinfo(socket.gethostname(), 0, socket.AF_INET)
        }
    except OSError:
        return []
    return sorted(address for address in found if not address.startswith("127."))
