"""Guarded connections: what agent-written text can do in SQL, and in a full-text query."""

# ruff: noqa: S608 - SQL made of text is what is tried here

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit import sqlite as module
from envkit.sqlite import Guard, fork, fts_phrase

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


@pytest.fixture
def image():
    with closing(sqlite3.connect(":memory:")) as made:
        made.executescript(
            "CREATE TABLE open (x); CREATE TABLE shut (x); INSERT INTO open VALUES (1);"
            "INSERT INTO shut VALUES (2); CREATE VIRTUAL TABLE notes USING fts5(title, body);"
            "INSERT INTO notes VALUES ('secret', 'the cat sat');"
        )
        yield made.serialize()


@pytest.fixture
def connection(image):
    with closing(fork(image)) as forked:
        yield forked


def test_forks_are_private(image):
    with closing(fork(image)) as one, closing(fork(image)) as two:
        one.execute("DELETE FROM open")
        assert two.execute("SELECT x FROM open").fetchall() == [(1,)]


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH '{file}' AS x",
        "DETACH main",
        "PRAGMA user_version",
        "SELECT * FROM pragma_table_list",
        "SELECT * FROM SQLITE_MASTER",
        "SELECT * FROM sqlite_schema",
        "SELECT * FROM sqlite_temp_schema",
        "DROP TABLE open",
        "CREATE TABLE x (y)",
        "VACUUM INTO '{file}'",
        "SELECT load_extension('{file}')",
        "SELECT fts3_tokenizer('simple')",
    ],
)
def test_a_guard_refuses_files_settings_and_the_schema(connection, tmp_path: Path, sql):
    guard = Guard(connection)
    with guard.operation(), pytest.raises(sqlite3.Error):
        connection.execute(sql.replace("{file}", str(tmp_path / "out"))).fetchall()
    assert list(tmp_path.iterdir()) == []


def test_hidden_tables_take_the_place_of_the_default(connection):
    Guard(connection, hidden=("Shut",))
    assert connection.execute("SELECT x FROM open").fetchall() == [(1,)]
    for sql in ("SELECT x FROM shut", "DELETE FROM SHUT", "SELECT 1 FROM open JOIN shut"):
        with pytest.raises(sqlite3.DatabaseError, match=r"prohibited|not authorized"):
            connection.execute(sql)


def test_with_tables_nothing_else_can_be_named(connection):
    guard = Guard(connection, tables=("OPEN",))
    for sql in (
        "SELECT x FROM shut", "INSERT INTO shut VALUES (1)", "SELECT count(*) FROM sqlite_master",
        "CREATE TEMP TABLE y (z)", "DROP TABLE open", "SELECT * FROM dbstat", "REINDEX", "ANALYZE",
        "SELECT x FROM open UNION SELECT x FROM shut", "CREATE TRIGGER t AFTER INSERT ON open BEGIN SELECT 1; END",
    ):  # fmt: skip
        with guard.operation(), pytest.raises(sqlite3.Error):
            connection.execute(sql)
    with guard.operation():
        connection.execute("BEGIN")
        connection.execute("INSERT INTO open VALUES (5)")
        connection.execute("ROLLBACK")
        counted = "WITH n AS (SELECT x FROM open) SELECT count(*) FROM n"
        assert connection.execute(counted).fetchone() == (1,)


def test_an_operation_has_its_own_budget_of_instructions(connection):
    guard = Guard(connection, steps=100_000)
    started = time.monotonic()
    for _ in range(2):
        with guard.operation(), pytest.raises(sqlite3.OperationalError, match="interrupted"):
            connection.execute(f"{ENDLESS} SELECT count(*) FROM n").fetchall()
    with guard.operation():
        assert connection.execute(
            f"{ENDLESS} SELECT max(i) FROM (SELECT i FROM n LIMIT 1000)"
        ).fetchone() == (1000,)
    assert time.monotonic() - started < module.SECONDS / 2, "it was not the clock"


def test_an_operation_has_an_end_on_the_clock(connection, monkeypatch):
    monkeypatch.setattr(module, "SECONDS", 0.2)
    guard = Guard(connection, steps=1 << 60)
    started = time.monotonic()
    with guard.operation(), pytest.raises(sqlite3.OperationalError, match="interrupted"):
        connection.execute(f"{ENDLESS} SELECT count(*) FROM n").fetchall()
    assert time.monotonic() - started < 10


def test_an_operation_may_not_take_all_memory(connection):
    guard = Guard(connection, steps=1 << 60, memory=64 << 20)
    before, started = module._resident(), time.monotonic()
    with guard.operation(), pytest.raises(sqlite3.OperationalError, match="interrupted"):
        connection.execute(
            f"{ENDLESS} SELECT hex(zeroblob(100000)) || i AS t FROM n ORDER BY t"
        ).fetchall()
    assert module._resident() - before < 400 << 20
    assert time.monotonic() - started < module.SECONDS / 2, "it was not the clock"


def test_values_and_patterns_have_a_longest(connection):
    Guard(connection, longest=5_000)
    connection.execute("SELECT zeroblob(4000), 'a' LIKE hex(zeroblob(400))").fetchall()
    for sql in (
        "SELECT zeroblob(6000)",
        "SELECT 'a' LIKE hex(zeroblob(600))",
        "SELECT 'a' GLOB hex(zeroblob(600))",
    ):
        with pytest.raises(sqlite3.Error):
            connection.execute(sql).fetchall()


# ---- full-text queries ----


@given(
    st.text()
    | st.lists(
        st.sampled_from(['"', "title:", "NEAR(", "*", "^", "AND", "cat", "-", "\x00", "(", "é"])
    ).map(" ".join)
)
def test_any_text_is_a_query_for_its_words_alone(text):
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("CREATE VIRTUAL TABLE notes USING fts5(title, body)")
        connection.execute("INSERT INTO notes VALUES ('secret', 'the cat sat')")
        phrase = fts_phrase(text)
        if phrase:
            connection.execute("SELECT * FROM notes WHERE notes MATCH ?", (phrase,)).fetchall()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cat", True),
        ("CAT the", True),
        ("cat OR dog", False),  # OR is a word like any other
        ("NOT dog", False),
        ("body:cat", False),  # no column filter: "bodycat" is looked for
        ("ca*", False),
        ('"cat"', True),
        ("", False),
        ("***", False),
    ],
)
def test_operators_and_columns_mean_nothing(connection, text, found):
    phrase = fts_phrase(text)
    rows = (
        phrase
        and connection.execute("SELECT * FROM notes WHERE notes MATCH ?", (phrase,)).fetchall()
    )
    assert bool(rows) == found


def test_a_query_has_a_number_of_words_at_most():
    assert fts_phrase("a " * 100) == " ".join(['"a"'] * 16)
    assert fts_phrase("a b c", words=2) == '"a" "b"'
