"""From an app's OpenAPI document to the operations that become tools."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from envkit.adapters.api.operations import FORM, JSON, Argument, Operation, Place
from envkit.errors import DeclarationError

MOST = 64  # tools of one app: above that, models lose their way

_PLACES: Mapping[str, Place] = {"path": "path", "query": "query", "header": "header"}
_TOOL = re.compile(r"[A-Za-z0-9_-]{1,64}")  # the names that models' providers accept
_VALUES = frozenset({"default", "enum", "const", "example", "examples"})  # in a schema, but none


def operations(
    document: Mapping[str, Any], wanted: Sequence[str], slashes: frozenset[tuple[str, str]]
) -> dict[str, Operation]:
    """The wanted operations of an OpenAPI document, in that order.

    Args:
        document: as FastAPI makes it
        wanted: operation ids
        slashes: (path, parameter) of those path parameters that may hold slashes

    Raises DeclarationError for too many, unknown ones, and those that no tool can be made of.
    """
    if len(wanted) > MOST:
        raise DeclarationError(
            f"Api: {len(wanted)} operations are too many tools (at most {MOST}); choose with tools=(...)"
        )
    entries = {e["operationId"]: (m, p, e) for m, p, e in _entries(document)}
    found: dict[str, Operation] = {}
    for name in wanted:
        if name not in entries:
            known = ", ".join(entries) or "none"
            raise DeclarationError(f"Api: tools= names {name!r}; the app documents: {known}")
        if name in found:
            raise DeclarationError(f"Api: two operations are called {name!r}; rename one")
        if not _TOOL.fullmatch(name):
            raise DeclarationError(
                f"Api: {name!r} can't be a tool's name; use at most 64 letters, digits, _ and -"
            )
        found[name] = _operation(*entries[name], document, slashes)
    return found


def _entries(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document.get("paths", {}).items():
        for method, entry in methods.items():
            if isinstance(entry, Mapping) and "operationId" in entry:
                yield method.upper(), path, entry


def _operation(
    method: str,
    path: str,
    entry: Mapping[str, Any],
    document: Mapping[str, Any],
    slashes: frozenset[tuple[str, str]],
) -> Operation:
    name = entry["operationId"]
    media, bare, body = _body(entry, document, name)
    arguments: dict[str, Argument] = {}
    for key, argument in [*_parameters(entry, document, name), *body]:
        if key in arguments:
            raise DeclarationError(
                f"Api: {name} has two arguments called {key!r}, one of them in its {argument.place}; rename one"
            )
        loose = argument.place == "path" and (path, key) in slashes
        arguments[key] = Argument(argument.place, argument.schema, argument.needed, loose)
    text = entry.get("description") or entry.get("summary") or name
    return Operation(name, method, path, " ".join(text.split()), arguments, media, bare)


def _parameters(
    entry: Mapping[str, Any], document: Mapping[str, Any], name: str
) -> Iterator[tuple[str, Argument]]:
    for parameter in entry.get("parameters", ()):
        needed = parameter.get("required", False)
        place = _PLACES.get(parameter["in"])
        if place is None and needed:
            raise DeclarationError(
                f"Api: {name} needs the {parameter['in']} {parameter['name']!r}, which a tool has not;"
                " make it optional, or leave it out of tools=(...)"
            )
        if place is not None:
            schema = inlined(parameter.get("schema", {}), document)
            if "description" in parameter:
                schema = {**schema, "description": parameter["description"]}
            yield parameter["name"], Argument(place, schema, needed)


def _body(
    entry: Mapping[str, Any], document: Mapping[str, Any], name: str
) -> tuple[str, bool, list[tuple[str, Argument]]]:
    """The body's media type, whether it can be left out, and its arguments."""
    asked = entry.get("requestBody", {})
    content = asked.get("content", {})
    media = next((kind for kind in (JSON, FORM) if kind in content), "")
    if content and not media:
        raise DeclarationError(
            f"Api: {name} takes {', '.join(content)}, which no tool can send; leave it out of tools=(...)"
        )
    if not media:
        return "", True, []
    needed = bool(asked.get("required", False))
    schema = _only_object(inlined(content[media].get("schema", {}), document))
    if "properties" not in schema:
        return media, not needed, [("body", Argument("whole", schema, needed))]
    required = schema.get("required", ()) if needed else ()
    fields = schema["properties"].items()
    return (
        media,
        not needed,
        [(key, Argument("body", part, key in required)) for key, part in fields],
    )


def _only_object(schema: dict[str, Any]) -> dict[str, Any]:
    """Of "this object or null", the object."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind.get("type") != "null"]
    return kinds[0] if len(kinds) == 1 else schema


def inlined(schema: Any, document: Mapping[str, Any], above: tuple[str, ...] = ()) -> Any:
    """A schema without references and titles; where one refers to itself a second time, anything goes."""
    if isinstance(schema, list):
        return [inlined(item, document, above) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    reference = schema.get("$ref")
    if isinstance(reference, str):
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        named = {} if above.count(reference) > 1 else _referred(document, reference)
        return inlined({**named, **beside}, document, (*above, reference))
    inner: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "properties":
            inner[key] = {name: inlined(part, document, above) for name, part in value.items()}
        elif key in _VALUES:
            inner[key] = value
        elif key not in ("title", "discriminator"):  # noise; and a mapping to references
            inner[key] = inlined(value, document, above)
    return inner


def _referred(document: Mapping[str, Any], reference: str) -> Mapping[str, Any]:
    target: Any = document
    for part in reference.removeprefix("#/").split("/"):
        target = target[part.replace("~1", "/").replace("~0", "~")]
    found: Mapping[str, Any] = target
    return found
