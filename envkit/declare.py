"""What is checked about a class while it is made: static judges, adapters with one name, the type of gold."""

from __future__ import annotations

from itertools import product
from typing import Any, TypeVar, get_args, get_origin

from envkit.adapter import Adapter
from envkit.errors import DeclarationError


def refuse_unless_static(cls: type, *names: str) -> None:
    """Raise DeclarationError where any class in the MRO defines one of `names` with a `self` or `cls`."""
    for base, name in product(cls.__mro__, names):
        if name in vars(base) and not isinstance(vars(base)[name], staticmethod):
            raise DeclarationError(
                f"{base.__qualname__}.{name} must be a static method: it runs in the judge, where no world"
                f" exists; write @staticmethod above it"
            )


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
