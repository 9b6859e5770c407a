"""What is checked about a class while it is made: static judges, adapters with one name, attributes of their kind."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from inspect import getattr_static
from itertools import product
from types import FunctionType
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel

from envkit.adapter import Adapter, Artefact
from envkit.errors import DeclarationError


def refuse_unless_static(cls: type, *names: str) -> None:
    """Raise DeclarationError where any class in the MRO defines one of `names` with a `self` or `cls`."""
    for base, name in product(cls.__mro__, names):
        if name in vars(base) and not isinstance(vars(base)[name], staticmethod):
            raise DeclarationError(
                f"{base.__qualname__}.{name} must be a static method: it runs in the judge, where no world"
                f" exists; write @staticmethod above it"
            )


def refuse_malformed(cls: Any, adapters: Collection[str]) -> None:
    """Raise DeclarationError where an attribute of an environment is not what its name promises."""
    if not _count(cls.version, least=1):
        raise DeclarationError(f"{cls.__qualname__}.version {cls.version!r}: a number, from 1 up")
    if isinstance(getattr_static(cls, "task", None), FunctionType):
        raise DeclarationError(
            f"{cls.__qualname__}.task must be a class method: no world exists when a task is made; write @classmethod"
            " above it"
        )
    if not (isinstance(cls.Config, type) and issubclass(cls.Config, BaseModel)):
        raise DeclarationError(f"{cls.__qualname__}.Config must be a pydantic model")
    _refuse_splits(cls)
    _refuse_evidence(cls, adapters)


def _refuse_splits(cls: Any) -> None:
    splits = cls.splits
    good = isinstance(splits, Mapping) and all(
        isinstance(name, str) and (size is None or _count(size, least=0))
        for name, size in splits.items()
    )
    if not splits or not good:
        raise DeclarationError(
            f"{cls.__qualname__}.splits {splits!r}: write sizes by name, such as"
            ' {"train": 2000, "test": 500}; None is endless'
        )


def _refuse_evidence(cls: Any, adapters: Collection[str]) -> None:
    evidence = cls.evidence
    listed = isinstance(evidence, list | tuple)
    for item in evidence if listed else (evidence,):
        if not (listed and isinstance(item, Artefact)):
            raise DeclarationError(
                f"{cls.__qualname__}.evidence must be a list of what adapters freeze, such as"
                f' [shell.files("answer.txt")]; this is a {type(item).__name__}'
            )
        if item.adapter.name not in adapters and "evidence" in vars(cls):  # a subclass may drop one
            raise DeclarationError(
                f"{cls.__qualname__}.evidence names an adapter that the class does not declare;"
                f" there are {', '.join(adapters) or 'none'}"
            )


def _count(value: object, *, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def declared_adapters(cls: type) -> dict[str, Adapter[Any]]:
    """The adapters among a class's attributes, in the order of declaration. Raises DeclarationError."""
    declared: dict[str, Adapter[Any]] = {}
    for base in reversed(cls.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Adapter):
                declared[name] = value
            else:
                declared.pop(name, None)
    hearing = [name for name, adapter in declared.items() if adapter.hears]
    if len(hearing) > 1:
        raise DeclarationError(f"{cls.__qualname__}: only one of {hearing} can hear what is said")
    return declared


def gold_type(cls: type, root: type) -> Any:
    """The argument of the nearest `Env[...]` among a class's bases; a mapping where none is given."""
    for base in cls.__mro__:
        for original in vars(base).get("__orig_bases__", ()):
            origin = get_origin(original)
            if isinstance(origin, type) and issubclass(origin, root):
                (argument,) = get_args(original) or (None,)
                if argument is not None and not isinstance(argument, TypeVar):
                    return argument
    return dict[str, Any]
