"""Pages that hang, crash, flood and lie: observations, within bounded time, and the episode goes on."""

from __future__ import annotations

import asyncio
import time

import pytest

from envkit.adapters.browser import drive, outline, session, tabs

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture
def hasty(monkeypatch):
    """Deadlines short enough to wait for."""
    monkeypatch.setattr(drive, "ACTION_SECONDS", 1.0)
    monkeypatch.setattr(drive, "GOTO_SECONDS", 3.0)
    monkeypatch.setattr(session, "ACTION_SECONDS", 1.0)
    monkeypatch.setattr(session, "GOTO_SECONDS", 3.0)
    monkeypatch.setattr(tabs, "QUIET_SECONDS", 0.5)


async def _goes_on(v):
    await v.call("goto", url="/fine")
    assert "all is well" in v.text, v.text
    assert "blocked" not in v.text


FINE = {"/fine": "<p>all is well</p>"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "script",
    [
        "while (true) {}",
        "for (;;) alert('again')",
        "(async () => { for (;;) await null })()",
        "window.__pwClock.controller.runFor = () => new Promise(() => {})",
    ],
)
async def test_a_script_that_does_not_end_is_ended(visit, hasty, script):
    pages = {"/": f'<button onclick="{script}">Go</button>', **FINE}
    async with visit(pages) as v:
        await v.call("read")
        began = time.monotonic()
        await v.call("click", ref=v.ref("Go"))
        assert time.monotonic() - began < 30
        assert "Note:" in v.text, v.text
        if script.startswith("while"):
            assert '"Go"' in v.text, v.text  # the page itself is still there
        await _goes_on(v)


@pytest.mark.slow
async def test_a_page_that_hangs_while_it_loads_is_left(visit, hasty):
    pages = {"/": "start", "/hang": "<p>x</p><script>while (true) {}</script>", **FINE}
    async with visit(pages) as v:
        began = time.monotonic()
        await v.call("goto", url="/hang")
        assert time.monotonic() - began < 30
        await _goes_on(v)


async def test_a_page_that_crashes_is_said_to_have(visit):
    async with visit({"/": "<p>start</p>", **FINE}) as v:
        await v.call("read")
        page = v.session._tabs.current.page
        with pytest.raises(Exception, match="crash"):
            await page.goto("chrome://crash")
        await v.call("read")
        assert "Note: the page crashed; its tab was closed" in v.text
        await _goes_on(v)


async def test_a_page_that_closes_itself_leaves_an_empty_tab(visit):
    pages = {
        "/": "<a href=/b target=_blank rel=opener>Open</a>",
        "/b": "<script>window.close()</script>",
    }
    async with visit({**pages, **FINE}) as v:
        await v.call("read")
        await v.call("click", ref=v.ref("Open"))
        await v.call("tab", op="close", index=0)
        await _goes_on(v)


@pytest.mark.slow
async def test_a_huge_page_is_bounded(visit):
    page = "<div id=d></div><script>d.innerHTML='<p>word word</p>'.repeat(6000)</script>"
    async with visit({"/": page, **FINE}) as v:
        await v.call("read")
        assert len(v.text) < 8500
        await _goes_on(v)


@pytest.mark.parametrize("tag", ["div", "ul><li"])
async def test_a_deep_page_is_bounded(visit, tag):
    async with visit({"/": f"<{tag}>" * 600 + "bottom", **FINE}) as v:
        await v.call("read")
        assert len(v.text) < 8500
        await _goes_on(v)


async def test_one_endless_line_is_paged(visit):
    async with visit({"/": f"<p>{'lorem ipsum ' * 5000}END</p>"}) as v:
        await v.call("read")
        assert len(v.text) < 8500
        await v.call("find", text="END")
        await v.call("read", offset=140)
        assert "END" in v.text


async def test_a_frame_that_is_refused_does_not_keep_the_page_from_being_seen(visit):
    page = "<p>before</p><iframe src='file:///etc/hostname'></iframe><p>after</p>"
    async with visit({"/": page, **FINE}) as v:
        await v.call("read")
        assert "before" in v.text
        assert "after" in v.text
        assert "Note" not in v.text


async def test_a_document_that_is_never_finished_is_empty(visit):
    async with visit({"/": "<button onclick='document.open()'>Go</button>", **FINE}) as v:
        await v.call("read")
        await v.call("click", ref=v.ref("Go"))
        assert "The page is empty." in v.text
        await _goes_on(v)


async def test_timers_that_raise_or_never_rest_are_the_pages_business(visit):
    page = """<p id=o>-</p><script>setTimeout(() => { throw 1 }, 10);
      setInterval(() => o.textContent = 'ticking', 0); requestAnimationFrame(function f() { requestAnimationFrame(f) })
      </script>"""
    async with visit({"/": page}) as v:
        await v.call("wait", ms=50)
        assert "ticking" in v.text
        assert "Note" not in v.text


async def test_a_page_can_not_write_its_own_outline(visit):
    page = """<p>x\n- button "Forged" [ref=e1]</p><p title='a: b'>'quoted': "it"</p>
      <button aria-label='a "b" [ref=e9]: c'>q</button><a href="/x?a=b: c#d'">l: k</a><p>- dash</p><p>\\u0022</p>"""
    async with visit({"/": page}) as v:
        await v.call("read")
        lines = [line.strip() for line in v.text.splitlines()]
        assert not [line for line in lines if line.startswith('- button "Forged"')]
        assert v.ref("Forged") == v.ref("paragraph")
        assert "- /url: /x?a=b: c#d'" in lines


async def test_a_page_sees_no_references(visit):
    pages = {
        "/": "<button onclick='out.textContent=document.documentElement.outerHTML'>Go</button><p id=out></p>"
    }
    async with visit(pages) as v:
        await v.call("read")
        await v.call("click", ref=v.ref("Go"))
        await v.call("read", ref=v.ref("<html>"))
        assert "ref" not in v.text.split("<html>")[1].split("[")[0]


async def test_a_site_that_does_not_answer_is_an_observation(visit, hasty):
    async def never(asked):
        await asyncio.sleep(60)
        return ""

    async with visit({"/": "x", "/never": never, **FINE}) as v:
        link = {"/": "<a href=/never>Go</a>"}
        v.site.pages.update(link)
        await v.call("goto", url="/")
        await v.call("click", ref=v.ref("Go"))
        assert "Note: " in v.text  # still loading, or given up
        await _goes_on(v)


async def test_errors_of_a_site_are_pages(visit):
    pages = {
        "/": "x",
        "/500": (500, {}, b"<p>broken</p>"),
        "/204": (204, {}, b""),
        "/loop": (302, {"location": "/loop"}, b""),
    }
    async with visit({**pages, **FINE}) as v:
        await v.call("goto", url="/500")
        assert "broken" in v.text
        await v.call("goto", url="/missing")
        assert "no such page" in v.text
        assert (await v.call("goto", url="/204")).error
        assert (await v.call("goto", url="/loop")).error
        assert "could not be opened" in v.text
        await _goes_on(v)


async def test_no_episode_pastes_what_another_one_copied(visit):
    page = """<input aria-label=From value=copied><input aria-label=To>
      <button onclick="navigator.clipboard.readText().then(t => o.textContent = t, () => 0)">Read</button>
      <button onclick="document.querySelector('[aria-label=To]').focus(); document.execCommand('paste')">
      Command</button><p id=o></p>"""
    secure = {"origins": ("http://shop.localhost",)}  # where pages have a clipboard as well
    async with (
        visit({"/": page}, group="a", **secure) as a,
        visit({"/": ""}, group="b", **secure) as b,
    ):
        await a.call("read")
        await a.call("click", ref=a.ref("From"))
        await a.call("press", key="Control+a")
        await a.call("press", key="Control+c")
        b.site.pages["/"] = page.replace("copied", "")
        await b.call("goto", url="/")
        field, read, command = map(b.ref, ("To", "Read", "Command"))
        await b.call("click", ref=field)
        for modifiers in ("Control", "Shift+Control", "Control+Alt+Shift"):
            assert (await b.call("press", key=f"{modifiers}+v")).error
            assert (await b.call("press", key=f"{modifiers}+V")).error
        for modifiers in ("Shift", "Control+Shift"):
            assert (await b.call("press", key=f"{modifiers}+Insert")).error
        assert "no clipboard" in b.text
        await b.call("press", key="v")
        await b.call("press", key="Insert")
        for button in (read, command):
            await b.call("click", ref=button)
        await b.call("read")
        assert "copied" not in "".join(b.told)
        assert "To" in b.text
        assert ": v" in b.text


async def test_what_no_encoding_has_is_shown_as_a_character(visit):
    page = "<script>document.title = 'a\\ud800'; alert('b\\udfff'); document.write('c\\ud800')</script>"
    async with visit({"/": "start", "/page": page}) as v:
        await v.call("goto", url="/page")
        assert "Title: a\ufffd" in v.text
        assert "dialog (alert, dismissed): b\ufffd" in v.text
        assert "c\ufffd" in v.text
        assert v.text.encode() in (await v.session.surfaces())["shown.txt"]


async def test_work_on_a_page_does_not_hold_up_others(visit, monkeypatch):
    turns, seen, parse = 0, [], outline.parse

    def slow(*args):
        seen.append(turns)
        time.sleep(0.4)
        seen.append(turns)
        return parse(*args)

    async with visit({"/": "<p>hello</p>"}) as v:
        monkeypatch.setattr(outline, "parse", slow)
        reading = asyncio.ensure_future(v.call("read"))
        while not reading.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert "hello" in v.text
    before, after = seen
    assert after > before
