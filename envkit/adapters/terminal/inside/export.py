"""The frozen export: an iterative openat/O_NOFOLLOW walk under caps, names as bytes.

Runs only after every agent process is dead, so nothing changes underfoot. Patterns steer the walk:
a folder is listed only where a pattern has a wildcard, so litter elsewhere costs no entries.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any, FrozenSet, Iterator, NamedTuple, Union

_CHUNK = 1 << 16
_MOST_DEPTH = 256  # one open descriptor per level
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY

_STAR = "*"
_DEEP = "**"
_Token = Union[str, FrozenSet[int]]  # "*" or the bytes that may stand here
_Segment = Union[str, bytes, "list[_Token]"]  # "**", a literal name, or a pattern for one
_States = FrozenSet["tuple[int, int]"]  # (pattern, segments already matched)


class Found(NamedTuple):
    """One file or problem, as `Exported` on the host."""

    path: bytes
    kind: str
    data: bytes
    detail: str


class Caps(NamedTuple):
    """The limits of one export, as `FreezeCaps` on the host."""

    depth: int
    entries: int
    file_bytes: int
    total_bytes: int


def _tokens(text: bytes) -> list[_Token]:
    """A glob segment as tokens; an unclosed bracket stands for itself."""
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        byte = text[at : at + 1]
        close = text.find(b"]", at + 2) if byte == b"[" else -1
        if byte == b"*":
            tokens.append(_STAR)
        elif byte == b"?":
            tokens.append(frozenset(range(256)))
        elif close > 0:
            tokens.append(_class(text[at + 1 : close]))
            at = close
        else:
            tokens.append(frozenset(byte))
        at += 1
    return tokens


def _class(text: bytes) -> frozenset[int]:
    negated = text[:1] in (b"!", b"^")
    text = text[negated:]
    members: set[int] = set()
    at = 0
    while at < len(text):
        if text[at + 1 : at + 2] == b"-" and at + 2 < len(text):
            members.update(range(text[at], text[at + 2] + 1))
            at += 3
        else:
            members.add(text[at])
            at += 1
    return frozenset(set(range(256)) - members if negated else members)


def _covers(pattern: list[_Token], name: bytes) -> bool:
    """Whether a segment matches a name, in time bounded by the product of their lengths."""
    here = there = resume = 0
    mark = -1
    while there < len(name):
        token = pattern[here] if here < len(pattern) else frozenset()
        if token == _STAR:
            mark, resume = here, there
            here += 1
        elif name[there] in token:
            here, there = here + 1, there + 1
        elif mark >= 0:
            resume += 1
            here, there = mark + 1, resume
        else:
            return False
    return all(token == _STAR for token in pattern[here:])


class Patterns:
    """All declared patterns at once, as a machine that eats one path segment at a time."""

    def __init__(self, patterns: list[str]) -> None:
        self._segments: list[list[_Segment]] = []
        for pattern in patterns:
            if ".." in pattern.split("/"):  # would leave the workspace: matches nothing
                continue
            row: list[_Segment] = []
            for part in pattern.split("/"):
                name = part.encode("utf-8", "surrogateescape")
                if part == _DEEP:
                    row.append(_DEEP)
                elif part not in ("", "."):
                    row.append(_tokens(name) if set(part) & set("*?[") else name)
            self._segments.append(row)

    def begin(self) -> _States:
        """Where every pattern stands before the first segment."""
        return self._closed({(number, 0) for number in range(len(self._segments))})

    def eat(self, states: _States, name: bytes) -> _States:
        """Where the patterns stand after one more path segment."""
        after = set()
        for number, at in states:
            segment = self._at(number, at)
            if segment == _DEEP:
                after.add((number, at))
            elif segment == name or (isinstance(segment, list) and _covers(segment, name)):
                after.add((number, at + 1))
        return self._closed(after)

    def accepts(self, states: _States) -> bool:
        """Whether some pattern ends here."""
        return any(at == len(self._segments[number]) for number, at in states)

    def names(self, states: _States) -> list[bytes] | None:
        """The only names that can follow, or None where the folder has to be listed."""
        following = [self._at(number, at) for number, at in states]
        if all(isinstance(segment, bytes) or segment is None for segment in following):
            return sorted({segment for segment in following if isinstance(segment, bytes)})
        return None

    def goes_on(self, states: _States) -> bool:
        """Whether anything below can match."""
        return any(self._at(number, at) is not None for number, at in states)

    def _at(self, number: int, at: int) -> _Segment | None:
        row = self._segments[number]
        return row[at] if at < len(row) else None

    def _closed(self, states: set[tuple[int, int]]) -> _States:
        """`**` also stands for no segment at all."""
        closed = set(states)
        for number, begun in states:
            at = begun
            while self._at(number, at) == _DEEP:
                at += 1
                closed.add((number, at))
        return frozenset(closed)


class _Full(Exception):
    """The cap on entries is reached: the walk ends."""


class Walk:
    """One export. `found` grows as the walk goes."""

    def __init__(self, patterns: list[str], caps: Caps) -> None:
        self.found: list[Found] = []
        self._patterns = Patterns(patterns)
        self._caps = caps
        self._entries = self._bytes = 0

    def run(self, root: str) -> list[Found]:
        """Walk everything under `root` that the patterns can reach."""
        stack: list[tuple[int, bytes, _States, Iterator[bytes]]] = []
        try:
            self._enter(stack, os.open(root, _FLAGS | os.O_DIRECTORY), b"", self._patterns.begin())
            while stack:
                folder, prefix, states, names = stack[-1]
                name = next(names, None)
                if name is None:
                    os.close(stack.pop()[0])
                    continue
                self._visit(stack, folder, prefix + name, self._patterns.eat(states, name))
        except _Full:
            self._note(b".", "oversize", f"more than {self._caps.entries} entries")
        finally:
            for folder, *_ in stack:
                os.close(folder)
        return self.found

    def _enter(self, stack: list[Any], folder: int, prefix: bytes, states: _States) -> None:
        names = self._patterns.names(states)
        listed = iter(names) if names is not None else self._list(folder)
        stack.append((folder, prefix, states, listed))

    def _list(self, folder: int) -> Iterator[bytes]:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield os.fsencode(entry.name)

    def _visit(self, stack: list[Any], folder: int, path: bytes, states: _States) -> None:
        name = path.rpartition(b"/")[2]
        wanted, deeper = self._patterns.accepts(states), self._patterns.goes_on(states)
        try:
            facts = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as problem:
            self._note(path, "refused", problem.strerror)
            return
        self._entries += 1
        if self._entries > self._caps.entries:
            raise _Full
        if stat.S_ISDIR(facts.st_mode):
            if deeper:
                self._descend(stack, folder, path, states)
        elif stat.S_ISLNK(facts.st_mode) and deeper:
            self._note(path, "refused", "a symbolic link")
        elif wanted:
            self._judge(folder, name, path, facts)

    def _descend(self, stack: list[Any], folder: int, path: bytes, states: _States) -> None:
        if len(stack) >= min(self._caps.depth, _MOST_DEPTH):
            self._note(path, "oversize", f"deeper than {self._caps.depth}")
            return
        with self._refusing(path):
            name = path.rpartition(b"/")[2]
            below = os.open(name, _FLAGS | os.O_DIRECTORY, dir_fd=folder)
            self._enter(stack, below, path + b"/", states)

    def _judge(self, folder: int, name: bytes, path: bytes, facts: os.stat_result) -> None:
        if stat.S_ISLNK(facts.st_mode):
            self._note(path, "refused", "a symbolic link")
        elif not stat.S_ISREG(facts.st_mode):
            self._note(path, "refused", "not a regular file")
        elif facts.st_nlink != 1:
            self._note(path, "refused", "more than one link")
        else:
            self._take(folder, name, path, facts.st_size)

    def _take(self, folder: int, name: bytes, path: bytes, size: int) -> None:
        if size > self._caps.file_bytes:
            self._note(path, "oversize", f"{size} bytes, more than {self._caps.file_bytes}")
        elif self._bytes + size > self._caps.total_bytes:
            self._note(path, "oversize", f"more than {self._caps.total_bytes} bytes in all")
        else:
            with self._refusing(path):
                descriptor = os.open(name, _FLAGS, dir_fd=folder)
                with os.fdopen(descriptor, "rb") as opened:
                    data = opened.read(size)
                self._bytes += len(data)
                self.found.append(Found(path, "file", data, ""))

    def _note(self, path: bytes, kind: str, detail: str | None) -> None:
        self.found.append(Found(path, kind, b"", detail or "unreadable"))

    @contextlib.contextmanager
    def _refusing(self, path: bytes) -> Iterator[None]:
        try:
            yield
        except OSError as problem:
            self._note(path, "refused", problem.strerror)
