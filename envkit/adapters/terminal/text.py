"""Agent bytes as text that is safe to show, and the edits of the file tools. Pure functions."""

from __future__ import annotations

import re

from envkit.toolbox import ToolRefusal

MAX_LINE = 2_000
"""Characters of one line that `numbered` shows."""

# Each alternative starts at ESC and stops at the next one, so a match is linear in its length.
_SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movements
    r"|\x1b\][^\x07\x1b\n]*(?:\x07|\x1b\\)"  # OSC: titles, links, clipboard
    r"|\x1b[()][0-9A-Za-z]"  # character sets
    r"|\x1b[=>78cDEHMZ]"
)
# Control characters but \n and \t; and what reorders text, so that what is read is what is there.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def escape(text: str) -> str:
    r"""Control characters as `\x1b` or `\u202e`; line ends and tabs stay."""
    return _CONTROL.sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def clean(raw: bytes) -> str:
    """What a program printed: colours and titles left out, other control codes written out.

    A carriage return becomes a line end: a progress bar shows its states and nothing is lost.
    """
    text = _SEQUENCE.sub("", raw.decode("utf-8", "replace"))
    return escape(re.sub(r"\r+\n?", "\n", text))


def capped(raw: bytes, dropped: int) -> str:
    """Output as a sandbox gives it: between head and tail a line that says what is missing."""
    if not dropped:
        return clean(raw)
    middle = len(raw) // 2  # sandboxes keep as much of the head as of the tail
    note = f"[... {dropped} bytes left out; write to a file and look at parts of it ...]"
    return f"{clean(raw[:middle])}\n{note}\n{clean(raw[middle:])}"


def printable(name: bytes) -> str:
    r"""A file's name as text: bytes that are no UTF-8, control characters and backslashes as `\xNN`.

    The backslash too, so that no two names read the same in evidence.
    """
    shown = escape(name.replace(b"\\", b"\\x5c").decode("utf-8", "backslashreplace"))
    return shown.replace("\n", "\\x0a").replace("\t", "\\x09")


def encoded(text: str) -> bytes:
    """Text from a model as bytes. Raises ToolRefusal where it holds a lone surrogate."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise ToolRefusal("That is no valid text: it holds a lone surrogate.") from None


def plain(text: str, what: str) -> str:
    """A command or path as it is. Raises ToolRefusal where no program could be given it."""
    encoded(text)
    if "\0" in text:
        raise ToolRefusal(f"The {what} has a NUL character.")
    return text


def report(output: str, last: str) -> str:
    """What was printed, and a line of ours below it."""
    output = output.rstrip("\n")
    return f"{output}\n[{last}]" if output else f"[{last}]"


def ending(status: int | None) -> str:
    """How a program ended, as it says itself."""
    if status is None:
        return "stopped"
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"


def numbered(content: bytes, start: int, end: int, limit: int) -> str:
    """Lines `start` to `end` (-1: the last) with numbers, up to `limit` characters."""
    lines = split_lines(content)
    if not lines:
        return "[the file is empty]"
    last = len(lines) if end == -1 else min(end, len(lines))
    if not 1 <= start <= last:
        raise ToolRefusal(f"There are no lines {start} to {end}: the file has {len(lines)}.")
    shown: list[str] = []
    room = limit
    for number in range(start, last + 1):
        row = f"{number:6}\t{_short(lines[number - 1])}"
        room -= len(row) + 1
        if room < 0 and shown:
            shown.append(f"[cut here; the file has {len(lines)} lines, go on with start={number}]")
            break
        shown.append(row)
    return "\n".join(shown)


def _short(line: bytes) -> str:
    text = line[: 4 * MAX_LINE].decode("utf-8", "replace")  # at most four bytes a character
    if len(text) <= MAX_LINE:
        return escape(text)
    return f"{escape(text[:MAX_LINE])}[... the line has {len(line)} bytes]"


def split_lines(content: bytes) -> list[bytes]:
    """Lines without their ends; only a line feed ends one, as in `sed` and in `grep -n`."""
    lines = content.split(b"\n")
    return lines if lines[-1] else lines[:-1]


def replace_once(content: bytes, old: bytes, new: bytes) -> tuple[bytes, int]:
    """The content with its one `old` replaced, and the line where that begins.

    Raises ToolRefusal unless there is exactly one, overlapping ones counted.
    """
    if not old:
        raise ToolRefusal("`old` is empty; say which text to replace, or use insert.")
    at = content.find(old)
    if at < 0:
        raise ToolRefusal("`old` is not in the file. It must match exactly, white space included.")
    if content.find(old, at + 1) >= 0:
        found = _occurrences(content, old)
        raise ToolRefusal(f"`old` is in the file {found} times; take in more of what is around it.")
    return content[:at] + new + content[at + len(old) :], content.count(b"\n", 0, at) + 1


def _occurrences(content: bytes, old: bytes, most: int = 1000) -> str:
    found, at = 0, content.find(old)
    while at >= 0 and found < most:
        found, at = found + 1, content.find(old, at + 1)
    return f"{most} or more" if at >= 0 else str(found)


def insert_after(content: bytes, line: int, text: bytes) -> bytes:
    """The content with `text` as lines of their own after line `line` (0: at the beginning)."""
    lines = split_lines(content)
    if not 0 <= line <= len(lines):
        raise ToolRefusal(f"There is no line {line}: the file has {len(lines)}.")
    head = b"".join(part + b"\n" for part in lines[:line])
    body = text if text.endswith(b"\n") else text + b"\n"
    return head + body + content[len(head) :]


def around(content: bytes, line: int, changed: bytes) -> str:
    """The lines of a change that begins at `line`, with three before and after; at most 30."""
    lines = split_lines(content)
    if not lines:
        return numbered(content, 1, -1, 0)
    start = max(1, min(line, len(lines)) - 3)
    end = line + len(split_lines(changed)) + 2 if changed else line + 3
    return numbered(content, start, min(end, start + 29, len(lines)), 4_000)
