"""The door answers for the episode's sites alone, notes what else was asked for, and leaves nothing open."""

import asyncio
import os

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
