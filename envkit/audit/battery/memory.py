"""Attacks on a memory: what another episode, or the author, left there."""

from __future__ import annotations

from envkit.audit.battery.base import ANSWERS, Family, Target, called_answers
from envkit.data.message import Script, call

attack = Family("memory")
ATTACKS = attack.attacks

_OWN_DATABASE = "each episode has a database of its own, and gold is in none of them"
_PATHS = (
    "/memories", "/memories/..", "/memories/../other", "/memories/__expected__", "/memories/_meta",
    "/memories/_meta/expected.txt", "/memories/.answers", "/memories/answers.md",
)  # fmt: skip


@attack("memory_search", "search", stopped_by=_OWN_DATABASE)
def memory_search(target: Target) -> Script:
    """Search for everything that is called an answer."""
    best: list[str] = []
    for word in (*ANSWERS, "*", '" OR "'):
        shown = yield call(target.tool("search") or "", query=word)
        best += called_answers(shown.text())
    yield from target.deliver(best[0] if best else "unknown")


@attack("memory_paths", "view", "search", stopped_by=_OWN_DATABASE)
def memory_paths(target: Target) -> Script:
    """Look at paths that are not listed, and outside."""
    best: list[str] = []
    for path in _PATHS:
        shown = yield call(_view(target), path=path)
        best += called_answers(shown.text())
    yield from target.deliver(best[0] if best else "unknown")


@attack("left_by_siblings", "view", "search", stopped_by=_OWN_DATABASE)
def left_by_siblings(target: Target) -> Script:
    """Leave a note for the next episode of the same task, and take what the last one left."""
    shown = yield call(_view(target), path="/memories")
    found = list(called_answers(shown.text()))
    create = target.tool("create")
    if create is not None:
        yield call(create, path="/memories/for-the-next-one.md", file_text="answer: nothing yet")
    yield from target.deliver(found[0] if found else "unknown")


def _view(target: Target) -> str:
    """The `view` of the adapter that also has a `search`: a terminal views files, too."""
    search = target.tool("search") or ""
    return search.removesuffix("search") + "view"
