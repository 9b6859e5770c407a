"""What every engine offers. The runner never sees a model, and the learner never sees an environment.

`SlotEngine` (in `slots`) samples in this process from the learner's own weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from envkit.errors import EnvkitError
from envkit.train.types import Completion, Sampling


class EngineFailed(EnvkitError):
    """Sampling failed for a reason that is not the model's own (no memory left): infrastructure."""


class EngineClosed(EngineFailed):
    """The engine was closed while a completion was under way, or before."""


class Engine(Protocol):
    """Token ids in, token ids and their log-probabilities out."""

    @property
    def capacity(self) -> int:
        """How many completions can be sampled at once; more than that wait their turn."""
        ...

    @property
    def context(self) -> int:
        """The most tokens of a prompt and its completion together."""
        ...

    @property
    def version(self) -> int:
        """Of the weights that the next token is sampled from."""
        ...

    async def generate(
        self, ids: Sequence[int], sampling: Sampling, session: str | None = None
    ) -> Completion:
        """Sample what follows `ids`, which is always the whole context.

        Args:
            ids: all tokens so far
            sampling: how to sample; the same key, ids and weights give the same completion, whatever
                else is sampled at the time
            session: names a conversation that grows; what the engine computed of it is kept until `release`, so
                that a next call pays for its new tokens alone. A session has one call at a time.

        Where the context is full already, the completion is empty and its finish is `context`.
        """
        ...

    async def release(self, session: str) -> None:
        """Forget a session. No error where there is none."""
        ...

    def paused(self) -> AbstractAsyncContextManager[None]:
        """No token is sampled inside, so that weights may change: `async with engine.paused(): step()`.

        Completions under way go on afterwards.
        """
        ...

    async def publish(self, version: int) -> None:
        """The weights have changed: nothing that was computed with the old ones is used any more."""
        ...

    async def aclose(self) -> None:
        """End: what is under way fails with EngineClosed."""
        ...
