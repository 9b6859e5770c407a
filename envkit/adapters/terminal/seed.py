"""What a task puts into a terminal: files, an image, an environment, a directory."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from shlex import quote
from typing import Any

from pydantic import Field, field_validator, model_validator

from envkit.adapters.terminal.sandbox import WORKSPACE
from envkit.data.task import Blob, FileContent, Frozen

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class TerminalSeed(Frozen):
    """`Terminal.Seed`. A mapping that has none of these names as a key is `files` alone.

    So `{"app.log": log}` is short for `{"files": {"app.log": log}}`; a file that is called `files`,
    `image`, `env`, `cwd` or `executable` is written the long way.
    """

    files: Mapping[str, FileContent] = Field(default_factory=dict)  # by path under the workspace
    image: str | None = None  # instead of the declaration's
    env: Mapping[str, str] = Field(default_factory=dict)  # of the shell, the jobs and the programs
    cwd: str = ""  # where they start: under the workspace (made if missing), or absolute
    executable: tuple[str, ...] = ()  # which of the files can be run

    @model_validator(mode="before")
    @classmethod
    def _files_alone(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value and not set(value) & set(cls.model_fields):
            return {"files": value}
        return value

    @field_validator("files")
    @classmethod
    def _files_fit_a_directory(cls, files: Mapping[str, FileContent]) -> Mapping[str, FileContent]:
        for path in files:
            _refuse_path("file", path)
        _refuse_directories(files)
        return files

    @field_validator("env")
    @classmethod
    def _env_fits_a_shell(cls, env: Mapping[str, str]) -> Mapping[str, str]:
        for name, value in env.items():
            if not _VARIABLE.fullmatch(name):
                raise ValueError(f"env {name!r} is no name of a variable")
            if "\0" in value:
                raise ValueError(f"env {name!r} has a NUL character in its value")
        return env

    @field_validator("cwd")
    @classmethod
    def _cwd_is_a_path(cls, cwd: str) -> str:
        if "\0" in cwd or ".." in cwd.split("/"):
            raise ValueError(f"cwd {cwd!r} must be a path without '..' and NUL")
        return cwd

    @model_validator(mode="after")
    def _executables_are_files(self) -> TerminalSeed:
        for path in self.executable:
            if path not in self.files:
                raise ValueError(f"executable {path!r} is not among the files")
        return self

    def contents(self) -> dict[str, bytes]:
        """The files as bytes."""
        return {
            path: content.data if isinstance(content, Blob) else content.encode()
            for path, content in self.files.items()
        }

    def prelude(self) -> str:
        """Bash source that sets the directory and the environment; empty where there is neither."""
        steps = []
        if self.cwd:
            place = quote(f"{WORKSPACE}/{self.cwd}" if self.cwd[0] != "/" else self.cwd)
            steps += [] if self.cwd[0] == "/" else [f"mkdir -p -- {place}"]
            steps.append(f"cd -- {place}")
        steps += [f"export {name}={quote(value)}" for name, value in self.env.items()]
        return " && ".join(steps)


def seeded(prelude: str, command: str) -> str:
    """The command after the prelude, which runs once per bash: agents end theirs by `exit`.

    `$?` is still that of the command before.
    """
    if not prelude:
        return command
    once = f"[ -v __seeded ] || {{ {prelude}; __seeded=1; }}"
    return f'__was=$?; {once}; __again() {{ return "$__was"; }}; __again; {command}'


def _refuse_path(kind: str, path: str) -> None:
    if not path:
        raise ValueError(f"a {kind} has an empty name")
    if path.startswith("/"):
        raise ValueError(f"{kind} {path!r} is absolute; name it relative to the workspace")
    if "\0" in path:
        raise ValueError(f"{kind} {path!r} has a NUL character in its name")
    parts = path.split("/")
    if ".." in parts:
        raise ValueError(f"{kind} {path!r} leaves the workspace by '..'")
    if "" in parts or "." in parts:
        raise ValueError(f"{kind} {path!r} has an empty part or '.' in its path")
    _refuse_bytes(kind, path, parts)


def _refuse_bytes(kind: str, path: str, parts: list[str]) -> None:
    try:
        lengths = [len(part.encode()) for part in parts]
    except UnicodeEncodeError:
        raise ValueError(f"{kind} {path!r} has a lone surrogate in its name") from None
    if max(lengths) > 255 or sum(lengths) > 3_000:
        raise ValueError(f"{kind} {path[:80]!r}... has a name that is too long")


def _refuse_directories(paths: Iterable[str]) -> None:
    files = set(paths)
    for path in files:
        for at in (at for at, char in enumerate(path) if char == "/"):
            if path[:at] in files:
                raise ValueError(f"file {path[:at]!r} is also the directory of {path!r}")
