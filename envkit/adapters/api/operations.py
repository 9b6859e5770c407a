"""From an app's OpenAPI to typed tools: one tool an operation, its parameters and body fields in one object."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import BaseModel

from envkit.adapters.api.exchange import Request
from envkit.data.strict import scrub
from envkit.data.tool import BadArguments, Tool
from envkit.errors import DeclarationError

MOST = 64  # tools of one app: above that, models lose their way


@dataclass(frozen=True, slots=True)
class Operation:
    """One documented operation: where each argument goes."""

    id: str
    method: str
    path: str
    summary: str
    parameters: Mapping[str, Any]  # the JSON schema of all arguments together
    places: Mapping[str, str]  # of each argument: path, query or body

    def request(self, arguments: Mapping[str, Any]) -> Request:
        """The request that these arguments make."""
        path, query, body = self.path, {}, {}
        for name, value in arguments.items():
            place = self.places[name]
            if place == "path":
                path = path.replace(f"{{{name}}}", quote(_plain(value), safe=""))
            elif place == "query":
                query[name] = (
                    [_plain(v) for v in value] if isinstance(value, list) else _plain(value)
                )
            else:
                body[name] = value
        headers: tuple[tuple[bytes, bytes], ...] = ((b"accept", b"application/json"),)
        data = b""
        if "body" in self.places.values():
            data = json.dumps(scrub(body)).encode()
            headers += ((b"content-type", b"application/json"),)
        headers += ((b"content-length", str(len(data)).encode()),)
        return Request(self.method, path, urlencode(query, doseq=True), headers, data)


@dataclass(frozen=True, slots=True)
class OperationTool(Tool):
    """A tool whose arguments the app itself validates; only their names are checked here."""

    operation: Operation | None = field(default=None, repr=False, compare=False)

    def check(self, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
        """The arguments as one mapping. Raises BadArguments for names that are unknown or missing."""
        if isinstance(arguments, str):
            raise BadArguments(f"{self.name}: the arguments are not a JSON object")
        known = self.parameters["properties"]
        wrong = [f"{name}: no such argument" for name in arguments if name not in known]
        needed = self.parameters.get("required", ())
        wrong += [f"{name}: is required" for name in needed if name not in arguments]
        if wrong:
            raise BadArguments(f"{self.name}: {'; '.join(wrong[:8])}"[:2_000])
        return {"arguments": dict(arguments)}


def operations(document: Mapping[str, Any], wanted: Collection[str]) -> list[Operation]:
    """The wanted operations of an OpenAPI document. Raises DeclarationError for doubles, too many, unknown names."""
    found = {one.id: one for one in _operations(document)}
    for name in wanted:
        if name not in found:
            raise DeclarationError(f"Api: tools names {name!r}; the app has {', '.join(found)}")
    found = {name: found[name] for name in wanted}
    if len(found) > MOST:
        raise DeclarationError(
            f"Api: {len(found)} operations are too many tools (at most {MOST}); choose with tools=(...)"
        )
    return list(found.values())


def tool_for(operation: Operation, prefix: str) -> OperationTool:
    """The tool of an operation."""
    return OperationTool(
        prefix + operation.id, operation.summary, operation.parameters, BaseModel, {}, operation
    )


def _operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    for path, methods in document.get("paths", {}).items():
        for method, entry in methods.items():
            if not isinstance(entry, Mapping) or "operationId" not in entry:
                continue
            properties: dict[str, Any] = {}
            places: dict[str, str] = {}
            required: list[str] = []
            for name, place, schema, needed in _arguments(entry, document):
                if name in places:
                    raise DeclarationError(
                        f"Api: {entry['operationId']}: {name!r} is two arguments"
                    )
                properties[name], places[name] = schema, place
                required += [name] if needed else []
            schema = {"type": "object", "properties": properties, "required": required}
            summary = entry.get("description") or entry.get("summary") or entry["operationId"]
            yield Operation(
                entry["operationId"],
                method.upper(),
                path,
                " ".join(summary.split()),
                schema,
                places,
            )


def _arguments(
    entry: Mapping[str, Any], document: Mapping[str, Any]
) -> Iterator[tuple[str, str, Any, bool]]:
    """Name, place, schema, and whether it is required."""
    for parameter in entry.get("parameters", ()):
        if parameter["in"] in ("path", "query"):
            schema = _inlined(parameter.get("schema", {}), document)
            if "description" in parameter:
                schema = {**schema, "description": parameter["description"]}
            yield parameter["name"], parameter["in"], schema, parameter.get("required", False)
    content = entry.get("requestBody", {}).get("content", {})
    body = _inlined(content.get("application/json", {}).get("schema", {}), document)
    needed = body.get("required", ())
    for name, schema in body.get("properties", {}).items():
        yield name, "body", schema, name in needed


def _inlined(schema: Any, document: Mapping[str, Any], depth: int = 0) -> Any:
    """A schema without references and titles; what refers to itself ends in "anything"."""
    if isinstance(schema, list):
        return [_inlined(item, document, depth) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    if "$ref" in schema:
        target: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        return {} if depth > 8 else _inlined(target, document, depth + 1)
    names = isinstance(schema.get("properties"), Mapping)
    return {
        key: {n: _inlined(s, document, depth) for n, s in value.items()}
        if names and key == "properties"
        else _inlined(value, document, depth)
        for key, value in schema.items()
        if key != "title" or isinstance(value, Mapping)
    }


def _plain(value: Any) -> str:
    """A value as a path or a query writes it."""
    plain = scrub(value)
    return plain if isinstance(plain, str) else json.dumps(plain)
