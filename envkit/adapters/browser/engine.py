"""The browser process: finding one, starting it, sharing it between episodes, and who is to blame when it dies.

An engine is a Playwright driver and one Chromium. Episodes share it, each in a context of its own; after 200 of them it
is replaced. When it dies with several episodes on it, nobody can say whose page did it: all of them are played
again, and each that had acted gets an engine of its own from then on. When such an engine dies, it is plain who did it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from envkit.errors import EngineLost, MissingError, SandboxLost, SandboxUnavailable, WorldError

if TYPE_CHECKING:
    from playwright.async_api import Browser

log = logging.getLogger("envkit.browser")

NAMES = (
    "chromium-headless-shell", "chrome-headless-shell", "chromium", "chromium-browser", "google-chrome",
)  # fmt: skip
EPISODES = 200  # that one engine serves
_LAUNCH_SECONDS = 60.0
_CLOSE_SECONDS = 10.0
_LOOK_SECONDS = 15.0  # a machine that is busy is no browser that is gone
_DEAD = {"server": "http://127.0.0.1:1", "bypass": "<-loopback>"}  # what no context speaks for
_FEATURES = (  # off: what would ask hosts for something by itself, and what Playwright switches off
    "AimEnabled", "AutofillServerCommunication", "AvoidUnnecessaryBeforeUnloadCheckSync",
    "CertificateTransparencyComponentUpdater", "DestroyProfileOnBrowserClose", "DialMediaRouteProvider",
    "HttpsFirstBalancedModeAutoEnable", "HttpsUpgrades", "LensOverlay", "MediaRouter",
    "NetworkTimeServiceQuerying", "OptimizationHints", "PaintHolding", "PreconnectToSearch",
    "ThirdPartyStoragePartitioning", "Translate",
)  # fmt: skip
_FLAGS = (
    f"--disable-features={','.join(_FEATURES)}",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--disable-breakpad",
    "--disable-crash-reporter",
)
_NO_ROUTE = (  # beside the door: no names are resolved here, and no datagrams leave
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
)


def find_chromium(environ: Mapping[str, str] = os.environ) -> str:
    """The executable: ENVKIT_CHROMIUM, else the first of `NAMES` on PATH. Raises MissingError."""
    named = environ.get("ENVKIT_CHROMIUM")
    if named:
        if shutil.which(named):
            return named
        raise MissingError(f"ENVKIT_CHROMIUM is {named!r}, which is no executable")
    for name in NAMES:
        if found := shutil.which(name, path=environ.get("PATH")):
            return found
    raise MissingError(
        "no Chromium was found: apt install chromium, or say where it is in ENVKIT_CHROMIUM"
        " (and pip install 'envkit[browser]')"
    )


@dataclass(eq=False, slots=True)
class Lease:
    """One episode's place on an engine."""

    engine: Engine
    key: tuple[str, str]
    acted: bool = False  # whether the agent has done anything yet

    def loss(self) -> WorldError:
        """What to raise now that the engine is gone."""
        if self.acted and self.engine.victims == {self}:
            return SandboxLost("the page brought its browser down")
        return EngineLost("the browser that this episode shared is gone")


@dataclass(eq=False, slots=True)
class Engine:
    """One running Chromium."""

    browser: Browser
    leases: set[Lease] = field(default_factory=set)
    served: int = 0
    victims: set[Lease] | None = None  # the leases at the moment of its death

    @property
    def dead(self) -> bool:
        """Whether the process is gone."""
        return self.victims is not None or not self.browser.is_connected()

    async def look(self) -> float:
        """See whether it is still there: the news of its end may be late, and comes never where its driver died.

        The seconds that it took to answer: as long as whatever else it has to do, for other episodes as well.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(_LOOK_SECONDS):
                session = await self.browser.new_browser_cdp_session()
                await session.detach()
        except Exception:  # noqa: BLE001 - whatever it is, it is no answer
            self.died()
        return clock() - began

    def died(self) -> None:
        """Note who was on it."""
        if self.victims is None:
            self.victims = set(self.leases)


class Engines:
    """The engines of a host."""

    def __init__(self, routes: bool = False) -> None:
        self._current: Engine | None = None
        self._stacks: dict[Engine, AsyncExitStack] = {}
        self._lock = asyncio.Lock()
        self._suspects: set[tuple[str, str]] = set()
        self._routes = routes
        self._unwanted: list[asyncio.Future[None]] = []  # starts that nobody waits for any more
        self.launched = 0

    @asynccontextmanager
    async def lease(self, key: tuple[str, str]) -> AsyncGenerator[Lease]:
        """A place on an engine; one of its own for an episode that may have killed one before.

        Raises SandboxUnavailable or MissingError.
        """
        alone = key in self._suspects
        engine = await self._launch() if alone else await self._shared()
        lease = Lease(engine, key)
        engine.leases.add(lease)
        try:
            yield lease
        finally:
            self._suspect(engine)
            engine.leases.discard(lease)
            if not engine.leases and engine is not self._current:
                await asyncio.shield(self._close(engine))

    def _suspect(self, engine: Engine) -> None:
        if engine.victims and len(engine.victims) > 1:
            self._suspects |= {lease.key for lease in engine.victims if lease.acted}

    async def _shared(self) -> Engine:
        async with self._lock:
            engine = self._current
            if engine is None or engine.dead or engine.served >= EPISODES:
                self._current = None
                if engine is not None and not engine.leases:
                    await self._close(engine)
                self._current = engine = await self._launch()
            engine.served += 1
            return engine

    async def _launch(self) -> Engine:
        """Start one. A cancelled episode leaves the start to end by itself: cut short it would leave processes."""
        starting = asyncio.ensure_future(self._launched())
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            self._unwanted.append(asyncio.ensure_future(self._end(starting)))
            raise

    async def _launched(self) -> Engine:
        stack = AsyncExitStack()
        try:
            async with asyncio.timeout(_LAUNCH_SECONDS):
                browser = await _started(stack, self._routes)
        except MissingError:
            await stack.aclose()
            raise
        except (
            Exception
        ) as error:  # before any action of an agent: whatever it is, it is infrastructure
            await stack.aclose()
            said = str(error).strip().partition("\n")[0] or "it took too long"
            raise SandboxUnavailable(f"Chromium did not start: {said}") from error
        self.launched += 1
        engine = Engine(browser)
        browser.on("disconnected", lambda _: engine.died())
        self._stacks[engine] = stack
        return engine

    async def _close(self, engine: Engine) -> None:
        stack = self._stacks.pop(engine, None)
        if stack is not None:
            await stack.aclose()

    async def _end(self, starting: asyncio.Future[Engine]) -> None:
        with suppress(WorldError, MissingError):
            await self._close(await starting)

    async def aclose(self) -> None:
        """End every engine."""
        await asyncio.gather(*self._unwanted)
        for engine in list(self._stacks):
            await self._close(engine)


@asynccontextmanager
async def open_engines(routes: bool = False) -> AsyncGenerator[Engines]:
    """What a host shares. Nothing starts before the first lease."""
    engines = Engines(routes)
    try:
        yield engines
    finally:
        await engines.aclose()


async def _started(stack: AsyncExitStack, routes: bool) -> Browser:
    try:
        from playwright.async_api import async_playwright
    except ImportError as error:
        raise MissingError("a browser needs Playwright: pip install 'envkit[browser]'") from error
    executable = find_chromium()
    playwright = await async_playwright().start()
    stack.push_async_callback(_bounded, playwright.stop)
    root = os.geteuid() == 0
    options: dict[str, Any] = {
        "executable_path": executable,
        "args": [*_FLAGS, *(() if routes else _NO_ROUTE)],
        "chromium_sandbox": not root,
        "env": _environment(),
        "proxy": _DEAD,
    }
    browser = await playwright.chromium.launch(**options)
    stack.push_async_callback(_bounded, browser.close)
    return browser


def _environment() -> dict[str, str | float | bool]:
    """What the browser may know of the host: where programs are. Its profile is Playwright's, and goes with it."""
    return {
        "HOME": "/nonexistent",
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "en_US.UTF-8",
        "TZ": "UTC",
    }


async def _bounded(close: Any) -> None:
    """Close what may be dead already; nothing can be done about one that does not answer."""
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await close()
    except Exception as error:  # noqa: BLE001 - closing is best effort; the process goes with its pipe
        log.debug("closing the browser: %s", error)
