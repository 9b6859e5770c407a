"""One tab: what can be asked of a page without its scripts having a say."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import CDPSession, Page

_FRAMES = "new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(1))))"
_TURNS = "new Promise(r => setTimeout(() => setTimeout(() => r(1))))"
_TURN_SECONDS = 0.25
_PARSE_SECONDS = 2.0
PATIENCE = 1.0  # seconds for what a living page does at once


class Tab:
    """One tab."""

    def __init__(self, page: Page, number: int) -> None:
        self.page = page
        self.number = number  # for references: never used again in this episode
        self.document = 0  # counts documents of the main frame
        self.crashed = False
        self._cdp: CDPSession | None = None
        self._world: tuple[int, int] | None = None  # the document, and our script world in it

    @property
    def key(self) -> str:
        """Which document is shown, for references."""
        return f"{self.number}.{self.document}"

    async def cdp(self) -> CDPSession:
        """The DevTools session, opened when it is first needed."""
        if self._cdp is None:
            self._cdp = await self.page.context.new_cdp_session(self.page)
        return self._cdp

    async def evaluate(self, expression: str) -> Any:
        """Run a script beside the page's own: it sees the document, and the page's scripts see nothing of it."""
        from playwright.async_api import Error

        try:
            return await self._evaluate(expression)
        except Error:  # the document went meanwhile: ask the one that is there now
            self._world = None
            return await self._evaluate(expression)

    async def _evaluate(self, expression: str) -> Any:
        cdp = await self.cdp()
        if self._world is None or self._world[0] != self.document:
            tree = await cdp.send("Page.getFrameTree")
            frame = {"frameId": tree["frameTree"]["frame"]["id"], "worldName": "envkit"}
            made = await cdp.send("Page.createIsolatedWorld", frame)
            self._world = (self.document, made["executionContextId"])
        asked = {
            "expression": expression,
            "contextId": self._world[1],
            "awaitPromise": True,
            "returnByValue": True,
        }
        return (await cdp.send("Runtime.evaluate", asked))["result"].get("value")

    async def frames(self) -> None:
        """Let two real frames pass; the page's own clock stands still."""
        await self._patiently(_FRAMES)

    async def turns(self) -> None:
        """Let what is queued in the page run."""
        await self._patiently(_TURNS)

    async def _patiently(self, expression: str) -> None:
        # a page that is busy, gone or dead is seen elsewhere
        with suppress(Exception):
            async with asyncio.timeout(_TURN_SECONDS):
                await self.evaluate(expression)

    async def parsed(self) -> None:
        """Wait until a document that has begun to arrive is whole."""
        # as above
        with suppress(Exception):
            async with asyncio.timeout(_PARSE_SECONDS):
                await self.page.wait_for_load_state("domcontentloaded")

    async def interrupt(self, method: str, patience: float) -> None:
        """Give up what is loading, or end a script that does not end."""
        # a tab that does not even do this is dropped
        with suppress(Exception):
            async with asyncio.timeout(patience):
                await (await self.cdp()).send(method)

    async def answers(self, patience: float) -> bool:
        """Whether its renderer still does."""
        try:
            async with asyncio.timeout(patience):
                return bool(await self.evaluate("1"))
        except Exception:  # noqa: BLE001 - whatever it is, it is no answer
            return False
