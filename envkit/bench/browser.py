"""What a browser episode costs, against bare Playwright and against BrowserGym doing the same in one run.

An episode opens a page, goes to another, clicks, fills a form, submits it and closes. The floor has no gate, no door,
no outline and no fixed world, but a browser of its own for each episode, as environments commonly do. The figure is
CPU time over the whole process tree: a busy machine makes an episode slower, not dearer.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any, ClassVar

from envkit.adapter import Adapter, Clock, Context
from envkit.adapters.browser import Browser, BrowserSeed, BrowserSession
from envkit.adapters.browser.engine import find_chromium
from envkit.data.evidence import FrozenItem
from envkit.door import Receive, Scope, Send, open_door
from envkit.errors import MissingError
from envkit.host import Host

_TICKS = os.sysconf("SC_CLK_TCK")
_END_SECONDS = 60.0
_PAGES = {
    "/": "<title>Start</title><h1>Shop</h1><a href=/form>Order</a>",
    "/form": "<title>Form</title><button type=button onclick='this.textContent=1'>Count</button>"
    "<form method=post action=/done><label>Name <input name=n></label></form>",
    "/done": "<title>Done</title><p>Thank you.</p>",
}


class _Shop:
    """A site of three pages."""

    origin = "http://shop.test"

    async def respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _PAGES.get(scope["path"], "").encode()
        headers = [(b"content-type", b"text/html"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def freeze(self, patterns: Any) -> tuple[FrozenItem, ...]:
        return ()

    async def surfaces(self) -> dict[str, bytes]:
        return {}


class _Shops(Adapter[_Shop]):
    session: ClassVar[type[Any]] = _Shop


async def bench_browser(
    *, episodes: int = 20, floor_episodes: int = 6, peer: str | None = None
) -> dict[str, Any]:
    """CPU milliseconds and wall milliseconds of an episode, all sides. Raises MissingError without Chromium.

    Args:
        episodes: of ours, and of the peer
        floor_episodes: of bare Playwright
        peer: a Python that has `browsergym-core`; None leaves BrowserGym out
    """
    find_chromium()
    async with Host() as host:
        await _episode(host)  # the browser starts, caches fill
        ours = await _measured(episodes, lambda: _episode(host))
    floor = await _measured(floor_episodes, _floor)
    gym = await _peer(peer, episodes) if peer else None
    return {
        "episode_cpu_ms": ours[0],
        "episode_ms": ours[1],
        "floor_cpu_ms": floor[0],
        "floor_ms": floor[1],
        "floor_cpu_ratio_to_episode": floor[0] / ours[0],
        "browsergym_cpu_ms": gym and gym[0],
        "browsergym_ms": gym and gym[1],
        "browsergym_cpu_ratio_to_episode": gym and gym[0] / ours[0],
        "counts": {"episodes": episodes, "floor_episodes": floor_episodes},
        "notes": ["CPU time of the whole process tree; floor: a fresh browser for each episode"],
    }


async def _measured(count: int, once: Callable[[], Awaitable[None]]) -> tuple[float, float]:
    """CPU per episode over all of them (processes that ended included), and the median wall time."""
    walls = []
    spent = _cpu_seconds()
    for _ in range(count):
        begun = time.perf_counter()
        await once()
        walls.append(time.perf_counter() - begun)
    return (_cpu_seconds() - spent) / count * 1000, statistics.median(walls) * 1000


async def _episode(host: Host) -> None:
    async with _opened(host) as session:
        await session.read()
        await session.goto("/form")
        shown = await session.read()
        await session.click(_ref(shown, "Count"))
        result = await session.fill(_ref(shown, "textbox"), "Ada", submit=True)
        if "Thank you." not in result.text:
            raise RuntimeError(f"the form was not sent: {result.text}")


@asynccontextmanager
async def _opened(host: Host) -> AsyncGenerator[BrowserSession]:
    async with AsyncExitStack() as stack:
        context = Context("bench", "episode", "group", Random(0), Clock(1.75e9), stack, host)
        shop = _Shops()
        shop.name = "shop"
        browser = Browser(site=shop)
        browser.name = "browser"
        context.sessions["shop"] = _Shop()
        yield await browser.open(BrowserSeed(), context)


def _ref(shown: str, what: str) -> str:
    line = next(line for line in shown.splitlines() if what in line)
    return line.partition("[ref=")[2].partition("]")[0]


async def _floor() -> None:
    try:
        from playwright.async_api import async_playwright
    except ImportError as error:
        raise MissingError("a browser needs Playwright: pip install 'envkit[browser]'") from error
    async with async_playwright() as playwright, open_door([_Shop()], "floor") as door:
        browser = await playwright.chromium.launch(
            executable_path=find_chromium(),
            chromium_sandbox=os.geteuid() != 0,
            proxy={"server": f"http://127.0.0.1:{door.port}", "bypass": "<-loopback>"},
        )
        page = await browser.new_page()
        await page.goto("http://shop.test/")
        await page.content()
        await page.goto("http://shop.test/form")
        await page.content()
        await page.get_by_role("button").click()
        await page.content()
        await page.get_by_role("textbox").fill("Ada")
        await page.get_by_role("textbox").press("Enter")
        await page.get_by_text("Thank you.").wait_for()
        await page.content()
        await browser.close()


async def _peer(python: str, episodes: int) -> tuple[float, float]:
    """The same of BrowserGym: its process says when an episode is over."""
    script = Path(__file__).with_name("peer_browsergym.py")
    async with open_door([_Shop()], "peer") as door:
        told = (script, find_chromium(), f"http://127.0.0.1:{door.port}", episodes)
        process = await asyncio.create_subprocess_exec(
            python, *map(str, told), stdout=asyncio.subprocess.PIPE
        )

        async def over() -> None:
            assert process.stdout is not None  # noqa: S101 - it is a pipe
            if not await process.stdout.readline():
                raise MissingError(
                    f"{python}: BrowserGym did not play; pip install browsergym-core there"
                )

        try:
            await over()  # it has warmed up
            figures = await _measured(episodes, over)
            await asyncio.wait_for(process.wait(), _END_SECONDS)  # it closes its browsers
            return figures
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


def _cpu_seconds() -> float:
    """Of this process and all below it. What has ended is in the time of whoever waited for it."""
    spent: dict[int, float] = {}
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        pid = int(entry.parent.name)
        parents[pid] = int(fields[1])
        spent[pid] = sum(map(int, fields[11:15])) / _TICKS  # its own, and its children's
    below, grown = {os.getpid()}, True
    while grown:
        new = {pid for pid, parent in parents.items() if parent in below} - below
        below |= new
        grown = bool(new)
    return sum(spent.get(pid, 0.0) for pid in below)
