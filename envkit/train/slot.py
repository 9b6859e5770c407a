"""A completion under way, and the slot of the cache that it sits in."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from envkit.train.types import Completion, Finish, Sampling


@dataclass(slots=True, eq=False)
class Request:
    """A completion under way."""

    ids: list[int]
    sampling: Sampling
    session: str | None
    future: asyncio.Future[Completion]
    version: int = -1
    out: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    forced: list[bool] = field(default_factory=list)
    finish: Finish | None = None
    inside: bool = False  # a thought
    thought: int = 0

    def take(self, token: int, logprob: float, *, forced: bool = False) -> None:
        """Append a token, and follow whether it stands in a thought."""
        self.out.append(token)
        self.logprobs.append(logprob)
        self.forced.append(forced)
        if thinking := self.sampling.thinking:
            self.thought += self.inside and token != thinking.end
            self.inside = token == thinking.open or (self.inside and token != thinking.end)

    def to_force(self) -> tuple[int, ...]:
        """What closes a thought whose budget is spent."""
        thinking = self.sampling.thinking
        spent = thinking is not None and self.inside and self.thought >= thinking.budget
        return thinking.close if thinking is not None and spent else ()

    def settle(self, used: int, context: int) -> None:
        """See whether the last token ended it; `used` counts all tokens of its slot."""
        if self.out[-1] in self.sampling.stop:
            self.finish = "stop"
        elif used >= context:
            self.finish = "context"
        elif len(self.out) >= self.sampling.max_tokens:
            self.finish = "length"

    def completion(self) -> Completion:
        """What whoever waits for it gets."""
        assert self.finish is not None  # noqa: S101 - a slot is left when this is set
        return Completion(
            tuple(self.out), tuple(self.logprobs), tuple(self.forced), self.finish, self.version
        )


@dataclass(slots=True, eq=False)
class Slot:
    """A row of the cache: the first `done` of its tokens have their keys and values there."""

    index: int
    tokens: list[int] = field(default_factory=list)
    done: int = 0
    session: str | None = None
    request: Request | None = None
    used: int = 0  # a stamp: the smallest of those parked is evicted first

    @property
    def behind(self) -> int:
        """How many tokens are yet to be run."""
        return len(self.tokens) - self.done

    def seat(self, request: Request) -> None:
        """Begin a completion; what the cache holds of the same session's tokens is kept."""
        kept = 0
        if self.session is not None and self.session == request.session:
            most = min(self.done, len(request.ids) - 1)  # the last token is run in any case
            pairs = zip(self.tokens[:most], request.ids, strict=False)
            kept = next((at for at, (was, is_) in enumerate(pairs) if was != is_), most)
        self.tokens, self.done = list(request.ids), kept
        self.session, self.request = request.session, request

    def take(self, request: Request, token: int, logprob: float, context: int) -> None:
        """Append what was sampled and, where a thought's budget is spent, what closes it."""
        request.take(token, logprob)
        self.tokens.append(token)
        request.settle(len(self.tokens), context)
        for forced in request.to_force() if request.finish is None else ():
            request.take(forced, 0.0, forced=True)
            self.tokens.append(forced)
            request.settle(len(self.tokens), context)
            if request.finish is not None:
                return

    def empty(self) -> None:
        """Forget what was in it; nothing attends to what the cache still holds."""
        self.tokens, self.done, self.session, self.request = [], 0, None, None
