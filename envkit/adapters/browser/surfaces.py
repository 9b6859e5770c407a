"""What an agent could read in the open pages, for the guards; none of it is evidence."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from envkit.adapters.browser.tab import Tab
from envkit.adapters.browser.tabs import Tabs

_SECONDS = 5.0
_MOST = 8 << 20  # bytes of one surface
_STORAGE = """(() => { const all = {};
  for (const [name, store] of [['local', localStorage], ['session', sessionStorage]]) {
    all[name] = {}; for (let i = 0; i < store.length; i++) all[name][store.key(i)] = store.getItem(store.key(i)); }
  return JSON.stringify(all); })()"""


async def collect(tabs: Tabs) -> dict[str, bytes]:
    """Surfaces by place: for every tab the source of each frame, what it loaded, and its storage; the cookies."""
    found: dict[str, bytes] = {}
    for number, tab in enumerate(tabs.open):
        for part, taken in (("frames", _frames), ("loaded", _loaded), ("storage", _storage)):
            value = await _within(taken(tab))
            if value is not None:
                found[f"tab{number}/{part}.json"] = json.dumps(value).encode()[:_MOST]
    cookies = await _within(tabs.context.cookies())
    found["cookies.json"] = json.dumps(cookies or []).encode()[:_MOST]
    return found


async def _within(work: Any) -> Any:
    """A page that does not answer has nothing to show; what was shown before is listed elsewhere."""
    try:
        async with asyncio.timeout(_SECONDS):
            return await work
    except Exception:  # noqa: BLE001 - closed, crashed, hung: nothing can be read there
        return None


async def _frames(tab: Tab) -> dict[str, str]:
    """Text, attributes, inline scripts and comments: the whole source as it stands."""
    return {
        f"{number} {frame.url}": await frame.content()
        for number, frame in enumerate(tab.page.frames)
    }


async def _storage(tab: Tab) -> Any:
    return json.loads(await tab.evaluate(_STORAGE) or "{}")


async def _loaded(tab: Tab) -> dict[str, str]:
    """Scripts, styles and whatever else its frames were made of."""
    cdp = await tab.cdp()
    await cdp.send("Page.enable")
    tree = (await cdp.send("Page.getResourceTree"))["frameTree"]
    found: dict[str, str] = {}
    for frame, url in _resources(tree):
        try:
            got = await cdp.send("Page.getResourceContent", {"frameId": frame, "url": url})
        except Exception:  # noqa: BLE001, S112 - not kept by the browser
            continue
        found[url] = got["content"]
    return found


def _resources(tree: dict[str, Any]) -> list[tuple[str, str]]:
    found = [(tree["frame"]["id"], resource["url"]) for resource in tree["resources"]]
    for child in tree.get("childFrames", ()):
        found += _resources(child)
    return found
