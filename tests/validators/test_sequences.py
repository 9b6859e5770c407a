"""lines, list_equal, set_equal."""

import pytest
from envkit_validators import Near, lines, list_equal, set_equal

from envkit.data.strict import Malformed

GONE = Malformed("f", "missing")


def test_lines_are_stripped_and_whole():
    assert lines("\n a\r\nb \n\nc\n\n") == ["a", "b", "", "c"]
    assert lines(GONE) is GONE
    for seen in ("", " \n ", None, 7, ["a"], b"a"):
        assert isinstance(lines(seen), Malformed)


def test_list_equal_wants_order_and_types():
    assert list_equal([1, "a", True], (1, "a", True)).passed
    assert list_equal([0.1 + 0.2], [Near(0.3, rel_tol=1e-9)]).passed
    for seen in (
        [1, "a"],
        ["a", 1, True],
        [1, "a", 1],
        [1, "a", True, 1],
        [],
        "1a",
        (1, "a", True),
        None,
        GONE,
    ):
        assert list_equal(seen, [1, "a", True]).value == 0.0
    assert list_equal([1, 3], [1, 2]).reason == "at $[1]: saw 3, expected 2"


def test_set_equal_wants_each_item_once_in_any_order():
    assert set_equal(["b", "a"], ["a", "b"]).passed
    assert set_equal({"a", "b"}, {"b", "a"}).passed
    assert set_equal([{"x": 1, "y": [2]}, None], [None, {"y": [2], "x": 1}]).passed
    bad: tuple = (
        ["a"],
        ["a", "a"],
        ["a", "b", "b"],
        ["a", "b", "c"],
        ["a", "c"],
        "ab",
        {"a": 1, "b": 2},
        [],
        None,
    )
    for seen in bad:
        assert set_equal(seen, ["a", "b"]).value == 0.0


def test_set_equal_tells_types_apart():
    assert set_equal([True, 1, 1.0, "1"], [1, "1", 1.0, True]).passed
    for seen in ([True], [1.0], ["1"], [[1]]):
        assert not set_equal(seen, [1]).passed
    assert set_equal([-0.0], [0.0]).passed


def test_reasons_say_what_is_wrong():
    assert set_equal(["a", "c"], ["a", "b"]).reason == "saw 'c', which is not expected; missing 'b'"
    assert set_equal(["a", "a"], ["a", "b"]).reason == "saw 'a' more than once"
    assert set_equal(["a"], ["a", "b"]).reason == "saw 1 items ['a'], expected 2"


@pytest.mark.timeout(30)
def test_numbers_that_hash_alike_cost_no_more():
    prime = 2**61 - 1  # of Python's int hash: a set of its multiples is one chain
    seen = [i * prime for i in range(40_000)]
    assert set_equal(seen, list(range(40_000))).value == 0.0


def test_an_int_that_python_will_not_print_is_compared():
    assert set_equal([10**20_000], [1]).reason.startswith("saw an integer of 66439 bits")
    assert set_equal([10**20_000], [10**20_000]).passed


@pytest.mark.parametrize("expected", [[], (), "ab", b"ab", [float("nan")], [object()]])
@pytest.mark.parametrize("rule", [list_equal, set_equal])
def test_expectations_that_mean_nothing_are_refused_at_once(rule, expected):
    with pytest.raises(ValueError, match=r"_equal"):
        rule(GONE, expected)


def test_a_set_has_no_doubles_and_no_tolerance():
    with pytest.raises(ValueError, match="twice"):
        set_equal([], ["a", "a"])
    with pytest.raises(ValueError, match="can't be expected"):
        set_equal([], [Near(1.0, abs_tol=1.0)])
