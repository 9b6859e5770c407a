"""What an exercise is: a small package, what it should do, and the bugs that can be put into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random
from string import Template
from typing import Any, Literal, TypeAlias

Drawn: TypeAlias = Mapping[str, str]
"""Names and constants drawn for one task, by placeholder."""

Arguments: TypeAlias = list[Any]
"""The arguments of one call, as JSON."""


@dataclass(frozen=True, slots=True)
class Bug:
    """One fault: `right` stands once in the correct source, `wrong` takes its place."""

    name: str
    module: Literal["core", "helpers"]
    right: str
    wrong: str
    symptom: str  # what a user would report
    expose: Callable[[Random, Drawn], Arguments]  # arguments on which the fault always shows
    never_with: tuple[str, ...] = ()  # faults beside which one of the two would not show


@dataclass(frozen=True, slots=True)
class Exercise:
    """A package of two modules with `$placeholders`; `core` holds `$main` and uses `helpers`.

    `reference` is a second implementation, written in another way. It runs in the judge and gives
    the expected values; the pack's tests hold the two against each other.
    """

    name: str
    about: str
    names: Mapping[str, tuple[str, ...]]  # by placeholder, what may be drawn for it
    core: str
    helpers: str
    reference: Callable[..., Any]  # reference(drawn, *arguments)
    inputs: Callable[[Random, Drawn], Arguments]  # arguments of all sorts
    bugs: tuple[Bug, ...]

    def bug(self, name: str) -> Bug:
        """The bug of that name."""
        return next(bug for bug in self.bugs if bug.name == name)

    def source(self, module: Literal["core", "helpers"], drawn: Drawn) -> str:
        """The correct source of a module."""
        return fill(self.core if module == "core" else self.helpers, drawn)


def fill(template: str, drawn: Drawn) -> str:
    """A template with its placeholders replaced."""
    return Template(template).substitute(drawn)
