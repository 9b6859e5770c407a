"""A browser on a site of plain pages, called as an agent calls it."""

from __future__ import annotations

import re
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from random import Random
from typing import Any

import pytest
import pytest_asyncio

from envkit.adapter import Clock, Context
from envkit.adapters.browser import Browser, BrowserSeed
from envkit.adapters.browser.engine import find_chromium
from envkit.adapters.browser.world import ALL
from envkit.data.message import ToolCall
from envkit.data.tool import ToolResult
from envkit.errors import MissingError
from envkit.host import Host
from envkit.toolbox import Toolbox

NOW = 1_750_000_000.0


def _pages():
    """The module `tests/worlds/pages.py`: under --import-mode=importlib no test can import it by name."""
    name = "envkit_tests_pages"
    if name not in sys.modules:
        place = spec_from_file_location(name, Path(__file__).parents[2] / "worlds" / "pages.py")
        assert place is not None
        assert place.loader is not None
        module = sys.modules[name] = module_from_spec(place)  # dataclasses look it up there
        place.loader.exec_module(module)
    return sys.modules[name]


@dataclass
class Visit:
    """One episode: its session, its sites, and the last thing that the agent was shown."""

    session: Any
    sites: list[Any]
    context: Context
    browser: Browser
    toolbox: Toolbox = field(default_factory=Toolbox)
    text: str = ""
    told: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for method, tool in self.browser.tools().items():
            self.toolbox.add(tool, self.browser.handler(self.session, method))

    @property
    def site(self):
        return self.sites[0]

    async def call(self, tool: str, /, **arguments: Any) -> ToolResult:
        asked = ToolCall(f"browser_{tool}", arguments)
        result = await self.toolbox.call(asked, self.context.limits.output_chars)
        self.text = result.text
        self.told.append(result.text)
        assert not self.toolbox.findings, self.toolbox.findings  # nothing but refusals
        return result

    def ref(self, what: str) -> str:
        """The reference of the first line of the last observation that holds a text."""
        for line in self.text.splitlines():
            if what in line and (found := re.search(r"\[ref=(e\d+)\]", line)):
                return found[1]
        raise AssertionError(f"no {what!r} in:\n{self.text}")


@asynccontextmanager
async def visiting(host, pages, *, origins=("http://shop.test",), rng=1, layers=ALL, **options):
    module = _pages()
    group, world = options.pop("group", "group"), options.pop("world", {})
    async with AsyncExitStack() as stack:
        context = Context("pack", "episode", group, Random(rng), Clock(NOW), stack, host)
        declared = []
        for number, origin in enumerate(origins):
            site = module.Pages(pages, origin)
            site.name = f"site{number}"
            context.sessions[site.name] = await site.open(None, context)
            declared.append(site)
        browser = Browser(sites=declared, **options)
        browser.name, browser.layers = "browser", layers
        session = await browser.open(BrowserSeed.model_validate(world), context)
        yield Visit(session, list(context.sessions.values()), context, browser)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host():
    try:
        find_chromium()
    except MissingError as missing:
        pytest.skip(str(missing))
    async with Host() as opened:
        yield opened


@pytest.fixture
def visit(host):
    """`async with visit({"/": "<h1>Hello</h1>"}) as v: await v.call("read")`."""
    return lambda pages, **options: visiting(host, pages, **options)


@pytest.fixture
def visit_on():
    """The same on a host of the test's own."""
    return visiting
