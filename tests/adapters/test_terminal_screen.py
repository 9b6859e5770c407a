"""The screens of PTY programs: what is drawn, what keys send, and that no bytes break them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from envkit.adapters.terminal.keys import keys
from envkit.adapters.terminal.screen import TerminalScreen
from envkit.toolbox import ToolRefusal


async def drawn(*chunks: bytes, rows: int = 5, columns: int = 20) -> list[str]:
    screen = TerminalScreen(rows, columns)
    for chunk in chunks:
        await screen.feed(chunk)
    return screen.render().split("\n")


async def test_a_screen_shows_rows_and_cursor() -> None:
    assert await drawn(b"one\r\ntwo") == ["[screen 5x20, cursor at row 2, column 4]", "one", "two"]


async def test_programs_draw_where_they_like() -> None:
    assert (await drawn(b"\x1b[2J\x1b[3;5H\x1b[7mhere\x1b[0m"))[1:] == ["", "", "    here"]


async def test_a_character_may_arrive_in_two_parts() -> None:
    assert (await drawn("é".encode()[:1], "é".encode()[1:]))[1:] == ["é"]


@pytest.mark.parametrize("text", ["⚠️ warning", "a\u200bb\u200dc", "soft\u00adhyphen"])
async def test_invisible_characters_cost_no_text(text: str) -> None:
    visible = "".join(c for c in text if c not in "\ufe0f\u200b\u200d\u00ad")
    assert (await drawn(text.encode()))[1:] == [visible]


async def test_half_a_wide_character_is_no_crash() -> None:
    assert (await drawn("世".encode() + b"\rx"))[1:] == ["x"]


async def test_a_broken_sequence_clears_the_screen_and_says_so() -> None:
    screen = TerminalScreen(5, 20)
    await screen.feed(b"old text")
    await screen.feed(b"\x1b[1;2;3;4A")  # pyte: cursor_up() takes two arguments
    assert screen.render().split("\n")[1:] == [
        "[the program printed a broken sequence; the screen was cleared]"
    ]
    await screen.feed(b"new text")
    assert screen.render().split("\n")[1:] == ["new text"]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=4), st.integers(5, 60), st.integers(20, 200))
async def test_no_bytes_break_a_screen(chunks: list[bytes], rows: int, columns: int) -> None:
    lines = await drawn(*chunks, rows=rows, columns=columns)
    assert len(lines) <= rows + 2
    assert all("\x1b" not in line and "\x9b" not in line for line in lines)


PIECES = [
    b"\x1b[",
    b"\x1b]",
    b"\x1b",
    b"?",
    b";",
    b"9",
    b"1",
    b"5h",
    b"3h",
    b"J",
    b"H",
    b"r",
    b"m",
    b"L",
]
PIECES += [
    b"\x1b#8",
    b"\x1b7",
    b"\x1b8",
    b"\n",
    b"\r",
    b"\x0e",
    b"\x1b%@",
    b"\x1b%G",
    "世".encode(),
]
PIECES += ["\u0301".encode(), b"@", b"P", b"X", b"A", b"n", b"c", b"text", b"\x9b", b"\x18", b"g"]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=60))
async def test_no_sequences_break_a_screen(pieces: list[bytes]) -> None:
    lines = await drawn(b"".join(pieces))
    assert len(lines) <= 7
    assert all(len(line) <= 20 * 17 for line in lines[1:-1])


@pytest.mark.parametrize(
    "piece",
    [
        b"\x1b[?5h",  # inverts the whole screen
        b"\x1b#8",  # fills it
        b"\x1b[2J",  # clears it
        b"\x1b[9999L",
        b"\x1b7",  # saves the cursor, on a stack
        b"\x1b]",
        b"\x1b[",
        b"\x1b[1;",
        b"9",
        "\u0301".encode(),  # piles up on one cell
        b"\xcc\x81\x07",
        b"\n",
    ],
)
async def test_a_flood_costs_a_bounded_time(piece: bytes) -> None:
    screen = TerminalScreen(60, 200)
    await screen.feed(b"x" * 12_000)
    began = time.thread_time()
    for _ in range(2):
        await screen.feed(piece * ((64 << 10) // len(piece)))
    screen.render()
    assert time.thread_time() - began < 6  # unbounded, the worst of these takes minutes


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("ls<Enter>", b"ls\r"),
        ("<esc>:wq<CR>", b"\x1b:wq\r"),
        ("<C-c><C-D><c-[>", b"\x03\x04\x1b"),
        ("<M-x><m-X>", b"\x1bx\x1bX"),
        ("<Up><PageDown><F5>", b"\x1b[A\x1b[6~\x1b[15~"),
        ("<lt>Enter>", b"<Enter>"),
        ("#include <stdio.h>", b"#include <stdio.h>"),
        ("a < b > c <nokey>", b"a < b > c <nokey>"),
        ("two\nlines", b"two\rlines"),
        ("é", "é".encode()),
        ("", b""),
    ],
)
def test_keys_are_what_a_keyboard_sends(typed: str, sent: bytes) -> None:
    assert keys(typed) == sent


@pytest.mark.parametrize("typed", ["<C-Up>", "<C-!>", "<M-Enter>", "<S-x>", "\ud800"])
def test_keys_that_do_not_exist_are_refused(typed: str) -> None:
    with pytest.raises(ToolRefusal):
        keys(typed)


async def test_arrows_follow_the_mode_of_the_program() -> None:
    screen = TerminalScreen(5, 20)
    assert screen.keys("<Up><Del>") == b"\x1b[A\x1b[3~"
    await screen.feed(b"\x1b[?1h")
    assert screen.keys("<Up><Del>") == b"\x1bOA\x1b[3~"
