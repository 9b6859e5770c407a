"""The screen of a PTY program, rendered by pyte on the host. Imports pyte, so import it late.

What is fed is agent bytes: they may cost a bounded time, never an exception.
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pyte
import pyte.modes

from envkit.adapters.terminal.keys import keys
from envkit.adapters.terminal.sandbox import Sandbox
from envkit.adapters.terminal.text import ending, escape

_CHUNK = 256  # bytes between two looks at the clock: each sequence may cost a pass over the screen
_BUDGET = 1.0  # seconds of CPU for one feed; 64 KB of an editor's output take a fifth of that
_POLL, _BYTES = 64 << 10, 256 << 10  # of one poll, and of one look at the screen
_STACK = 16  # combining characters on one cell, and saved cursors
_APPLICATION_KEYS = 1 << 5  # DECCKM, as pyte keeps private modes; programs set it by `smkx`
# pyte throws away the rest of a text after one of these: ZWJ, selectors of emoji, C1 codes
_UNDRAWN = re.compile("[\x80-\x9f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]")
_FIXED_MODES = {3, 5}  # DECCOLM would resize the screen, DECSCNM repaint all of it


class _Screen(pyte.Screen):
    """pyte's screen without what costs memory or time and shows nothing."""

    def set_mode(self, *modes: int, **kwargs: Any) -> None:
        super().set_mode(*self._kept(modes, kwargs), **kwargs)

    def reset_mode(self, *modes: int, **kwargs: Any) -> None:
        super().reset_mode(*self._kept(modes, kwargs), **kwargs)

    def save_cursor(self) -> None:
        super().save_cursor()
        del self.savepoints[:-_STACK]

    def draw(self, data: str) -> None:
        super().draw(_UNDRAWN.sub("", data))
        x, y = min(self.cursor.x, self.columns) - 1, self.cursor.y
        row, column = (y, x) if x >= 0 else (max(y - 1, 0), self.columns - 1)
        cell = self.buffer[row][column]
        if len(cell.data) > _STACK:  # piled up, every further one would cost more than the last
            self.buffer[row][column] = cell._replace(data=cell.data[:_STACK])

    def alignment_display(self) -> None:
        """Three bytes that fill the screen with E; no program but a tester sends them."""

    @staticmethod
    def _kept(modes: tuple[int, ...], kwargs: dict[str, Any]) -> tuple[int, ...]:
        return tuple(m for m in modes if m not in _FIXED_MODES) if kwargs.get("private") else modes


class TerminalScreen:
    """One screen: feed it, read it."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self._note = ""
        self._clear()

    def _clear(self) -> None:
        self._screen = _Screen(self.columns, self.rows)
        self._stream = pyte.ByteStream(self._screen)

    async def feed(self, data: bytes) -> None:
        """Take what the program printed, in slices, so that other episodes go on meanwhile.

        What breaks pyte, and what takes too long, clears the screen and leaves a note.
        """
        left = _BUDGET
        for at in range(0, len(data), _CHUNK):
            began = time.thread_time()
            self._take(data[at : at + _CHUNK])
            left -= time.thread_time() - began
            if left < 0:
                self._restart("the program printed more than could be shown")
                return
            await asyncio.sleep(0)

    def _take(self, chunk: bytes) -> None:
        try:
            self._stream.feed(chunk)
        except Exception:  # noqa: BLE001 - pyte raises whatever malformed sequences lead it to
            self._restart("the program printed a broken sequence")

    def _restart(self, note: str) -> None:
        self._clear()
        self._note = f"{note}; the screen was cleared"

    async def follow(self, sandbox: Sandbox, pty: int, wait: float) -> str:
        """The screen once it stood still for a quarter of `wait`, at the latest after `wait`."""
        clock = asyncio.get_running_loop().time
        end, pause, room = clock() + wait, wait, _BYTES
        while True:
            state = await sandbox.poll(pty, wait=max(0.0, min(pause, end - clock())), limit=_POLL)
            if state.dropped:
                self._note = f"{state.dropped} bytes came too fast and are missing here"
            await self.feed(state.output)
            pause, room = wait / 4, room - len(state.output) - state.dropped
            if not state.running or not state.output or room < 0 or clock() >= end:
                break
        last = "running" if state.running else ending(state.status)
        return f"{self.render()}\n[{last}]"

    def render(self) -> str:
        """The screen as text, without blank rows at its end, and what went wrong since the last."""
        rows = [self._row(y) for y in range(self.rows)]
        while rows and not rows[-1]:
            rows.pop()
        cursor = self._screen.cursor
        place = f"row {cursor.y + 1}, column {min(cursor.x + 1, self.columns)}"
        head = f"[screen {self.rows}x{self.columns}, cursor at {place}]"
        note, self._note = self._note, ""
        return "\n".join([head, *rows, *([f"[{note}]"] if note else [])])

    def _row(self, y: int) -> str:
        # Not `Screen.display`: it fails on half a wide character.
        line = self._screen.buffer[y]
        cells = [line[x].data for x in range(self.columns)]
        return escape("".join(cells)).rstrip()

    def keys(self, text: str) -> bytes:
        """The bytes that a keyboard would send, in the mode that the program has chosen."""
        return keys(text, application=_APPLICATION_KEYS in self._screen.mode)
