"""The runner: many trials at once, without a barrier anywhere.

Each worker takes the next piece of work as soon as it is free, so a slow container holds up its own episode alone.
Only infrastructure is retried; an episode whose evidence exists is never rolled again.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from envkit.data.score import Reason
from envkit.data.spec import EnvSpec
from envkit.errors import EnvkitError, TaskError
from envkit.host import Backend, Host, HostSettings
from envkit.judge.client import Judge, JudgeSettings
from envkit.registry import Resolved, resolve
from envkit.rollout.play import Cast, Work, play, undrawn
from envkit.rollout.policy import PolicySource
from envkit.rollout.record import Episode, Record, RunHeader
from envkit.rollout.trial import Stage
from envkit.rollout.watchdog import Watchdog

ATTEMPTS = 3  # of an episode that infrastructure made invalid
BACKOFF = 0.5  # seconds before the second attempt, twice that before the third
RETRIED = (
    frozenset(  # at once; what a resumed run plays again is all that infrastructure made invalid
        {
            Reason.ENGINE_UNAVAILABLE,
            Reason.WORLD_NOT_OPENED,
            Reason.JUDGE_LOST,
            Reason.POLICY_FAILED,
        }
    )
)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What a run does. `--config run.toml` and the flags say the same."""

    spec: str
    split: str = "train"
    tasks: int = 8
    first: int = 0  # the index to begin with
    repeats: int = 1  # episodes of one task; they are a group and never share a slot
    concurrency: int = 8
    seed: int = 0  # of the policies' draws
    backend: Backend = "auto"
    salt_file: str | None = None
    private: bool = False  # draw a salt of its own, kept with the run
    out: Path | None = None
    resume: bool = False


@dataclass(slots=True)
class Summary:
    """What a run came to."""

    episodes: int = 0
    rewards: float = 0.0
    successes: int = 0
    invalid: int = 0
    blame: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    played: int = 0  # in this process; the rest was resumed
    tokens: int = 0
    cost: float = 0.0

    def add(self, episode: Episode) -> None:
        """Count one episode."""
        self.episodes += 1
        if episode.reward is None:
            self.invalid += 1
        else:
            self.rewards += episode.reward
            self.successes += episode.reward == 1.0
        if episode.blame is not None:
            self.blame[episode.blame] += 1
        self.tokens += episode.tokens.prompt + episode.tokens.completion
        self.cost += episode.tokens.cost

    def as_json(self) -> dict[str, Any]:
        """The document of `rollout --json`. Invalid episodes are left out of both means."""
        valid = self.episodes - self.invalid
        return {
            "episodes": self.episodes,
            "reward_mean": self.rewards / valid if valid else None,
            "success_rate": self.successes / valid if valid else None,
            "invalid": self.invalid,
            "blame": {who: self.blame[who] for who in ("agent", "env", "grader", "infra")},
            "seconds": round(self.seconds, 3),
            "episodes_per_second": round(self.played / self.seconds, 3) if self.seconds else None,
            "tokens": self.tokens,
            "cost": round(self.cost, 6),
        }


class Runner:
    """A run of one environment under one policy. An async context manager; `run` plays."""

    def __init__(self, settings: RunSettings, source: PolicySource) -> None:
        self._settings = settings
        self._source = source
        self._resolved: Resolved = resolve(EnvSpec.parse(settings.spec))
        self._stack = AsyncExitStack()
        self.summary = Summary()

    async def __aenter__(self) -> Runner:
        """Open the judge, the record and the host. Raises EnvkitError where one does not open."""
        settings = self._settings
        async with AsyncExitStack() as opening:
            opening.push_async_callback(self._source.aclose)
            watchdog = await opening.enter_async_context(Watchdog())
            host = await opening.enter_async_context(
                Host(HostSettings(settings.backend, settings.concurrency))
            )
            judge = await opening.enter_async_context(
                Judge(self._resolved.spec, self._judge_settings())
            )
            self._stage = Stage(self._resolved, judge, host, watchdog)
            self._cast = Cast(self._source, settings.seed)
            self._record: Record | None = None
            if settings.out is not None:
                self._record = opening.enter_context(
                    Record(settings.out, self._header(), resume=settings.resume)
                )
            # a task that does not validate is one clear error now, not one in every episode
            await judge.check(await judge.draw(settings.split, settings.first))
            self._stack = opening.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close in reverse order: record, judge, host."""
        await self._stack.aclose()

    def _judge_settings(self) -> JudgeSettings:
        settings = self._settings
        sealed = None if settings.out is None else settings.out / "sealed"
        return JudgeSettings(
            settings.salt_file, settings.private, sealed, settings.backend, settings.concurrency
        )

    def _header(self) -> RunHeader:
        settings = self._settings
        return RunHeader(
            spec=str(self._resolved.spec), digest=self._resolved.digest, salt=self._stage.judge.salt,
            split=settings.split, first=settings.first, tasks=settings.tasks, repeats=settings.repeats,
            seed=settings.seed, policy=dict(self._source.describe()), backend=settings.backend,
        )  # fmt: skip

    async def run(self, tell: Callable[[Episode], None] = lambda episode: None) -> Summary:
        """Play what is left, telling each episode as it ends (resumed ones first).

        Raises MissingError or JudgeError where the run can't go on; what was played is in the record.
        """
        done = self._resumed(tell)
        queue: asyncio.Queue[Work | None] = asyncio.Queue(self._settings.concurrency)
        started = time.monotonic()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._plan(queue, done, tell))
                for _ in range(self._settings.concurrency):
                    group.create_task(self._work(queue, tell))
        except* EnvkitError as group_of_errors:
            raise _first(group_of_errors) from None
        finally:
            self.summary.seconds = time.monotonic() - started
        return self.summary

    def _resumed(self, tell: Callable[[Episode], None]) -> set[tuple[int, int, str | None]]:
        """The places that are done; what infrastructure made invalid is not. The last line of a place counts."""
        last = {episode.place: episode for episode in (self._record.done if self._record else ())}
        kept = {place: episode for place, episode in last.items() if episode.invalid not in RETRIED}
        for episode in kept.values():
            self.summary.add(episode)
            tell(episode)
        return set(kept)

    async def _plan(
        self,
        queue: asyncio.Queue[Work | None],
        done: set[tuple[int, int, str | None]],
        tell: Callable[[Episode], None],
    ) -> None:
        settings = self._settings
        for index in range(settings.first, settings.first + settings.tasks):
            try:
                variants = await self._source.variants(self._stage.judge, settings.split, index)
            except TaskError as error:  # of one task: the others are played
                work = Work(settings.split, index, 0)
                if work.place not in done:
                    self._keep(undrawn(self._stage, self._cast, work, str(error)), tell)
                continue
            for repeat in range(settings.repeats):
                for variant in variants:
                    work = Work(settings.split, index, repeat, variant)
                    if work.place not in done:
                        await queue.put(work)
        for _ in range(settings.concurrency):
            await queue.put(None)

    async def _work(
        self, queue: asyncio.Queue[Work | None], tell: Callable[[Episode], None]
    ) -> None:
        while (work := await queue.get()) is not None:
            self._keep(await self._attempts(work), tell)

    def _keep(self, episode: Episode, tell: Callable[[Episode], None]) -> None:
        if self._record is not None:
            self._record.append(episode)
        self.summary.add(episode)
        self.summary.played += 1
        tell(episode)

    async def _attempts(self, work: Work) -> Episode:
        for attempt in range(1, ATTEMPTS):
            episode = await play(self._stage, self._cast, work, attempt)
            if episode.invalid not in RETRIED:
                return episode
            await asyncio.sleep(BACKOFF * attempt)
        return await play(self._stage, self._cast, work, ATTEMPTS)


def _lost(episode: Episode) -> bool:
    return episode.invalid is not None and episode.invalid.blame == "infra"


def _first(group: BaseExceptionGroup[EnvkitError]) -> EnvkitError:
    """The first error of a group: the workers beside it were merely cancelled, or say the same."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
