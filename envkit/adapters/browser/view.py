"""What an agent sees: the head of an observation, an outline under a budget, and later only what has changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from envkit.adapters.browser import outline
from envkit.adapters.browser.drive import Drive
from envkit.adapters.browser.outline import Node, Refs
from envkit.adapters.browser.tab import Tab
from envkit.toolbox import ToolRefusal

OUTLINE_SECONDS = 6.0
_DRAWN = "!!document.body"
_MOST_SHOWN = 1 << 22  # characters of what was shown that are kept for the guards

P = ParamSpec("P")
T = TypeVar("T")


class View:
    """One episode's view of its tabs."""

    def __init__(self, drive: Drive, budget: int) -> None:
        self.refs = Refs()
        self.shown: list[str] = []
        self._room = _MOST_SHOWN
        self._drive = drive
        self._tabs = drive.tabs
        self._budget = budget
        self._seen: tuple[str, list[Node]] = ("", [])  # what changes are told against
        self._named: Tab | None = None  # the tab that references are of

    def place(self, ref: str, tab: Tab | None) -> str | None:
        """Where the browser has an element; None where it was not what was shown last, or in another tab."""
        return self.refs.place(ref) if tab is not None and tab is self._named else None

    async def observe(self) -> str:
        """The tab in front: its outline, or what of it has changed since the last one."""
        tab = await self._drive.tab()
        roots, problem = await self._outline(tab)
        header = await self.header(tab)
        (document, before), self._seen = self._seen, (tab.key, roots)
        if problem:
            return self.show(f"{header}\n{problem}")
        body = await _aside(self._body, roots, before if document == tab.key else None)
        return self.show(f"{header}\n{body}")

    async def read(self, offset: int, ref: str | None) -> str:
        """The outline of a tab or an element from a line on. Raises ToolRefusal for a stale reference."""
        tab = await self._drive.tab()
        roots, problem = await self._outline(tab)
        if ref is None:
            self._seen = (tab.key, roots)
        else:
            roots = [node for node in outline.walk(roots) if node.ref == ref]
            if not roots:
                raise ToolRefusal(self.refs.missing(ref))
        body = problem or outline.page(await _aside(outline.lines, roots), offset, self._budget)
        return self.show(f"{await self.header(tab)}\n{body}")

    async def find(self, text: str) -> str:
        """Where a text is on the page."""
        roots, problem = await self._outline(await self._drive.tab())
        found = await _aside(outline.matches, roots, text)
        return self.show(problem or "\n".join(found) or f"{text!r} is not on this page.")

    async def header(self, tab: Tab) -> str:
        """Address, title, tabs, and what was noticed since the last time."""
        _, title = await self._drive.guarded(tab.page.title(), 2)
        made = [f"URL: {tab.page.url[:500]}", f"Title: {' '.join((title or '').split())[:200]}"]
        if len(self._tabs.open) > 1 and tab in self._tabs.open:
            made.append(f"Tab: {self._tabs.open.index(tab)} of {len(self._tabs.open)}")
        made += [f"Note: {' '.join(note.split())}" for note in self._tabs.take_notes()]
        return "\n".join(made)

    def show(self, text: str) -> str:
        """Keep what is shown, for the guards."""
        text = outline.sound(text)
        self._room -= len(text)
        if self._room > 0:
            self.shown.append(text)
        return text

    async def _outline(self, tab: Tab) -> tuple[list[Node], str]:
        """The outline of a tab now, or why there is none."""
        if self._tabs.strays(tab):
            return (
                [],
                "Nothing of this tab may be shown: it holds something from outside the sites.",
            )
        _, drawn = await self._drive.guarded(tab.evaluate(_DRAWN), OUTLINE_SECONDS)
        if drawn is False:  # Playwright would wait for it
            return [], "The page is empty."
        await self._tabs.fill_empty(tab)
        shot = tab.page.aria_snapshot(mode="ai", timeout=OUTLINE_SECONDS * 1000)
        _, snapshot = await self._drive.guarded(shot, OUTLINE_SECONDS)
        if snapshot is None or self._tabs.strays(tab):
            return [], "There is no outline of this page."
        roots = await _aside(self._parsed, snapshot, tab.key)
        self._named = tab
        return roots, "" if roots else "The page is empty."

    def _parsed(self, snapshot: str, document: str) -> list[Node]:
        roots = outline.parse(snapshot)
        self.refs.name(roots, document)
        return roots

    def _body(self, roots: list[Node], before: list[Node] | None) -> str:
        part = None if before is None else outline.changed(before, roots)
        if part is None:
            return outline.page(outline.lines(roots), 0, self._budget)
        if len(part) == 1:
            return "Nothing has changed."
        return "Changes (read() shows all):\n" + outline.page(part, 0, self._budget)


async def _aside(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Work on a page of any size without holding up the loop, which other episodes share."""
    return await asyncio.to_thread(work, *args, **kwargs)
