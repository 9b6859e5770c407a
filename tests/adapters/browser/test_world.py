"""The fixed world: the same seed shows the same, whatever the wall clock, the port or the browser process."""

from __future__ import annotations

import asyncio

import pytest
from pydantic import ValidationError

from envkit.adapter import Adapter
from envkit.adapters.browser import Browser, BrowserSeed
from envkit.errors import DeclarationError
from envkit.host import Host

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

CHANCE = """<!doctype html><title>Chance</title><p id=a></p><p id=b></p><p id=c></p><iframe src=/inner></iframe>
<button onclick="c.textContent = [Math.random(), Date.now(), crypto.randomUUID()].join(' ')">Draw</button>
<script>
a.textContent = [Date.now(), new Date().toString(), Math.random(), crypto.randomUUID(), performance.now(),
  crypto.getRandomValues(new Uint32Array(2)), Intl.DateTimeFormat().resolvedOptions().timeZone, navigator.language,
  innerWidth, innerHeight, devicePixelRatio, matchMedia('(prefers-reduced-motion)').matches,
  document.lastModified].join(' ');
setTimeout(() => b.textContent = ['timer', Date.now(), performance.now(), Math.random()].join(' '), 400);
requestAnimationFrame(t => document.title += ' ' + t);
</script>"""
INNER = "<p id=i></p><script>i.textContent = 'inner ' + Math.random()</script>"
PAGES = {"/": CHANCE, "/inner": INNER, "/later": CHANCE}


async def story(visit, **options):
    async with visit(PAGES, **options) as v:
        await v.call("read")
        await v.call("click", ref=v.ref("Draw"))
        await v.call("goto", url="/later")
        await v.call("read")
        await v.call("click", ref=v.ref("Draw"))
        assert (await v.call("click", ref="e2")).error
        return v.told


@pytest.mark.slow
async def test_ten_resets_show_the_same(visit, visit_on):
    stories = [await story(visit) for _ in range(4)]
    stories += await asyncio.gather(*(story(visit) for _ in range(5)))  # other ports, at once
    async with Host() as host:  # another browser
        stories.append(await story(lambda pages, **options: visit_on(host, pages, **options)))
    assert all(other == stories[0] for other in stories)
    text = "\n".join(stories[0])
    assert "127.0.0.1" not in text
    assert "1750000000000" in text
    assert "UTC en-US 1280 720 1 true 06/15/2025 15:06:40" in text


async def test_another_seed_draws_otherwise_and_so_does_another_page(visit):
    one, other = await story(visit), await story(visit, rng=2)
    assert one != other
    drawn = [line for text in one for line in text.splitlines() if "UTC" in line]
    values = {line.split("GMT")[1] for line in drawn}
    assert len(values) >= 2  # the same page at another address and time draws anew


async def test_the_episodes_clock_is_the_pages(visit):
    async with visit(
        {"/": "<p id=o></p><script>setInterval(() => o.textContent = Date.now(), 10)</script>"}
    ) as v:
        await v.call("wait", ms=1000)
        shown = next(line for line in v.text.splitlines() if "ref=e1]" in line).rsplit(" ", 1)[1]
        assert int(shown) / 1000 == pytest.approx(v.context.clock.now, abs=0.011)


async def test_several_sites_are_reached_by_name_and_know_who_asks(visit):
    pages = {
        "/": lambda asked: (
            f"<p>this is {asked.headers['host']}</p><a href=http://mail.test:8080/>mail</a>"
        )
    }
    async with visit(pages, origins=("http://shop.test", "http://mail.test:8080")) as v:
        await v.call("read")
        assert "this is shop.test" in v.text
        await v.call("click", ref=v.ref("mail"))
        assert "this is mail.test:8080" in v.text
        await v.call("goto", url="http://shop.test:80/")
        assert "URL: http://shop.test/\n" in v.text
        assert v.session.alerts == ()


async def test_a_start_of_the_tasks_own(visit):
    async with visit({"/deep": "<p>deep</p>", "/": "top"}, world={"start": "/deep"}) as v:
        await v.call("read")
        assert "URL: http://shop.test/deep" in v.text


async def test_wrong_declarations_are_said(visit):
    with pytest.raises(DeclarationError, match="needs a site"):
        Browser()
    with pytest.raises(DeclarationError, match="path"):
        Browser(site=Adapter(), start="http://elsewhere.test/")
    for start in ("//evil.test", "cart", "http://shop.test/", "/\\evil.test"):
        with pytest.raises(ValidationError, match="a path such as"):
            BrowserSeed(start=start)
    async with visit({"/": "x"}) as v:
        unplaced = Browser(site=Adapter())
        unplaced.name = "other"
        with pytest.raises(DeclarationError, match="declare it in the same class, above"):
            await unplaced.open(BrowserSeed(), v.context)
