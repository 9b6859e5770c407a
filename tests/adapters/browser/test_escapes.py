"""Nothing brings anything back; and without one of the layers, what that layer is there for does."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from envkit.adapters.browser.engine import find_chromium
from envkit.adapters.browser.probes import PROBES, UPLOADS, Ground, foreign_server, try_probe
from envkit.adapters.browser.world import ALL
from envkit.errors import MissingError

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

BY_NAME = {probe.name: probe for probe in PROBES}
ORIGIN = "http://shop.localhost"  # a secure context: what needs one is there to be tried


async def brought_back(visit, probes, tmp_path, layers=ALL):
    """What came back, and what was noticed, when these are tried one after another in one episode."""
    token = uuid4().hex
    async with foreign_server(token) as foreign:
        secret = tmp_path / f"{uuid4().hex}.txt"
        ground = Ground(
            ORIGIN, f"http://127.0.0.1:{foreign.port}", str(secret), foreign_token=token
        )
        secret.write_text(ground.host_token)
        pages = {
            "/": "<p>start</p>",
            "/redirect": (302, {"location": ground.foreign + "/"}, b""),
            "/download": (200, {"content-disposition": "attachment"}, ground.disk_token.encode()),
            f"/worker/{ground.state_token}.js": (200, {"content-type": "text/javascript"}, b"1"),
        }
        async with visit(pages, origins=(ORIGIN,), layers=layers) as v:

            async def call(tool, /, **arguments):
                return (await v.call(tool, **arguments)).text

            shown = ""
            for probe in probes:
                v.site.pages["/probe"] = probe.page(ground)
                shown += await try_probe(probe, ground, call)
            came = set(ground.came_back(shown, [asked.path for asked in v.site.log], foreign.hits))
            if _on_disk(ground.disk_token):
                came.add("a file on the host")
            return came, {alert.rule for alert in v.session.alerts}


def _on_disk(token: str) -> bool:
    for file in Path(tempfile.gettempdir()).glob("playwright-artifacts-*/**/*"):
        with suppress(OSError):  # others run browsers, too
            if token.encode() in file.read_bytes():
                return True
    return False


ASKED = [probe for probe in PROBES if probe.address]
CLICKED = [probe for probe in PROBES if probe.clicks]
LOADED = [probe for probe in PROBES if probe not in ASKED and probe not in CLICKED]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("probes", "noticed"),
    [
        (ASKED, {"address-refused", "egress-denied"}),
        (CLICKED[:4], {"egress-denied", "left-the-site"}),
        (CLICKED[4:], set()),
        (LOADED[:9], {"egress-denied"}),
        (LOADED[9:], {"egress-denied"}),
    ],
    ids=["asked", "clicked", "clicked too", "loaded", "loaded too"],
)
async def test_no_probe_brings_anything_back(visit, tmp_path, probes, noticed):
    came, alerts = await brought_back(visit, probes, tmp_path)
    if came:  # which one was it
        alone = {p.name: (await brought_back(visit, [p], tmp_path))[0] for p in probes}
        pytest.fail(str({name: back for name, back in alone.items() if back}))
    assert noticed <= alerts


# Not here: "preconnect" and "prefetch", which --disable-background-networking and the missing guess at what comes next
# keep from happening at all, and what Chromium refuses by itself (a site's page that opens file:).
WITHOUT = [
    ("gate", "javascript", "state"),
    ("gate", "javascript, split by a line break", "state"),
    ("gate", "view-source", "page source"),
    ("door", "fetch", "foreign bytes"),
    ("door", "websocket", "foreign hits"),
    ("door", "beacon", "foreign hits"),
    ("door", "popup", "foreign hits"),
    ("door", "redirect", "foreign hits"),
    ("door", "meta refresh", "foreign hits"),
    ("door", "form", "foreign hits"),
    ("door", "frame", "foreign hits"),
    ("door", "stun", "foreign hits"),
    ("door", "turn", "foreign hits"),
    ("door", "styles", "foreign hits"),
    ("locks", "download", "a file on the host"),
    ("locks", "service worker", "state"),
    ("guard", "blob", "foreign bytes"),
    # one behind the other: with either of them nothing comes back
    ("gate guard", "file", "host bytes"),
    ("gate guard", "file, behind blanks", "host bytes"),
    ("gate guard", "data", "foreign bytes"),
    ("gate door guard", "other port", "foreign bytes"),
    ("door guard", "frame", "foreign bytes"),
]
with suppress(MissingError):
    if "headless-shell" not in find_chromium():  # which has no such pages
        WITHOUT.append(("gate guard", "chrome", "host bytes"))


@pytest.mark.slow
@pytest.mark.parametrize(("off", "name", "what"), WITHOUT)
async def test_without_a_layer_its_probe_comes_back(visit, tmp_path, off, name, what):
    layers = replace(ALL, **dict.fromkeys(off.split(), False))
    came, _ = await brought_back(visit, [BY_NAME[name]], tmp_path, layers)
    assert what in came
    if " " in off:
        for kept in off.split():
            came, _ = await brought_back(
                visit, [BY_NAME[name]], tmp_path, replace(layers, **{kept: True})
            )
            assert what not in came, kept


async def test_no_host_path_is_uploaded(visit, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("host bytes")
    page = "<form method=post enctype=multipart/form-data><label>F <input type=file name=f></label></form>"
    ground = Ground(ORIGIN, "http://127.0.0.1:9", str(secret))
    async with visit({"/": page}, files=True, world={"files": {"a": "a"}}) as v:
        await v.call("read")
        field = v.ref("F")
        for name in UPLOADS:
            assert (await v.call("upload", ref=field, name=ground.fill(name))).error
