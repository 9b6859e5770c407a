"""What agent bytes look like once they are text, and what the file tools do to content."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.adapters.terminal.text import (
    around,
    capped,
    clean,
    insert_after,
    numbered,
    printable,
    replace_once,
    split_lines,
)
from envkit.toolbox import ToolRefusal


def shown_safely(text: str) -> bool:
    """No character that moves a cursor, recolours a terminal or reorders what is read."""
    text.encode()
    bidi = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
    return all(c in "\n\t" or unicodedata.category(c) != "Cc" for c in text) and not bidi & set(
        text
    )


@given(st.binary(max_size=300))
def test_no_bytes_make_a_control_character_reach_the_reader(raw: bytes) -> None:
    assert shown_safely(clean(raw))
    assert shown_safely(printable(raw))
    assert shown_safely(numbered(raw, 1, -1, 10_000))


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cf"]) | st.just("\n"), max_size=300))
def test_plain_text_is_shown_as_it_is(text: str) -> None:
    assert clean(text.encode()) == text


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07after", "after"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1b]52;c;never ended", "\\x1b]52;c;never ended"),  # nothing is swallowed
        (b"\x1b", "\\x1b"),
        (b"a\xffb", "a\ufffdb"),
        (b"10%\r50%\r100%\r\n", "10%\n50%\n100%\n"),
        (b"bell\x07 nul\x00", "bell\\x07 nul\\x00"),
        ("\x9b31m C1".encode(), "\\x9b31m C1"),
        ("if x\u202e:".encode(), "if x\\u202e:"),
    ],
)
def test_control_codes_are_left_out_or_written_out(raw: bytes, shown: str) -> None:
    assert clean(raw) == shown


def test_a_megabyte_of_escapes_takes_no_time() -> None:
    for piece in (b"\x1b[", b"\x1b]", b"\x1b[1;", b"\x1b", b"\r"):
        clean(piece * (1_000_000 // len(piece)))  # the suite's timeout is the assertion


def test_what_was_dropped_is_said_between_head_and_tail() -> None:
    assert capped(b"headtail", 0) == "headtail"
    head, note, tail = capped(b"headtail", 99).split("\n")
    assert (head, tail) == ("head", "tail")
    assert "99 bytes left out" in note


def test_names_keep_bytes_that_are_no_text() -> None:
    assert printable(b"caf\xc3\xa9/\xff\n.txt") == "café/\\xff\\x0a.txt"


def test_lines_are_numbered_from_one() -> None:
    assert numbered(b"a\nb\nc\n", 2, -1, 1000) == "     2\tb\n     3\tc"
    assert numbered(b"a\nb\nc", 1, 2, 1000) == "     1\ta\n     2\tb"
    assert numbered(b"a\nb", 2, 99, 1000) == "     2\tb"
    assert numbered(b"", 1, -1, 1000) == "[the file is empty]"
    assert numbered(b"a\r\n", 1, -1, 1000) == "     1\ta\\x0d"  # an editor must see it


@pytest.mark.parametrize(("start", "end"), [(0, -1), (4, -1), (3, 2), (-5, -1), (1, -2)])
def test_lines_that_are_not_there_are_refused(start: int, end: int) -> None:
    with pytest.raises(ToolRefusal, match="the file has 3"):
        numbered(b"a\nb\nc\n", start, end, 1000)


def test_a_long_file_says_where_to_go_on() -> None:
    rows = numbered(b"line\n" * 500, 1, -1, 1_000).split("\n")
    assert rows[-1] == f"[cut here; the file has 500 lines, go on with start={len(rows)}]"
    assert len("\n".join(rows)) < 1_100


def test_a_long_line_is_cut_and_says_so() -> None:
    shown = numbered(b"x" * 1_000_000, 1, -1, 12_000)
    assert len(shown) < 2_100
    assert shown.endswith("[... the line has 1000000 bytes]")


def test_replacing_takes_exactly_one_match() -> None:
    assert replace_once(b"a\nbxc\n", b"x", b"\xff") == (b"a\nb\xffc\n", 2)
    with pytest.raises(ToolRefusal, match="not in the file"):
        replace_once(b"a", b"x", b"y")
    with pytest.raises(ToolRefusal, match="in the file 2 times"):
        replace_once(b"x x", b"x", b"y")
    with pytest.raises(ToolRefusal, match="in the file 2 times"):
        replace_once(b"aaa", b"aa", b"b")  # overlapping: which one is meant?
    with pytest.raises(ToolRefusal, match="empty"):
        replace_once(b"a", b"", b"y")


def test_counting_matches_is_bounded() -> None:
    with pytest.raises(ToolRefusal, match="1000 or more times"):
        replace_once(b"a" * 1_000_000, b"a" * 1_000, b"b")


@pytest.mark.parametrize(
    ("before", "line", "text", "after"),
    [
        (b"", 0, b"new", b"new\n"),
        (b"a\nb\n", 0, b"new", b"new\na\nb\n"),
        (b"a\nb\n", 1, b"new\n", b"a\nnew\nb\n"),
        (b"a\nb\n", 2, b"new", b"a\nb\nnew\n"),
        (b"a\nb", 2, b"new", b"a\nb\nnew\n"),
        (b"a\nb", 1, b"x\ny", b"a\nx\ny\nb"),
        (b"\n\n", 1, b"x", b"\nx\n\n"),
    ],
)
def test_inserting_makes_lines_of_their_own(
    before: bytes, line: int, text: bytes, after: bytes
) -> None:
    assert insert_after(before, line, text) == after


@given(st.binary(max_size=60), st.integers(0, 8), st.binary(min_size=1, max_size=20))
def test_inserting_loses_nothing(content: bytes, line: int, text: bytes) -> None:
    lines = split_lines(content)
    if line > len(lines):
        with pytest.raises(ToolRefusal, match="no line"):
            insert_after(content, line, text)
    else:
        assert split_lines(insert_after(content, line, text)) == [
            *lines[:line],
            *split_lines(text),
            *lines[line:],
        ]


def test_an_edit_is_shown_with_its_neighbours() -> None:
    content = b"".join(b"%d\n" % n for n in range(1, 101))
    assert around(content, 50, b"50").split("\n")[0].endswith("47\t47")
    assert around(content, 50, b"50").split("\n")[-1].endswith("53\t53")
    assert len(around(content, 1, content).split("\n")) == 30
    assert around(b"", 1, b"") == "[the file is empty]"
    assert around(b"a\n", 2, b"").endswith("a")  # the last line was taken away
