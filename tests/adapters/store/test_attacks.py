"""An agent whose text got into a handler's SQL through a bug: boundary.md, row 12, and what comes to mind beside it.

Nothing here may reach the host, the log or its triggers, change a row without an entry, or run for ever.
"""

# ruff: noqa: PT012, S608 - transactions are blocks, and SQL made of text is what is tried here

import json
import re
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from envkit import ToolRefusal
from envkit.adapters.store import functions as functions_module
from envkit.adapters.store import log as log_module
from envkit.adapters.store import sql as sql_module
from envkit.adapters.store import watch as watch_module

REFUSED = [
    # the schema and the watchers
    "SELECT * FROM sqlite_master",
    "SELECT * FROM main.sqlite_schema",
    "SELECT * FROM sqlite_temp_master",
    "SELECT * FROM sqlite_temp_schema",
    "SELECT * FROM temp.sqlite_master",
    "SELECT 1 FROM orders UNION SELECT sql FROM sqlite_temp_master",
    'SELECT (SELECT group_concat(name) FROM "SQLITE_TEMP_MASTER")',
    "WITH x AS (SELECT * FROM sqlite_master) SELECT * FROM x",
    "SELECT * FROM sqlite_sequence",
    "SELECT * FROM sqlite_stmt",
    "SELECT * FROM dbstat",
    "SELECT * FROM sqlite_dbpage",
    "SELECT * FROM bytecode('SELECT 1')",
    "SELECT * FROM tables_used('SELECT 1')",
    "SELECT * FROM pragma_table_list",
    "SELECT * FROM pragma_function_list",
    "SELECT * FROM pragma_table_info('orders')",
    "EXPLAIN UPDATE orders SET total = 1",
    "EXPLAIN QUERY PLAN SELECT * FROM orders",
    "/* */ --\n explain DELETE FROM orders",
    "DROP TRIGGER x",
    "DROP TRIGGER IF EXISTS temp.x",
    "CREATE TRIGGER t AFTER INSERT ON orders BEGIN DELETE FROM users; END",
    "CREATE TEMP TRIGGER t INSTEAD OF UPDATE ON paid BEGIN SELECT 1; END",
    "CREATE TABLE hidden (x)",
    "CREATE TEMP TABLE orders (id)",  # would stand before the real one
    "CREATE VIEW v AS SELECT 1",
    "CREATE INDEX i ON orders (total)",
    "CREATE VIRTUAL TABLE v USING fts5(x)",
    "CREATE VIRTUAL TABLE temp.v USING dbstat",
    "ALTER TABLE orders RENAME TO o",
    "ALTER TABLE orders ADD COLUMN x",
    "DROP TABLE users",
    "DROP VIEW paid",
    "ANALYZE",
    "REINDEX",
    "INSERT INTO sqlite_master VALUES (1, 2, 3, 4, 5)",
    "UPDATE sqlite_master SET sql = ''",
    "DELETE FROM sqlite_temp_master",
    "UPDATE sqlite_sequence SET seq = 9",
    "INSERT INTO sqlite_stat1 VALUES (1, 2, 3)",
    # settings
    "PRAGMA writable_schema = ON",
    "PRAGMA recursive_triggers = OFF",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA journal_mode = OFF",
    "PRAGMA temp_store_directory = '/'",
    "pragma/**/user_version=7",
    # transactions that are not the handler's
    "BEGIN",
    "COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT s0",
    "RELEASE s1",
    "ROLLBACK TO s1",
    # the host
    "ATTACH '{file}' AS x",
    "ATTACH ':memory:' AS x",
    "DETACH main",
    "VACUUM",
    "VACUUM INTO '{file}'",
    "SELECT load_extension('{file}')",
    "SELECT writefile('{file}', 'x')",
    "SELECT readfile('/etc/hostname')",
    "SELECT edit('x', 'touch {file}')",
    "SELECT fts3_tokenizer('simple')",
    "SELECT fts3_tokenizer('simple', x'4141414141414141')",
    # several statements, none, and what is no statement
    "SELECT 1; DROP TABLE users",
    "UPDATE orders SET total = 1; UPDATE orders SET total = 2",
    "; PRAGMA user_version",
    "",
    "-- nothing",
    "/* PRAGMA",
    "\ufeffPRAGMA user_version",
    "\x00SELECT 1",
    "SELECT 1\x00; DROP TABLE users",
    "(SELECT 1)",
]


@pytest.mark.parametrize("sql", REFUSED)
@pytest.mark.parametrize("entry", ["query", "execute"])
def test_refused_and_nothing_changed(shop, tmp_path: Path, sql, entry):
    target = tmp_path / "out"
    before = dump(shop)
    with pytest.raises(sqlite3.Error):
        getattr(shop, entry)(sql.replace("{file}", str(target)))
    assert not target.exists()
    assert dump(shop) == before
    assert shop.log == ()
    assert shop.execute("UPDATE orders SET total = 77 WHERE id = 1") == 1, "the store still works"
    assert [c.op for c in shop.log] == ["update"], "and still watches"


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM sqlite_sequence",
        "SELECT count(*) FROM sqlite_sequence",
        "UPDATE sqlite_sequence SET seq = 9",
        "DELETE FROM sqlite_sequence",
    ],
)
async def test_what_sqlite_keeps_for_itself_is_not_to_be_seen(opened, sql):
    store = await opened("CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, x)")
    store.execute("INSERT INTO t (x) VALUES (1)")
    with pytest.raises(sqlite3.Error, match=r"prohibited|not authorized"):
        store.query(sql)
    assert store.query("INSERT INTO t (x) VALUES (1) RETURNING id") == [{"id": 2}]


def dump(store):
    return {t: store.query(f"SELECT * FROM {t}") for t in ("orders", "lines", "users")}


def test_what_was_refused_is_an_alert_for_the_author(shop):
    for sql in ("SELECT * FROM sqlite_temp_master", "PRAGMA user_version", "SELECT nonsense"):
        with pytest.raises(sqlite3.Error):
            shop.query(sql)
    assert [(a.rule, a.place) for a in shop.alerts] == [("sql-denied", "store")] * 2
    for number in range(100):
        with pytest.raises(sqlite3.Error):
            shop.query(f"PRAGMA p{number}")
    assert len(shop.alerts) == 16


# ---- the log ----


def test_the_log_function_is_not_to_be_guessed_and_no_message_names_it(shop):
    assert re.fullmatch("f_[0-9a-f]{24}", watch_module._FUNCTION)
    said = []
    for sql in (
        *REFUSED,
        "INSERT INTO orders (id, status) VALUES (1, 'x')",
        "SELECT f_()",
        "UPDATE orders SET note = 9e999",
    ):
        try:
            said.append(repr(shop.query(sql)))
        except (sqlite3.Error, ToolRefusal) as error:
            said.append(repr(error))
    assert not any(watch_module._FUNCTION in text for text in said)


def test_even_a_known_name_forges_no_entry_by_a_table_named_like_the_trigger(shop):
    name = watch_module._FUNCTION
    for sql in (
        f"SELECT {name}(0, 9, 'forged', 0, NULL)",
        f"UPDATE orders SET total = \"{name.upper()}\"(0, 9, 'forged', 0, NULL)",
        f"WITH {name}_0 AS (SELECT {name}(0, 9, 'forged', 0, NULL)) SELECT * FROM {name}_0",
    ):
        with pytest.raises(sqlite3.Error):
            shop.query(sql)
    assert shop.log == ()


@pytest.mark.parametrize(
    "sql",
    [
        "REPLACE INTO orders (id, status) VALUES (1, 'x')",
        "INSERT OR REPLACE INTO users (email, name) VALUES ('b', 'n')",
        "INSERT INTO orders (id, status) VALUES (1, 'x') ON CONFLICT (id) DO UPDATE SET status = 'y'",
        "INSERT INTO orders (id, status) VALUES (1, 'x') ON CONFLICT DO NOTHING",
        "INSERT OR IGNORE INTO orders (id, status) VALUES (1, 'x'), (5, 'x')",
        "UPDATE orders SET id = id + 10",
        "UPDATE OR REPLACE orders SET id = 2 WHERE id = 1",
        "UPDATE OR REPLACE users SET name = 'n'",
        "UPDATE OR IGNORE orders SET id = 2 WHERE id = 1",
        "UPDATE orders SET rowid = 40 WHERE id = 1",
        "UPDATE lines SET sku = 'a' || sku",
        "UPDATE lines SET order_id = 2 WHERE sku = 'ink'",
        "DELETE FROM orders WHERE id = 1",
        "DELETE FROM orders",
        "DELETE FROM lines",  # no WHERE: SQLite would clear the table at once
        "UPDATE orders SET total = total + l.count FROM lines l WHERE l.order_id = orders.id",
        "INSERT INTO orders (status) SELECT status FROM orders",
        "INSERT INTO users DEFAULT VALUES",
        "WITH x AS (SELECT 1 AS id) UPDATE orders SET status = 'w' WHERE id IN (SELECT id FROM x)",
        "INSERT INTO main.lines VALUES (2, 'x', 1) RETURNING *",
        "INSERT INTO orders (id, status) VALUES (9223372036854775807, 'x')",
        "UPDATE orders SET note = CAST(x'ff' AS TEXT)",
    ],
)
def test_every_way_to_write_is_logged(shop, sql):
    shop.execute("INSERT INTO users (email, name) VALUES ('a', 'n'), ('z', 'm')")
    before = rows_of(shop)
    start = len(shop.log)
    try:
        shop.query(sql)
    except sqlite3.Error:
        assert rows_of(shop) == before
    assert replayed(before, shop.log[start:]) == rows_of(shop)


def rows_of(store):
    keys = {"orders": ["id"], "lines": ["order_id", "sku"], "users": ["email"]}
    return {
        (table, *(row[column] for column in key)): row
        for table, key in keys.items()
        for row in store.query(f"SELECT * FROM {table}")
    }


def replayed(rows, changes):
    """The rows after the changes; each must begin where the one before it ended."""
    rows = dict(rows)
    for change in changes:
        place = (change.table, *change.key.values())
        assert rows.pop(place, None) == change.before
        assert change.before != change.after
        if change.after is not None:
            rows[place] = change.after
    return rows


# ---- running for ever, taking all memory ----

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


@pytest.mark.parametrize(
    "sql",
    [
        f"{ENDLESS} SELECT count(*) FROM n",
        f"{ENDLESS} UPDATE orders SET total = (SELECT max(i) FROM n)",
        f"{ENDLESS} INSERT INTO orders (status) SELECT 'x' FROM n WHERE i < 0",
        f"{ENDLESS} SELECT 1 FROM n ORDER BY i",
    ],
)
def test_an_endless_query_is_interrupted(shop, sql):
    shop._guard._steps = 2_000_000  # a tenth of the budget, so that the test is quick
    started = time.perf_counter()
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        shop.query(sql)
    assert time.perf_counter() - started < 20
    assert shop.log == ()
    assert shop.execute("UPDATE orders SET total = 1 WHERE id = 1") == 1


def test_an_interrupted_write_ends_its_transaction(shop):
    shop._guard._steps = 2_000_000
    with pytest.raises(sqlite3.OperationalError), shop.transaction():
        shop.execute("UPDATE orders SET total = 9")
        with pytest.raises(sqlite3.OperationalError, match="interrupted"):
            shop.execute(f"{ENDLESS} UPDATE orders SET total = (SELECT max(i) FROM n)")
    assert shop.log == ()
    assert shop.query("SELECT total FROM orders") == [{"total": 3.0}, {"total": 4.5}]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT zeroblob(1000000000)",
        "SELECT replace(hex(zeroblob(500000)), '0', hex(zeroblob(500000)))",
        "SELECT group_concat(hex(zeroblob(50000))) FROM (WITH RECURSIVE n(i) AS"
        " (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) SELECT i FROM n)",
        f"{ENDLESS} SELECT i FROM n",
        f"{ENDLESS} SELECT hex(zeroblob(400000)) FROM n",
    ],
)
def test_a_result_that_would_take_all_memory_is_refused(shop, monkeypatch, sql):
    monkeypatch.setattr(sql_module, "MAX_RESULT", 4 << 20)
    before = resident()
    with pytest.raises(sqlite3.Error):
        shop.query(sql)
    assert resident() - before < 200 << 20


def test_a_result_has_a_largest_size(shop, monkeypatch):
    monkeypatch.setattr(sql_module, "MAX_RESULT", 1 << 20)
    some = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {}) SELECT {} FROM n"
    for many, what in ((1_000, "i"), (20, "hex(zeroblob(20000))")):
        assert shop.query(some.format(many, what))
    for many, what in ((10_000, "i"), (40, "hex(zeroblob(20000))")):
        with pytest.raises(sqlite3.DataError, match="takes more than 1 MiB"):
            shop.query(some.format(many, what))


def test_a_bounded_function_makes_nothing_large_on_its_own_connection(shop):
    with pytest.raises(sqlite3.Error, match="too big"):
        functions_module._builtin("replace", ["0" * 10_000, "0", "1" * 1_000])


def test_what_one_episode_works_at_keeps_no_other_from_its_dates(monkeypatch):
    works = threading.Event()
    done = threading.Event()

    def work():
        works.set()
        return done.wait(60)

    busy = sqlite3.connect(":memory:", check_same_thread=False)
    busy.create_function("work", 0, work)
    monkeypatch.setattr(functions_module, "_spare", [busy])
    theirs = threading.Thread(target=functions_module._builtin, args=("work", []))
    theirs.start()
    try:
        assert works.wait(60)
        assert functions_module._builtin("date", ["2020-01-01"]) == "2020-01-01"
        assert not done.is_set()
    finally:
        done.set()
        theirs.join()
        for connection in functions_module._spare:
            connection.close()


def test_a_sorter_full_of_long_texts_is_interrupted(shop):
    shop._guard._memory = 64 << 20
    before, started = resident(), time.monotonic()
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        shop.query(
            f"{ENDLESS} SELECT length(t) FROM (SELECT hex(zeroblob(100000)) || i AS t FROM n ORDER BY t)"
        )
    assert resident() - before < 300 << 20
    assert time.monotonic() - started < 5, "it was not the clock"


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


# ---- odds ----


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT printf('%.*c', 1000000000, 'x')",
        "SELECT format('%999999999d', 1)",
        "SELECT instr(hex(zeroblob(500000)), hex(zeroblob(250000)) || '1')",
        "SELECT replace(hex(zeroblob(500000)), hex(zeroblob(250000)) || '1', '')",
        "SELECT trim(hex(zeroblob(500000)), replace(hex(zeroblob(200000)), '0', '1') || '0')",
        "SELECT rtrim(hex(zeroblob(500000)), hex(randomblob(400)) || '0')",
        "SELECT ltrim(hex(zeroblob(500000)), hex(randomblob(17)) || '0')",
        "WITH n AS (SELECT '{' || group_concat('\"' || a.value || b.value || '\":1') || '}' AS keys"
        " FROM json_each(?) a, json_each(?) b) SELECT length(json_patch(keys, keys)) FROM n",
        "SELECT hex(zeroblob(500000)) LIKE '%' || hex(zeroblob(20000)) || '1'",
        "SELECT hex(zeroblob(500000)) GLOB '*' || hex(zeroblob(20000)) || '1'",
    ],
)
def test_one_instruction_can_not_take_minutes(shop, sql):
    started = time.perf_counter()
    with pytest.raises(sqlite3.Error):
        shop.query(sql, *[json.dumps(list(range(250)))] * sql.count("?"))
    assert time.perf_counter() - started < 15


def test_functions_that_are_bounded_do_what_they_do_elsewhere(shop):
    asked = (
        "SELECT printf('%05.2f|%-4s|%d%%', 3.14159, 'a', 7), format('%q', 'it''s'), instr('abcb', 'b'), trim('  a '),"
        " replace('aXa', 'X', 'yy'), trim('xxaxx', 'x'), ltrim('xa', 'x'), rtrim('ax', 'x'), instr(NULL, 'a'),"
        " instr(x'0102', x'02'), printf(), replace(NULL, 'a', 'b'), trim(12.50)"
    )
    plain = sqlite3.connect(":memory:")
    assert tuple(shop.query(asked)[0].values()) == plain.execute(asked).fetchone()
    plain.close()


def test_deep_expressions_and_long_statements_are_errors_and_no_crash(shop):
    for sql in (
        f"SELECT {'(' * 5000}1{')' * 5000}",
        "SELECT " + "1," * 50_000 + "1",
        "SELECT " + "-" * 999 + "1",
    ):
        try:
            shop.query(sql)
        except (sqlite3.Error, ToolRefusal):
            continue
    assert shop.query("SELECT 1 AS one") == [{"one": 1}]


async def test_changes_by_an_agent_that_floods_the_log_are_seen(shop, monkeypatch):
    monkeypatch.setattr(shop, "_log", log_module.ChangeLog(entries=50))
    with pytest.raises(ToolRefusal):
        for _ in range(100):
            shop.execute("UPDATE orders SET total = total + 1 WHERE id = 1")
    (item,) = await shop.freeze(["changes.json"])
    log = json.loads(item.data)
    assert len(log["changes"]) == 50
    assert log["fault"]
