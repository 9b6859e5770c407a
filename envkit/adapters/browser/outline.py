"""The outline: what an agent sees of a page. Text in, text out; nothing here knows a browser.

A snapshot of the accessibility tree becomes nodes with references of our own. A reference names what was shown: it
stays with the same element of the same document, and is never given to another one, so that a stale one can be
told from a live one. References are in no page: a page can neither see nor set them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches

_LINE = re.compile(r"^( *)- (.*)$")
_HEAD = re.compile(
    r'^(?P<role>[A-Za-z][\w-]*)(?: (?P<name>"[^"\\]*(?:\\.[^"\\]*)*"))?(?P<marks>(?: \[[^\]]*\])*)(?P<rest>:.*)?$'
)
_MARK = re.compile(r" \[([^\]]*)\]")
_WIDTH = 400  # characters of one line; longer text goes on in the next
_POINTED = frozenset({"button", "link", "checkbox", "radio", "option", "menuitem", "tab", "switch"})
_DEPTH = 100  # levels; what lies deeper is shown on the last one
_RUN = 4  # unchanged lines in a row from which on they are left out
_MOST = 30_000  # lines of a snapshot
_SURROGATES = re.compile(
    "[\ud800-\udfff]"
)  # alone, as scripts may leave them: no encoding has them
_HEAD_WIDTH = 100  # characters by which a stale reference is known
_CANDIDATES = 100  # that are compared with it
_DOCUMENTS = 8  # whose references are kept: those of the open tabs and a few more
_HEADS = 20_000  # references that are still known when they are stale


@dataclass(slots=True)
class Node:
    """One element, or a piece of text. `place` is what the browser calls it, `ref` what we do."""

    role: str
    name: str = ""
    marks: tuple[str, ...] = ()
    text: str = ""
    place: str = ""
    ref: str = ""
    children: list[Node] = field(default_factory=list)

    @property
    def head(self) -> str:
        """Role and name: what it is known by."""
        return f"{self.role} {self.name}" if self.name else self.role

    def line(self) -> str:
        """How it is shown."""
        if self.role in ("text", "/url", "/placeholder"):
            return f"- {self.role}: {self.text}"
        marks = "".join(f" [{mark}]" for mark in (*self.marks, *self._ref()))
        return f"- {self.head}{marks}" + (f": {self.text}" if self.text else "")

    def _ref(self) -> tuple[str, ...]:
        return (f"ref={self.ref}",) if self.ref else ()


def parse(snapshot: str) -> list[Node]:
    """The roots of an accessibility snapshot. Total: a line that is not understood becomes text."""
    roots: list[Node] = []
    stack: list[tuple[int, Node]] = []
    rows = sound(snapshot).split("\n")
    if len(rows) > _MOST:
        rows[_MOST:] = [f"- text: {len(rows) - _MOST} more lines of this page are not shown"]
    for raw in rows:
        found = _LINE.match(raw)
        if found is None:
            continue
        depth, node = len(found[1]), _node(found[2])
        while stack and (stack[-1][0] >= depth or len(stack) > _DEPTH):
            stack.pop()
        (stack[-1][1].children if stack else roots).append(node)
        stack.append((depth, node))
    return _pruned(roots)


def sound(text: str) -> str:
    """A text without lone surrogates."""
    return _SURROGATES.sub("\ufffd", text)


def _node(body: str) -> Node:
    head, rest = _unquoted(body)
    if head.startswith("/") or head.startswith("text:"):
        role, _, text = (head + rest).partition(":")
        return Node(role, text=_scalar(text))
    found = _HEAD.match(head)
    if found is None:
        return Node("text", text=_scalar(head + rest))
    marks = _MARK.findall(found["marks"])
    place = next((mark[4:] for mark in marks if mark.startswith("ref=")), "")
    shown = tuple(mark for mark in marks if not mark.startswith("ref="))
    if found["role"] in _POINTED:
        shown = tuple(mark for mark in shown if mark != "cursor=pointer")
    text = _scalar(((found["rest"] or "") + rest).removeprefix(":"))
    return Node(found["role"], found["name"] or "", shown, text, place)


def _unquoted(body: str) -> tuple[str, str]:
    """A YAML key in single quotes and what follows it; a plain one whole."""
    if not body.startswith("'"):
        return body, ""
    found = re.match(r"'((?:[^']|'')*)'", body)
    return (found[1].replace("''", "'"), body[found.end() :]) if found else (body, "")


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return " ".join(str(json.loads(text)).split())
        except ValueError:
            return text
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return text


def _pruned(nodes: list[Node]) -> list[Node]:
    """Without wrappers that say nothing: a nameless generic around one child or around nothing."""
    kept: list[Node] = []
    for node in nodes:
        node.children = _pruned(node.children)
        silent = node.role == "generic" and not (node.name or node.text or node.marks)
        kept += node.children if silent and len(node.children) <= 1 else [node]
    return kept


class Refs:
    """The references of one episode."""

    def __init__(self) -> None:
        self._given: dict[str, dict[tuple[str, str], str]] = {}  # by document, place and head
        self._heads: dict[str, str] = {}  # of every reference that was given lately
        self._places: dict[str, str] = {}  # of those that are shown now
        self._count = 0

    def name(self, roots: Iterable[Node], document: str) -> None:
        """Give every element of a new snapshot its reference; those of other snapshots are stale now."""
        self._places = {}
        given = self._given[document] = self._given.pop(document, {})
        for old in list(self._given)[:-_DOCUMENTS]:
            del self._given[old]
        for node in walk(roots):
            if not node.place:
                continue
            key = (node.place, node.head)
            if key not in given:
                self._count += 1
                given[key] = f"e{self._count}"
            node.ref = given[key]
            self._heads.pop(node.ref, None)  # the last ones are kept longest
            self._heads[node.ref] = node.head[:_HEAD_WIDTH]
            self._places[node.ref] = node.place
        for old in list(self._heads)[:-_HEADS]:
            del self._heads[old]

    def place(self, ref: str) -> str | None:
        """Where the browser has it; None: it is not on the page that was shown last."""
        return self._places.get(ref)

    def missing(self, ref: str) -> str:
        """Why a reference can't be used, with what comes closest to it."""
        head = self._heads.get(ref)
        if head is None:
            return f"There is no element {ref[:20]!r} on this page."
        close = self._closest(head)
        hint = f" Closest now: {close} ({self._heads[close]})." if close else ""
        return f"{ref} ({head}) is not on this page any more.{hint}"

    def _closest(self, head: str) -> str | None:
        """What is shown now and called the same or nearly so; a bare role says nothing."""
        role, _, name = head.partition(" ")
        if not name:
            return None
        now = {self._heads[ref]: ref for ref in self._places if ref in self._heads}
        if head in now:
            return now[head]
        alike = [other for other in now if other.startswith(f"{role} ")][:_CANDIDATES]
        close = get_close_matches(head, alike, n=1, cutoff=0.5)
        return now[close[0]] if close else None


def walk(nodes: Iterable[Node]) -> Iterator[Node]:
    """All nodes, parents first."""
    left = list(nodes)[::-1]
    while left:
        node = left.pop()
        yield node
        left += reversed(node.children)


def lines(nodes: Iterable[Node], depth: int = 0) -> list[str]:
    """A tree as indented lines of bounded width."""
    made: list[str] = []
    for node in nodes:
        made += _wrapped(node.line(), depth)
        made += lines(node.children, depth + 1)
    return made


def _wrapped(line: str, depth: int) -> list[str]:
    indent = "  " * depth
    if len(line) <= _WIDTH:
        return [indent + line]
    pieces = [line[at : at + _WIDTH] for at in range(0, len(line), _WIDTH)]
    return [indent + pieces[0], *(f"{indent}  … {piece}" for piece in pieces[1:])]


def changed(before: Iterable[Node], now: Iterable[Node]) -> list[str] | None:
    """Only what is new, with the elements around it; None where a whole outline is no longer than that."""
    old, new = _digests(before), _digests(now)
    known = {(node.ref, old[id(node)]) for node in walk(before) if node.ref}
    same = {id(node) for node in walk(now) if (node.ref, new[id(node)]) in known}
    made = _delta(now, same, 0)
    return made if len(made) < len(lines(now)) // 2 else None


def _digests(nodes: Iterable[Node]) -> dict[int, int]:
    """What each tree shows, as a number: one pass, where comparing texts would take one for every level."""
    found: dict[int, int] = {}
    for node in reversed(list(walk(nodes))):  # children first
        found[id(node)] = hash((node.line(), *(found[id(child)] for child in node.children)))
    return found


def _delta(nodes: Iterable[Node], same: set[int], depth: int) -> list[str]:
    made: list[str] = []
    run: list[Node] = []

    def flush() -> None:
        kept = lines(run, depth)
        if len(kept) < _RUN:
            made.extend(kept)
        else:
            made.append(f"{'  ' * depth}- ({len(kept)} lines unchanged{_span(run)})")
        run.clear()

    for node in nodes:
        if id(node) in same:
            run.append(node)
            continue
        flush()
        made += _wrapped(node.line(), depth)
        made += _delta(node.children, same, depth + 1)
    flush()
    return made


def _span(run: list[Node]) -> str:
    refs = [node.ref for node in run if node.ref]
    return f", {refs[0]} to {refs[-1]}" if len(refs) > 1 else f", {refs[0]}" if refs else ""


def page(all_lines: list[str], offset: int, budget: int) -> str:
    """Lines from `offset` on, as many as fit, and how to get at the others."""
    offset = max(0, min(offset, len(all_lines)))
    end, room = offset, budget
    while end < len(all_lines) and (room := room - len(all_lines[end]) - 1) >= 0:
        end += 1
    end = max(end, min(offset + 1, len(all_lines)))
    shown = "\n".join(all_lines[offset:end])
    if offset == 0 and end == len(all_lines):
        return shown
    more = f"; read(offset={end}) goes on, find(text) searches" if end < len(all_lines) else ""
    return f"{shown}\n[lines {offset} to {end - 1} of {len(all_lines)}{more}]"


def matches(roots: list[Node], text: str, most: int = 20) -> list[str]:
    """The nodes that hold a text, each with the elements that it lies in."""
    found: list[str] = []
    total = 0
    for path in _paths(roots, ()):
        if text.lower() in path[-1].line().lower():
            total += 1
            if total <= most:
                around = " > ".join(f"{n.head[:60]} [ref={n.ref}]" for n in path[:-1] if n.ref)
                found.append(path[-1].line()[:_WIDTH] + (f"\n    in {around}" if around else ""))
    if total > most:
        found.append(f"[{total - most} more]")
    return found


def _paths(nodes: Iterable[Node], above: tuple[Node, ...]) -> Iterator[tuple[Node, ...]]:
    for node in nodes:
        yield (*above, node)
        yield from _paths(node.children, (*above, node))
