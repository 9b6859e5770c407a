"""Tools: from a function with type hints and a docstring to a JSON schema, and back to checked arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from envkit.data.message import Content, Image
from envkit.errors import DeclarationError

F = TypeVar("F", bound=Callable[..., Any])

_MARK, _INLINE = "__envkit_tool__", "__envkit_inline__"
_ARGS = re.compile(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", re.MULTILINE)
_ARG = re.compile(r"^(\w+)(?:\s*\([^)]*\))?:\s*(.*)$")


class BadArguments(ValueError):
    """Arguments that do not fit a tool; the text names each field and is shown to the agent."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool gives back to the agent. `error` marks a refusal, which is still an observation."""

    text: str
    error: bool = False
    images: tuple[Image, ...] = ()

    @property
    def content(self) -> Content:
        """As a message holds it: the text alone where there is no image."""
        return (self.text, *self.images) if self.images else self.text


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as a model sees it, and the check of what a model sends."""

    name: str
    description: str
    parameters: Mapping[str, Any]  # a JSON schema of type object
    model: type[BaseModel] = field(repr=False, compare=False)
    fields: Mapping[str, str] = field(
        repr=False, compare=False
    )  # the model's names to the function's
    inline: bool = False  # a plain `def` that runs on the event loop which all episodes share

    def schema(self) -> dict[str, Any]:
        """The entry of a chat-completions request's `tools`."""
        function = {
            "name": self.name,
            "description": self.description,
            "parameters": dict(self.parameters),
        }
        return {"type": "function", "function": function}

    def check(self, arguments: Mapping[str, Any] | str) -> dict[str, Any]:
        """Arguments as the function takes them. Raises BadArguments, naming each wrong field."""
        if isinstance(arguments, str):
            raise BadArguments(f"{self.name}: the arguments are not a JSON object")
        try:
            checked = self.model.__pydantic_validator__.validate_python(dict(arguments))
        except ValidationError as error:
            raise BadArguments(_explain(self.name, error)) from None
        values: dict[str, Any] = checked.__dict__
        return {name: values[field] for field, name in self.fields.items()}


@overload
def tool(function: F) -> F: ...
@overload
def tool(*, inline: bool) -> Callable[[F], F]: ...
def tool(function: F | None = None, *, inline: bool = False) -> F | Callable[[F], F]:
    """Offer a method of an `Env` to the agent. Its signature and docstring are the tool's schema.

    Args:
        function: an `async def` runs on the event loop that all episodes share, so it must not block; a plain `def`
            runs on a thread of its episode's own, and may
        inline: run a plain `def` on the shared loop, too: a tenth of a millisecond less a call, for what is done
            at once whatever the arguments are
    """

    def mark(function: F) -> F:
        setattr(function, _MARK, True)
        setattr(function, _INLINE, inline)
        return function

    return mark if function is None else mark(function)


def is_tool(value: object) -> bool:
    """Whether `@tool` stands on a function."""
    return getattr(value, _MARK, False) is True


def tool_of(function: Callable[..., Any], name: str | None = None) -> Tool:
    """The tool that a function describes. Raises DeclarationError where a hint or docstring is missing."""
    name = name or function.__name__
    description, notes = _docstring(function)
    if not description:
        raise DeclarationError(
            f"tool {name!r} has no docstring; its first paragraph is what the model reads"
        )
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise DeclarationError(
            f"tool {name!r}: {error}; its hints must be importable names"
        ) from error
    fields: dict[str, Any] = {}
    names: dict[str, str] = {}
    for number, parameter in enumerate(inspect.signature(function).parameters.values()):
        if parameter.name == "self":
            continue
        if parameter.name not in hints or parameter.kind in _VARIADIC:
            raise DeclarationError(
                f"tool {name!r}: parameter {parameter.name!r} needs a type hint of its own"
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        # an alias, because a parameter may well be called `copy` or `json`, as methods of a model are
        note = Field(default, alias=parameter.name, description=notes.get(parameter.name))
        fields[f"p{number}"] = (hints[parameter.name], note)
        names[f"p{number}"] = parameter.name
    model = create_model(name, __config__=ConfigDict(extra="forbid"), **fields)
    inline = getattr(function, _INLINE, False)
    return Tool(name, description, _trim(model.model_json_schema()), model, names, inline)


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _docstring(function: Callable[..., Any]) -> tuple[str, dict[str, str]]:
    """The first paragraph, and the notes of a Google-style `Args:` section."""
    text = inspect.getdoc(function) or ""
    section = _ARGS.search(text + "\n")
    notes: dict[str, str] = {}
    last = ""
    for line in section[1].splitlines() if section else ():
        if (argument := _ARG.match(line.strip())) and not line.startswith(" " * 8):
            last, notes[argument[1]] = argument[1], argument[2]
        elif last and line.strip():
            notes[last] += f" {line.strip()}"
    body = text[: section.start()] if section else text
    return re.sub(r"\s*\n\s*", " ", body.strip()), notes


def _trim(schema: dict[str, Any]) -> dict[str, Any]:
    """Leave out the titles that pydantic adds; models read them as noise."""
    properties = {
        name: {key: value for key, value in entry.items() if key != "title"}
        for name, entry in schema.get("properties", {}).items()
    }
    rest = {key: value for key, value in schema.items() if key not in ("title", "properties")}
    return {**rest, "properties": properties}


def _explain(name: str, error: ValidationError) -> str:
    problems = [
        f"{'.'.join(map(str, problem['loc'])) or 'arguments'}: {problem['msg']}"
        for problem in error.errors(include_url=False, include_input=False)[:8]
    ]
    return f"{name}: {'; '.join(problems)}"
