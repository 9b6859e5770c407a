"""The session: statements, transactions, threads, clock, ids, what is frozen."""

# ruff: noqa: PT012, S608 - transactions are blocks, and SQL made of text is what is tried here

import asyncio
import json
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from envkit import ToolRefusal
from envkit.adapters.store import LogFull, Store
from envkit.adapters.store import log as log_module
from envkit.adapters.store import session as session_module
from envkit.errors import WorldError


def ops(store):
    return [(c.table, *c.key.values(), c.op) for c in store.log]


async def frozen(store, *patterns):
    items = await store.freeze(patterns or ("changes.json",))
    return {item.name: json.loads(item.data) for item in items}


def test_statements(shop):
    assert shop.query("SELECT id FROM paid") == [{"id": 2}]
    assert shop.execute("UPDATE orders SET total = total + ?", 1) == 2
    assert shop.execute("UPDATE orders SET total = 0 WHERE id = 99") == 0
    assert shop.execute("WITH p AS (SELECT 2 AS id) DELETE FROM lines WHERE order_id IN p") == 1
    assert shop.execute("WITH p AS (SELECT 2 AS id) SELECT * FROM p") == 0
    returned = shop.query("INSERT INTO orders (status) VALUES (?) RETURNING id, status", "new")
    assert returned == [{"id": 3, "status": "new"}]
    assert shop.query("SELECT value FROM json_each('[1, 2]')") == [{"value": 1}, {"value": 2}]
    assert shop.execute("/* c */ -- d\n delete from orders where id = 3") == 1


def test_a_change_is_told_whole(shop):
    with shop.acting("browser"):
        assert shop.actor == "browser"
        shop.execute("UPDATE orders SET status = 'sent' WHERE id = 2")
    shop.clock.advance(60)
    shop.execute("DELETE FROM lines WHERE order_id = 2")
    update, delete = shop.log
    assert (update.table, update.key, update.op) == ("orders", {"id": 2}, "update")
    assert update.before == {"id": 2, "status": "paid", "total": 4.5, "note": None}
    assert update.after == {"id": 2, "status": "sent", "total": 4.5, "note": None}
    assert (update.actor, update.at, update.step) == ("browser", "2025-06-15T15:06:40Z", 1)
    assert (delete.actor, delete.at, delete.step) == ("agent", "2025-06-15T15:07:40Z", 2)
    assert (delete.before, delete.after) == ({"order_id": 2, "sku": "pen", "count": 9}, None)


async def test_an_actor_is_of_its_context_alone(shop):
    seen = []

    async def write(actor, other):
        with shop.acting(actor):
            other.set()
            await asyncio.sleep(0)
            await asyncio.to_thread(
                shop.execute, "UPDATE orders SET total = total + 1 WHERE id = 1"
            )
            seen.append(shop.actor)

    one = asyncio.Event()
    await asyncio.gather(write("a", one), write("b", one))
    assert sorted(c.actor for c in shop.log) == sorted(seen) == ["a", "b"]


# ---- transactions ----


def test_what_is_rolled_back_was_never_there(shop):
    with pytest.raises(KeyError), shop.transaction():
        shop.execute("UPDATE orders SET total = 9")
        raise KeyError
    assert shop.log == ()
    assert shop.query("SELECT total FROM orders") == [{"total": 3.0}, {"total": 4.5}]
    with shop.transaction():
        shop.execute("UPDATE orders SET total = 9 WHERE id = 1")
        with pytest.raises(KeyError), shop.transaction():
            shop.execute("UPDATE orders SET total = 9 WHERE id = 2")
            raise KeyError
        shop.execute("DELETE FROM lines WHERE order_id = 2")
    assert ops(shop) == [("orders", 1, "update"), ("lines", 2, "pen", "delete")]
    assert {c.step for c in shop.log} == {1}


@pytest.mark.parametrize("how", ["", "OR FAIL", "OR ABORT", "OR ROLLBACK"])
def test_a_statement_that_fails_half_way_leaves_nothing(shop, how):
    with pytest.raises(sqlite3.IntegrityError):
        shop.execute(f"INSERT {how} INTO orders (id, status) VALUES (8, 'x'), (9, 'x'), (1, 'x')")
    assert shop.log == ()
    assert len(shop.query("SELECT * FROM orders")) == 2


def test_a_transaction_that_sqlite_gave_up_is_over(shop):
    with pytest.raises(sqlite3.OperationalError, match="rolled it back"), shop.transaction():
        shop.execute("UPDATE orders SET total = 9")
        with pytest.raises(sqlite3.IntegrityError):
            shop.execute("INSERT OR ROLLBACK INTO orders (id, status) VALUES (1, 'x')")
        assert shop.log == ()
        with pytest.raises(sqlite3.OperationalError, match="rolled it back"):
            shop.execute(
                "UPDATE orders SET total = 8"
            )  # else it would last whatever becomes of the block
    assert shop.query("SELECT sum(total) AS s FROM orders") == [{"s": 7.5}]
    assert shop.execute("UPDATE orders SET total = 8") == 2, "the next one is none the worse"


async def test_a_reference_found_broken_at_the_end_undoes_all(opened):
    store = await opened(
        "CREATE TABLE a (id INTEGER PRIMARY KEY);"
        "CREATE TABLE b (id INTEGER PRIMARY KEY, a REFERENCES a (id) DEFERRABLE INITIALLY DEFERRED);"
    )
    with store.transaction():
        store.execute("INSERT INTO b VALUES (1, 5)")
        store.execute("INSERT INTO a VALUES (5)")
    with pytest.raises(sqlite3.IntegrityError), store.transaction():
        store.execute("INSERT INTO b VALUES (2, 6)")
    assert ops(store) == [("b", 1, "insert"), ("a", 5, "insert")]


async def test_a_transaction_is_not_shared_with_another_task(shop):
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def careless():
        with shop.transaction():
            shop.execute("UPDATE orders SET total = 9")
            inside.set()
            await go_on.wait()
            raise KeyError

    task = asyncio.create_task(careless())
    await inside.wait()
    with pytest.raises(RuntimeError, match="don't await inside"):
        shop.execute("UPDATE orders SET total = 8")
    with pytest.raises(RuntimeError, match="don't await inside"):
        shop.query("SELECT 1")
    go_on.set()
    with pytest.raises(KeyError):
        await task
    assert shop.log == ()


async def test_what_is_open_at_the_end_never_happened(shop):
    async def hung():
        with shop.transaction():
            shop.execute("UPDATE orders SET total = 9")
            await asyncio.sleep(60)

    task = asyncio.create_task(hung())
    await asyncio.sleep(0)
    left = await frozen(shop, "changes.json", "rows/orders.json")
    assert left["changes.json"] == {"changes": [], "fault": ""}
    assert [row["total"] for row in left["rows/orders.json"]] == [3.0, 4.5]
    task.cancel()
    with pytest.raises((asyncio.CancelledError, sqlite3.OperationalError)):
        await task


# ---- threads ----


def test_threads_see_one_state(shop):
    def work(number):
        with shop.transaction():
            (row,) = shop.query("SELECT total FROM orders WHERE id = 1")
            shop.execute("UPDATE orders SET total = ? WHERE id = 1", row["total"] + 1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(200)))
    assert shop.query("SELECT total FROM orders WHERE id = 1") == [{"total": 203.0}]
    assert len(shop.log) == 200
    assert [c.step for c in shop.log] == list(range(1, 201))


def test_two_episodes_share_nothing_but_their_beginning(opened):
    async def main():
        store = Store(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, x DEFAULT (random())); INSERT INTO t (id) VALUES (1)"
        )
        one, two = await opened(store), await opened(store)
        one.execute("DELETE FROM t")
        return one.query("SELECT * FROM t"), len(two.query("SELECT * FROM t"))

    assert asyncio.run(main()) == ([], 1)


# ---- the same seed, the same rows ----


async def test_time_chance_and_ids_come_from_the_episode(opened):
    asked = (
        "SELECT CURRENT_TIMESTAMP, CURRENT_DATE, CURRENT_TIME, datetime('now'), datetime(), date('now', '+1 day'),"
        " strftime('%s', 'now'), strftime('%Y'), unixepoch(), julianday('NOW'), random(), hex(randomblob(8)),"
        " datetime('2020-01-01', '+1 month') AS plain"
    )

    def look(store):
        made = store.query("REPLACE INTO users (email) VALUES ('a') RETURNING made")
        return store.query(asked), made, store.new_id("ref"), store.new_id(), store.now()

    one, two, other = await opened(seed=1), await opened(seed=1), await opened(seed=2)
    first = look(one)
    assert first == look(two)
    (row,), made, ref, bare, now = first
    assert (
        row["CURRENT_TIMESTAMP"]
        == row["datetime('now')"]
        == row["datetime()"]
        == "2025-06-15 15:06:40"
    )
    assert (row["date('now', '+1 day')"], row["plain"]) == ("2025-06-16", "2020-02-01 00:00:00")
    assert row["strftime('%s', 'now')"] == "1750000000"
    assert (row["strftime('%Y')"], row["unixepoch()"]) == ("2025", 1750000000)
    assert made == [{"made": "2025-06-15 15:06:40"}]
    assert (now, ref[:4], len(ref), len(bare)) == ("2025-06-15T15:06:40Z", "ref_", 16, 12)
    assert ref != bare
    (theirs,), _, their_ref, _, _ = look(other)
    assert theirs["random()"] != row["random()"]
    assert their_ref != ref
    one.clock.advance(3600)
    assert one.query("SELECT datetime('now') AS n") == [{"n": "2025-06-15 16:06:40"}]


@pytest.mark.parametrize("now", ["now", " NOW ", "now\0", "now\0 or so", b"now", b"now\0"])
@pytest.mark.parametrize(
    "asked",
    ["datetime(?)", "date(?, '+1 day')", "julianday(?)", "strftime('%s', ?)", "unixepoch(?)"],
)
def test_no_way_to_write_now_reads_the_hosts_clock(shop, asked, now):
    sql = f"SELECT {asked} AS told"
    first = shop.query(sql, now)
    assert first == shop.query(sql, "2025-06-15 15:06:40")
    shop.clock.advance(100_000)
    assert shop.query(sql, now) != first


def test_local_time_is_utc_wherever_the_host_is(shop, monkeypatch):
    asked = "SELECT datetime('now', ?) AS now, datetime('2020-01-01 12:00', '+1 day', ?) AS later"
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        for zone in ("localtime", "UTC", "localtime\0", b"utc"):
            seen = shop.query(asked, zone, zone)
            assert seen == [{"now": "2025-06-15 15:06:40", "later": "2020-01-02 12:00:00"}]
    finally:
        monkeypatch.undo()
        time.tzset()


# ---- what an agent's values may be ----


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1 << 64, "64 bits"),
        ("\ud800", "surrogates"),
        (float("inf"), "infinite"),
        (-float("inf"), "infinite"),
    ],
)
def test_values_that_no_evidence_could_hold_are_refused(shop, value, said):
    with pytest.raises(ToolRefusal, match=said):
        shop.execute("UPDATE orders SET note = ? WHERE id = 1", value)
    assert shop.log == ()
    assert shop.query("SELECT note FROM orders WHERE id = 1") == [{"note": None}]


async def test_any_text_and_bytes_are_kept_as_they_are(shop):
    for value in (
        "a\x00b",
        "\U0001f600 \u202e",
        "",
        b"\x00\xff",
        -(1 << 63),
        1e308,
        -0.0,
        None,
        "1",
    ):
        shop.execute("UPDATE orders SET note = ? WHERE id = 1", value)
        (row,) = shop.query("SELECT note FROM orders WHERE id = 1")
        assert row["note"] == value
        assert type(row["note"]) is type(value)
        if shop.log:
            assert shop.log[-1].after["note"] == value
    left = await frozen(shop, "*")
    assert left["changes.json"]["changes"][3]["after"]["note"] == {"base64": "AP8="}
    assert left["changes.json"]["fault"] == ""


# ---- evidence ----


async def test_only_what_is_declared_is_frozen(shop):
    assert await shop.freeze(()) == []
    assert [i.name for i in await shop.freeze(["rows/lines.json"])] == ["rows/lines.json"]
    assert sorted(await shop.surfaces()) == [
        "rows/lines.json",
        "rows/orders.json",
        "rows/users.json",
    ]
    assert b'"sku": "ink"' in (await shop.surfaces())["rows/lines.json"]


async def test_after_freezing_nothing_is_written(shop):
    shop.execute("UPDATE orders SET total = 1 WHERE id = 1")
    await shop.freeze(["changes.json"])
    with pytest.raises(ToolRefusal, match="the episode is over"):
        shop.execute("UPDATE orders SET total = 2 WHERE id = 1")
    assert len(shop.log) == 1
    assert shop.query("SELECT total FROM orders WHERE id = 1") == [{"total": 1.0}]


async def test_a_full_log_ends_all_writing_and_the_evidence_says_so(shop, monkeypatch):
    monkeypatch.setattr(shop, "_log", log_module.ChangeLog(entries=3))
    shop.execute("UPDATE orders SET total = 1")
    with pytest.raises(LogFull, match="holds 3 changes; nothing can be written"):
        shop.execute("UPDATE orders SET total = 2")  # two rows: the second is one too many
    with pytest.raises(LogFull), shop.transaction():
        shop.execute("DELETE FROM lines WHERE order_id = 2")  # it would fit, but the log is closed
    assert [row["total"] for row in shop.query("SELECT total FROM orders")] == [1.0, 1.0]
    left = (await frozen(shop))["changes.json"]
    assert len(left["changes"]) == 2
    assert left["fault"].startswith("the change log is full")


async def test_a_log_is_also_full_by_size_and_stays_readable(shop):
    text = "\x01" * 1000  # six bytes each as JSON
    with pytest.raises(LogFull, match="too large together"):
        for number in range(1000):
            shop.execute("UPDATE orders SET note = ? WHERE id = 1", f"{text}{number}")
    (item,) = await shop.freeze(["changes.json"])
    assert item.kind == "file"
    assert 800_000 < len(item.data) <= 1 << 20
    assert json.loads(item.data)["fault"]


async def test_what_was_rolled_back_takes_no_room_in_the_log(shop):
    for _ in range(30):
        with suppress(KeyError), shop.transaction():
            shop.execute("UPDATE orders SET note = ? WHERE id = 1", "x" * 100_000)
            raise KeyError
    assert shop.execute("UPDATE orders SET note = ? WHERE id = 1", "x" * 100_000) == 1
    assert shop.full == ""


async def test_rows_too_large_to_be_read_are_oversize(opened):
    store = await opened(
        rows={"users": [{"email": str(n), "name": "x" * 500_000 + str(n)} for n in range(3)]}
    )
    (item,) = await store.freeze(["rows/users.json"])
    assert (item.kind, item.data) == ("oversize", b"")


async def test_a_log_that_does_not_tell_what_became_of_a_row_says_so(shop):
    shop.execute("UPDATE orders SET total = 1 WHERE id = 1")
    shop._connection.set_authorizer(None)
    shop._connection.execute("PRAGMA recursive_triggers = OFF")
    shop.execute("UPDATE OR REPLACE users SET name = 'a'")
    del shop._log._changes[0].after["total"]
    assert "does not tell what became of orders" in (await frozen(shop))["changes.json"]["fault"]


@pytest.mark.parametrize("end", ["freeze", "close"])
async def test_a_handler_that_still_runs_comes_to_nothing(opened, end):
    store = await opened()
    store._guard._steps = 1 << 60
    started, said = threading.Event(), []

    def handler():
        try:
            with store.transaction():
                store.execute("UPDATE orders SET total = 9")
                started.set()
                store.query(
                    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
                )
        except sqlite3.Error as error:
            said.append(error)

    thread = threading.Thread(target=handler)
    thread.start()
    started.wait()
    before = time.monotonic()
    if end == "close":
        await store.aclose()
    else:
        assert await frozen(store) == {"changes.json": {"changes": [], "fault": ""}}
        assert store.query("SELECT total FROM orders WHERE id = 1") == [{"total": 3.0}]
    assert time.monotonic() - before < 5
    thread.join()
    assert len(said) == 1


async def test_a_handler_that_sleeps_in_a_transaction_holds_nobody_up(opened, monkeypatch):
    monkeypatch.setattr(session_module, "_GRACE", 0.1)
    store = await opened()
    started, go_on, said = threading.Event(), threading.Event(), []

    def handler():
        try:
            with store.transaction():
                store.execute("UPDATE orders SET total = 9")
                started.set()
                go_on.wait()
                store.execute("UPDATE orders SET total = 10")
        except sqlite3.Error as error:
            said.append(str(error))

    thread = threading.Thread(target=handler)
    thread.start()
    started.wait()
    left = await frozen(store, "changes.json", "rows/orders.json")
    go_on.set()
    thread.join()
    assert left["changes.json"] == {"changes": [], "fault": ""}
    assert [row["total"] for row in left["rows/orders.json"]] == [3.0, 4.5]
    assert said == ["the transaction is over: SQLite rolled it back"]
    assert store.log == ()


@pytest.mark.parametrize("end", ["freeze", "close", "cancel"])
async def test_waiting_for_a_handler_to_end_holds_no_other_episode_up(opened, end):
    """The loop goes on: here it is what lets the handler end at all."""
    store = await opened()
    started, go_on, ended = threading.Event(), threading.Event(), []

    def handler():
        with suppress(sqlite3.Error), store.transaction():
            started.set()
            ended.append(go_on.wait(30))

    thread = threading.Thread(target=handler)
    thread.start()
    await asyncio.to_thread(started.wait)
    ending = asyncio.create_task(store.freeze(["*"]) if end == "freeze" else store.aclose())
    try:
        await asyncio.sleep(0.05)
        assert not ending.done(), "it waits, and others go on"
        if end == "cancel":
            ending.cancel()
    finally:
        go_on.set()
        await asyncio.wait({ending}, timeout=30)
        await asyncio.to_thread(thread.join)
    assert ended == [True]
    if end == "close":
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            store.query("SELECT 1")


@pytest.mark.parametrize("end", ["it ends", "it does not", "cancelled"])
async def test_a_statement_that_nothing_interrupts_holds_up_its_own_episode_alone(
    opened, monkeypatch, end
):
    monkeypatch.setattr(session_module, "_GRACE", 0.1)
    monkeypatch.setattr(session_module, "_PATIENCE", 0.5 if end == "it does not" else 30)
    store = await opened()
    started, go_on = threading.Event(), threading.Event()

    def works(_):
        started.set()
        return go_on.wait(30)

    store._connection.create_function("upper", 1, works)

    def handler():
        with suppress(sqlite3.Error):
            store.query("SELECT upper('x')")

    thread = threading.Thread(target=handler)
    thread.start()
    await asyncio.to_thread(started.wait)
    freezing = asyncio.create_task(store.freeze(["rows/users.json"]))
    try:
        await asyncio.sleep(0.3)
        assert not freezing.done(), "it waits, and others go on"
        if end == "cancelled":
            freezing.cancel()
        if end != "it ends":
            await asyncio.wait({freezing})
            monkeypatch.setattr(session_module, "_PATIENCE", 0.1)
            await store.aclose()
    finally:
        go_on.set()
        await asyncio.to_thread(thread.join)
    if end == "it ends":
        assert [one.name for one in await freezing] == ["rows/users.json"]
    if end == "it does not":
        with pytest.raises(WorldError, match="does not end"):
            await freezing


async def test_a_closed_store_is_an_error(opened):
    store = await opened()
    await store.aclose()
    await store.aclose()
    with pytest.raises(sqlite3.ProgrammingError):
        store.query("SELECT 1")
