"""exact, numeric, one_of: what passes, what does not, and what an author can't ask."""

from decimal import Decimal

import pytest
from envkit_validators import Near, exact, numeric, one_of

from envkit.data.strict import Malformed, Oversize

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ("node-7", "node-7"),
        ("  node-7\r\n", "node-7"),
        ("two words\n", " two words"),
        (7, 7),
        (0, 0),
        (False, False),
        (0.5, 0.5),
        ([1, "a", None], [1, "a", None]),
        ([1, 2], (1, 2)),
        ({"b": 2, "a": [True]}, {"a": [True], "b": 2}),
        (b"\x00\xff", b"\x00\xff"),
        ({"x": 0.30000000000000004}, {"x": Near(0.3, abs_tol=1e-9)}),
        ({"x": 3}, {"x": Near(3.0, rel_tol=0.01)}),
    ],
)
def test_exact_accepts_the_whole_value(seen, expected):
    assert exact(seen, expected).passed


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ("node-7 node-8", "node-7"),
        ("the host is node-7", "node-7"),
        ("NODE-7", "node-7"),
        ("", "node-7"),
        (["node-7"], "node-7"),
        (b"node-7", "node-7"),
        ("7", 7),
        (True, 1),
        (1, True),
        (1.0, 1),
        (1, 1.0),
        (0, False),
        (None, False),
        ([True], [1]),
        ({"a": 1.0}, {"a": 1}),
        ({"a": 1, "b": 2}, {"a": 1}),
        ({}, {"a": 1}),
        ([1, 2, 3], [1, 2]),
        ((1, 2), [1, 2]),
        ([" a"], ["a"]),
        (NAN, 1.0),
        (INF, 1e300),
        ([NAN], [Near(1.0, abs_tol=1.0)]),
        ([True], [Near(1.0, abs_tol=1.0)]),
        (["1.0"], [Near(1.0, abs_tol=1.0)]),
        (b"ab ", b"ab"),
        ("ab", b"ab"),
    ],
)
def test_exact_refuses_anything_else(seen, expected):
    assert exact(seen, expected).value == 0.0


@pytest.mark.parametrize(
    "expected", ["", " \n", None, [], {}, (), b"", NAN, INF, [NAN], {1: 2}, object()]
)
@pytest.mark.parametrize("seen", ["x", Malformed("f", "missing")])
def test_exact_refuses_what_no_author_means(seen, expected):
    with pytest.raises(ValueError, match=r"exact|expect"):
        exact(seen, expected)


def test_ignoring_case_is_opt_in_and_for_text_alone():
    assert exact(" Straße", "STRASSE", ignore_case=True).passed
    assert not exact("Straße", "STRASSE").passed
    with pytest.raises(ValueError, match="ignore_case is for text"):
        exact("x", 7, ignore_case=True)
    with pytest.raises(ValueError, match="no case"):
        exact("x", b"x", ignore_case=True)


def test_reasons_name_the_place_and_quote_both_sides():
    check = exact({"rows": [{"id": 1}, {"id": True}]}, {"rows": [{"id": 1}, {"id": 2}]})
    assert check.reason == "at $.rows[1].id: saw True, expected 2"
    assert exact("a\x1b[31mb", "c").reason == r"saw 'a\x1b[31mb', expected 'c'"


@pytest.mark.parametrize("seen", [Malformed("shell/a", "missing"), Oversize("shell/a", "2 MB")])
def test_malformed_fails_with_its_own_reason(seen):
    for check in (exact(seen, "x"), exact(seen, b"x"), numeric(seen, 1), one_of(seen, ["x"])):
        assert check.value == 0.0
        assert check.reason == f"shell/a: {seen.why}"


@pytest.mark.parametrize(
    "seen", [42, 42.0, "42", " 42\n", "+42", "42.", "42.0", "4.2e1", "4200E-2"]
)
def test_numeric_accepts_one_number(seen):
    assert numeric(seen, 42).passed


@pytest.mark.parametrize(
    "seen",
    [
        *(True, None, "", ".", "-", "e5", NAN, INF, -INF, "nan", "inf", "-Infinity", "1e999"),
        *(
            "3 4 5",
            "42 43",
            "42,43",
            "4_2",
            "42%",
            "$42",
            "1,042",
            "0x2a",
            "42\x00",
            "4 2",
            "²",
            "٤٢",
        ),
        *([42], {"value": 42}, b"42", "4" * 41, "42" + " 1" * 9, 10**400, -(10**400), Decimal(42)),
        *("1e99999999", "1e9999999/1", "9" * 5000, "42." + "0" * 100_000),
    ],
)
def test_numeric_refuses_anything_else(seen):
    assert numeric(seen, 42, abs_tol=0.5).value == 0.0


def test_numeric_tolerances():
    assert numeric(10.4, 10, abs_tol=0.5).passed
    assert not numeric(10.6, 10, abs_tol=0.5).passed
    assert numeric("-101", -100, rel_tol=0.01).passed
    assert not numeric(0, 100, rel_tol=0.99).passed
    assert not numeric(
        150, 100, rel_tol=0.4
    ).passed  # relative to what is expected, never to what is seen
    assert numeric(10**23, 10**23).passed
    assert not numeric(10**23 + 1, 10**23).passed  # ints stay exact
    assert not numeric("1.5", 1).passed
    assert numeric(0.5, 0.6, abs_tol=0.2).reason == "saw 0.5"
    assert numeric(5, 1, abs_tol=2).reason == "saw 5, expected 1 within 2"


@pytest.mark.parametrize("bad", [NAN, INF, -INF, True, "1", None, 10**400, Decimal(1)])
def test_numeric_refuses_an_expectation_that_is_no_usable_number(bad):
    with pytest.raises(ValueError, match=r"finite|limit"):
        numeric(1, bad)


@pytest.mark.parametrize(
    "bad", [{"abs_tol": -1}, {"abs_tol": NAN}, {"rel_tol": -0.1}, {"rel_tol": 1}, {"abs_tol": INF}]
)
def test_tolerances_that_mean_nothing_are_refused_at_once(bad):
    with pytest.raises(ValueError, match=r"must"):
        numeric(Malformed("f", "missing"), 1, **bad)
    with pytest.raises(ValueError, match=r"must"):
        Near(1.0, **bad)


def test_near_needs_a_tolerance():
    with pytest.raises(ValueError, match="needs an abs_tol or a rel_tol"):
        Near(1.0)


def test_one_of_compares_the_whole():
    assert one_of("b\n", ["a", "b"]).passed
    assert one_of("B", {"a", "b"}, ignore_case=True).passed
    assert one_of(2, (1, 2)).passed
    for dump in ("a b", "a, b", "ab", ["a", "b"], {"a": "b"}, True, None, ""):
        assert one_of(dump, ["a", "b", 1]).value == 0.0
    assert one_of("z", {"b", "a"}).reason == "saw 'z', expected one of 2: 'a', 'b'"


@pytest.mark.parametrize("options", [[], (), set(), "ab", b"ab", [""], ["a", " "], [None], [NAN]])
def test_one_of_refuses_options_that_are_none(options):
    with pytest.raises(ValueError, match=r"one_of|expect"):
        one_of("a", options)
