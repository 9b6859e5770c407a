"""table_equal: rows, columns, types, tolerance, keys."""

import pytest
from envkit_validators import Near, table_equal

from envkit.data.evidence import Evidence, FrozenEvidence, FrozenItem
from envkit.data.strict import Malformed

ROWS = [
    {"id": 1, "name": "ann", "due": 2.5},
    {"id": 2, "name": "bob", "due": Near(0.333, abs_tol=0.001)},
]


def table(text):
    item = FrozenItem(name="shell/t.csv", data=text.encode())
    return Evidence(FrozenEvidence(items=(item,))).table("shell/t.csv")


def test_csv_and_json_are_read_by_the_expected_cell():
    assert table_equal(table("name,id,due\nann,1,2.50\nbob, 2,0.3333\n"), ROWS).passed
    seen = [{"id": 1, "name": "ann ", "due": 2.5}, {"id": 2, "name": "bob", "due": 0.333}]
    assert table_equal(seen, ROWS).passed


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id,name,due\n",
        "id,name,due\n1,ann,2.5\n",
        "id,name,due\n2,bob,0.333\n1,ann,2.5\n",
        "id,name,due\n1,ann,2.5\n2,bob,0.333\n3,eve,1\n",
        "id,name,due\n1,ann,2.5\n1,ann,2.5\n",
        "id,name,due,x\n1,ann,2.5,\n2,bob,0.333,\n",
        "id,name\n1,ann\n2,bob\n",
        "id,name,due\n1.0,ann,2.5\n2,bob,0.333\n",
        "id,name,due\n1,Ann,2.5\n2,bob,0.333\n",
        "id,name,due\n1,ann,nan\n2,bob,0.333\n",
        "id,name,due\n1,ann,2.5 2.6\n2,bob,0.333\n",
        "id,name,due\n1,ann,2.5\n2,bob,1e999\n",
        "id,name,due\n1,ann,2.5\n2,bob,0.34\n",
    ],
)
def test_any_other_table_fails(text):
    assert table_equal(table(text), ROWS).value == 0.0


@pytest.mark.parametrize(
    "cell", [True, 1.0, "1.0", "true", None, "", [1], "1 2", b"1", "१", "9" * 5000]
)
def test_an_int_cell_is_that_int_or_its_digits(cell):
    assert table_equal([{"n": cell}], [{"n": 1}]).value == 0.0


def test_bools_and_none_are_themselves():
    assert table_equal([{"a": True, "b": None}], [{"a": True, "b": None}]).passed
    for a, b in ((1, None), ("True", None), (True, ""), (True, "None"), (True, 0)):
        assert table_equal([{"a": a, "b": b}], [{"a": True, "b": None}]).value == 0.0


def test_a_key_matches_rows_in_any_order():
    assert table_equal(table("id,name,due\n2,bob,0.333\n1,ann,2.5\n"), ROWS, key=("id",)).passed
    assert table_equal(
        table("id,name,due\n2,bob,0.333\n1,ann,2.5\n"), ROWS, key=("name", "id")
    ).passed
    for text in (
        "id,name,due\n2,bob,0.333\n2,bob,0.333\n",
        "id,name,due\n2,bob,0.333\n3,ann,2.5\n",
        "id,name,due\n2,ann,2.5\n1,bob,0.333\n",
        "id,name,due\nx,bob,0.333\ny,ann,2.5\n",
    ):
        assert table_equal(table(text), ROWS, key=["id"]).value == 0.0


def test_reasons_name_row_and_column():
    seen = table("id,name,due\n1,ann,2.5\n2,eve,0.333\n")
    assert table_equal(seen, ROWS).reason == "row 1, column name: saw 'eve', expected 'bob'"
    assert (
        table_equal(seen, ROWS, key=("id",)).reason
        == "row [2], column name: saw 'eve', expected 'bob'"
    )
    assert table_equal(seen, ROWS, key=("name",)).reason == "row ['bob']: missing"
    twice = [{**ROWS[0], "due": 2.5}] * 2
    assert table_equal(twice, ROWS, key=("id",)).reason.startswith("two rows with the same key")
    short = table("id,name\n1,ann\n2,bob\n")
    assert table_equal(short, ROWS).reason == "row 0: missing columns ['due'], more columns []"


def test_malformed_and_other_shapes_fail():
    shapes: tuple = (
        Malformed("f", "missing"),
        None,
        {},
        "id\n1",
        [1],
        [[1]],
        [{}],
        [None, None],
        [{}, {}],
    )
    for seen in shapes:
        assert table_equal(seen, ROWS).value == 0.0
        assert table_equal(seen, ROWS, key=("id",)).value == 0.0


@pytest.mark.parametrize(
    ("rows", "key"),
    [
        ([], ()),
        ([{}], ()),
        ([{"a": 1}, {"b": 1}], ()),
        ([{"a": [1]}], ()),
        ([{"a": float("nan")}], ()),
        ([{"a": 1}], ("b",)),
        ([{"a": 1.5}], ("a",)),
        ([{"a": True}], ("a",)),
        ([{"a": 1}, {"a": "x"}], ("a",)),
        ([{"a": 1, "b": 1}, {"a": 1, "b": 2}], ("a",)),
        ([{"a": 1}], "a"),
    ],
)
def test_expectations_that_mean_nothing_are_refused_at_once(rows, key):
    with pytest.raises(ValueError, match=r"table_equal|expected"):
        table_equal(Malformed("f", "missing"), rows, key=key)
