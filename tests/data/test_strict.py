"""`strict_json` is total: every input gives a value that Python and JSON agree on, or a reason."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.data.strict import Malformed, Oversize, scrub, strict_json

TEXT = st.text(st.characters(exclude_categories=("Cs",)))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_plain_json_survives_with_its_types(value):
    read = strict_json(json.dumps(value))
    assert read == value
    assert json.dumps(read) == json.dumps(value)  # 1, 1.0 and True are told apart


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_anything_gives_a_value_or_a_reason(raw):
    value = strict_json(raw)
    if not isinstance(value, Malformed):
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "raw",
    [
        "NaN", "-Infinity", "1e999", "[-1e400]", '{"a": 1, "a": 2}', '{"a": {"b": 1, "b": 1}}', "[" * 65 + "]" * 65,
        "[" * 100_000, "9" * 401, '"\\ud800"', '["\\udc00\\ud800"]', b"\xff", b"\xed\xa0\x80", "", " ", "1 2", "'a'",
        "{a: 1}", "[1,]", '"\x00"', "\ufeff1",
    ],
)  # fmt: skip
def test_what_is_no_strict_json_is_malformed(raw):
    value = strict_json(raw)
    assert isinstance(value, Malformed)
    assert not value
    assert str(value)


def test_brackets_in_strings_do_not_count_as_depth():
    assert strict_json(json.dumps("[" * 5000)) == "[" * 5000
    assert strict_json(json.dumps({'\\"[': ["]"]})) == {'\\"[': ["]"]}


def test_over_the_cap_is_oversize():
    assert isinstance(strict_json("1" * 100, max_bytes=10), Oversize)


def test_nesting_up_to_the_cap_is_read():
    assert strict_json("[" * 64 + "]" * 64) == json.loads("[" * 64 + "]" * 64)


SCRUBBED = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(SCRUBBED)
def test_scrubbed_values_encode(value):
    json.dumps(scrub(value), allow_nan=False, ensure_ascii=False).encode("utf-8")


def test_scrub_cuts_what_is_too_deep():
    deep: object = 1
    for _ in range(10_000):
        deep = [deep]
    assert "too deep" in json.dumps(scrub(deep))
    assert scrub(math.inf) == "inf"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "raw",
    ['"' + '\\"' * 500_000, "\\" * 1_000_000, '"' * 1_000_000, "[{" * 500_000, '["\\' * 250_000],
)
def test_no_text_takes_more_than_linear_time(raw):
    """Of an earlier version the first of these took more than half an hour."""
    assert isinstance(strict_json(raw[: 1 << 20]), Malformed)
