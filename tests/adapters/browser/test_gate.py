"""The gate allows pages of the sites, and nothing that a browser would read as something else."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from envkit.adapters.browser.gate import Gate

GATE = Gate(["http://shop.test", "http://mail.test:8080"])


@pytest.mark.parametrize(
    ("text", "here", "opened"),
    [
        ("http://shop.test", "", "http://shop.test/"),
        (" HTTP://Shop.TEST:80/a?b=c#d\n", "", "http://shop.test/a?b=c#d"),
        ("ht\ttp://shop.test/", "", "http://shop.test/"),
        ("http://mail.test:8080/x", "", "http://mail.test:8080/x"),
        ("http://shop.test?q=1", "", "http://shop.test?q=1"),
        ("/cart", "http://mail.test:8080/inbox", "http://mail.test:8080/cart"),
        ("/cart", "about:blank", "http://shop.test/cart"),
    ],
)
def test_pages_of_the_sites_are_allowed(text, here, opened):
    assert GATE.resolve(text, here) == opened


@pytest.mark.parametrize(
    "text",
    [
        "", "cart", "//evil.test/", "/\\evil.test", "\\\\evil.test", "http:/shop.test/", "http:shop.test",
        "http:\\\\shop.test\\", "https://shop.test/", "ws://shop.test/", "http://shop.test.evil.test/",
        "http://shop.test@evil.test/", "http://evil.test#http://shop.test/", "http://evil.test/?http://shop.test/",
        "http://shop.test:8080/", "http://mail.test/", "http://shop.test:080808/", "http://127.0.0.1/",
        "http://[::1]/", "http://shop.test%2eevil.test/", "http://shop\u3002test/", "javascript:alert(1)",
        "java\nscript:alert(1)", "\x00javascript:alert(1)", "data:text/html,x", "file:///etc/passwd",
        "view-source:http://shop.test/", "blob:http://shop.test/1", "about:blank", "chrome://version",
        "filesystem:http://shop.test/", "http://shop.test" + "/a" * 2000,
    ],
)  # fmt: skip
def test_all_else_is_refused(text):
    assert GATE.resolve(text, "http://shop.test/") is None


@given(st.text(max_size=60))
@example("http://shop.test:80@evil.test/")
@example("HTTP://SHOP.TEST\x0b/")
def test_whatever_is_asked_for_what_is_opened_is_of_a_site(text):
    opened = GATE.resolve(text, "http://shop.test/")
    if opened is not None:
        assert urlsplit(opened).netloc in ("shop.test", "mail.test:8080")
        assert GATE.allows(opened)
        assert not set(opened) & set("\t\r\n\\")


def test_frames_may_hold_what_their_site_made_and_tabs_may_not():
    for url in ("data:text/html,x", "blob:http://shop.test/1", "about:srcdoc"):
        assert GATE.allows_inside(url)
        assert not GATE.allows(url)
    for url in (
        "file:///etc/passwd",
        "http://evil.test/",
        "chrome://version",
        "filesystem:http://shop.test/x",
    ):
        assert not GATE.allows_inside(url)
        assert not GATE.allows(url)
