"""What a task puts into a memory: files that are there from the beginning, and how long notes last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from envkit.adapters.memory.paths import ROOT, below, parents
from envkit.data.task import Frozen

Lasting = Literal["episode", "session"]


class MemorySeed(Frozen):
    """`Memory.Seed`. A mapping that has none of these names as a key is `files` alone.

    So `{"people.md": text}` is short for `{"files": {"people.md": text}}`.
    """

    files: Mapping[str, str] = Field(default_factory=dict)  # by path; `/memories/` may be left out
    lasting: Lasting = "episode"  # "session": what was written is gone with the chain's session
    readonly: bool = False  # whether every write is refused

    @model_validator(mode="before")
    @classmethod
    def _files_alone(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value and not set(value) & set(cls.model_fields):
            return {"files": value}
        return value

    @field_validator("files")
    @classmethod
    def _files_fit_together(cls, files: Mapping[str, str]) -> Mapping[str, str]:
        normal: dict[str, str] = {}
        for path, text in files.items():
            if (name := below(path)) in normal or name == ROOT:
                raise ValueError(f"{path!r} is no file of its own")
            text.encode()  # lone surrogates are a ValueError here and now
            normal[name] = text
        for path in normal:
            if taken := normal.keys() & set(parents(path)):
                raise ValueError(f"{min(taken)!r} is a file, and the directory of {path!r}")
        return normal
