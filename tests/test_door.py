"""The door answers for the episode's sites alone, notes what else was asked for, and leaves nothing open."""

import asyncio
import os
import socket

import pytest

from envkit import door as doors
from envkit.door import ACTOR, open_door


class Echo:
    """A site that says what reached it."""

    origin = "http://shop.test"

    async def respond(self, scope, receive, send):
        body = f"{scope['path']} {scope['query_string'].decode()} {scope[ACTOR]}".encode()
        length = str(len(body)).encode()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]}
        )
        await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def door():
    async with open_door([Echo()], "shell") as one:
        yield one


async def ask(port, *lines):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write("\r\n".join((*lines, "connection: close", "", "")).encode())
    try:
        return (await asyncio.wait_for(reader.read(), 10)).decode()
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        (("GET http://shop.test/a%20b?c=1 HTTP/1.1", "host: other.test"), "/a b c=1 shell"),
        (("GET http://SHOP.test:80 HTTP/1.1", "host: x"), "/  shell"),
        (("GET /plain HTTP/1.1", "host: shop.test"), "/plain  shell"),
    ],
)
async def test_a_site_answers_by_its_name(door, lines, seen):
    answer = await ask(door.port, *lines)
    assert answer.startswith("HTTP/1.1 200")
    assert answer.endswith(seen)
    assert door.alerts == ()


@pytest.mark.parametrize(
    "lines",
    [
        ("GET http://evil.test/ HTTP/1.1", "host: shop.test"),
        ("GET http://shop.test:81/ HTTP/1.1", "host: shop.test"),
        ("GET http://shop.test.evil.test/ HTTP/1.1", "host: shop.test"),
        ("GET http://shop.test@evil.test/ HTTP/1.1", "host: shop.test"),
        ("GET https://shop.test/ HTTP/1.1", "host: shop.test"),
        ("GET ftp://shop.test/ HTTP/1.1", "host: shop.test"),
        ("GET http://[::1/ HTTP/1.1", "host: shop.test"),
        ("GET / HTTP/1.1", "host: 169.254.169.254"),
        ("CONNECT shop.test:443 HTTP/1.1", "host: shop.test:443"),
        ("CONNECT shop.test:80 HTTP/1.1", "host: shop.test"),
    ],
)
async def test_everything_else_is_refused_and_noted(door, lines):
    answer = await ask(door.port, *lines)
    assert answer.startswith(("HTTP/1.1 403", "HTTP/1.1 400"))
    if answer.startswith("HTTP/1.1 403"):
        assert [finding.rule for finding in door.alerts] == ["egress-denied"]


async def test_alerts_are_few_and_short(door):
    for number in range(40):
        await ask(door.port, f"GET http://h{number}{'x' * 900}.test/ HTTP/1.1", "host: x")
    assert len(door.alerts) == 16
    assert all(len(finding.evidence) < 300 for finding in door.alerts)


async def test_too_many_connections_and_silent_ones_are_dropped(door, monkeypatch):
    monkeypatch.setattr(doors, "_SILENCE", 0.3)
    pairs = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(100)]
    await asyncio.sleep(0.8)
    gone = [reader.at_eof() or reader.exception() is not None for reader, _ in pairs]
    assert all(gone)
    assert (await ask(door.port, "GET / HTTP/1.1", "host: shop.test")).startswith("HTTP/1.1 200")
    for _, writer in pairs:
        writer.close()


# ---- what else a client may do -------------------------------------------------------------------


class Odd:
    """A site with ways that no site should have."""

    origin = "http://odd.test"

    def __init__(self):
        self.cancelled = 0
        self.read = 0

    async def respond(self, scope, receive, send):
        await getattr(self, scope["path"].strip("/"))(receive, send)

    async def raises(self, receive, send):
        raise RuntimeError("secret /srv/app.py")

    async def upload(self, receive, send):
        more = True
        while more:
            message = await receive()
            self.read += len(message.get("body", b""))
            more = message.get("more_body", False)
        await self.hello(receive, send)

    async def hello(self, receive, send):
        headers = [(b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    async def big(self, receive, send):
        headers = [(b"content-length", str(20 << 20).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"x" * (20 << 20)})

    async def waits(self, receive, send):
        try:
            await asyncio.sleep(60)
        finally:
            self.cancelled += 1


@pytest.fixture
async def odd():
    site = Odd()
    async with open_door([site], "shell") as door:
        yield site, door


async def sent(port, data, *, read=True, wait=10):
    """What comes back for some bytes; empty where the connection is dropped."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(65_536), wait) if read else b""
    except ConnectionError:
        return b""
    finally:
        writer.close()


def post(*headers, body=b"", path="upload"):
    lines = (f"POST /{path} HTTP/1.1", "host: odd.test", *headers, "", "")
    return "\r\n".join(lines).encode() + body


async def test_a_site_that_raises_tells_nothing(odd, caplog):
    answer = await sent(odd[1].port, post("content-length: 0", path="raises"))
    assert answer.startswith(b"HTTP/1.1 500")
    assert answer.endswith(b"Internal Server Error\n")
    assert [record.name for record in caplog.records] == ["envkit.door"]


async def test_a_body_over_the_cap_is_not_taken(odd, monkeypatch):
    monkeypatch.setattr(doors, "_BODY", 100_000)
    site, door = odd
    answer = await sent(door.port, post("content-length: 200000", body=b"x" * 200_000))
    assert answer.startswith(b"HTTP/1.1 413")
    chunks = b"".join(b"4000\r\n" + b"x" * 0x4000 + b"\r\n" for _ in range(20))
    answer = await sent(door.port, post("transfer-encoding: chunked", body=chunks))
    assert answer == b"" or answer.startswith(
        b"HTTP/1.1 413"
    )  # dropped while it was still being sent
    assert site.read <= 200_000


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: odd.test\r\nhost: other.test\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: odd.test\r\nx: " + b"y" * 200_000 + b"\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: odd.test\r\n\r\n",
        post("content-length: 3", "content-length: 4", body=b"abcd"),
        post("content-length: -1"),
        post("transfer-encoding: gzip, chunked"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
async def test_what_is_no_request_gets_a_400_and_no_line_in_the_log(odd, data, caplog):
    assert (await sent(odd[1].port, data)).startswith(b"HTTP/1.1 4")
    assert caplog.records == []


async def test_both_lengths_at_once_make_one_request(odd):
    inner = b"GET /raises HTTP/1.1\r\nhost: odd.test\r\n\r\n"
    body = b"0\r\n\r\n" + inner
    lengths = ("transfer-encoding: chunked", f"content-length: {len(body)}", "connection: close")
    answer = await sent(odd[1].port, post(*lengths, body=body))
    assert answer.count(b"HTTP/1.1") == 1
    assert odd[0].read == 0


async def test_an_upgrade_is_an_ordinary_request(odd):
    upgrade = (
        "upgrade: websocket",
        "connection: upgrade",
        "sec-websocket-key: x",
        "content-length: 0",
    )
    answer = await sent(odd[1].port, post(*upgrade, path="hello"))
    assert answer.startswith(b"HTTP/1.1 200")


async def test_who_is_named_before_an_at_sign_changes_nothing(door):
    answer = await ask(door.port, "GET http://%41%42@shop.test/abc HTTP/1.1", "host: x")
    assert answer.endswith("/abc  shell")


@pytest.mark.parametrize(
    "start", [b"", b"GET / HTTP/1.1\r\nx: ", post("content-length: 100", body=b"ab")]
)
async def test_who_drips_is_dropped(monkeypatch, start):
    monkeypatch.setattr(doors, "_SILENCE", 0.2)
    async with open_door([Odd()], "shell") as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(start)
        for _ in range(40):
            writer.write(b"a" if start else b"")
            await asyncio.sleep(0.05)
            if reader.at_eof() or reader.exception():
                break
        else:
            pytest.fail("it is still there")
        writer.close()


def sockets():
    """How many sockets this process has open."""
    return sum(
        os.readlink(f"/proc/self/fd/{fd}").startswith("socket:")
        for fd in os.listdir("/proc/self/fd")
        if os.path.lexists(f"/proc/self/fd/{fd}")
    )


async def test_of_a_thousand_connections_few_are_held_and_the_door_stays_open(door):
    before = sockets()
    clients = [socket.socket() for _ in range(1_000)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", door.port))
    for _ in range(40):
        await asyncio.sleep(0.05)
    assert sockets() - before - len(clients) <= 64
    for client in clients:
        client.close()
    for _ in range(200):  # what waited to be accepted is accepted, and found to be gone
        if sockets() <= before:
            break
        await asyncio.sleep(0.05)
    assert sockets() <= before
    assert (await ask(door.port, "GET / HTTP/1.1", "host: shop.test")).startswith("HTTP/1.1 200")


async def test_closing_waits_for_nobody():
    site, before = Odd(), sockets()
    async with open_door([site], "shell") as door:
        pairs = []
        for path in ("hello", "waits", "big"):
            pairs.append(await asyncio.open_connection("127.0.0.1", door.port))
            pairs[-1][1].write(post("content-length: 0", path=path))
        await asyncio.sleep(0.1)
    await asyncio.sleep(0.05)
    # kept alive, waited for, or with megabytes that were never read: of each only the client's end is left
    assert sockets() == before + len(pairs)
    assert site.cancelled == 1
    assert [task for task in asyncio.all_tasks() if "run_asgi" in repr(task)] == []
    for _, writer in pairs:
        writer.close()


async def test_closing_leaves_nothing_open():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(30):
        async with open_door([Echo()], "shell") as door:
            _, writer = await asyncio.open_connection("127.0.0.1", door.port)
            writer.write(b"GET / HTTP/1.1\r\nhost: shop.test\r\n\r\n")
            await asyncio.sleep(0.01)
        writer.close()
    await asyncio.sleep(0.1)
    assert len(os.listdir("/proc/self/fd")) <= before + 2
