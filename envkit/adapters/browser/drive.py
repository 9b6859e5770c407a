"""Driving a page: every operation within its time, and what a page or its browser does to it told apart.

What a page does wrong becomes a note for the agent. Only a browser process that is gone ends an episode.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from envkit.adapter import Clock
from envkit.adapters.browser.engine import Lease
from envkit.adapters.browser.refusals import reason
from envkit.adapters.browser.tab import Tab
from envkit.adapters.browser.tabs import Tabs

T = TypeVar("T")

GOTO_SECONDS = 15.0
ACTION_SECONDS = 4.0
_TICK = 250  # milliseconds of the episode's time, twice after every action


class Drive:
    """The tabs of one episode, under deadlines."""

    def __init__(self, tabs: Tabs, lease: Lease, clock: Clock) -> None:
        self.tabs = tabs
        self._lease = lease
        self._clock = clock

    def begin(self) -> None:
        """Before any tool: from now on a browser that dies may be the agent's doing."""
        if self._lease.engine.dead:
            raise self._lease.loss()
        self._lease.acted = True

    async def tab(self) -> Tab:
        """The tab in front; only a browser that is gone has none and makes none."""
        from playwright.async_api import Error

        try:
            async with asyncio.timeout(GOTO_SECONDS):
                return await self.tabs.active()
        except (Error, TimeoutError) as error:
            self._lease.engine.died()
            raise self._lease.loss() from error

    async def act(self, work: Callable[[Tab], Awaitable[object]], seconds: float) -> bool:
        """Do something to the tab in front and let it settle; False where it was not done."""
        self.begin()
        done, _ = await self.guarded(work(await self.tab()), seconds)
        await self.settle(await self.tab())  # perhaps another tab is in front now
        return done

    async def guarded(self, work: Awaitable[T], seconds: float) -> tuple[bool, T | None]:
        """Do it within its time. What kept it from being done is noted."""
        from playwright.async_api import Error

        try:
            async with asyncio.timeout(seconds):
                return True, await work
        except TimeoutError:
            delay = await self._lease.engine.look()
            if self._lease.engine.dead:
                raise self._lease.loss() from None
            self.tabs.note("the page did not answer in time")
            await self.tabs.recover(delay)
        except Error as error:
            if "closed" in str(error).lower():  # the tab, or everything
                await self._lease.engine.look()
            if self._lease.engine.dead:
                raise self._lease.loss() from error
            self.tabs.note(reason(error))
        return False, None

    async def settle(self, tab: Tab) -> None:
        """Let what was begun come to an end: what is loading, timers of the next half second, two frames.

        How much of the episode's time passes is fixed: it must not depend on how fast this machine is.
        """
        calm = await self.tabs.quiet(tab)
        for last in (False, True):
            await self.guarded(self.wait(tab, _TICK), ACTION_SECONDS)
            calm = await self.tabs.quiet(tab, drawn=last) and calm
        if not calm:
            self.tabs.note("the page was still loading when this was taken")

    async def wait(self, tab: Tab, ms: int) -> None:
        """Let the episode's time pass, on its clock and on the pages."""
        from playwright.async_api import Error

        self._clock.advance(ms / 1000)
        try:
            await tab.page.clock.run_for(ms)
        except Error:
            if self._lease.engine.dead:
                raise
            # else a timer of the page raised, which is the page's business
