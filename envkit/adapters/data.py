"""`Data`: plain per-episode state for environments that need no tool but their own methods."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel, RootModel, TypeAdapter

from envkit.adapter import Adapter, Artefact, Context
from envkit.data.evidence import FrozenItem
from envkit.data.tool import Tool

T = TypeVar("T")


@dataclass(slots=True)
class _Holder:
    """The session: the value, and how to write it down."""

    value: Any
    codec: TypeAdapter[Any]

    async def freeze(self, patterns: Sequence[str]) -> Sequence[FrozenItem]:
        """The value as `value.json`, where that is declared as evidence."""
        if not any(fnmatchcase("value.json", pattern) for pattern in patterns):
            return ()
        try:
            data = self.codec.dump_json(self.value)
        # an agent got something in that is no JSON, or a tool that was left behind is still at it
        except (ValueError, TypeError, RecursionError, RuntimeError) as error:
            detail = f"not JSON: {type(error).__name__}"
            return (FrozenItem(name="value.json", kind="refused", detail=detail),)
        return (FrozenItem(name="value.json", data=data),)

    async def surfaces(self) -> Mapping[str, bytes]:
        """Nothing is readable but through the author's own tools; the value is listed for the guards."""
        return {"value.json": json.dumps(self.codec.dump_python(self.value, mode="json")).encode()}


class Data(Adapter[T]):
    """`table = Data(dict[str, int])`: `self.table` is this episode's own copy of `world["table"]`."""

    session: ClassVar[type[Any]] = _Holder

    def __init__(self, type_: type[T]) -> None:
        self._codec: TypeAdapter[T] = TypeAdapter(type_)
        self.Seed = _root_model(type_)  # type: ignore[misc]  # one seed model per declaration

    def value(self, session: Any) -> Any:
        """The plain value, not its holder."""
        return session.value

    async def open(self, seed: Any, context: Context) -> Any:
        """A deep copy, made by going through JSON once: no two episodes share a mutable object."""
        return _Holder(self._codec.validate_json(seed.model_dump_json()), self._codec)

    def tools(self) -> Mapping[str, Tool]:
        """None: the author's own `@tool` methods are the way in."""
        return {}

    def frozen(self) -> Artefact:
        """Declare the value as evidence: the judge reads `<name>/value.json`."""
        return self.artefact("value.json")


def _root_model(type_: Any) -> type[BaseModel]:
    return RootModel[type_]
