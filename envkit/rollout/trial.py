"""A trial: one Env and its judge. The only place where a world and a verdict meet, and in this order.

`reset` opens the world, `step` carries actions out until something ends the episode; then the agent's processes are
killed, evidence is frozen, and the judge speaks. What breaks before the agent's first action is invalid; what breaks
afterwards is graded on the evidence that is left.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from envkit.data.evidence import FrozenEvidence
from envkit.data.message import Action, Message, Observation
from envkit.data.score import Blame, Finding, Invalid, Reason, Score, Verdict
from envkit.data.tool import Tool
from envkit.env import Env
from envkit.errors import (
    EngineLost,
    MissingError,
    SandboxUnavailable,
    TaskError,
    UsageError,
    WorldError,
)
from envkit.host import Host
from envkit.judge.client import Judge, Ticket
from envkit.monitor import Monitor
from envkit.registry import Resolved
from envkit.rollout.watchdog import Overrun, Watchdog

log = logging.getLogger("envkit.rollout")

Ending = Literal["answer", "over", "turns", "seconds", "tool_calls", "world_lost", "stopped"]
"""Why an episode ended. `answer` and `over` terminate, the others truncate; all are graded."""

OPEN_SECONDS = 120.0  # for the world to open
FREEZE_SECONDS = 60.0  # for evidence to be frozen; over it, evidence is empty


@dataclass(frozen=True, slots=True)
class Step:
    """Gymnasium's five. `reward` is None until the end, and for an episode that is invalid."""

    observation: Observation
    reward: float | None = None
    terminated: bool = False
    truncated: bool = False
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Stage:
    """What the trials of a run share: the environment, its judge, the host and the watchdog."""

    resolved: Resolved
    judge: Judge
    host: Host
    watchdog: Watchdog


class TrialInvalid(Exception):
    """The world could not be opened: there is an `Invalid` and no episode."""

    def __init__(self, invalid: Invalid) -> None:
        super().__init__(f"{invalid.reason.value}: {invalid.detail}")
        self.invalid = invalid


class Trial:
    """One episode, driven from outside. Call `reset` once, `step` until it says the end, `close` whatever happens."""

    def __init__(self, stage: Stage, ticket: Ticket, *, episode: str, group: str) -> None:
        self._env: Env[Any] = stage.resolved.env()
        self._stage = stage
        self.ticket = ticket
        self._episode = episode
        self._group = group
        self._turns = self._tool_calls = 0
        self._unseen: dict[str, tuple[Message, ...]] = {}  # of seats whose turn has not come yet
        self._monitor = Monitor(self._env.bait)
        self.world_seconds = 0.0
        self.judge_seconds = 0.0
        self.ending: Ending | None = None
        self.blame: Blame | None = None
        self.evidence = ""  # frozen, as JSON: what the judge gets and the record's digest covers
        self.verdict: Verdict | None = None
        self.findings: tuple[Finding, ...] = ()

    # ---- one seat: the usual face ----

    async def reset(self) -> Observation:
        """Open the world; the first observation holds the prompt. Raises TrialInvalid."""
        return (await self.reset_seats())[self.seats[0]]

    async def step(self, action: Action) -> Step:
        """Carry out one action of the only seat whose turn it is."""
        if len(self.acting) != 1:
            raise UsageError(
                f"{len(self.acting)} seats are to act now; call step_seats, or reset a new trial"
            )
        (seat,) = self.acting
        return (await self.step_seats({seat: action}))[seat]

    # ---- any number of seats ----

    @property
    def tools(self) -> tuple[Tool, ...]:
        """What the agent is offered."""
        return self._env.tools

    @property
    def seats(self) -> tuple[str, ...]:
        """Who takes part."""
        return self._env.seats

    @property
    def acting(self) -> tuple[str, ...]:
        """Whose turn it is; nobody's once the episode has ended."""
        return () if self.ending else self._env.acting

    async def reset_seats(self) -> dict[str, Observation]:
        """Open the world; what each seat sees first."""
        task = self.ticket.public
        try:
            with self._stage.watchdog.guard(OPEN_SECONDS):
                await self._env.reset(
                    task, self._stage.host, pack=self._stage.resolved.spec.pack, group=self._group
                )
                self._monitor = Monitor(self._env.bait)
                prompt = Message("user", task.prompt)
                return {
                    seat: Observation((prompt, *(await self._env.observe(seat)).messages))
                    for seat in self._env.seats
                }
        except TaskError as error:  # a world that only its adapter could find wrong
            raise TrialInvalid(Invalid(Reason.SETUP_FAILED, str(error))) from error
        except (UsageError, MissingError):
            raise  # the run as a whole can't go on; the caller says so once
        except (SandboxUnavailable, Overrun) as error:
            raise TrialInvalid(Invalid(Reason.ENGINE_UNAVAILABLE, str(error))) from error
        except WorldError as error:
            raise TrialInvalid(Invalid(Reason.WORLD_NOT_OPENED, str(error))) from error
        except (Exception, SystemExit) as error:  # `setup` may raise anything; nobody acted yet
            log.warning("setup raised", exc_info=error)
            detail = f"{type(error).__name__}: {error}"
            raise TrialInvalid(Invalid(Reason.SETUP_FAILED, detail)) from error

    async def step_seats(self, actions: Mapping[str, Action]) -> dict[str, Step]:
        """Carry out one action of each acting seat, in the seats' order; the seats that act next observe.

        A seat that does not act next is shown later what its own calls brought.
        """
        if set(actions) != set(self.acting):
            raise UsageError(f"an action of each of {self.acting} is due, not of {tuple(actions)}")
        for seat in self.seats:
            if seat in actions and self.ending is None:
                seen = await self._act(actions[seat], seat)
                self._unseen[seat] = self._unseen.get(seat, ()) + seen.messages
        steps: dict[str, Step] = {}
        for seat in self.acting:
            listens = self._env.listens  # else there is nothing to be told between two actions
            told = await self._world(self._env.observe(seat)) if listens else Observation()
            if (
                self.ending is not None
            ):  # observing ended it; what was not seen yet is in the last step
                break
            before = self._unseen.pop(seat, ())
            # a new context begins empty
            shown = told.messages if told.fresh else before + told.messages
            steps[seat] = Step(Observation(shown, told.fresh))
        if self.ending is None:
            return steps
        await self.judge()
        for seat, step in steps.items():  # shown by this very call, so not seen yet either
            self._unseen[seat] = step.observation.messages
        return {seat: self._last_step(seat) for seat in self.seats}

    async def _act(self, action: Action, seat: str) -> Observation:
        self._turns += 1
        self._tool_calls += len(action.calls)
        self._monitor.saw(seat, action)
        if self._tool_calls > self.ticket.public.limits.tool_calls:
            self.ending = "tool_calls"
            return Observation()
        observation = await self._world(self._env.step(action, seat))
        if self.ending is None:
            self._look_for_the_end()
        return observation

    async def _world(self, work: Awaitable[Observation]) -> Observation:
        """One call into the world, within what is left of its time. What breaks in it ends this episode alone."""
        started = time.monotonic()
        left = self.ticket.public.limits.seconds - self.world_seconds
        try:
            with self._stage.watchdog.guard(max(0.0, left)):
                return await work
        except Overrun:
            self.ending = "seconds"
        except EngineLost as error:  # host-observed, and nothing an agent can do
            self.ending, self.verdict = "world_lost", Invalid(Reason.ENGINE_UNAVAILABLE, str(error))
        except WorldError:
            self.ending, self.blame = "world_lost", "agent"
        except (
            Exception,
            SystemExit,
        ) as error:  # an author's bug: the agent acted, so it is graded
            log.warning("the world raised", exc_info=error)
            self.ending, self.blame = "world_lost", "env"
        finally:
            self.world_seconds += time.monotonic() - started
        return Observation()

    def _look_for_the_end(self) -> None:
        limits = self.ticket.public.limits
        if self._env.answer is not None:
            self.ending = "answer"
        elif not self._env.acting:
            self.ending = "over"
        elif self._turns >= limits.turns:
            self.ending = "turns"
        elif self.world_seconds >= limits.seconds:
            self.ending = "seconds"

    # ---- the end ----

    async def stop(self) -> None:
        """End the episode from outside (the policy has nothing more to say); it is graded like any other."""
        if self.ending is None:
            self.ending = "stopped"
        await self.judge()

    async def judge(self) -> Verdict:
        """Freeze the evidence and have it graded; the same verdict when asked again."""
        if self.verdict is None:
            try:
                self.evidence = (await self._freeze()).model_dump_json()
            except EngineLost as error:
                self.verdict = Invalid(Reason.ENGINE_UNAVAILABLE, str(error))
                return self.verdict
            await self.close()  # nothing of the living world is left when the judge speaks
            judged = await self._stage.judge.grade(self.ticket, self.evidence, self._episode)
            self.verdict, self.judge_seconds = self._monitor.gate(judged.verdict), judged.seconds
            watched = (*self._env.alerts, *self._monitor.findings)
            self.findings = (*self._env.findings, *watched, *judged.findings)
            if self.blame is None and isinstance(self.verdict, Score):
                self.blame = self.verdict.blame or ("env" if self._env.findings else None)
        return self.verdict

    async def _freeze(self) -> FrozenEvidence:
        """What is left; where the agent broke the world itself, its answer and calls alone."""
        try:
            with self._stage.watchdog.guard(FREEZE_SECONDS):
                return await self._env.freeze()
        except EngineLost:
            raise
        except (WorldError, Overrun):
            self.blame = "agent"
        except (Exception, SystemExit) as error:  # an author's bug; what was said is graded
            log.warning("freezing raised", exc_info=error)
            self.blame = "env"
        return self._env.spoken()

    def _last_step(self, seat: str) -> Step:
        observation = Observation(self._unseen.pop(seat, ()))
        verdict = self.verdict
        terminated = self.ending in ("answer", "over")
        info: dict[str, Any] = {"ending": self.ending}
        if isinstance(verdict, Score):
            reward: float | None = verdict.seats.get(seat, verdict.reward)
            info["checks"] = {name: check.value for name, check in verdict.checks.items()}
        else:
            reward = None
            info["invalid"] = verdict
        return Step(observation, reward, terminated, not terminated, info)

    async def close(self) -> None:
        """Give the world back. Safe to call twice, and raises nothing: the episode is over either way."""
        try:
            await self._env.close()
        except (Exception, SystemExit) as error:  # an adapter's bug in letting go
            log.warning("closing the world raised", exc_info=error)
