"""The change log against a model: random statements on a dict and on the store, and the log replayed."""

# ruff: noqa: S608 - SQL made of text is what is tried here

import json
import sqlite3

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from envkit.adapters.store import Store

# Triggers and references of every kind, so that one statement changes rows in several tables.
SQL = """
CREATE TABLE box (
    id INTEGER PRIMARY KEY, label TEXT UNIQUE, weight REAL, seen, touched INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE item (
    box INTEGER NOT NULL REFERENCES box (id) ON DELETE CASCADE ON UPDATE CASCADE,
    name TEXT NOT NULL, above INTEGER, twice AS (above * 2),
    PRIMARY KEY (box, name)
) WITHOUT ROWID;
CREATE TABLE tag (
    name TEXT NOT NULL PRIMARY KEY COLLATE NOCASE, box INTEGER REFERENCES box (id) ON DELETE SET NULL
);
CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT);
CREATE VIEW labels AS SELECT id, label FROM box;
CREATE TRIGGER touch AFTER UPDATE OF weight ON box BEGIN
    UPDATE box SET touched = touched + 1 WHERE id = NEW.id;
END;
CREATE TRIGGER first BEFORE DELETE ON box BEGIN INSERT INTO audit (what) VALUES ('gone ' || OLD.id); END;
CREATE TRIGGER no_anvils BEFORE INSERT ON item WHEN NEW.name = 'anvil' BEGIN SELECT RAISE(FAIL, 'too heavy'); END;
CREATE TRIGGER relabel INSTEAD OF UPDATE ON labels BEGIN UPDATE box SET label = NEW.label WHERE id = OLD.id; END;
INSERT INTO box (id, label, weight) VALUES (1, 'a', 1), (2, 'b', 2), (3, NULL, NULL);
INSERT INTO item (box, name, above) VALUES (1, 'x', 1), (1, 'y', NULL), (2, 'x', 3);
INSERT INTO tag VALUES ('Red', 1), ('blue', NULL);
"""
STORE = Store(SQL)
KEYS = {"box": ["id"], "item": ["box", "name"], "tag": ["name"], "audit": ["id"]}

ids = st.integers(0, 5)
names = st.sampled_from(["a", "b", "c", "x", "y", "red", "RED", "anvil", ""])
cells = st.one_of(st.none(), st.integers(-3, 3), st.floats(-2, 2), names, st.binary(max_size=3))
how = st.sampled_from(["", "OR REPLACE ", "OR IGNORE ", "OR FAIL ", "OR ABORT ", "OR ROLLBACK "])


def statement(sql, *values):
    return st.tuples(st.builds(lambda h: sql.replace("OR? ", h), how), st.tuples(*values))


STATEMENTS = st.one_of(
    statement(
        "INSERT OR? INTO box (id, label, weight, seen) VALUES (?, ?, ?, ?)",
        ids,
        names,
        cells,
        cells,
    ),
    statement("INSERT OR? INTO box (id, label) VALUES (?, ?), (?, ?)", ids, names, ids, names),
    statement(
        "INSERT INTO box (id, label) VALUES (?, ?) ON CONFLICT DO UPDATE SET seen = ?",
        ids,
        names,
        cells,
    ),
    statement("UPDATE OR? box SET id = id + ?", st.integers(-2, 2)),
    statement("UPDATE OR? box SET id = ? WHERE id = ?", ids, ids),
    statement("UPDATE OR? box SET label = ?, weight = ? WHERE id >= ?", names, cells, ids),
    statement("UPDATE box SET seen = ?, label = label WHERE id = ?", cells, ids),
    statement("UPDATE labels SET label = ? WHERE id = ?", names, ids),
    statement("DELETE FROM box WHERE id = ?", ids),
    statement("DELETE FROM box"),
    statement(
        "INSERT OR? INTO item (box, name, above) VALUES (?, ?, ?), (?, ?, ?)",
        ids,
        names,
        ids,
        ids,
        names,
        ids,
    ),
    statement("UPDATE OR? item SET name = ? WHERE box = ?", names, ids),
    statement("UPDATE OR? item SET box = ?, above = ? WHERE name = ?", ids, cells, names),
    statement("DELETE FROM item WHERE above > ?", ids),
    statement("REPLACE INTO tag VALUES (?, ?)", names, ids),
    statement("UPDATE OR? tag SET name = upper(name), box = ?", ids),
    statement("DELETE FROM tag WHERE box IS NULL"),
    statement("INSERT INTO audit (what) VALUES (?) RETURNING id", names),
)
# a block: statements in one transaction, and whether it is rolled back in the end
BLOCKS = st.lists(st.tuples(st.lists(STATEMENTS, max_size=4), st.booleans()), max_size=4)
RELAXED = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class Undone(Exception):
    pass


def rows_of(query):
    return {
        (table, *(row[column] for column in key)): row
        for table, key in KEYS.items()
        for row in query(f"SELECT * FROM {table}")
    }


def typed(rows):
    return {place: [(name, type(v), v) for name, v in row.items()] for place, row in rows.items()}


def run(store, blocks):
    """Carry the blocks out; what fails is left out."""
    for statements, undone in blocks:
        try:
            with store.transaction():
                for sql, values in statements:
                    try:
                        store.execute(sql, *values)
                    except sqlite3.IntegrityError:
                        continue
                if undone:
                    raise Undone
        except (Undone, sqlite3.OperationalError):
            continue


async def test_the_log_replayed_on_the_first_rows_gives_the_last(opened):
    def plain(sql):
        cursor = peer.execute(sql)
        return [dict(zip([d[0] for d in cursor.description], row, strict=True)) for row in cursor]

    peer = sqlite3.connect(":memory:", isolation_level=None)
    peer.executescript("PRAGMA foreign_keys = ON; PRAGMA recursive_triggers = ON;" + SQL)
    first = rows_of(plain)
    peer.close()
    sizes = []

    async def check(blocks):
        store = await opened(STORE)
        assert rows_of(store.query) == first
        run(store, blocks)
        rows = dict(first)
        for change in store.log:
            place = (change.table, *change.key.values())
            assert typed({place: rows.pop(place)} if change.before else {}) == typed(
                {place: change.before} if change.before else {}
            )
            assert (change.op == "insert") == (change.before is None)
            assert (change.op == "delete") == (change.after is None)
            if change.after is not None:
                assert place not in rows
                rows[place] = change.after
        assert typed(rows) == typed(rows_of(store.query))
        steps = [change.step for change in store.log]
        assert steps == sorted(steps)
        (item,) = await store.freeze(["changes.json"])
        assert json.loads(item.data)["fault"] == ""
        sizes.append(len(steps))

    await_all(check)
    assert max(sizes) > 10, "the statements change something"


def await_all(check):
    """Hypothesis over a coroutine that never really waits."""

    @RELAXED
    @given(BLOCKS)
    def run_one(blocks):
        coroutine = check(blocks)
        try:
            coroutine.send(None)
        except StopIteration:
            return
        raise AssertionError("it waited")

    run_one()


async def test_a_nested_block_is_undone_alone(opened):
    store = await opened(STORE)
    with store.transaction():
        store.execute("UPDATE box SET label = 'z' WHERE id = 1")
        for _ in range(3):
            try:
                with store.transaction():
                    store.execute("DELETE FROM box")
                    raise Undone
            except Undone:
                continue
        store.execute("UPDATE box SET label = 'y' WHERE id = 2")
    assert [(c.table, c.after["label"]) for c in store.log] == [("box", "z"), ("box", "y")]
    assert len(store.query("SELECT * FROM item")) == 3


async def test_a_key_that_changes_its_type_alone_is_another_key(opened):
    store = await opened(
        "CREATE TABLE t (k NOT NULL PRIMARY KEY, v); INSERT INTO t VALUES (1, 'a');"
    )
    store.execute("UPDATE t SET k = 1.0")
    assert [(c.op, repr(c.key)) for c in store.log] == [
        ("delete", "{'k': 1}"), ("insert", "{'k': 1.0}"),
    ]  # fmt: skip
    (item,) = await store.freeze(["changes.json"])
    assert json.loads(item.data)["fault"] == ""
