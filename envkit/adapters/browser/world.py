"""The fixed world of a page: place, language, size, clock and chance, the same for the same seed.

Workers are not in it: a browser runs nothing of ours before their scripts, so they see the host's clock and draw their
own numbers, as do keys that `crypto.subtle` makes. What a site shows of these differs between resets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext


@dataclass(frozen=True, slots=True)
class Layers:
    """The containment layers. All are on; tests take one away to see what comes back without it."""

    gate: bool = True  # addresses that tools are given
    door: bool = True  # no route but to the episode's sites
    locks: bool = True  # service workers, downloads, extra tabs
    guard: bool = True  # where a tab has got to by itself


ALL = Layers()

# Runs before any script of any document. A document draws from its own stream, told apart by address, time and place
# among frames, so that two pages do not make the same ids and a reset makes the same ones.
_CHANCE = """(() => {
  let place = '';
  try {
    for (let w = self; w !== w.parent; w = w.parent)
      for (let i = 0; i < w.parent.frames.length; i++) if (w.parent.frames[i] === w) place += '/' + i;
  } catch {}
  let state;
  const begin = () => {  // at the first draw: the clock is set by then
    const text = %s + location.href + Date.now() + place;
    state = [1779033703, 3144134277, 1013904242, 2773480762];
    for (let i = 0; i < text.length; i++)
      for (let k = 0; k < 4; k++) {
        const h = Math.imul(state[k] ^ text.charCodeAt(i), 2654435761 + 2 * k);
        state[k] = h << 13 | h >>> 19;
      }
    for (let i = 0; i < 12; i++) step();
  };
  const step = () => {  // sfc32
    const [a, b, c, d] = state;
    const t = (a + b | 0) + d | 0;
    const e = c << 21 | c >>> 11;
    state = [b ^ b >>> 9, c + (c << 3) | 0, e + t | 0, d + 1 | 0];
    return t >>> 0;
  };
  const draw = () => { if (!state) begin(); return step(); };
  const put = (owner, name, value) =>
    Object.defineProperty(owner, name, {value, writable: true, configurable: true, enumerable: true});
  put(Math, 'random', function random() { return (draw() * 2097152 + (draw() >>> 11)) / 9007199254740992; });
  const fill = function getRandomValues(array) {
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    for (let i = 0; i < bytes.length; i++) bytes[i] = draw();
    return array;
  };
  // a stopped clock would fire an interval of no length for ever; browsers have a least one as well
  const every = self.setInterval;
  put(self, 'setInterval', function setInterval(f, ms, ...rest) { return every(f, Math.max(4, +ms || 0), ...rest); });
  const two = n => String(n).padStart(2, '0');
  const came = new Date();  // which browsers take from the host's clock where a site does not say
  const told = `${two(came.getMonth() + 1)}/${two(came.getDate())}/${came.getFullYear()} ` +
    [came.getHours(), came.getMinutes(), came.getSeconds()].map(two).join(':');
  if (self.Document) Object.defineProperty(Document.prototype, 'lastModified', {get: () => told, configurable: true});
  if (!self.Crypto) return;
  put(Crypto.prototype, 'getRandomValues', fill);
  put(Crypto.prototype, 'randomUUID', function randomUUID() {
    const b = fill(new Uint8Array(16));
    b[6] = b[6] & 15 | 64; b[8] = b[8] & 63 | 128;
    const hex = [...b].map(x => x.toString(16).padStart(2, '0')).join('');
    return hex.replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');
  });
})();"""


async def open_context(
    browser: Browser, port: int, *, viewport: tuple[int, int], layers: Layers = ALL
) -> BrowserContext:
    """A context with nothing in it, whose only way out is the door on `port`."""
    width, height = viewport
    options: dict[str, Any] = {
        "proxy": {
            "server": f"http://127.0.0.1:{port}",
            # "<-loopback>": loopback goes through the door as well
            "bypass": "<-loopback>" if layers.door else "<-loopback>,127.0.0.1",
        },
        "service_workers": "block" if layers.locks else "allow",
        "accept_downloads": not layers.locks,
        "locale": "en-US",
        "timezone_id": "UTC",
        "viewport": {"width": width, "height": height},
        "device_scale_factor": 1,
        "reduced_motion": "reduce",
        "color_scheme": "light",
        "permissions": [],
    }
    return await browser.new_context(**options)


async def fix(context: BrowserContext, now: float, rng: Random) -> None:
    """Stop the clock at `now`, and let chance follow `rng`, before any page is opened."""
    # pausing alone: Playwright's `install` lets real milliseconds into performance.now()
    await context.clock.pause_at(now)
    seed = f"{rng.getrandbits(128):032x}"
    await context.add_init_script(_CHANCE % json.dumps(seed))
