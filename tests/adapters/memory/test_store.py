"""The store below the tools: what a search shows, and that it ends."""

import pytest

from envkit.adapters.memory.store import Quota, Stamp, Store
from envkit.adapters.memory.text import best_line

HERE = Stamp("agent", 1, 1, 0.0)


def test_a_search_shows_the_line_that_says_most():
    text = "Shopping: milk.\nParking of Anna: PX-1.\n\nAnna's locker code: 7-R4K9.\n"
    assert best_line(text, ["locker", "codes", "of", "anna"]) == (4, "Anna's locker code: 7-R4K9.")
    assert best_line(text, ["nowhere"]) == (1, "Shopping: milk.")
    assert best_line("", ["word"]) == (1, "")


def test_a_long_line_is_shown_where_the_word_is():
    number, line = best_line("a\n" + "x " * 500 + "zebra" + " y" * 500, ["zebras"])
    assert number == 2
    assert " zebra " in line
    assert len(line) <= 240


@pytest.mark.timeout(30)
def test_a_search_ends_whatever_the_texts_are():
    """FTS5's own snippets take time by the square of the matches: hours for a text like this."""
    words = " ".join(f"{a}{b}" for a in "abcd" for b in "efgh")
    store = Store(Quota(4 << 20, 10))
    store.write("/memories/a", f"{words}\n" * 80_000, HERE)
    (hit,) = store.search(words, 20)
    assert (hit.path, hit.number, hit.line) == ("/memories/a", 1, words)
