"""JSON Schema: a subset, read by hand, total, with exact types."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from envkit.data.score import Check, failed, passed
from envkit.data.strict import Malformed
from envkit_validators._json import canonical, difference, expectation, first_of, trouble
from envkit_validators._show import plain, show, unreadable
from envkit_validators.near import is_number

Schema: TypeAlias = "dict[str, Any]"

_TYPES: Mapping[str, Callable[[object], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: type(value) is bool,
    "integer": lambda value: type(value) is int,
    "number": is_number,
    "string": lambda value: type(value) is str,
    "array": lambda value: type(value) is list,
    "object": lambda value: type(value) is dict,
}
_BOUNDS: Mapping[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "minimum": ("number", lambda value, bound: value >= bound),
    "maximum": ("number", lambda value, bound: value <= bound),
    "exclusiveMinimum": ("number", lambda value, bound: value > bound),
    "exclusiveMaximum": ("number", lambda value, bound: value < bound),
    "minLength": ("string", lambda value, bound: len(value) >= bound),
    "maxLength": ("string", lambda value, bound: len(value) <= bound),
    "minItems": ("array", lambda value, bound: len(value) >= bound),
    "maxItems": ("array", lambda value, bound: len(value) <= bound),
    "minProperties": ("object", lambda value, bound: len(value) >= bound),
    "maxProperties": ("object", lambda value, bound: len(value) <= bound),
}
_ANNOTATIONS = frozenset({"$schema", "title", "description", "default", "examples"})
_MAX_DEPTH = 32
_EMPTIES: tuple[object, ...] = (None, "", [], {})


def matches_schema(seen: object, schema: Mapping[str, Any]) -> Check:
    """A JSON value of the shape that a schema describes; whether its content is right is not said.

    Read, as JSON Schema 2020-12 has them: `type`, `enum`, `const`, `properties`, `required`,
    `additionalProperties`, `items`, `uniqueItems`, `anyOf`, `allOf`, the bounds on numbers,
    lengths, items and properties; annotations (`title`, `description`, ...) are passed over. Types
    are exact, which is stricter than the standard: 1.0 is no integer, and `enum`, `const` and
    `uniqueItems` tell 1 from 1.0.

    Raises:
        ValueError: any other keyword (`$ref`, `pattern`, ... are not read), a keyword's value of
            the wrong kind, more than 32 levels, or a schema that null, "", [] or {} would meet.
    """
    checked = cast("Schema", expectation(dict(schema), "the schema", near=False))
    _admit(checked, "$", 0)
    met = [value for value in _EMPTIES if not _errors(value, checked, "$")]
    if met:
        raise ValueError(
            f"the schema is met by {show(met[0])}, which takes no work: require something"
        )
    if isinstance(seen, Malformed):
        return unreadable(seen)
    why = trouble(seen) or _errors(seen, checked, "$")
    return failed(why) if why else passed(f"saw {show(seen)}")


def _admit(schema: object, place: str, depth: int) -> None:
    """Refuse what this module would not read as the author means it."""
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict) or depth > _MAX_DEPTH:
        raise ValueError(f"the schema at {place} must be an object, at most {_MAX_DEPTH} deep")
    for keyword, value in schema.items():
        if keyword in _ANNOTATIONS:
            continue
        if keyword not in _KEYWORDS:
            raise ValueError(
                f"the schema at {place} has the keyword {keyword!r}, which is not read here"
            )
        if not _KEYWORDS[keyword](value):
            raise ValueError(f"the schema at {place}: {keyword} can't be {show(value)}")
    for step, part in _parts(schema):
        _admit(part, f"{place}.{step}", depth + 1)


def _parts(schema: Schema) -> Iterator[tuple[str, object]]:
    for keyword in ("items", "additionalProperties"):
        if keyword in schema:
            yield keyword, schema[keyword]
    for name, part in schema.get("properties", {}).items():
        yield f"properties.{name}", part
    for keyword in ("anyOf", "allOf"):
        for i, part in enumerate(schema.get(keyword, ())):
            yield f"{keyword}[{i}]", part


def _is_types(value: object) -> bool:
    names = value if isinstance(value, list) else [value]
    return _is_texts(names) and all(name in _TYPES for name in names)


def _is_texts(value: object) -> bool:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return False
    return len(set(value)) == len(value) > 0


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_schema(value: object) -> bool:
    return isinstance(value, dict | bool)


_KEYWORDS: Mapping[str, Callable[[object], bool]] = {
    "type": _is_types,
    "enum": lambda value: isinstance(value, list) and bool(value),
    "const": lambda value: True,
    "properties": lambda value: isinstance(value, dict),
    "required": _is_texts,
    "additionalProperties": _is_schema,
    "items": _is_schema,
    "uniqueItems": lambda value: isinstance(value, bool),
    "anyOf": lambda value: isinstance(value, list) and bool(value),
    "allOf": lambda value: isinstance(value, list) and bool(value),
    **{name: is_number if kind == "number" else _is_count for name, (kind, _) in _BOUNDS.items()},
}


def _errors(value: object, schema: Schema | bool, place: str) -> str:
    """The first way in which `value` is not of the schema; as deep as the schema, so bounded."""
    if isinstance(schema, bool):
        return "" if schema else f"at {place}: nothing is allowed here"
    return (
        _wrong_value(value, schema, place)
        or first_of(_wrong_bounds(value, schema, place))
        or first_of(_wrong_items(value, schema, place))
        or first_of(_wrong_properties(value, schema, place))
        or _wrong_choice(value, schema, place)
    )


def _wrong_value(value: object, schema: Schema, place: str) -> str:
    types = schema.get("type", ())
    types = (types,) if isinstance(types, str) else types
    if types and not any(_TYPES[name](value) for name in types):
        return f"at {place}: saw {show(value)}, expected {' or '.join(types)}"
    wanted = [schema["const"]] if "const" in schema else []
    for options in filter(None, (wanted, schema.get("enum", ()))):
        if not any(not difference(value, option) for option in options):
            return f"at {place}: saw {show(value)}, expected {show(options)}"
    return ""


def _wrong_bounds(value: object, schema: Schema, place: str) -> Iterator[str]:
    for name, (kind, holds) in _BOUNDS.items():
        if name in schema and _TYPES[kind](value) and not holds(value, schema[name]):
            yield f"at {place}: saw {show(value)}, expected {name} {schema[name]}"


def _wrong_items(value: object, schema: Schema, place: str) -> Iterator[str]:
    if not isinstance(value, list):
        return
    if schema.get("uniqueItems") and len(set(map(canonical, value))) != len(value):
        yield f"at {place}: saw {show(value)}, expected no item twice"
    for i, item in enumerate(value if "items" in schema else ()):
        yield _errors(item, schema["items"], f"{place}[{i}]")


def _wrong_properties(value: object, schema: Schema, place: str) -> Iterator[str]:
    if not isinstance(value, dict):
        return
    missing = [name for name in schema.get("required", ()) if name not in value]
    if missing:
        yield f"at {place}: saw {show(value)}, missing {show(missing)}"
    known = schema.get("properties", {})
    other = schema.get("additionalProperties", True)
    # names are the agent's: shortened, or each place would be huge
    for name, item in value.items():
        yield _errors(item, known.get(name, other), f"{place}.{plain(name)}")


def _wrong_choice(value: object, schema: Schema, place: str) -> str:
    for part in schema.get("allOf", ()):
        why = _errors(value, part, place)
        if why:
            return why
    reasons = [_errors(value, part, place) for part in schema.get("anyOf", ())]
    missed = bool(reasons) and all(reasons)
    return f"{reasons[0]} (nor any of {len(reasons)} choices)" if missed else ""
