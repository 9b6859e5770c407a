"""The notation of keys: from `:wq<Enter>` to the bytes that a keyboard sends."""

from __future__ import annotations

import re

from envkit.adapters.terminal.text import encoded
from envkit.toolbox import ToolRefusal

_NAMED = {
    "enter": b"\r", "cr": b"\r", "esc": b"\x1b", "tab": b"\t", "s-tab": b"\x1b[Z", "space": b" ",
    "bs": b"\x7f", "backspace": b"\x7f", "lt": b"<", "up": b"\x1b[A", "down": b"\x1b[B",
    "right": b"\x1b[C", "left": b"\x1b[D", "home": b"\x1b[H", "end": b"\x1b[F", "ins": b"\x1b[2~",
    "del": b"\x1b[3~", "pageup": b"\x1b[5~", "pagedown": b"\x1b[6~",
    "f1": b"\x1bOP", "f2": b"\x1bOQ", "f3": b"\x1bOR", "f4": b"\x1bOS", "f5": b"\x1b[15~",
    "f6": b"\x1b[17~", "f7": b"\x1b[18~", "f8": b"\x1b[19~", "f9": b"\x1b[20~", "f10": b"\x1b[21~",
    "f11": b"\x1b[23~", "f12": b"\x1b[24~",
}  # fmt: skip
_MOVES = {"up", "down", "right", "left", "home", "end"}  # in application mode ESC O, not ESC [
_KEY = re.compile(r"<([A-Za-z][A-Za-z0-9]*|[CcMmSs]-[^<>\s]+)>")
_CHORD = re.compile(r"([cm])-([!-~])")


def keys(text: str, *, application: bool = False) -> bytes:
    """Text with named keys as bytes: `:wq<Enter>`, `<C-c>`, `<M-x>`. `<lt>` is a literal `<`.

    A name that is no key is typed as it stands (`#include <stdio.h>`); a chord that no terminal
    has is refused.
    """
    typed, at = bytearray(), 0
    for match in _KEY.finditer(text):
        typed += _plain(text[at : match.start()])
        typed += _key(match, application=application)
        at = match.end()
    return bytes(typed + _plain(text[at:]))


def _plain(text: str) -> bytes:
    return encoded(text.replace("\r\n", "\r").replace("\n", "\r"))  # what the Enter key sends


def _key(match: re.Match[str], *, application: bool) -> bytes:
    name = match[1].lower()
    if name in _NAMED:
        code = _NAMED[name]
        return b"\x1bO" + code[2:] if application and name in _MOVES else code
    if "-" not in name:
        return match[0].encode()
    chord = _CHORD.fullmatch(name)
    if chord and chord[1] == "m":
        return b"\x1b" + match[1][2].encode()
    if chord and chord[2] in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
        return bytes([ord(chord[2].upper()) & 0x1F])
    raise ToolRefusal(f"There is no key {match[0]}. Chords are <C-a> to <C-z>, <C-[>, and <M-x>.")
