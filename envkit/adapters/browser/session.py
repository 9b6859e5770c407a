"""The session: what an agent can do with a browser.

Every tool ends in an observation: the address, what happened on the way (dialogs, new tabs, what was blocked) and the
outline of the page. There is no tool that runs a script.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from envkit.adapters.browser import surfaces
from envkit.adapters.browser.drive import ACTION_SECONDS, GOTO_SECONDS, Drive
from envkit.adapters.browser.tab import Tab
from envkit.adapters.browser.tabs import MOST_TABS
from envkit.adapters.browser.view import View
from envkit.data.evidence import FrozenItem
from envkit.data.message import Image
from envkit.data.score import Finding
from envkit.data.tool import ToolResult, tool
from envkit.door import Door
from envkit.toolbox import ToolRefusal

if TYPE_CHECKING:
    from playwright.async_api import Locator

PATIENCE = 2000.0  # milliseconds that an element gets to become usable
_MOST_ALERTS = 16
_WHEEL = {"up": (0, -600), "down": (0, 600), "left": (-800, 0), "right": (800, 0)}
_KEY = re.compile(
    r"(?:(?:Shift|Control|Alt)\+){0,3}(?:[ -~]|Enter|Tab|Escape|Backspace|Delete|Home|End|Insert|Space"
    r"|PageUp|PageDown|Arrow(?:Up|Down|Left|Right)|F(?:[1-9]|1[0-2]))"
)
# Chromium has one clipboard for all of its contexts: what would be pasted is what another episode copied.
_PASTE = re.compile(r"(?=.*Control\+).*\+[vV]|(?=.*Shift\+).*\+Insert")

Ref = Annotated[str, Field(max_length=20)]
Text = Annotated[str, Field(max_length=100_000)]


class BrowserSession:
    """One episode's browser. Its tools act on the tab in front."""

    def __init__(self, drive: Drive, view: View, door: Door, name: str) -> None:
        self._drive = drive
        self._view = view
        self._tabs = drive.tabs
        self._door = door
        self._name = name
        self._refused: dict[str, Finding] = {}

    # ---- tools ----

    @tool
    async def goto(self, url: Text) -> ToolResult:
        """Open an address of one of the sites, such as http://shop.test/cart or /cart.

        Args:
            url: the address, or a path on the site that is open
        """
        target = self._allowed(url)
        patience = GOTO_SECONDS * 1000

        async def work(tab: Tab) -> None:
            await tab.page.goto(target, wait_until="domcontentloaded", timeout=patience)

        return await self._do(work, GOTO_SECONDS)

    @tool
    async def back(self) -> ToolResult:
        """Go back to the page before this one."""
        patience = GOTO_SECONDS * 1000

        async def work(tab: Tab) -> None:
            await tab.page.go_back(wait_until="domcontentloaded", timeout=patience)

        return await self._do(work, GOTO_SECONDS)

    @tool
    async def click(self, ref: Ref) -> ToolResult:
        """Click on an element.

        Args:
            ref: the element, as the outline calls it, such as e12
        """
        return await self._on(ref, lambda element: element.click(timeout=PATIENCE))

    @tool
    async def fill(self, ref: Ref, text: Text, submit: bool = False) -> ToolResult:
        """Put a text into a field, in place of what is there.

        Args:
            ref: the field
            text: what to put there
            submit: press Enter afterwards
        """

        async def work(element: Locator) -> None:
            await element.fill(text, timeout=PATIENCE)
            if submit:
                await element.press("Enter", timeout=PATIENCE)

        return await self._on(ref, work)

    @tool
    async def select(
        self, ref: Ref, values: Annotated[list[Text], Field(max_length=100)]
    ) -> ToolResult:
        """Choose options of a list.

        Args:
            ref: the list (a combobox or listbox)
            values: the options, by label or value
        """
        return await self._on(ref, lambda element: element.select_option(values, timeout=PATIENCE))

    @tool
    async def press(self, key: Annotated[str, Field(max_length=40)]) -> ToolResult:
        """Press a key, such as Enter, Tab, ArrowDown or Control+a, in the element that has the focus.

        Args:
            key: its name, or one character
        """
        if not _KEY.fullmatch(key):
            raise ToolRefusal(f"There is no key {key!r}: one character, or Enter, ArrowDown, ...")
        if _PASTE.fullmatch(key):
            raise ToolRefusal("There is no clipboard here: put a text into a field with fill.")
        return await self._do(lambda tab: tab.page.keyboard.press(key), ACTION_SECONDS)

    @tool
    async def hover(self, ref: Ref) -> ToolResult:
        """Move the pointer over an element.

        Args:
            ref: the element
        """
        return await self._on(ref, lambda element: element.hover(timeout=PATIENCE))

    @tool
    async def scroll(
        self, direction: Literal["up", "down", "left", "right"], ref: Ref | None = None
    ) -> ToolResult:
        """Scroll by most of a screen. The outline shows the whole page anyway; this is for what loads late.

        Args:
            direction: where to
            ref: an element to scroll in; the page by default
        """
        across, down = _WHEEL[direction]
        if ref is None:
            return await self._do(lambda tab: tab.page.mouse.wheel(across, down), ACTION_SECONDS)

        async def work(element: Locator) -> None:
            await element.hover(timeout=PATIENCE)
            await element.page.mouse.wheel(across, down)

        return await self._on(ref, work)

    @tool
    async def find(self, text: Annotated[str, Field(min_length=1, max_length=500)]) -> str:
        """Find a text on the page, in upper or lower case, and say in which elements it is.

        Args:
            text: what to look for
        """
        self._drive.begin()
        return await self._view.find(text)

    @tool
    async def read(self, offset: Annotated[int, Field(ge=0)] = 0, ref: Ref | None = None) -> str:
        """Read the outline of the page, or of one element, from a line on.

        Args:
            offset: the line to begin with
            ref: the element to read; the whole page by default
        """
        self._drive.begin()
        return await self._view.read(offset, ref)

    @tool
    async def tab(
        self, op: Literal["list", "select", "close", "new"], index: int = 0
    ) -> str | ToolResult:
        """List the tabs, bring one to the front, close one, or open an empty one.

        Args:
            op: what to do
            index: which tab, counted from 0
        """
        self._drive.begin()
        tabs = self._tabs
        if op == "list":
            return self._view.show(tabs.listing())
        if op == "new":
            if len(tabs.open) >= MOST_TABS:
                raise ToolRefusal(f"{MOST_TABS} tabs are open; close one first.")
            tabs.current = None  # a fresh one is opened where none is in front
        elif not 0 <= index < len(tabs.open):
            raise ToolRefusal(f"There is no tab {index}: {len(tabs.open)} are open.")
        elif op == "select":
            tabs.current = tabs.open[index]
        else:
            tabs.drop(tabs.open[index])
        return await self._do(_look, ACTION_SECONDS)

    @tool
    async def wait(self, ms: Annotated[int, Field(ge=0, le=2000)]) -> ToolResult:
        """Let time pass on the page.

        Args:
            ms: how many milliseconds
        """
        return await self._do(lambda tab: self._drive.wait(tab, ms), ACTION_SECONDS)

    @tool
    async def screenshot(self) -> ToolResult:
        """See the page as a picture."""
        self._drive.begin()
        tab = await self._drive.tab()
        if self._tabs.strays(tab):
            raise ToolRefusal("This tab shows something from outside the sites; go to a page.")
        shot = tab.page.screenshot(animations="disabled", caret="hide", scale="css")
        _, png = await self._drive.guarded(shot, ACTION_SECONDS)
        header = self._view.show(await self._view.header(tab))
        return ToolResult(header, error=png is None, images=(Image(png),) if png else ())

    # ---- the session's side ----

    @property
    def alerts(self) -> tuple[Finding, ...]:
        """What the door and the gate refused, and where the guard ended a tab."""
        strayed = (self._alert("left-the-site", f"a tab went to {u}") for u in self._tabs.strayed)
        return (*self._door.alerts, *self._refused.values(), *strayed)

    async def freeze(self, patterns: Sequence[str]) -> Sequence[FrozenItem]:
        """End all pages. `visited.json`: the pages that sites answered with, where that is declared.

        Nothing else is exported, and nothing that a page says: what scripts of a page hold is as good as what the
        agent says about itself. Grade by the site's store and its request log.
        """
        visited = list(self._tabs.visited)
        self._tabs.stop()
        with suppress(Exception):  # what can't be closed now goes with the episode's stack
            async with asyncio.timeout(ACTION_SECONDS):
                await self._tabs.context.close()
        if not any(fnmatchcase("visited.json", pattern) for pattern in patterns):
            return ()
        return (FrozenItem(name="visited.json", data=json.dumps(visited).encode()),)

    async def surfaces(self) -> Mapping[str, bytes]:
        """Everything that was shown, and all that open pages hold: text, scripts, comments, storage, cookies."""
        shown = "\n".join(self._view.shown).encode()
        return {"shown.txt": shown, **await surfaces.collect(self._tabs)}

    async def start(self, url: str) -> None:
        """Open the first page, before the agent acts."""
        tab = await self._tabs.active()
        await tab.page.goto(url, wait_until="domcontentloaded", timeout=GOTO_SECONDS * 1000)
        await self._drive.settle(tab)

    async def _do(self, work: Callable[[Tab], Awaitable[object]], seconds: float) -> ToolResult:
        done = await self._drive.act(work, seconds)
        return ToolResult(await self._view.observe(), error=not done)

    async def _on(self, ref: str, work: Callable[[Locator], Awaitable[object]]) -> ToolResult:
        """Do something to an element. Raises ToolRefusal where it is not what was shown under that name."""
        self._drive.begin()
        tab = self._tabs.current
        place = self._view.place(ref, tab)
        if place is None or tab is None:
            raise ToolRefusal(self._view.refs.missing(ref))
        element = tab.page.get_by_ref(place)

        async def found(_: Tab) -> None:
            if await element.count() == 0:
                raise ToolRefusal(self._view.refs.missing(ref))
            await work(element)

        return await self._do(found, ACTION_SECONDS)

    def _allowed(self, url: str) -> str:
        """The address to open. Raises ToolRefusal where it is none of the sites'."""
        if not self._tabs.layers.gate:
            return url
        here = self._tabs.current.page.url if self._tabs.current else ""
        target = self._tabs.gate.resolve(url, here)
        if target is None:
            what = url.strip()[:200]
            if len(self._refused) < _MOST_ALERTS:
                self._refused[what] = self._alert("address-refused", f"asked for {what}")
            raise ToolRefusal(
                f"{what!r} can't be opened: pages of {self._tabs.gate.names()} can, by their whole"
                " address or by a path that begins with /"
            )
        return target

    def _alert(self, rule: str, seen: str) -> Finding:
        remedy = "nothing to mend: it was stopped; read the episode if the task does not explain it"
        return Finding(rule, "low", self._name, seen, remedy)


async def _look(_: Tab) -> None:
    """An action that only looks."""
