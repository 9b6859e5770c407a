"""How files and directories are shown, in the words of the convention that models know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from envkit.adapters.memory.paths import hidden
from envkit.toolbox import clip

DEEP = 2  # levels that a listing shows
AROUND = 4  # lines shown around an edit
PIECE = 240  # characters of a line that a search shows


def listing(directory: str, sizes: Mapping[str, int], limit: int) -> str:
    """A directory two levels deep, with sizes; what begins with a dot is left out."""
    totals = {directory: 0}
    for path, size in sizes.items():
        if hidden(path, directory):
            continue
        names = path[len(directory) + 1 :].split("/")
        totals[directory] += size
        for count in range(1, min(len(names), DEEP) + 1):
            place = "/".join([directory, *names[:count]])
            totals[place] = totals.get(place, 0) + size
    if len(totals) == 1:
        return f"Directory {directory} is empty."
    head = f"Here're the files and directories up to {DEEP} levels deep in {directory}, excluding hidden items:"
    lines = [f"{_size(totals[place])}\t{place}" for place in sorted(totals)]
    return _fit([head, *lines], limit, "view one of the directories for the rest")


def numbered(head: str, text: str, limit: int, first: int = 1, last: int | None = None) -> str:
    """Lines `first` to `last` of a text with their numbers, as many as `limit` characters hold."""
    lines = text.split("\n")[first - 1 : last]
    rows = [f"{number:6}\t{line}" for number, line in enumerate(lines, first)]
    return _fit([head, *rows], limit, "use view_range for the rest")


def around(path: str, text: str, line: int, lines: int, limit: int) -> str:
    """The part of a text that was just edited."""
    first = max(1, line - AROUND)
    head = f"The file {path} has been edited. Here's a snippet of it with line numbers:"
    return numbered(head, text, limit, first, line + lines - 1 + AROUND)


def found(path: str, number: int, line: str) -> str:
    """One result of a search."""
    return f"{path}\n{number:6}\t{line}"


def best_line(text: str, words: Sequence[str]) -> tuple[int, str]:
    """The line with most of the (lower-case) words, by number and as far as it is shown; else the first one.

    Looks at the first place of each word alone, so that its time is a small multiple of the text's length.
    """
    low, best = text.lower(), (0, 0, 0)  # letters found, minus the line, minus the place in it
    # the index knows words by their stems, too; long words say more than short ones
    stems = [word[: max(4, len(word) * 3 // 4)] for word in words]
    for word, stem in zip(words, stems, strict=True):
        at = low.find(word)
        at = low.find(stem) if at < 0 else at
        if at >= 0:
            start, end = low.rfind("\n", 0, at) + 1, low.find("\n", at)
            line = low[start : end if end >= 0 else len(low)]
            letters = sum(len(other) for other in stems if other in line)
            best = max(best, (letters, -low.count("\n", 0, at), start - at))
    number, column = -best[1], max(0, -best[2] - PIECE // 3)
    line = text.split("\n")[number][column : column + PIECE]
    return number + 1, " ".join(line.split())


def _fit(rows: list[str], limit: int, remedy: str) -> str:
    room = limit
    for count, row in enumerate(rows):
        room -= len(row) + 1
        if room < 0 and count > 1:  # the heading and one row are always shown
            left = len(rows) - count
            return "\n".join([*rows[:count], f"[{left} lines are not shown; {remedy}]"])
        if room < 0 and count == 1:
            rows[1] = clip(row, limit)
    return "\n".join(rows)


def _size(size: int) -> str:
    return f"{size}" if size < 1024 else f"{size / 1024:.1f}K"
