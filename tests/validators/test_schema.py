"""matches_schema: what is read, what is refused, agreement with the reference implementation."""

import pytest
from envkit_validators import matches_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from envkit.data.strict import Malformed

GONE = Malformed("f", "missing")
ORDER = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Order",
    "type": "object",
    "required": ["id", "lines"],
    "additionalProperties": False,
    "properties": {
        "id": {"type": "integer", "minimum": 1},
        "note": {"type": ["string", "null"], "maxLength": 5},
        "lines": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"anyOf": [{"type": "string", "minLength": 1}, {"const": 0}]},
        },
    },
}


@pytest.mark.parametrize(
    "seen",
    [
        {"id": 1, "lines": ["a"]},
        {"lines": ["a", 0], "id": 9, "note": None},
        {"id": 1, "lines": [0], "note": ""},
    ],
)
def test_what_the_schema_describes_passes(seen):
    assert matches_schema(seen, ORDER).passed


@pytest.mark.parametrize(
    "seen",
    [
        *(
            {},
            [],
            "",
            None,
            "{}",
            7,
            GONE,
            {"id": 1},
            {"id": 1, "lines": []},
            {"id": 0, "lines": [0]},
        ),
        {"id": True, "lines": [0]},
        {"id": 1.0, "lines": [0]},
        {"id": 1, "lines": [False]},
        {"id": 1, "lines": [0.0]},
        {"id": 1, "lines": ["a", "a"]},
        {"id": 1, "lines": [""]},
        {"id": 1, "lines": [0], "x": 1},
        {"id": 1, "lines": [0], "note": "abcdef"},
        {"id": float("nan"), "lines": [0]},
        {"id": 1, "lines": ("a",)},
        {1: 1},
    ],
)
def test_anything_else_fails(seen):
    assert matches_schema(seen, ORDER).value == 0.0


def test_reasons_name_the_place():
    check = matches_schema({"id": 1, "lines": ["a", 5]}, ORDER)
    assert check.reason == "at $.lines[1]: saw 5, expected string (nor any of 2 choices)"
    check = matches_schema({"id": -1, "lines": ["a"]}, ORDER)
    assert check.reason == "at $.id: saw -1, expected minimum 1"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "required": ["a"], "pattern": "x"},
        {"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}},
        {"type": "integer", "minimun": 3},
        {"type": "int"},
        {"type": []},
        {"type": ["string", "string"]},
        {"type": [["string"]]},
        {"enum": []},
        {"enum": 3},
        {"type": "integer", "minimum": "3"},
        {"type": "integer", "minimum": True},
        {"type": "string", "minLength": -1},
        {"type": "string", "minLength": 1.0},
        {"type": "array", "minItems": 1, "items": [{"type": "string"}]},
        {"anyOf": []},
        {"anyOf": ["string"]},
        {"required": ["a", "a"], "type": "object"},
        {"required": [], "type": "object"},
        {"type": "number", "maximum": float("nan")},
        {"const": object()},
    ],
)
def test_a_schema_that_is_not_read_is_refused_at_once(schema):
    with pytest.raises(ValueError, match="schema"):
        matches_schema(GONE, schema)


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"title": "anything"},
        {"type": "object"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "string"},
        {"type": ["integer", "null"]},
        {"enum": ["a", None]},
        {"minimum": 3},
        {"anyOf": [{"type": "integer"}, {"type": "object"}]},
    ],
)
def test_a_schema_that_nothing_meets_is_the_authors_error(schema):
    with pytest.raises(ValueError, match="takes no work"):
        matches_schema(1, schema)


def test_nesting_is_capped_on_both_sides():
    schema: dict = {"type": "integer"}
    for _ in range(20):
        schema = {"type": "array", "minItems": 1, "items": schema}
    seen: object = 1
    for _ in range(20):
        seen = [seen]
    assert matches_schema(seen, schema).passed
    for _ in range(13):
        schema = {"type": "array", "minItems": 1, "items": schema}
    with pytest.raises(ValueError, match="deep"):
        matches_schema(seen, schema)
    deep: list = []
    for _ in range(5_000):
        deep = [deep]
    assert matches_schema({"id": 1, "lines": deep}, ORDER).reason == "nested deeper than 64"


@pytest.mark.timeout(30)
def test_long_names_do_not_multiply():
    schema = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": {"items": {"type": "integer"}},
    }
    seen = {"k" * 5_000_000: [1] * 200_000}
    assert matches_schema(seen, schema).passed


# ---- against the `jsonschema` package --------------------------------------------------------

LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab"])
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
SIMPLE = st.fixed_dictionaries(
    {},
    optional={
        "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
        "enum": st.lists(VALUES, min_size=1, max_size=3),
        "const": VALUES,
        "minimum": st.integers(-3, 3),
        "exclusiveMaximum": st.integers(-3, 3),
        "minLength": st.integers(0, 2),
        "maxItems": st.integers(0, 2),
        "minProperties": st.integers(0, 2),
        "uniqueItems": st.booleans(),
        "required": st.lists(st.sampled_from("abc"), min_size=1, unique=True),
    },
)
SCHEMAS = st.recursive(
    SIMPLE,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "items": inner | st.booleans(),
            "additionalProperties": inner | st.booleans(),
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2),
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
        },
    ),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(VALUES, SCHEMAS)
def test_it_agrees_with_the_reference_implementation(value, schema):
    jsonschema = pytest.importorskip("jsonschema", reason="the oracle is optional")
    inside = {
        "type": "object",
        "required": ["v"],
        "properties": {"v": schema},
    }  # met by no empty value
    valid = jsonschema.Draft202012Validator(schema).is_valid(value)
    assert matches_schema({"v": value}, inside).passed == valid
    empties: tuple = (None, "", [], {})
    if any(map(jsonschema.Draft202012Validator(schema).is_valid, empties)):
        with pytest.raises(ValueError, match="takes no work"):
            matches_schema(value, schema)
