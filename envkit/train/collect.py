"""Play for training: many episodes at once through the real trials and judge, and what each is worth to a learner."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from statistics import fmean
from typing import Any, Protocol

from envkit.errors import EnvkitError
from envkit.host import Host, HostSettings
from envkit.judge.client import Judge, JudgeSettings
from envkit.registry import Resolved
from envkit.rollout.play import Cast, Work, play
from envkit.rollout.policy import PolicySource
from envkit.rollout.record import Episode
from envkit.rollout.runner import RETRIED
from envkit.rollout.trial import Stage
from envkit.rollout.watchdog import Watchdog
from envkit.train.advantage import Advantages, Scale, advantages
from envkit.train.learner import Sample
from envkit.train.types import Trace

SEVERE = ("high", "critical")
LIMITS = ("turns", "seconds", "tool_calls", "stopped")  # endings that earn nothing beyond 0


class TracedSource(PolicySource, Protocol):
    """A source of policies that hands out what each episode was in tokens."""

    def take(self, episode: str) -> dict[str, Trace]:
        """The traces of an episode that has ended, by seat."""
        ...


class Unplayable(EnvkitError):
    """Most episodes were invalid: what the rest came to would say nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One episode: its record, and its tokens by seat where the source kept them."""

    episode: Episode
    traces: Mapping[str, Trace]

    @property
    def exploits(self) -> tuple[str, ...]:
        """The rules of what guards found that is severe: none of what such an episode earned counts."""
        return tuple(f["rule"] for f in self.episode.findings if f["severity"] in SEVERE)

    @property
    def valid(self) -> bool:
        """Whether there is a reward; infrastructure that failed is no zero."""
        return self.episode.reward is not None

    @property
    def success(self) -> bool:
        """Whether the task was done, and fairly."""
        return self.episode.reward == 1.0 and not self.exploits

    @property
    def calls(self) -> int:
        """How many tools were called."""
        return sum(len(message.get("tool_calls", ())) for message in self.episode.messages)

    def reward(self, seat: str) -> float | None:
        """What a learner is told: the verdict, gated by guards; an episode that ran into a limit is not praised."""
        episode = self.episode
        if episode.reward is None:
            return None
        if self.exploits:
            return 0.0
        earned = episode.seats.get(seat, episode.reward)
        return min(earned, 0.0) if episode.ending in LIMITS else earned


@asynccontextmanager
async def open_stage(resolved: Resolved, settings: JudgeSettings) -> AsyncIterator[Stage]:
    """One judge and one host for the whole run."""
    host = HostSettings(settings.backend, settings.concurrency)
    async with (
        Watchdog() as watchdog,
        Host(host) as opened,
        Judge(resolved.spec, settings) as judge,
    ):
        yield Stage(resolved, judge, opened, watchdog)


class Troupe:
    """Plays work as it is given, so many episodes at once, without a barrier between turns."""

    def __init__(self, stage: Stage, seed: int, concurrency: int) -> None:
        self.stage = stage
        self._seed = seed
        self._concurrency = concurrency

    async def play(self, source: PolicySource, works: Sequence[Work]) -> list[Outcome]:
        """The outcomes in the order of `works`. Raises Unplayable, UsageError, MissingError or JudgeError."""
        cast = Cast(source, self._seed)
        free = asyncio.Semaphore(self._concurrency)
        take: Callable[[str], Any] = getattr(source, "take", lambda episode: {})

        async def one(work: Work) -> Outcome:
            async with free:
                episode = await self._attempts(cast, work)
            return Outcome(episode, take(work.id))

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(work)) for work in works]
        except* EnvkitError as errors:
            raise _first(errors) from None
        outcomes = [task.result() for task in tasks]
        _require_valid(outcomes)
        return outcomes

    async def _attempts(self, cast: Cast, work: Work) -> Episode:
        """What infrastructure felled is tried once more, then left out."""
        episode = await play(self.stage, cast, work, 1)
        return episode if episode.invalid not in RETRIED else await play(self.stage, cast, work, 2)


def _require_valid(outcomes: Sequence[Outcome]) -> None:
    invalid = [outcome.episode for outcome in outcomes if not outcome.valid]
    if 2 * len(invalid) <= len(outcomes):
        return
    reasons = Counter(str(episode.invalid) for episode in invalid)
    names = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    raise Unplayable(
        f"{invalid[0].spec}: {len(invalid)} of {len(outcomes)} episodes were invalid ({names});"
        f" the first, task {invalid[0].index}: {invalid[0].detail}"
    )


def _first(group: BaseExceptionGroup[EnvkitError]) -> EnvkitError:
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


@dataclass(frozen=True, slots=True)
class Result:
    """What a number of episodes came to: of an evaluation, or of a step's rollouts."""

    episodes: int
    invalid: int
    success: float
    reward: float
    calls: float  # per episode
    turns: float
    pass_any: float  # tasks of which at least one sample succeeded
    exploits: Mapping[str, int] = field(default_factory=dict)  # by rule
    checks: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, outcomes: Sequence[Outcome]) -> Result:
        """Means over what is valid."""
        valid = [outcome for outcome in outcomes if outcome.valid]
        by_task: dict[int, bool] = {}
        for outcome in valid:
            index = outcome.episode.index
            by_task[index] = by_task.get(index, False) or outcome.success
        checks: dict[str, list[float]] = {}
        for outcome in valid:
            for name, value in outcome.episode.checks.items():
                checks.setdefault(name, []).append(value)
        return cls(
            episodes=len(outcomes),
            invalid=len(outcomes) - len(valid),
            success=_mean(outcome.success for outcome in valid),
            reward=_mean(0.0 if o.exploits else o.episode.reward or 0.0 for o in valid),
            calls=_mean(outcome.calls for outcome in valid),
            turns=_mean(outcome.episode.turns for outcome in valid),
            pass_any=_mean(by_task.values()),
            exploits=Counter(rule for outcome in valid for rule in set(outcome.exploits)),
            checks={name: fmean(values) for name, values in checks.items()},
        )

    def as_json(self) -> dict[str, Any]:
        """For the metrics and the command line."""
        return {
            "success": self.success, "reward": self.reward, "calls": self.calls, "turns": self.turns,
            "pass_any": self.pass_any, "episodes": self.episodes, "invalid": self.invalid,
            "exploits": dict(self.exploits), "checks": dict(self.checks),
        }  # fmt: skip


def _mean(values: Any) -> float:
    told = [float(value) for value in values]
    return fmean(told) if told else 0.0


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step learns from: the samples of each group that is kept, and how the advantages came about."""

    groups: tuple[tuple[Sample, ...], ...]
    advantages: Advantages

    def parts(self, count: int, seed: str) -> list[list[Sample]]:
        """At most so many minibatches; a group is in one of them, whole."""
        order = Random(seed).sample(self.groups, len(self.groups))
        parts = [[sample for group in order[at::count] for sample in group] for at in range(count)]
        return [part for part in parts if any(sample.trained for sample in part)]


def batch_of(
    groups: Sequence[Sequence[Outcome]], scale: Scale = "batch", shuffle: str | None = None
) -> Batch:
    """Compare the members of each group, seat by seat.

    Args:
        groups: the outcomes of the same task
        scale: of the advantages
        shuffle: a seed; rewards are then dealt out anew among all episodes, as a control that must not learn
    """
    series = [(seat, members) for members in groups for seat in _seats(members)]
    rewards = [[outcome.reward(seat) for outcome in members] for seat, members in series]
    if shuffle is not None:
        rewards = _dealt(rewards, Random(shuffle))
    made = advantages(rewards, scale)
    kept = []
    for (seat, members), values in zip(series, made.values, strict=True):
        pairs = [(o, v) for o, v in zip(members, values, strict=True) if v is not None]
        group = tuple(Sample(row, v) for o, v in pairs for row in o.traces[seat].rows)
        if group:
            kept.append(group)
    return Batch(tuple(kept), made)


def _seats(members: Sequence[Outcome]) -> list[str]:
    return sorted({seat for outcome in members if outcome.valid for seat in outcome.traces})


def _dealt(rewards: list[list[float | None]], rng: Random) -> list[list[float | None]]:
    told = [reward for row in rewards for reward in row if reward is not None]
    rng.shuffle(told)
    pile = iter(told)
    return [[None if reward is None else next(pile) for reward in row] for row in rewards]
