"""Tasks: what an author makes, and the public part of it that leaves the judge."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Generic

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SkipValidation
from typing_extensions import TypeVar

G = TypeVar("G", default=dict[str, Any])
"""The type of an environment's gold: a pydantic model, or plain JSON mappings by default."""


class Frozen(BaseModel):
    """Base of all data that meets a file or a pipe: immutable, unknown fields refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_bytes="base64", val_json_bytes="base64"
    )


class Blob(Frozen):
    """Bytes in a world, addressed by their content."""

    data: bytes

    @property
    def sha256(self) -> str:
        """The address: the hex digest of the content."""
        return hashlib.sha256(self.data).hexdigest()


def _blob(value: Any) -> Any:
    return Blob(data=value) if isinstance(value, bytes) else value


FileContent = Annotated[str | Blob, BeforeValidator(_blob)]
"""Text, or bytes (kept as a `Blob`, so that they survive JSON)."""


class Limits(Frozen):
    """Where an episode is cut off. Reaching one truncates it with the reason; it is graded all the same."""

    turns: int = Field(default=32, gt=0)  # actions of the policy
    seconds: float = Field(
        default=300.0, gt=0
    )  # world time: what tools take, never what the model takes
    tool_calls: int = Field(default=128, gt=0)
    output_chars: int = Field(
        default=16_000, gt=0
    )  # of one tool result; the middle is cut out, and said


class Task(Frozen, Generic[G]):
    """One problem, whole: it exists in judge processes only.

    `world` has one entry per adapter, checked against that adapter's `Seed`. `gold` is what `grade` compares with.
    """

    prompt: str
    world: Mapping[str, Any] = Field(default_factory=dict)
    gold: SkipValidation[G]  # checked in the judge, against the environment's own gold type
    limits: Limits = Limits()
    tags: tuple[str, ...] = ()


class PublicTask(Frozen):
    """What the runner gets: everything the agent may find, and an opaque handle."""

    id: str  # opaque: an HMAC, so that it tells neither the index nor a seed
    prompt: str
    world: Mapping[str, Any]
    limits: Limits
    seed: int  # of the world's own draws; unrelated to the task's
    digest: str  # keyed by the salt: says that two processes made the same task, and nothing else
