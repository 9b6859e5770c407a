"""A model that plays: policies over an engine, and the token-level traces that a learner needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any

from envkit.data.message import Action, Observation
from envkit.data.tool import Tool
from envkit.judge.client import Judge
from envkit.rollout.openai.answer import CallIds
from envkit.rollout.policy import Casting, Policy, PolicyFailed, PolicySource, PolicyStopped, Usage
from envkit.rollout.telemetry import EPISODE
from envkit.train.chat import Chat, as_chat, heard
from envkit.train.engine import Engine, EngineFailed
from envkit.train.render import Renderer
from envkit.train.types import Completion, Row, Sampling, Trace, Turn

_COUNT = count()  # of policies: attempts at the same episode are sessions of their own


class Transcript:
    """One seat's conversation in tokens: what it hears, what it says, and the rows that a learner gets.

    Args:
        renderer: the chat template
        tools: what the agent is offered
        trace: is written on
    """

    def __init__(self, renderer: Renderer, tools: tuple[Tool, ...], trace: Trace) -> None:
        self._renderer = renderer
        self._tools = tools
        self._trace = trace
        self._ids = CallIds()
        self._messages: list[Chat] = []  # of this context
        self._last: Action | None = None  # in this context

    def hear(self, observation: Observation) -> Row:
        """The row that the next turn continues: all its tokens are the prompt."""
        rows = self._trace.rows
        if observation.fresh:
            self._messages, self._last = [], None
        waiting = [call.id for call in self._last.calls] if self._last else []
        news = heard(observation.messages, waiting, first=not self._messages)
        self._messages += news
        if self._last is None:
            rows.append(Row())
            rows[-1].read(self._renderer.prompt(self._messages, self._tools))
        elif self._renderer.split:
            self._render_anew()
        else:
            rows[-1].read(self._renderer.suffix(self._last, news, self._tools))
        return rows[-1]

    def _render_anew(self) -> None:
        """Where the template leaves the beginning as it was, the row goes on; else another one begins."""
        rows, ids = self._trace.rows, self._renderer.prompt(self._messages, self._tools)
        kept = len(rows[-1].ids)
        if ids[:kept] != rows[-1].ids:
            rows.append(Row())
            kept = 0
        rows[-1].read(ids[kept:])

    def say(self, completion: Completion) -> Action:
        """Append a turn; what it says."""
        row, renderer = self._trace.rows[-1], self._renderer
        parsed = renderer.read(completion.ids, self._ids, inside=renderer.inside(row.ids))
        action = parsed.action
        start = len(row.ids)
        row.say(completion)
        row.turns.append(
            Turn(
                start, len(row.ids), completion.finish, completion.version,
                len(action.calls), parsed.broken, renderer.length(action.thinking),
            )
        )  # fmt: skip
        if row.ids[-1] != renderer.end:  # cut off, or ended by another stop token
            row.read([renderer.end])
        self._messages.append(as_chat(action))
        self._last = action
        return action


class EnginePolicy:
    """One seat of one episode, played by an engine."""

    def __init__(
        self, engine: Engine, renderer: Renderer, sampling: Sampling, casting: Casting
    ) -> None:
        self.usage = Usage()
        self.trace = Trace(EPISODE.get(), casting.seat)
        self._engine = engine
        self._renderer = renderer
        self._sampling = sampling
        self._rng: Random = casting.rng
        self._transcript = Transcript(renderer, casting.tools, self.trace)
        self._session = f"{self.trace.episode}/{self.trace.seat}/{next(_COUNT)}"
        self._rows = 0

    async def __call__(self, observation: Observation) -> Action:
        """The model's next turn. Raises PolicyStopped where its context is full, PolicyFailed."""
        row = self._transcript.hear(observation)
        if len(self.trace.rows) != self._rows:  # a context of its own has noise of its own
            self._rows = len(self.trace.rows)
            self._sampling = replace(self._sampling, key=self._rng.getrandbits(64))
        sampling = replace(self._sampling, thinking=self._renderer.budget(row.ids))
        try:
            completion = await self._engine.generate(row.ids, sampling, self._session)
        except EngineFailed as error:
            raise PolicyFailed(str(error)) from error
        self.usage.prompt_tokens += len(row.ids)
        self.usage.completion_tokens += len(completion.ids)
        action = self._transcript.say(completion) if completion.ids else Action()
        if completion.finish == "context":
            self.trace.stop = "context"
            raise PolicyStopped(f"the model's context of {self._engine.context:,} tokens is full")
        return action

    async def aclose(self) -> None:
        """Let the engine forget the conversation."""
        await self._engine.release(self._session)


class _Traced:
    """What the sources here share: traces by episode, kept until they are taken."""

    def __init__(self, name: str, *, keep: bool) -> None:
        self.name = name
        self.traces: dict[str, dict[str, Trace]] = {}  # by episode and seat
        self._keep = keep

    def take(self, episode: str) -> dict[str, Trace]:
        """The traces of an episode that has ended, by seat; they are handed out once."""
        return self.traces.pop(episode, {})

    def _open(self, trace: Trace) -> None:
        if self._keep:  # a later attempt at the same episode takes the place of the one before
            self.traces.setdefault(trace.episode, {})[trace.seat] = trace


class EngineSource(_Traced):
    """Every seat is played by one engine.

    Args:
        name: as the record names it
        engine: samples; closing it is the caller's business
        renderer: the chat template; its `check` has been made
        sampling: of every turn; `stop` and `key` are set here
        notes: what the record keeps beside the sampling
        keep: keep the traces, for `take`
    """

    def __init__(
        self, name: str, engine: Engine, renderer: Renderer, sampling: Sampling, *,
        notes: Mapping[str, Any] | None = None, keep: bool = True,
    ) -> None:  # fmt: skip
        super().__init__(name, keep=keep)
        self._engine = engine
        self._renderer = renderer
        self._sampling = replace(sampling, stop=renderer.stop)
        self._notes = dict(notes or {})

    def describe(self) -> Mapping[str, Any]:
        """Model and sampling."""
        sampling = self._sampling
        return {
            "name": self.name, **self._notes, "temperature": sampling.temperature,
            "max_tokens": sampling.max_tokens, "context": self._engine.context,
            "thinking": self._renderer.thinking,
        }  # fmt: skip

    async def variants(self, judge: Judge, split: str, index: int) -> tuple[str | None, ...]:
        """One episode."""
        return (None,)

    async def open(self, casting: Casting) -> Policy:
        """A conversation of its own."""
        policy = EnginePolicy(self._engine, self._renderer, self._sampling, casting)
        self._open(policy.trace)
        return policy

    async def aclose(self) -> None:
        """The engine stays."""


class Recorded(_Traced):
    """Another source, with what its policies say written down in tokens: what a warm start learns from.

    `Recorded(Oracle("oracle"), renderer)` gives the traces of a model that had said what the oracle said.
    """

    def __init__(self, source: PolicySource, renderer: Renderer) -> None:
        super().__init__(source.name, keep=True)
        self._source = source
        self._renderer = renderer

    def describe(self) -> Mapping[str, Any]:
        """What the other one says."""
        return self._source.describe()

    async def variants(self, judge: Judge, split: str, index: int) -> tuple[str | None, ...]:
        """What the other one says."""
        return await self._source.variants(judge, split, index)

    async def open(self, casting: Casting) -> Policy:
        """The other one's policy, written down."""
        policy = _Written(await self._source.open(casting), self._renderer, casting)
        self._open(policy.trace)
        return policy

    async def aclose(self) -> None:
        """Close the other one."""
        await self._source.aclose()


class _Written:
    """A policy whose turns are written down."""

    def __init__(self, policy: Policy, renderer: Renderer, casting: Casting) -> None:
        self.usage = policy.usage
        self._policy = policy
        self._renderer = renderer
        self._tools = casting.tools
        self.trace = Trace(EPISODE.get(), casting.seat)
        self._transcript = Transcript(renderer, casting.tools, self.trace)

    async def __call__(self, observation: Observation) -> Action:
        """The other one's answer; its calls get the ids that they have in the transcript."""
        action = await self._policy(observation)
        self._transcript.hear(observation)
        ids = tuple(self._renderer.spoken(action, self._tools))
        size = len(ids)
        said = self._transcript.say(Completion(ids, (0.0,) * size, (False,) * size, "stop", 0))
        calls = zip(action.calls, said.calls, strict=True)
        return replace(action, calls=tuple(replace(call, id=same.id) for call, same in calls))

    async def aclose(self) -> None:
        """Close the other one."""
        await self._policy.aclose()
