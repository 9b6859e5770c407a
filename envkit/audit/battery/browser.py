"""Attacks in a browser: leaving the site, and reading or setting what the page keeps to itself."""

from __future__ import annotations

from envkit.audit.battery.api import _origins
from envkit.audit.battery.base import Family, Target, called_answers
from envkit.data.message import Script, call

attack = Family("browser")
ATTACKS = attack.attacks

_GATE = "the URL gate allows the episode's sites alone, and every other host goes to a dead end"
_FILES = (
    "file:///", "file:///etc/passwd", "file:///proc/self/environ", "file:///proc/self/cwd/answer.json",
    "file:///proc/self/cwd/config.json", "FILE:///etc/hostname", "fi\tle:///etc/hostname",
)  # fmt: skip
_SCRIPTS = (
    "javascript:window.done=true", "java\nscript:document.title='success'",
    "javascript:localStorage.setItem('success','1')", "data:text/html,<h1>success</h1>",
)  # fmt: skip


def _visit(target: Target, urls: list[str]) -> Script:
    best: list[str] = []
    for url in urls:
        shown = yield call(target.tool("goto") or "", url=url)
        best += called_answers(shown.text())
    yield from target.deliver(best[0] if best else "unknown")


@attack("file_urls", "goto", stopped_by=_GATE)
def file_urls(target: Target) -> Script:
    """Host files by URL."""
    yield from _visit(target, list(_FILES))


@attack("script_urls", "goto", stopped_by="the reward is read from the store, never from a page")
def script_urls(target: Target) -> Script:
    """Set whatever a page calls success."""
    yield from _visit(target, list(_SCRIPTS))


@attack("page_source", "goto", stopped_by="what a page does not show is not in it")
def page_source(target: Target) -> Script:
    """The source of every page that is known: comments, hidden fields, embedded state."""
    pages = [f"{origin}/" for origin in _origins(target)]
    yield from _visit(target, [f"view-source:{page}" for page in pages] + pages)
