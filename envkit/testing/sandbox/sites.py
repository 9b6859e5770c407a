"""The way out: to the sites of the episode, and to nothing else. It needs uvicorn, and curl inside."""

# ruff: noqa: D102 - a test's name says what it shows
from __future__ import annotations

import asyncio
import socket

import pytest

from envkit.adapters.terminal.link import MOST
from envkit.adapters.terminal.sandbox import PROXY_PORT, Sandbox, SandboxPool
from envkit.errors import SandboxLost
from envkit.testing.probes import python

from .common import CAPS, SMALL, alive, eventually_alive, out, run_python
from .escapes import ABUSE_OF_PROCESS_ONE
from .shop import (
    BIG,
    ELSEWHERE,
    GET,
    GET_BIG,
    LEFT_INSIDE,
    OPEN,
    PROXY,
    Shop,
    back_to,
    connections,
    descriptors,
    own_addresses,
    socketed,
    visit,
)


class Sites:
    """What `equip` gives, and what an agent may try with it."""

    async def test_site_is_reached_by_plain_tools(self, pool: SandboxPool) -> None:
        fetch = "import urllib.request as u; print(u.urlopen('http://shop.test/a').read())"
        async with visit(pool, "plain") as (box, door):
            assert await out(box, "curl -sS http://shop.test/; curl -sS http://SHOP.test:80/x") == (
                "hello\nhello"
            )
            assert await run_python(box, fetch) == "b'hello\\n'"
            assert await out(box, "curl -sS http://shop.test/big | wc -c") == str(BIG)
            job = await box.start("curl -sS http://shop.test/")
            assert (await box.poll(job, wait=10)).output == b"hello\n"
            assert door.alerts == ()

    async def test_site_variables_are_everywhere(self, pool: SandboxPool) -> None:
        async with pool.lease(SMALL, pack="sites", group="variables") as box:
            await box.equip({"COLOUR": 'it\'s "blue"\n$x'})
            wanted = b'it\'s "blue"\n$x'
            for argv in (["printenv", "COLOUR"], ["bash", "-c", "printenv COLOUR"]):
                assert (await box.run(argv, timeout=10)).stdout == wanted + b"\n"
            assert (await box.shell('echo -n "$COLOUR"', timeout=10)).stdout == wanted
            await box.restart_shell()
            assert (await box.shell('echo -n "$COLOUR"', timeout=10)).stdout == wanted
        async with pool.lease(SMALL, pack="sites", group="variables") as box:
            assert await out(box, "echo [$COLOUR]") == "[]"

    async def test_site_other_hosts_are_refused_and_noted(self, pool: SandboxPool) -> None:
        async with visit(pool, "other hosts") as (box, door):
            for url in ("evil.test/", "shop.test:81/", "127.0.0.2/", "169.254.169.254/latest"):
                status = await out(box, f"curl -sS -o /dev/null -w '%{{http_code}}' http://{url}")
                assert status == "403", url
            tunnel = await box.shell("curl -sS -p http://shop.test/", timeout=20)
            https = await box.shell("curl -sS https://shop.test/", timeout=20)
            forced = await box.shell(f"curl -sS -x {PROXY} https://shop.test/", timeout=20)
            assert b"hello" not in tunnel.stdout + https.stdout + forced.stdout
            seen = " ".join(alert.evidence for alert in door.alerts)
            for host in ("evil.test:80", "shop.test:81", "127.0.0.2:80", "169.254.169.254:80"):
                assert host in seen
            assert "shop.test:443" in seen
            assert all(alert.rule == "egress-denied" for alert in door.alerts)

    async def test_site_is_the_only_address(self, pool: SandboxPool) -> None:
        """Every other one is as far away as without sites: the host's loopback, its bridge, its sockets."""
        name = "\0envkit-conformance"
        with socket.create_server(("127.0.0.1", 0)) as other, socket.socket(socket.AF_UNIX) as unix:
            unix.bind(name)
            unix.listen()
            async with visit(pool, "addresses") as (box, door):
                ports = [door.port, other.getsockname()[1]]
                facts = f"HOSTS, PORTS, ABSTRACT = {own_addresses()}, {ports}, {name!r}\n"
                assert await socketed(box, facts + ELSEWHERE, timeout=60) == "[]"

    async def test_site_has_no_listener_without_a_door(self, box: Sandbox) -> None:
        connect = f"try: {OPEN}; print('open')\nexcept OSError as e: print(type(e).__name__)"
        assert await socketed(box, connect) == "ConnectionRefusedError"
        assert await out(box, "tail -n +2 /proc/net/tcp | wc -l") == "0"

    async def test_site_two_hundred_at_once(self, pool: SandboxPool) -> None:
        async with visit(pool, "two hundred") as (box, _):
            get = "curl -sS http://shop.test/ & " * 60
            before = connections()
            job = await box.start(f"for i in 1 2 3; do {get} wait; done | wc -l")
            held = await socketed(
                box,
                f"all = [{OPEN} for _ in range(60)]\n"
                f"for one in all: one.send({GET.replace('/1.1', '/1.0')})\n"
                "print(sum(b'hello' in one.makefile('rb').read() for one in all))",
                timeout=60,
            )
            assert held == "60"
            state = await box.poll(job, wait=30)
            assert state.output == b"180\n"
            await back_to(before)

    async def test_abuse_site_connections_that_are_held(self, pool: SandboxPool) -> None:
        """The host opens no more than the cap, and goes on as soon as one is let go."""
        before = connections()
        async with visit(pool, "held") as (box, _):
            hold = await box.start(
                python(
                    "import socket, time\n"
                    f"all = [{OPEN} for _ in range(100)]\n"
                    "print('held', flush=True); time.sleep(600)"
                )
            )
            assert (await box.poll(hold, wait=10)).output == b"held\n"
            await asyncio.sleep(0.2)
            assert connections() <= before + 1 + 2 * MOST  # both ends: the door is here, too
            starved = await box.shell("curl -sS -m 1 http://shop.test/", timeout=20)
            assert starved.status == 28
            await alive(box)
            await box.kill(hold)
            assert await out(box, "curl -sS -m 10 http://shop.test/") == "hello"

    async def test_abuse_site_slow_and_deaf_clients(self, pool: SandboxPool) -> None:
        """Neither a byte a second nor a client that stops reading holds up others, or fills memory."""
        shop = Shop()
        async with visit(pool, "slow", shop) as (box, _):
            await box.start(
                python(
                    "import socket, time\n"
                    f"all = [{OPEN} for _ in range(10)]\n"
                    f"for one in all[:4]: one.send({GET_BIG})\n"
                    "for one in all[:4]: one.makefile('rb').read(10_000_000)\n"
                    "for byte in b'GET http://shop.test/ HTTP/1.1':\n"
                    "  [one.send(bytes([byte])) for one in all[4:]]; time.sleep(1)"
                )
            )
            sent = -1
            for _ in range(30):  # until nobody reads any more
                if 4 * 10_000_000 <= shop.sent == sent:
                    break
                sent = shop.sent
                await asyncio.sleep(1)
            assert 4 * 10_000_000 <= sent < 4 * (10_000_000 + 6_000_000), sent
            assert await out(box, "curl -sS http://shop.test/") == "hello"
            await alive(box)
            assert shop.sent == sent

    async def test_abuse_site_does_not_starve_the_shell(self, pool: SandboxPool) -> None:
        async with visit(pool, "starve") as (box, _):
            get = "(while :; do curl -s http://shop.test/big > /dev/null; done) & "
            job = await box.start(get * 8 + "wait")
            await asyncio.sleep(0.5)
            for _ in range(5):
                done = await box.shell("echo alive", timeout=10)
                assert done.stdout == b"alive\n"
            await box.kill(job)

    async def test_abuse_site_of_process_one(self, pool: SandboxPool) -> None:
        """Who holds the connections is as far away with them as without."""
        async with visit(pool, "process one") as (box, _):
            await box.start(python(f"import socket, time; x = {OPEN}; time.sleep(600)"))
            assert await run_python(box, ABUSE_OF_PROCESS_ONE) == "[]"
            await box.shell("kill -9 -1; kill -9 1", timeout=5)
            await eventually_alive(box)
            assert await out(box, "curl -sS http://shop.test/") == "hello"

    async def test_abuse_site_port_cannot_be_taken(self, pool: SandboxPool) -> None:
        take = (
            "for options in ((), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,),"
            " (socket.SO_REUSEADDR, socket.SO_REUSEPORT)):\n"
            "  for host in ('127.0.0.1', ''):\n"
            "    one = socket.socket()\n"
            "    for option in options: one.setsockopt(socket.SOL_SOCKET, option, 1)\n"
            f"    try: one.bind((host, {PROXY_PORT})); one.listen(); print('taken', host, options)\n"
            "    except OSError: pass\n"
            f"one = {OPEN}; one.send({GET}); print(one.recv(15))"
        )
        async with visit(pool, "port") as (box, _):
            assert await socketed(box, take) == "b'HTTP/1.1 200 OK'"
            await box.shell("kill -9 -1", timeout=5)
            await eventually_alive(box)
            nested = f"unshare -rn python3 -c 'import socket; socket.create_server((\"\", {PROXY_PORT}))'"
            assert (await box.shell(nested, timeout=10)).status != 0
            assert await socketed(box, take) == "b'HTTP/1.1 200 OK'"

    async def test_reset_leaves_no_listener_and_no_stream(self, pool: SandboxPool) -> None:
        listen = f"import socket, time; s = socket.create_server(('127.0.0.1', {PROXY_PORT})); time.sleep(600)"
        connect = f"try: {OPEN}; print('open')\nexcept OSError as e: print(type(e).__name__)"
        async with pool.lease(SMALL, pack="sites", group="reset 1") as box:
            await box.start("setsid " + python(listen) + " & sleep 600")
            await asyncio.sleep(0.2)
        async with visit(pool, "reset 2") as (box, _):
            assert await out(box, "curl -sS http://shop.test/") == "hello"
            await box.start("curl -sS http://shop.test/big | sleep 600")
        async with pool.lease(SMALL, pack="sites", group="reset 3") as box:
            assert await socketed(box, connect) == "ConnectionRefusedError"
            assert await out(box, "tail -n +2 /proc/net/tcp | wc -l; echo [$http_proxy]") == "0\n[]"
        async with visit(pool, "reset 4") as (box, _):
            assert await out(box, "curl -sS http://shop.test/") == "hello"

    async def test_site_half_closed_connections_end(self, pool: SandboxPool) -> None:
        """More of them than there is room for, one after the other, in every state."""
        async with visit(pool, "half closed") as (box, _):
            before = connections()
            source = (
                "import struct\n"
                f"for request in (b'', b'GET ', {GET}, {GET_BIG}, b'\\0\\xff' * 5000):\n"
                "  for _ in range(15):\n"
                f"    one = {OPEN}; one.sendall(request); one.shutdown(socket.SHUT_WR)\n"
                "    try:\n      while one.recv(1 << 20): pass\n    except ConnectionError: pass\n"
                f"    one = {OPEN}; one.sendall(request); one.shutdown(socket.SHUT_RD); one.close()\n"
                f"    one = {OPEN}; one.sendall(request)\n"
                "    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))\n"
                "    one.close()\n"
                "print('done')"
            )
            assert await socketed(box, source, timeout=60) == "done"
            assert await out(box, "curl -sS http://shop.test/") == "hello"
            await back_to(before)
            assert await out(box, LEFT_INSIDE) == "0"

    async def test_site_ends_with_the_freeze(self, pool: SandboxPool) -> None:
        async with visit(pool, "freeze") as (box, _):
            before = connections()
            await box.start("curl -sS http://shop.test/big | sleep 600")
            await box.start("curl -sS http://shop.test/never")
            await asyncio.sleep(0.3)
            assert connections() > before
            assert await box.freeze(["*"], CAPS) == []
            await back_to(before)

    async def test_site_ends_with_the_lease(self, pool: SandboxPool) -> None:
        """Episodes that end in the middle of everything leave no descriptor on the host."""
        paths = ("big", "never", "")
        backends = set()

        async def episode(number: int) -> None:
            async with visit(pool, f"end {number}") as (box, _):
                backends.add(box.backend)
                for path in paths:
                    await box.start(f"curl -sS http://shop.test/{path} | sleep 600")
                await box.shell("sleep 0.01", timeout=10)

        before = connections()
        counts = []
        for number in range(50):
            await episode(number)
            counts.append(len(descriptors()))
            if number == 19 and backends == {"bubblewrap"}:  # each is a new sandbox there
                break
        await back_to(before)
        assert counts[-1] < max(counts[5:10]) + 10, "slots come and go; nothing adds up"

    async def test_site_cannot_be_given_once_something_ran(self, pool: SandboxPool) -> None:
        async with pool.lease(SMALL, pack="sites", group="too late") as box:
            await alive(box)
            with pytest.raises(SandboxLost):
                await box.equip({}, door=1)
