"""What an agent does with a browser, and what it is told."""

from __future__ import annotations

import asyncio
import json

import pytest

from envkit.adapters.browser import tabs

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

SHOP = {
    "/": """<!doctype html><title>Shop</title><nav><a href="/cart">Cart</a></nav><h1>Shop</h1>
      <form action="/order" method="post"><label>Name <input name="who"></label>
      <label>Size <select name="size"><option value="s">Small</option><option value="l">Large</option></select></label>
      <label><input type="checkbox" name="gift"> Gift</label><button>Order</button></form>
      <p id="out">nothing</p><button onclick="out.textContent='pressed'">Press me</button>""",
    "/cart": "<title>Cart</title><h1>Cart</h1><p>It is empty.</p>",
    "/order": lambda asked: f"<title>Thanks</title><p>order: {sorted(asked.form.items())}</p>",
}


async def test_an_order_is_placed_by_hand(visit):
    async with visit(SHOP) as v:
        await v.call("read")
        assert v.text.startswith("URL: http://shop.test/\nTitle: Shop\n")
        name, size, gift, order = map(v.ref, ("textbox", "combobox", "checkbox", "Order"))
        assert not (await v.call("fill", ref=name, text="Ada")).error
        assert not (await v.call("select", ref=size, values=["Large"])).error
        assert not (await v.call("click", ref=gift)).error
        await v.call("click", ref=order)
        assert "order: [('gift', 'on'), ('size', 'l'), ('who', 'Ada')]" in v.text
        assert "URL: http://shop.test/order" in v.text
        assert [(a.method, a.path) for a in v.site.log] == [("GET", "/"), ("POST", "/order")]
        assert v.session.alerts == ()


async def test_fill_submits_and_the_browser_goes_back(visit):
    async with visit(SHOP) as v:
        await v.call("read")
        await v.call("fill", ref=v.ref("textbox"), text="Bob", submit=True)
        assert "('who', 'Bob')" in v.text
        await v.call("back")
        assert "Title: Shop" in v.text
        await v.call("goto", url="/cart")
        assert "It is empty." in v.text


async def test_later_observations_say_what_changed(visit):
    rows = "".join(f"<li>row {n}</li>" for n in range(60))
    pages = {
        "/": f"<ul>{rows}</ul><p id=o>before</p><button onclick=\"o.textContent='after'\">Go</button>"
    }
    async with visit(pages) as v:
        await v.call("read")
        whole = len(v.text)
        await v.call("click", ref=v.ref("Go"))
        assert "after" in v.text
        assert "unchanged" in v.text
        assert "row 30" not in v.text
        assert len(v.text) < whole / 3
        await v.call("hover", ref=v.ref("after"))
        assert "Nothing has changed." in v.text
        await v.call("read")
        assert "row 30" in v.text


async def test_a_long_page_is_paged_and_searched(visit):
    rows = "".join(f"<li>row {n} is here</li>" for n in range(700))
    async with visit({"/": f"<title>Long</title><ul>{rows}</ul>"}) as v:
        seen, offset = "", 0
        for _ in range(40):
            await v.call("read", offset=offset)
            assert len(v.text) < 8400
            seen += v.text
            if "goes on" not in v.text:
                break
            offset = int(v.text.rsplit("read(offset=", 1)[1].split(")")[0])
        assert all(f"row {n} is here" in seen for n in range(700))
        await v.call("find", text="ROW 434")
        assert v.text.count("row 434") == 1
        await v.call("read", ref=v.ref("row 434"))
        assert "row 434" in v.text
        assert "row 435" not in v.text


async def test_a_stale_reference_is_refused_and_the_closest_named(visit):
    pages = {
        "/": "<button>Save it</button><a href=/b>Next</a>",
        "/b": "<button>Drop it</button><button>Save it all</button>",
    }
    async with visit(pages) as v:
        await v.call("read")
        save, on = v.ref("Save it"), v.ref("Next")
        await v.call("click", ref=on)
        now = v.ref("Save it all")
        refused = await v.call("click", ref=save)
        assert refused.error
        assert f'{save} (button "Save it") is not on this page any more' in v.text
        assert f"Closest now: {now}" in v.text
        assert (await v.call("click", ref="e999")).error
        assert (await v.call("click", ref="e1 >> *")).error


async def test_a_reference_of_a_tab_that_closed_itself_means_nothing_in_another(visit, monkeypatch):
    monkeypatch.setattr(tabs, "QUIET_SECONDS", 0.2)

    async def gone(asked):
        await closing.wait()
        return "now"

    closing = asyncio.Event()
    opener = (
        "<button onclick=\"o.textContent='sold'; window.open('/b')\">Sell all</button><p id=o>-</p>"
    )
    pages = {
        "/": opener,
        "/b": "<button>Go on</button><script>fetch('/gone').then(() => close())</script>",
        "/gone": gone,
    }
    async with visit(pages) as v:
        await v.call("read")
        await v.call("click", ref=v.ref("Sell"))
        await v.call("tab", op="select", index=1)
        harmless = v.ref("Go on")
        closing.set()
        while len(v.session._tabs.open) > 1:
            await asyncio.sleep(0.01)
        v.site.log.clear()
        assert (await v.call("click", ref=harmless)).error
        assert "not on this page any more" in v.text


async def test_an_element_that_went_is_stale_at_once(visit):
    page = "<button onclick='later.remove()'>Go</button><button id=later>Later</button>"
    async with visit({"/": page}) as v:
        await v.call("read")
        go, later = v.ref("Go"), v.ref("Later")
        await v.call("click", ref=go)
        assert (await v.call("click", ref=later)).error
        assert "not on this page any more" in v.text


async def test_frames_are_part_of_the_outline(visit):
    pages = {
        "/": "<iframe src=/inner></iframe>",
        "/inner": "<button onclick='this.textContent=\"done\"'>Inside</button>",
    }
    async with visit(pages) as v:
        await v.call("read")
        await v.call("click", ref=v.ref("Inside"))
        assert 'button "done"' in v.text


@pytest.mark.parametrize(
    ("page", "why"),
    [
        ("<button disabled>Target</button>", "disabled"),
        (
            "<button>Target</button><div style='position:fixed;inset:0;background:#fff'>x</div>",
            "lies over it",
        ),
    ],
)
async def test_what_can_not_be_clicked_is_said(visit, page, why):
    async with visit({"/": page}) as v:
        await v.call("read")
        result = await v.call("click", ref=v.ref("Target"))
        assert result.error
        assert why in v.text


async def test_wrong_uses_are_refusals(visit):
    async with visit(SHOP) as v:
        await v.call("read")
        button, field = v.ref("Press me"), v.ref("textbox")
        for name, arguments in [
            ("fill", {"ref": button, "text": "x"}),
            ("select", {"ref": field, "values": ["x"]}),
            ("select", {"ref": v.ref("combobox"), "values": ["Huge"]}),
            ("press", {"key": "Control+Nonsense"}),
            ("press", {"key": "F13"}),
            ("press", {"key": ""}),
            ("scroll", {"direction": "sideways"}),
            ("wait", {"ms": 60_000}),
            ("wait", {"ms": -1}),
            ("tab", {"op": "select", "index": 4}),
            ("tab", {"op": "close", "index": -1}),
            ("read", {"offset": -1}),
            ("read", {"ref": "e77"}),
            ("find", {"text": ""}),
            ("upload", {"ref": field, "name": "a"}),  # not offered
            ("evaluate", {"script": "1"}),
        ]:
            assert (await v.call(name, **arguments)).error, (name, arguments, v.text)
        await v.call("read", offset=10_000)
        assert not (await v.call("click", ref=button)).error
        assert "pressed" in v.text


async def test_dialogs_are_dismissed_and_reported(visit):
    page = """<button onclick="out.textContent=confirm('Sure?')+' '+prompt('Who?')">Ask</button><p id=out></p>"""
    async with visit({"/": page}) as v:
        await v.call("read")
        await v.call("click", ref=v.ref("Ask"))
        assert "dialog (confirm, dismissed): Sure?" in v.text
        assert "dialog (prompt, dismissed): Who?" in v.text
        assert "false null" in v.text


async def test_new_tabs_are_listed_and_selected(visit):
    pages = {"/": "<a href=/b target=_blank>Open</a>", "/b": "<title>B</title><h1>Second</h1>"}
    async with visit(pages) as v:
        await v.call("read")
        await v.call("click", ref=v.ref("Open"))
        assert "a new tab was opened: tab 1" in v.text
        await v.call("tab", op="list")
        assert v.text.splitlines() == ["> 0: http://shop.test/", "  1: http://shop.test/b"]
        await v.call("tab", op="select", index=1)
        assert "Second" in v.text
        await v.call("tab", op="close", index=1)
        assert "Open" in v.text
        await v.call("tab", op="new")
        assert "about:blank" in v.text
        await v.call("tab", op="close", index=0)
        await v.call("tab", op="close", index=0)
        await v.call("goto", url="http://shop.test/b")
        assert "Second" in v.text


async def test_tabs_are_limited(visit):
    async with visit(
        {
            "/": "<button onclick='for(let i=0;i<30;i++)window.open(\"/b\")'>Flood</button>",
            "/b": "b",
        }
    ) as v:
        await v.call("read")
        await v.call("click", ref=v.ref("Flood"))
        assert len(v.session._tabs.open) == 6
        assert (await v.call("tab", op="new")).error
        assert len(v.session._tabs.context.pages) == 6


async def test_files_are_uploaded_by_name_from_the_seed_alone(visit):
    pages = {
        "/": "<form method=post action=/up enctype=multipart/form-data>"
        "<label>CV <input type=file name=f></label><button>Send</button></form>",
        "/up": lambda asked: f"<p>got {len(asked.body)}</p>",
    }
    world = {"files": {"cv.txt": "my life", "raw.bin": b"\x00\xff"}}
    async with visit(pages, files=True, world=world) as v:
        await v.call("read")
        field, send = v.ref("CV"), v.ref("Send")
        for name in ("/etc/hostname", "../cv.txt", "nothing", ""):
            assert (await v.call("upload", ref=field, name=name)).error
        assert "Files: cv.txt, raw.bin" in v.text
        assert (await v.call("upload", ref=send, name="cv.txt")).error
        assert not (await v.call("upload", ref=field, name="cv.txt")).error
        await v.call("click", ref=send)
        assert b"my life" in v.site.log[-1].body


async def test_a_slow_answer_is_waited_for(visit):
    async def slow(asked):
        await asyncio.sleep(0.6)
        return "late"

    page = "<button onclick=\"fetch('/slow').then(r=>r.text()).then(t=>o.textContent=t)\">Go</button><p id=o>-</p>"
    async with visit({"/": page, "/slow": slow}) as v:
        await v.call("read")
        await v.call("click", ref=v.ref("Go"))
        assert "late" in v.text
        assert "still loading" not in v.text


async def test_a_slow_picture_is_waited_for(visit):
    async def slow(asked):
        await asyncio.sleep(0.6)
        return 200, {"content-type": "image/svg+xml"}, b"<svg xmlns='http://www.w3.org/2000/svg'/>"

    page = "<img src=/slow onload=\"o.textContent='late'\"><p id=o>early</p>"
    async with visit({"/": "start", "/page": page, "/slow": slow}) as v:
        await v.call("goto", url="/page")
        assert "late" in v.text
        assert "still loading" not in v.text


async def test_what_never_ends_is_said_and_waited_for_once(visit):
    async def never(asked):
        await asyncio.sleep(30)
        return "never"

    page = "<button onclick=\"fetch('/never')\">Go</button>"
    async with visit({"/": page, "/never": never}) as v:
        await v.call("read")
        await v.call("click", ref=v.ref("Go"))
        assert "Note: the page was still loading when this was taken" in v.text
        await v.call("wait", ms=1)
        assert "still loading" not in v.text  # had it been waited for again, it would be said again


async def test_time_passes_when_it_is_waited_for(visit):
    page = "<p id=o>early</p><script>setTimeout(() => o.textContent = 'late', 3000)</script>"
    async with visit({"/": page}) as v:
        await v.call("read")
        assert "early" in v.text
        before = v.context.clock.now
        await v.call("wait", ms=2000)
        await v.call("wait", ms=1000)
        assert "late" in v.text
        assert v.context.clock.now - before == pytest.approx(4.0)


async def test_a_picture_is_a_png_of_the_viewport(visit):
    async with visit({"/": "<h1>Hello</h1>"}) as v:
        result = await v.call("screenshot")
        png = result.images[0].data
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        assert (int.from_bytes(png[16:20]), int.from_bytes(png[20:24])) == (1280, 720)
        again = await v.call("screenshot")
        assert again.images[0].data == png


async def test_surfaces_hold_what_could_be_read(visit):
    pages = {
        "/": """<p data-x="in-attribute">in-text</p><!-- in-comment --><script src=/app.js></script>
          <script>localStorage.a='in-local';sessionStorage.b='in-session';document.cookie='c=in-cookie'</script>
          <iframe srcdoc="<p>in-frame</p>"></iframe>""",
        "/app.js": (200, {"content-type": "text/javascript"}, b"/* in-script */"),
        "/other": "<p>in-the-past</p>",
    }
    async with visit(pages) as v:
        await v.call("goto", url="/other")
        await v.call("goto", url="/")
        surfaces = await v.session.surfaces()
        everything = b"\n".join(surfaces.values())
        for needle in (
            "attribute", "text", "comment", "local", "session", "cookie", "frame", "script", "the-past",
        ):  # fmt: skip
            assert f"in-{needle}".encode() in everything, needle


async def test_nothing_of_a_page_is_evidence_but_the_addresses_that_answered(visit):
    page = "<script>history.pushState(0,'','/forged');localStorage.won='1'</script>won"
    async with visit({"/": page, "/b": "b"}) as v:
        await v.call("goto", url="/b")
        assert await v.session.freeze([]) == ()
        items = await v.session.freeze(["*"])
        assert [item.name for item in items] == ["visited.json"]
        assert json.loads(items[0].data) == ["http://shop.test/", "http://shop.test/b"]
