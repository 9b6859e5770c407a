"""A gold that notes which of its fields are read: for pydantic models and for mappings."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from pydantic import BaseModel


def recorded(gold: Any) -> tuple[Any, Callable[[], set[str]]]:
    """A copy of a gold, and what tells which of its fields were read; none of what can't be watched."""
    read: set[str] = set()
    if isinstance(gold, BaseModel):
        return _model(gold, read), lambda: read
    if isinstance(gold, dict):
        return _mapping(gold, read), lambda: read
    return deepcopy(gold), set


def _model(gold: BaseModel, read: set[str]) -> BaseModel:
    kind = type(gold)
    fields = set(kind.model_fields)

    class Recorded(kind):  # type: ignore[valid-type, misc]  # the gold's own class, made while it runs
        def __getattribute__(self, name: str) -> Any:
            if name in fields:
                read.add(name)
            elif name == "__dict__" or name.startswith(("model_dump", "dict", "json", "copy")):
                read.update(fields)
            return super().__getattribute__(name)

        def __eq__(self, other: object) -> bool:
            read.update(fields)
            return bool(kind.__eq__(gold, other))

        def __iter__(self) -> Any:
            read.update(fields)
            return iter(deepcopy(gold))

        __hash__ = None  # type: ignore[assignment]  # as models have it that are not frozen

    made: BaseModel = Recorded.model_construct(**{name: getattr(gold, name) for name in fields})
    read.clear()  # what making it took
    return made


class _Mapping(dict[str, Any]):
    """A dict that notes its keys in `read` as they are asked for."""

    read: set[str]

    def __getitem__(self, key: str) -> Any:
        self.read.add(key)
        return super().__getitem__(key)

    def get(self, key: str, default: Any = None) -> Any:
        """One key."""
        self.read.add(key)
        return super().get(key, default)

    def _all(self) -> None:
        self.read.update(map(str, super().keys()))

    def __iter__(self) -> Any:
        self._all()
        return super().__iter__()

    def keys(self) -> Any:
        """All keys."""
        self._all()
        return super().keys()

    def items(self) -> Any:
        """All of it."""
        self._all()
        return super().items()

    def values(self) -> Any:
        """All of it."""
        self._all()
        return super().values()

    def __eq__(self, other: object) -> bool:
        self._all()
        return super().__eq__(other)

    __hash__ = None


def _mapping(gold: dict[str, Any], read: set[str]) -> dict[str, Any]:
    made = _Mapping(deepcopy(gold))
    made.read = read
    return made
