"""A pack as the static rules see it: its install, its folder, its classes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from envkit.errors import EnvkitError, UsageError
from envkit.registry import PACKS, Pack, Resolved, packs, resolve


@dataclass(frozen=True)
class PackView:
    """One pack. `project` is the folder of its pyproject.toml; None where it came as a wheel."""

    pack: Pack
    doubles: tuple[Pack, ...] = ()  # others of the same name
    project: Path | None = None
    resolved: Mapping[str, Resolved] = field(default_factory=dict)
    broken: Mapping[str, str] = field(
        default_factory=dict
    )  # environments that do not load, and why

    @property
    def digest(self) -> str:
        """Of the pack's files; empty where nothing of it loads."""
        return next((one.digest for one in self.resolved.values()), "")

    @cached_property
    def pyproject(self) -> Mapping[str, Any]:
        """What its pyproject.toml says."""
        return {} if self.project is None else _toml(self.project / "pyproject.toml")

    def place(self, name: str = "") -> str:
        """Where a finding stands."""
        return f"{self.pack.name}/{name}" if name else self.pack.name


def view(target: str) -> PackView:
    """The pack of a name, or in a folder. Raises UsageError where it is not installed."""
    folder = Path(target)
    installed = [pack for pack in packs() if pack.name == target]
    if "/" in target or (folder.is_dir() and not installed):
        return _load(_installed_from(folder), folder.resolve())
    if not installed:
        known = ", ".join(sorted({pack.name for pack in packs()})) or "none"
        raise UsageError(f"no pack is called {target!r}; installed: {known} (or give its folder)")
    return _load(installed, _project_of(installed[0]))


def _installed_from(folder: Path) -> list[Pack]:
    if not (folder / "pyproject.toml").is_file():
        raise UsageError(
            f"{folder} is no pack: it has no pyproject.toml (envkit new NAME makes one)"
        )
    named = _entry_points(_toml(folder / "pyproject.toml"))
    if not named:
        raise UsageError(f'{folder}/pyproject.toml has no [project.entry-points."{PACKS}"]')
    name = next(iter(named))
    installed = [pack for pack in packs() if pack.name == name]
    here = [pack for pack in installed if _inside(pack.folder, folder.resolve())]
    if not here and not any(pack.folder is None for pack in installed):
        raise UsageError(
            f"{folder}: the pack {name!r} in it is not installed; pip install -e {folder}"
        )
    return here + [pack for pack in installed if pack not in here]


def _load(installed: list[Pack], project: Path | None) -> PackView:
    pack, *doubles = installed
    resolved: dict[str, Resolved] = {}
    broken: dict[str, str] = {}
    for name in pack.manifest.envs if pack.manifest and not doubles else ():
        try:
            resolved[name] = resolve(f"{pack.name}/{name}")
        except EnvkitError as error:
            broken[name] = str(error)
    return PackView(pack, tuple(doubles), project, resolved, broken)


def _project_of(pack: Pack) -> Path | None:
    """The folder above an editable install whose pyproject.toml announces this pack."""
    if pack.folder is None:
        return None
    for folder in pack.folder.parents:
        file = folder / "pyproject.toml"
        if file.is_file() and pack.name in _entry_points(_toml(file)):
            return folder
    return None


def _inside(folder: Path | None, project: Path) -> bool:
    return folder is not None and folder.resolve().is_relative_to(project)


def _entry_points(pyproject: Mapping[str, Any]) -> Mapping[str, str]:
    points: Mapping[str, str] = pyproject.get("project", {}).get("entry-points", {}).get(PACKS, {})
    return points


def _toml(path: Path) -> Mapping[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None
