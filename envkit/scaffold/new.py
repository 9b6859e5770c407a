"""Write the folder of a new pack, which passes `validate` and its own tests untouched."""

from __future__ import annotations

import importlib.util
import keyword
import re
import shutil
import tempfile
from collections.abc import Mapping
from importlib import resources
from importlib.metadata import version
from pathlib import Path

from envkit.errors import UsageError
from envkit.registry import packs

FILES: Mapping[str, str] = {
    "pyproject.toml": "pyproject.toml",
    "README.md": "README.md",
    "package.py": "src/envkit_@@NAME@@/__init__.py",
    "environment.py": "src/envkit_@@NAME@@/@@NAME@@.py",
    "envkit.json": "src/envkit_@@NAME@@/envkit.json",
    "test_pack.py": "tests/test_pack.py",
}
"""From a template (with `.tmpl` behind its name) to its place in the pack."""


def new_pack(name: str, parent: Path) -> list[Path]:
    """Make the folder `parent/name`, whole or not at all; the files in it. Raises UsageError."""
    _refuse_bad(name)
    folder = parent / name
    if folder.exists():
        raise UsageError(f"{folder} exists already; choose another name or --dir")
    if not parent.is_dir():
        raise UsageError(f"--dir {parent}: no such folder")
    words = _words(name)
    try:
        with tempfile.TemporaryDirectory(dir=parent, prefix=".envkit-new-") as waiting:
            draft = Path(waiting) / name
            for template, place in FILES.items():
                path = draft / _filled(place, words)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(_filled(_template(template), words), "utf-8")
            shutil.move(draft, folder)
    except OSError as error:
        raise UsageError(f"{folder}: {error.strerror}; choose another --dir") from None
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _refuse_bad(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        better = re.sub(r"\W+", "_", name.lower()).strip("_0123456789")
        usable = bool(better) and better.isascii() and not keyword.iskeyword(better)
        hint = f", such as {better!r}" if usable else ""
        raise UsageError(
            f"{name!r} can't be a pack's name: it becomes a Python module, so use small letters,"
            f" digits and _, and no word of Python's own{hint}"
        )
    taken = [pack.dist for pack in packs() if pack.name == name]
    if taken:
        raise UsageError(
            f"a pack {name!r} is installed already, from {taken[0]}; choose another name"
        )
    if importlib.util.find_spec(f"envkit_{name}") is not None:
        raise UsageError(f"a package envkit_{name} is installed already; choose another name")


def _words(name: str) -> dict[str, str]:
    major, minor = version("envkit").split(".")[:2]
    return {
        "NAME": name,
        "CLASS": "".join(part.capitalize() for part in name.split("_")) or name,
        "ENVKIT": f"envkit>={major}.{minor},<{major}.{int(minor) + 1}",
    }


def _template(name: str) -> str:
    return (
        resources.files("envkit.scaffold").joinpath("template", f"{name}.tmpl").read_text("utf-8")
    )


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(f"@@{word}@@", value)
    return text
