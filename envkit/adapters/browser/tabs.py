"""The tabs of one episode: what pages do by themselves, and how they are kept in bounds while they do it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from envkit.adapters.browser.gate import Gate
from envkit.adapters.browser.tab import PATIENCE, Tab
from envkit.adapters.browser.world import Layers

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Dialog, Download, Frame, Page, Request

MOST_TABS = 6
_MOST_NOTES = 8  # shown with one observation
_MOST_VISITED = 1000
_MOST_STRAYED = 16
_WAITED_FOR = frozenset({"document", "script", "stylesheet", "image", "font", "xhr", "fetch"})
_RECOVERY_SECONDS = 2.0  # that a tab has to show that it is not hung, each time it is asked
QUIET_SECONDS = 2.0  # of real time for what is loading: a site on a busy machine has to make it, a long poll won't


class Tabs:
    """All tabs of a context, and what was noticed about them since the last observation."""

    def __init__(self, context: BrowserContext, gate: Gate, layers: Layers) -> None:
        self.context = context
        self.gate = gate
        self.layers = layers
        self.open: list[Tab] = []
        self.current: Tab | None = None
        self.visited: list[str] = []
        self.strayed: list[str] = []  # addresses that the guard ended, for alerts
        self._notes: list[str] = []
        self._left_out = 0
        self._numbers = 0
        self._pending: set[Request] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        context.on("page", self._opened)
        context.on("request", self._asked)
        context.on("requestfinished", self._answered)
        context.on("requestfailed", self._failed)

    # ---- notes ----

    def note(self, text: str) -> None:
        """Tell the agent with its next observation."""
        if len(self._notes) < _MOST_NOTES:
            self._notes.append(text[:400])
        else:
            self._left_out += 1

    def take_notes(self) -> list[str]:
        """What was noted since the last time."""
        notes, self._notes = self._notes, []
        if self._left_out:
            notes.append(f"{self._left_out} more notes were left out")
        self._left_out = 0
        return notes

    # ---- tabs ----

    async def active(self) -> Tab:
        """The tab that tools act on; a fresh one where none is left."""
        while self.current is None:
            await self.context.new_page()  # `_opened` makes it current
        return self.current

    def drop(self, tab: Tab) -> None:
        """Close a tab without waiting for it; the next action finds another one, or a fresh one."""
        self._forget(tab)
        self._spawn(tab.page.close())

    async def recover(self, delay: float) -> None:
        """After something did not end in time: end scripts that don't, and drop tabs that still don't answer.

        Args:
            delay: seconds that the browser takes to answer at all, which no tab is to blame for
        """
        await asyncio.gather(
            *(self._recover(tab, _RECOVERY_SECONDS + 2 * delay) for tab in self.open)
        )

    async def _recover(self, tab: Tab, patience: float) -> None:
        await tab.interrupt("Page.stopLoading", patience)
        if await tab.answers(patience):
            return
        await tab.interrupt("Runtime.terminateExecution", patience)
        if await tab.answers(patience):
            self.note("a script that did not end was ended")
        else:
            self.note("a tab does not answer any more and was closed")
            self.drop(tab)

    def listing(self) -> str:
        """All tabs, the one in front marked."""
        marked = ((">" if tab is self.current else " ", tab.page.url[:500]) for tab in self.open)
        listed = [f"{mark} {number}: {url}" for number, (mark, url) in enumerate(marked)]
        return "\n".join(listed) or "no tab is open"

    def _opened(self, page: Page) -> None:
        if self.layers.locks and len(self.open) >= MOST_TABS:
            self.note(f"a new tab was closed at once: {MOST_TABS} are open")
            self._spawn(page.close())
            return
        self._numbers += 1
        tab = Tab(page, self._numbers)
        self.open.append(tab)
        if self.current is None:
            self.current = tab
        else:
            self.note(f"a new tab was opened: tab {len(self.open) - 1}")
        self._watch(tab)

    def _watch(self, tab: Tab) -> None:
        page = tab.page
        page.on("domcontentloaded", lambda _: self._loaded(tab))
        page.on("framenavigated", lambda frame: self._moved(tab, frame))
        page.on("dialog", self._dialog)
        page.on("crash", lambda _: self._crashed(tab))
        page.on("close", lambda _: self._forget(tab))
        page.on("download", self._download)
        self._moved(tab, page.main_frame)  # it may have got somewhere before anybody listened

    def _loaded(self, tab: Tab) -> None:
        tab.document += 1

    def _forget(self, tab: Tab) -> None:
        if tab in self.open:
            self.open.remove(tab)
        if self.current is tab:
            self.current = self.open[-1] if self.open else None

    def _crashed(self, tab: Tab) -> None:
        tab.crashed = True
        self.note("the page crashed; its tab was closed")
        self.drop(tab)

    # ---- what pages do ----

    def _dialog(self, dialog: Dialog) -> None:
        leaving = dialog.type == "beforeunload"
        done = "accepted" if leaving else "dismissed"
        self.note(f"dialog ({dialog.type}, {done}): {dialog.message}")
        self._spawn(dialog.accept() if leaving else dialog.dismiss())

    def _download(self, download: Download) -> None:
        if self.layers.locks:
            self.note(f"a download was refused: {download.suggested_filename}")

    def _asked(self, request: Request) -> None:
        if request.resource_type in _WAITED_FOR:
            self._pending.add(request)

    def _failed(self, request: Request) -> None:
        self._pending.discard(request)

    def _answered(self, request: Request) -> None:
        self._pending.discard(request)
        if not request.is_navigation_request() or len(self.visited) >= _MOST_VISITED:
            return
        if self.gate.allows(request.url) and request.frame.parent_frame is None:
            self.visited.append(request.url)

    def _moved(self, tab: Tab, frame: Frame) -> None:
        """The guard: a tab or frame that got to an address by itself is ended where that is none of the sites'."""
        if not self.layers.guard:
            return
        url = frame.url
        top = frame.parent_frame is None
        if url.startswith("chrome-error:"):
            return  # nothing came: there is nothing to show
        if self.gate.allows(url) if top else self.gate.allows_inside(url):
            return
        self.note(f"blocked: the page went to {url[:200]}")
        if len(self.strayed) < _MOST_STRAYED:
            self.strayed.append(url[:200])
        self._spawn(self._emptied(tab, frame))

    async def _emptied(self, tab: Tab, frame: Frame) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await frame.goto("about:blank")
        except TimeoutError:
            self.drop(tab)

    async def fill_empty(self, tab: Tab) -> None:
        """Give frames that Chromium refused to load a document: an outline would wait for one."""
        for frame in tab.page.frames[1:]:
            if not frame.url:
                await _quietly(frame.goto("about:blank", timeout=PATIENCE * 1000))

    def strays(self, tab: Tab) -> bool:
        """Whether a tab shows anything that it may not: then nothing of it is shown to the agent."""
        if not self.layers.guard:
            return False
        top, *inner = tab.page.frames or [tab.page.main_frame]
        kept = top.url.startswith("chrome-error:") or self.gate.allows(top.url)
        return not (kept and all(self.gate.allows_inside(frame.url) for frame in inner))

    # ---- settling ----

    async def quiet(self, tab: Tab, *, drawn: bool = True) -> bool:
        """Wait until nothing is loading, and what came has been seen to; False where it took too long.

        `drawn`: until two frames have passed as well.
        """
        end = asyncio.get_running_loop().time() + QUIET_SECONDS
        while True:
            await self._tasks_done()
            await tab.parsed()
            await (tab.frames() if drawn else tab.turns())
            if not self._pending:
                return True
            if asyncio.get_running_loop().time() > end:
                self._pending.clear()  # what did not come in time is not waited for again
                return False
            await asyncio.sleep(0.005)

    async def _tasks_done(self) -> None:
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=PATIENCE)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.ensure_future(_quietly(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()


async def _quietly(work: Coroutine[Any, Any, Any]) -> None:
    """A page may be gone before it is closed, or a dialog before it is dismissed."""
    from playwright.async_api import Error

    with suppress(Error, TimeoutError):
        await work
