"""What passes between the engine, the policy and the learner: tokens, and what is known of each.

Made on every turn, so these are slotted dataclasses; nothing here knows a model or an environment.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Finish = Literal["stop", "length", "context"]
"""Why a completion ended: a stop id was sampled, `max_tokens` were, or the context is full."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """A budget of thinking tokens for one turn: when it is spent, the engine closes the thought."""

    budget: int
    open: int  # the id of `<think>`
    end: int  # the id of `</think>`
    close: tuple[int, ...]  # the ids that are forced; `end` is among them
    inside: bool = False  # the prompt ends inside a thought that the template opened


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to sample one completion. There is no top-p or top-k: what is cut off would bias the learner's ratios."""

    key: int = (
        0  # 64 bits; with a token's position it decides the noise, so a sample can be had again
    )
    temperature: float = 1.0  # 0: the most likely token
    max_tokens: int = 1024  # of this completion
    stop: tuple[int, ...] = ()  # ids that end it; the one sampled is kept
    thinking: Thinking | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What was sampled after a prompt.

    `logprobs` are those of the distribution that was sampled from (`temperature` included; the model's own
    where that is 0). A forced token has 0.0.
    """

    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    forced: tuple[bool, ...]  # put there by the engine, not by the model
    finish: Finish
    version: int  # of the weights, when the first token was sampled


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of the model inside a row."""

    start: int  # its first token in the row
    end: int  # after its last
    finish: Finish
    version: int
    calls: int = 0
    broken: int = 0  # of them: those that could not be read
    thought: int = 0  # tokens of thinking


@dataclass(slots=True)
class Row:
    """One context, token by token, as the engine saw it. `mask` is 1 where a token was sampled, else 0.

    `logprobs[i]` belongs to `ids[i]`; it is 0.0 where the mask is 0.
    """

    ids: list[int] = field(default_factory=list)
    mask: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    turns: list[Turn] = field(default_factory=list)

    @property
    def version(self) -> int:
        """The oldest weights that a token of it was sampled from."""
        return min((turn.version for turn in self.turns), default=0)

    def read(self, ids: list[int]) -> None:
        """Append what the model is shown."""
        self.ids += ids
        self.mask += [0] * len(ids)
        self.logprobs += [0.0] * len(ids)

    def say(self, completion: Completion) -> None:
        """Append what the model sampled; what was forced upon it is not trained."""
        self.ids += completion.ids
        self.mask += [0 if forced else 1 for forced in completion.forced]
        self.logprobs += completion.logprobs


@dataclass(slots=True)
class Trace:
    """What one seat of one episode was at token level.

    It is one row while its context only grows; every context that begins anew (`Observation.fresh`, or a template that
    rewrites its history) adds a row. All rows share the episode's reward.
    """

    episode: str = ""  # the id of the work: the same as `Episode.id` of the record
    seat: str = ""
    rows: list[Row] = field(default_factory=list)
    stop: str = (
        ""  # why the policy went no further ("context"); empty where the world ended the episode
    )

    @property
    def turns(self) -> list[Turn]:
        """All turns of the model."""
        return [turn for row in self.rows for turn in row.turns]

    @property
    def sampled(self) -> int:
        """How many tokens can be trained."""
        return sum(sum(row.mask) for row in self.rows)

    @property
    def version(self) -> int:
        """The oldest weights that took part."""
        return min((row.version for row in self.rows if row.turns), default=0)
