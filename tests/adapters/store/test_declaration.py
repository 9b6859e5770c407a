"""The declaration: what a schema must be, what a task may put into it, what can be evidence."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from envkit import Blob, Env, call, tool
from envkit.adapters.store import Store
from envkit.data.task import Limits, PublicTask
from envkit.errors import DeclarationError, TaskError
from envkit.host import Host

WHOLE = (
    "CREATE TABLE t (id INTEGER PRIMARY KEY, x REAL, y TEXT NOT NULL DEFAULT 'd', z AS (x * 2));"
)


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("", "makes no table"),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY);\nCREATE TABLO u (x);",
            "syntax error.*'CREATE TABLO u",
        ),
        ("CREATE TABLE t (x)", "'t' needs a primary key"),
        ("CREATE TABLE t (x TEXT PRIMARY KEY)", "may be NULL; declare the column NOT NULL"),
        ("CREATE TABLE t (a INTEGER, b INTEGER, PRIMARY KEY (a, b))", "may be NULL"),
        ("CREATE VIRTUAL TABLE t USING fts5(x)", "virtual table"),
        ('CREATE TABLE "a/b" (id INTEGER PRIMARY KEY)', "letters, digits and underscores"),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, u REFERENCES us (id))",
            "refers to 'us': no such",
        ),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY, up INTEGER REFERENCES t (id) ON UPDATE CASCADE)",
            "refers to itself ON UPDATE CASCADE",
        ),
        (
            "CREATE TABLE u (id INTEGER PRIMARY KEY);"
            "CREATE TABLE t (id INTEGER PRIMARY KEY, u REFERENCES u (id)); INSERT INTO t VALUES (1, 9);",
            "base row of 't' refers to no row of 'u'",
        ),
        (
            f"CREATE TABLE t (id INTEGER PRIMARY KEY, {', '.join(f'c{i}' for i in range(63))})",
            "over 63",
        ),
        (
            "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1), (1)",
            "UNIQUE constraint",
        ),
    ],
)
def test_a_schema_that_will_not_do_is_refused_when_it_is_declared(sql, said):
    with pytest.raises(DeclarationError, match=said):
        Store(sql)


def test_a_schema_may_be_a_file(tmp_path: Path):
    (tmp_path / "schema.sql").write_text(WHOLE)
    assert Store(tmp_path / "schema.sql").tables == {"t": ("id", "x", "y", "z")}
    with pytest.raises(DeclarationError, match=r"nowhere\.sql can't be read"):
        Store(tmp_path / "nowhere.sql")


def test_evidence_must_be_of_a_table():
    store = Store(WHOLE)
    assert store.changes().pattern == "changes.json"
    assert store.rows("t").pattern == "rows/t.json"
    with pytest.raises(DeclarationError, match="no table 'u' to be evidence; it has t"):
        store.rows("u")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"u": []}, "no table 'u'; it has t"),
        ({"t": [{}, {"idd": 1}]}, r"t\[1\]: no column 'idd' to give; there are id, x, y"),
        ({"t": [{"z": 1}]}, "no column 'z' to give"),
        ({"t": [{"y": ["a"]}]}, r"t\[0\]\.y: a cell is text.* not a list.*json\.dumps"),
        ({"t": [{"y": {"a": 1}}]}, "not a dict"),
        ({"t": [{"x": 1 << 63}]}, "more than 64 bits"),
        ({"t": [{"x": float("nan")}]}, "not a finite number"),
        ({"t": [{"y": "\ud800"}]}, "surrogates"),
        ({"t": {"id": 1}}, "list"),
        ([1], "dict"),
    ],
)
def test_rows_that_do_not_fit_the_schema_are_refused_before_any_world_opens(rows, said):
    with pytest.raises(ValidationError, match=said):
        Store(WHOLE).Seed.model_validate(rows)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"orders": [{"status": "x"}, {"status": None}]}, r"orders\[1\]: NOT NULL.*orders.status"),
        ({"orders": [{"id": 1, "status": "again"}]}, r"orders\[0\]: UNIQUE.*orders.id"),
        ({"orders": [{"status": ""}]}, r"orders\[0\]: CHECK"),
        ({"lines": [{"order_id": 9, "sku": "a"}]}, "a row of 'lines' refers to no row of 'orders'"),
    ],
)
async def test_rows_that_break_a_constraint_are_one_task_error(opened, rows, said):
    with pytest.raises(TaskError, match=r"world\['store'\]: .*" + said):
        await opened(rows=rows)


async def test_the_rows_of_a_task_stand_beside_those_of_the_schema_and_are_no_change(opened):
    rows = {
        "lines": [{"order_id": 9, "sku": "a"}],  # before what it refers to
        "orders": [
            {"id": 9, "status": "new", "note": Blob(data=b"\xff")},
            {"status": "x", "note": True},
        ],
    }
    shop = await opened(rows=rows)
    notes = shop.query("SELECT id, note FROM orders WHERE id > 2 ORDER BY id")
    assert notes == [{"id": 9, "note": b"\xff"}, {"id": 10, "note": 1}]
    assert len(shop.query("SELECT * FROM lines")) == 4
    assert shop.log == ()


def test_rows_survive_the_way_from_the_judge_to_the_runner():
    seed = Store(WHOLE).Seed
    rows = {"t": [{"x": 1.5, "y": "é"}, {"y": b"\xff\x00", "x": None}]}
    sent = json.loads(json.dumps(seed.model_validate(rows).model_dump(mode="json")))
    assert seed.model_validate(sent) == seed.model_validate(rows)


class Desk(Env):
    """Look after orders."""

    store = Store(WHOLE)
    evidence = [store.changes(), store.rows("t")]

    @tool
    def add(self, x: float) -> int:
        """Add a row."""
        return self.store.execute("INSERT INTO t (x) VALUES (?)", x)


async def test_in_an_env():
    env = Desk()
    task = PublicTask(
        id="t", prompt="p", world={"store": {"t": [{"id": 4}]}}, limits=Limits(), seed=3, digest=""
    )
    await env.reset(task, Host(), pack="p", group="g")
    try:
        assert [offered.name for offered in env.tools] == ["submit", "add"], (
            "it has no tools of its own"
        )
        result = await env.step(call("add", x=2))
        assert result.messages[0].content == "1"
        frozen = {item.name: json.loads(item.data) for item in (await env.freeze()).items}
        assert frozen["store/rows/t.json"] == [
            {"id": 4, "x": None, "y": "d", "z": None},
            {"id": 5, "x": 2.0, "y": "d", "z": 4.0},
        ]
        (change,) = frozen["store/changes.json"]["changes"]
        assert change["after"] == frozen["store/rows/t.json"][1]
        assert frozen["store/changes.json"]["fault"] == ""
    finally:
        await env.close()
