"""What a run is told: `--config run.toml` equals the flags, and a flag wins over it."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from envkit.data.task import Frozen
from envkit.errors import UsageError
from envkit.registry import resolve

OPTIONS = {
    "openai": ("base_url", "temperature", "max_tokens", "price"),
    "hf": ("temperature", "max_tokens"),
}


class RunConfig(Frozen):
    """Everything that decides what a run does. Field names are the flags', with underscores."""

    spec: str
    policy: str = "oracle"
    tasks: int = Field(8, gt=0)
    first: int = Field(0, ge=0)  # the index of the first task
    split: str = "train"
    repeats: int = Field(1, gt=0)
    seed: int | None = None  # None: 0 for scripted policies, the server's choice for models
    salt_file: str | None = None
    concurrency: int = Field(8, gt=0, le=4096)
    backend: Literal["auto", "docker", "bubblewrap"] = "auto"
    base_url: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    price: str | None = None  # "IN:OUT" per million tokens
    out: str | None = None

    def policy_options(self) -> dict[str, Any]:
        """What the policy is told. Raises UsageError where it takes no such option."""
        options = OPTIONS["openai"]
        given = {name: getattr(self, name) for name in options if getattr(self, name) is not None}
        kind = self.policy.partition(":")[0]
        for name in given:
            if name not in OPTIONS.get(kind, ()):
                takers = (f"{taker}:..." for taker, names in OPTIONS.items() if name in names)
                raise UsageError(f"--{_flag(name)} is for --policy {' or '.join(takers)}")
        if "price" in given:
            given["prices"] = _prices(given.pop("price"))
        if self.seed is not None and kind == "openai":  # `hf:` draws from the run's own seed
            given["seed"] = self.seed
        return given

    def as_toml(self) -> str:
        """The configuration as a file that `--config` takes."""
        # a JSON string without surrogates is a TOML string, and so are JSON numbers
        # the folder is left out: a run may be moved, and another one may be told the same
        values = self.model_dump(exclude_none=True, exclude={"out"}).items()
        return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values)


def configure(file: Path | None, flags: Mapping[str, Any]) -> RunConfig:
    """The file's settings under the flags given. Raises UsageError, naming the wrong one."""
    given = {name: value for name, value in flags.items() if value is not None}
    settings = {**(_read(file) if file else {}), **given}
    if "spec" not in settings:
        raise UsageError("which environment? Write its spec, such as desk/logdesk (envkit list)")
    try:
        return RunConfig.model_validate(settings)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = str(problem["loc"][0])
        where = f"--{_flag(name)}" if name in given else f"{file}: {name}"
        raise UsageError(f"{where} {settings[name]!r}: {problem['msg']}") from None


def refuse_too_many(config: RunConfig) -> None:
    """Refuse more tasks than there are, before a world is opened. Raises UsageError."""
    resolved = resolve(config.spec)
    size = resolved.env.splits.get(config.split)
    if size is not None and config.first + config.tasks > size:
        start = f" from --first {config.first}" if config.first else ""
        asked = f"task {config.first}" if config.tasks == 1 else f"--tasks {config.tasks}{start}"
        raise UsageError(f"{asked}: split {config.split!r} of {resolved.spec} has {size} tasks")


def _read(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise UsageError(f"--config {file}: {error.strerror}") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError
        raise UsageError(f"--config {file}: not TOML: {error}") from None
    settings = {name.replace("-", "_"): value for name, value in content.items()}
    for name in settings:
        if name not in RunConfig.model_fields:
            raise UsageError(f"--config {file}: no setting is called {name!r}{_meant(name)}")
    return settings


def _meant(name: str) -> str:
    known = list(RunConfig.model_fields)
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _prices(text: str) -> tuple[float, float]:
    try:
        prompt, completion = (float(part) for part in text.split(":"))
    except ValueError:
        message = f"--price {text!r}: write IN:OUT, such as 0.15:0.60, per million tokens"
        raise UsageError(message) from None
    return prompt, completion
