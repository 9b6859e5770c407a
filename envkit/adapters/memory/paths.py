"""Paths under `/memories`: one name for one file, whatever an agent types.

There is no file system behind them, so nothing can be climbed out of; what is refused here is what would give one
file two names, or a name that nobody can see.
"""

from __future__ import annotations

import unicodedata

ROOT = "/memories"
MOST_CHARS = 200
MOST_PARTS = 8  # below the root


def normal(path: str) -> str:
    """The one way to write a path: no slash at its end, none doubled. Raises ValueError, saying what is wrong."""
    text = unicodedata.normalize("NFC", path) if len(path) <= 4 * MOST_CHARS else path
    if len(text) > MOST_CHARS:
        raise ValueError(f"a path has at most {MOST_CHARS} characters")
    first, *parts = [part for part in text.split("/") if part] or [""]
    if not text.startswith("/") or f"/{first}" != ROOT:
        raise ValueError(f"the path {shown(path)} is not in {ROOT}; write {ROOT}/NAME")
    if len(parts) > MOST_PARTS:
        raise ValueError(f"the path {shown(path)} is nested deeper than {MOST_PARTS}")
    for part in parts:
        _refuse_part(part, path)
    return "/".join([ROOT, *parts])


def below(path: str) -> str:
    """A path of a seed or of evidence, which may leave the root out, as agents have to write it."""
    return normal(path if path.startswith("/") else f"{ROOT}/{path}")


def inside(path: str) -> str:
    """A normal path as evidence names it: without the root."""
    return path.removeprefix(f"{ROOT}/")


def parents(path: str) -> list[str]:
    """The directories that a normal path lies in, the root left out."""
    parts = inside(path).split("/")
    return [f"{ROOT}/" + "/".join(parts[:count]) for count in range(1, len(parts))]


def hidden(path: str, directory: str) -> bool:
    """Whether a listing of `directory` leaves a path out: some part of it below there begins with a dot."""
    return any(part.startswith(".") for part in path[len(directory) :].split("/"))


def shown(path: str) -> str:
    """A path for a message: short, and with everything that cannot be seen spelt out."""
    return ascii(path if len(path) <= 80 else f"{path[:80]}...")


def _refuse_part(part: str, path: str) -> None:
    if part in (".", ".."):
        raise ValueError(f"the path {shown(path)} has a part {part!r}; write it out")
    if part != part.strip():
        raise ValueError(f"the path {shown(path)} has a part that begins or ends with a blank")
    # also refuses what looks like nothing: NUL, zero-width and direction marks, lone surrogates
    if "\\" in part or not part.isprintable():
        raise ValueError(f"the path {shown(path)} has a character that no name may have")
