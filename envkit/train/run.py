"""What a training run is told, and the folder that holds it to that."""

from __future__ import annotations

import fcntl
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from envkit.data.task import Frozen
from envkit.errors import MissingError, RecordError
from envkit.host import Backend
from envkit.rollout.trial import Stage
from envkit.train.models import TINY

RUN = "run.json"
NEEDED = ("torch", "transformers", "tensorboard", "matplotlib")

Loss = Literal["clip", "cispo", "gspo", "dppo", "reinforce"]


def require() -> None:
    """Raise MissingError for what is not installed, before anything is begun."""
    for name in NEEDED:
        if importlib.util.find_spec(name) is None:
            raise MissingError(f"training needs {name}: pip install 'envkit[train]'")


class TrainSettings(Frozen):
    """Everything that decides a run. Field names are the flags', with underscores; None: it depends on the model."""

    spec: str
    model: str = TINY
    steps: int = Field(60, ge=0)
    seed: int = 0
    device: str = "auto"
    groups: int = Field(16, gt=0)  # tasks of a step
    group_size: int = Field(8, gt=1)  # episodes of a task
    lr: float | None = Field(None, gt=0)
    loss: Loss = "clip"
    minibatches: int = Field(2, gt=0, le=2)  # optimizer steps of a step
    warm: str | None = None
    warm_steps: int | None = Field(None, ge=0)  # at most; it ends as soon as rewards can teach
    max_tokens: int | None = Field(None, gt=0)  # of one turn
    context: int = Field(8192, gt=1)
    thinking: Literal["off", "on"] | int = "off"
    eval_tasks: int = Field(64, gt=0)
    eval_samples: int = Field(4, gt=0)
    eval_every: int = Field(20, gt=0)
    checkpoint_every: int = Field(20, gt=0)
    max_exploit_rate: float = Field(0.05, ge=0, le=1)
    shuffle_rewards: bool = False
    salt_file: str | None = None
    concurrency: int = Field(128, gt=0, le=4096)
    backend: Backend = "auto"

    @property
    def _tiny(self) -> bool:
        return self.model == TINY

    @property
    def learning_rate(self) -> float:
        """Of reinforcement learning; a model made from nothing takes more."""
        return self.lr or (5e-4 if self._tiny else 1e-6)

    @property
    def lr_warmup(self) -> int:
        """Optimizer steps until it is reached."""
        return 10

    @property
    def warm_rate(self) -> float:
        """Of the warm start."""
        return 1.5e-3 if self._tiny else 1e-5

    @property
    def warm_batch(self) -> int:
        """Rows of one step of it."""
        return 32

    @property
    def warm_up_steps(self) -> int:
        """Its steps, at most."""
        return (1200 if self._tiny else 0) if self.warm_steps is None else self.warm_steps

    @property
    def turn_tokens(self) -> int:
        """The most that is said in one turn."""
        return self.max_tokens or (48 if self._tiny else 1024)


class Header(Frozen):
    """What `run.json` holds; who resumes must agree in all of it."""

    schema_version: Literal[1] = 1
    envkit: str
    spec: str  # canonical
    digest: str
    salt: str  # the salt's name, not the salt
    settings: TrainSettings

    @classmethod
    def of(cls, settings: TrainSettings, stage: Stage) -> Header:
        """Of a run that is about to begin."""
        resolved = stage.resolved
        return cls(
            envkit=version("envkit"), spec=str(resolved.spec), digest=resolved.digest,
            salt=stage.judge.salt, settings=settings,
        )  # fmt: skip

    @classmethod
    def read(cls, out: Path) -> Header:
        """Of a run that was begun. Raises RecordError."""
        path = out / RUN
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise RecordError(f"{out} holds no training run; leave out --resume") from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise RecordError(f"{path} is no header of a training run: {first['msg']}") from None


def agree(out: Path, header: Header, *, resume: bool) -> None:
    """Write the header of a new run; hold a resumed one to its own. Raises RecordError."""
    path = out / RUN
    if not path.exists():
        waiting = path.with_suffix(".tmp")
        waiting.write_text(header.model_dump_json(indent=2), "utf-8")
        waiting.replace(path)
        return
    if not resume:
        raise RecordError(f"{out} holds a run already; add --resume, or choose another --out")
    before = Header.read(out)
    for name, was, is_ in _pairs(before, header):
        if was != is_:
            raise RecordError(f"{path}: {name} was {was!r} and is {is_!r}; this is another run")


def _pairs(before: Header, now: Header) -> Iterator[tuple[str, Any, Any]]:
    for name in ("spec", "digest", "salt"):
        yield name, getattr(before, name), getattr(now, name)
    for name in TrainSettings.model_fields:
        if name not in ("steps", "spec"):  # a run may go on for longer
            yield name, getattr(before.settings, name), getattr(now.settings, name)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """One process writes a run at a time. Raises RecordError."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock = os.open(out / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise RecordError(f"--out {out}: {error.strerror}; choose another folder") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise RecordError(f"{out} is being written by another run") from None
    try:
        yield
    finally:
        os.close(lock)
