"""An operation of an app as a tool: its parameters and body fields in one object, and the request that they make."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias
from urllib.parse import quote, urlencode

from pydantic import BaseModel

from envkit.adapters.api.exchange import Request
from envkit.data.strict import scrub
from envkit.data.tool import BadArguments, Tool

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

Place: TypeAlias = Literal["path", "query", "header", "body", "whole"]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: where it goes ("whole" is a body that is no object), and what it may be."""

    place: Place
    schema: Mapping[str, Any]
    needed: bool
    slashes: bool = False  # of a path's: whether it may hold them


@dataclass(frozen=True, slots=True)
class Operation:
    """One documented operation of an app."""

    id: str
    method: str
    path: str
    description: str
    arguments: Mapping[str, Argument]
    media: str = ""  # of the body, where there is one
    bare: bool = False  # whether it can go without its body

    def tool(self, prefix: str) -> OperationTool:
        """The tool of this operation, as a model sees it."""
        properties = {name: dict(argument.schema) for name, argument in self.arguments.items()}
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if required := [name for name, argument in self.arguments.items() if argument.needed]:
            schema["required"] = required
        schema["additionalProperties"] = False
        return OperationTool(
            prefix + self.id, self.description, schema, BaseModel, {}, operation=self
        )

    def request(self, arguments: Mapping[str, Any]) -> Request:
        """The request that these arguments make. Raises BadArguments for those that no request can hold."""
        path, query, fields = self.path, [], {}
        headers = [(b"accept", JSON.encode())]
        body = b""
        for name, value in arguments.items():
            argument = self.arguments[name]
            if argument.place == "path":
                path = path.replace(f"{{{name}}}", _segment(name, value, argument.slashes))
            elif argument.place == "query":
                query += [(name, text) for text in _texts(value)]
            elif argument.place == "header":
                headers += [(name.lower().encode(), _line(name, text)) for text in _texts(value)]
            elif argument.place == "body":
                fields[name] = value
            else:
                body = _json(value)
        if self.media and not body and (fields or not self.bare):
            body = _form(fields) if self.media == FORM else _json(fields)
        if body:
            headers.append((b"content-type", self.media.encode()))
        headers.append((b"content-length", str(len(body)).encode()))
        return Request(self.method, path, urlencode(query), tuple(headers), body)


@dataclass(frozen=True, slots=True)
class OperationTool(Tool):
    """A tool whose arguments the app itself validates; only their names are checked here."""

    operation: Operation | None = field(default=None, repr=False, compare=False)

    def check(self, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
        """The arguments as one mapping. Raises BadArguments for names that are unknown or missing."""
        if isinstance(arguments, str):
            raise BadArguments(f"{self.name}: the arguments are not a JSON object")
        known = self.parameters["properties"]
        wrong = [f"{str(name)[:80]}: no such argument" for name in arguments if name not in known]
        needed = self.parameters.get("required", ())
        wrong += [f"{name}: is required" for name in needed if name not in arguments]
        if wrong:
            raise BadArguments(f"{self.name}: {'; '.join(wrong[:8])}")
        return {"arguments": dict(arguments)}


def _segment(name: str, value: Any, slashes: bool) -> str:
    """A value inside a path. A slash would lead to another route than the tool is for."""
    text = "" if value is None else _plain(value)
    if not text or ("/" in text and not slashes):
        raise BadArguments(f"{name}: must be neither empty nor hold a slash")
    return quote(text, safe="/" if slashes else "")


def _line(name: str, text: str) -> bytes:
    if not text.isascii() or not text.isprintable():
        raise BadArguments(f"{name}: must be printable ASCII")
    return text.encode()


def _form(fields: Mapping[str, Any]) -> bytes:
    return urlencode([(n, text) for n, value in fields.items() for text in _texts(value)]).encode()


def _json(value: Any) -> bytes:
    try:
        return json.dumps(scrub(value), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError):
        raise BadArguments("numbers must be finite, and have at most 4,300 digits") from None


def _texts(value: Any) -> list[str]:
    """A value as a query or a form holds it: once for each item, and not at all for null."""
    items = value if isinstance(value, list | tuple) else [value]
    return [_plain(item) for item in items if item is not None]


def _plain(value: Any) -> str:
    plain = scrub(value)
    return plain if isinstance(plain, str) else _json(plain).decode()
