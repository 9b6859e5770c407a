"""One episode from its task to its record: open, let the policy and the world take turns, judge, write down."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any

from envkit.data.keyed import KeyedRandom
from envkit.data.message import Action, Message, Observation, ToolCall
from envkit.data.score import Invalid, Reason, Verdict
from envkit.env import SEAT
from envkit.errors import TaskError
from envkit.judge.client import ScriptFailed, ScriptLost
from envkit.rollout.policy import Casting, Policy, PolicyFailed, PolicySource, PolicyStopped, Usage
from envkit.rollout.record import Episode, Timings, Tokens
from envkit.rollout.telemetry import EPISODE, span
from envkit.rollout.trial import Stage, Trial, TrialInvalid

VERSION = version("envkit")
_LEAVES = Action(calls=(ToolCall("submit"),))


@dataclass(frozen=True, slots=True)
class Work:
    """One episode to be played."""

    split: str
    index: int
    repeat: int
    variant: str | None = None

    @property
    def place(self) -> tuple[int, int, str | None]:
        """What tells it from the others of the run."""
        return (self.index, self.repeat, self.variant)

    @property
    def id(self) -> str:
        """Its name in the record and in the judge's notes; the agent never sees it."""
        return "-".join(str(part) for part in (self.split, *self.place) if part is not None)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays: the source of policies, and the seed of their draws."""

    source: PolicySource
    seed: int


@dataclass(slots=True)
class _Notes:
    """What is written down while an episode is played."""

    attempt: int
    started: float = field(default_factory=time.monotonic)
    opened: float = 0.0
    policy: float = 0.0
    turns: int = 0
    stopped: str = ""  # why the policy went no further, in its own words
    messages: list[dict[str, Any]] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)

    def tokens(self) -> Tokens:
        """What all seats' policies used."""
        usage = self.usage
        return Tokens(
            prompt=usage.prompt_tokens, completion=usage.completion_tokens, cost=usage.cost
        )

    def timings(self, trial: Trial) -> Timings:
        """Seconds by where they were spent, up to now."""
        now = time.monotonic()
        return Timings(
            open=(self.opened or now) - self.started,
            world=trial.world_seconds,
            policy=self.policy,
            judge=trial.judge_seconds,
            total=now - self.started,
        )

    def see(self, seat: str, messages: tuple[Message, ...], *, fresh: bool = False) -> None:
        """Append to the conversation; where there are several seats, each message says whose it is.

        The first message of a new context says so.
        """
        for number, message in enumerate(messages):
            chat = message.as_chat()
            if fresh and not number:
                chat["fresh"] = True
            if seat != SEAT:
                chat["seat"] = seat
            self.messages.append(chat)

    def said(self, seat: str, action: Action) -> None:
        """Append what a policy answered; its thinking is kept beside it, under the name that servers give it."""
        self.see(seat, (Message("assistant", action.text, action.calls),))
        if action.thinking:
            self.messages[-1]["reasoning_content"] = action.thinking


async def play(stage: Stage, cast: Cast, work: Work, attempt: int) -> Episode:
    """Play one episode. Raises UsageError, MissingError or JudgeError, which end the whole run."""
    try:
        ticket = await stage.judge.draw(work.split, work.index)
    except TaskError as error:
        return undrawn(stage, cast, work, str(error))
    notes = _Notes(attempt)
    trial = Trial(stage, ticket, episode=work.id, group=ticket.public.id)
    EPISODE.set(work.id)
    with span("episode", spec=str(stage.resolved.spec), episode=work.id, attempt=attempt):
        try:
            verdict = await _perform(stage, cast, work, trial, notes)
        finally:
            await trial.close()
    return _episode(_origin(stage, cast, work), trial, notes, verdict)


async def _perform(stage: Stage, cast: Cast, work: Work, trial: Trial, notes: _Notes) -> Verdict:
    policies: dict[str, Policy] = {}
    try:
        with span("open"):
            shown = await trial.reset_seats()
        notes.opened = time.monotonic()
        for seat in trial.seats:
            rng = KeyedRandom(str(cast.seed).encode(), f"{work.id}/{seat}")
            casting = Casting(trial.ticket, stage.judge, trial.tools, rng, seat, work.variant)
            policies[seat] = await cast.source.open(casting)
        with span("turns"):
            await _take_turns(trial, policies, shown, notes)
        return await trial.judge()
    except TrialInvalid as invalid:
        return invalid.invalid
    except PolicyStopped as stopped:
        notes.stopped = str(stopped)
        await trial.stop()
        return await trial.judge()
    except PolicyFailed as error:
        return Invalid(Reason.POLICY_FAILED, str(error))
    except ScriptFailed as error:
        return Invalid(Reason.SETUP_FAILED, str(error))
    except ScriptLost as error:
        return Invalid(Reason.JUDGE_LOST, str(error))
    finally:
        for policy in policies.values():
            notes.usage.prompt_tokens += policy.usage.prompt_tokens
            notes.usage.completion_tokens += policy.usage.completion_tokens
            notes.usage.cost += policy.usage.cost
            await policy.aclose()


async def _take_turns(
    trial: Trial, policies: Mapping[str, Policy], shown: dict[str, Observation], notes: _Notes
) -> None:
    for seat, observation in shown.items():
        notes.see(seat, observation.messages)
    while acting := trial.acting:
        asked = time.monotonic()
        seen = {seat: shown.pop(seat) for seat in acting}
        if len(policies) == 1:
            actions = {seat: await policies[seat](seen[seat]) for seat in acting}
        else:
            actions = await _of_each({seat: policies[seat](seen[seat]) for seat in acting}, notes)
        notes.policy += time.monotonic() - asked
        notes.turns += 1
        for seat, action in actions.items():
            notes.said(seat, action)
        for seat, step in (await trial.step_seats(actions)).items():
            shown[seat] = _after(shown.get(seat), step.observation)
            notes.see(seat, step.observation.messages, fresh=step.observation.fresh)


async def _of_each(asked: Mapping[str, Awaitable[Action]], notes: _Notes) -> dict[str, Action]:
    """What each of several seats does. All are waited for, so that none goes on talking in an episode that is over.

    One whose policy stops leaves, and the others go on: it must not end their episode for them.
    """
    answers = await asyncio.gather(*asked.values(), return_exceptions=True)
    actions: dict[str, Action] = {}
    for seat, answer in zip(asked, answers, strict=True):
        if isinstance(answer, PolicyStopped):
            notes.stopped = f"{seat}: {answer}"
            actions[seat] = _LEAVES
        elif isinstance(answer, BaseException):
            raise answer
        else:
            actions[seat] = answer
    return actions


def _after(before: Observation | None, now: Observation) -> Observation:
    """What a seat has not acted upon yet: what it was shown at the reset stays until its first turn."""
    if before is None or now.fresh:
        return now
    return Observation(before.messages + now.messages, before.fresh)


def _origin(stage: Stage, cast: Cast, work: Work) -> dict[str, Any]:
    """Where an episode comes from: the part of its record that is known before it is played."""
    return {
        "id": work.id,
        "spec": str(stage.resolved.spec),
        "envkit": VERSION,
        "digest": stage.resolved.digest,
        "salt": stage.judge.salt,
        "split": work.split,
        "index": work.index,
        "repeat": work.repeat,
        "variant": work.variant,
        "policy": cast.source.describe(),
    }


def undrawn(stage: Stage, cast: Cast, work: Work, why: str) -> Episode:
    """The record of a task that its author's code did not make: the episodes beside it go on."""
    nothing = Timings(open=0.0, world=0.0, policy=0.0, judge=0.0, total=0.0)
    return Episode(
        **_origin(stage, cast, work),
        invalid=Reason.SETUP_FAILED,
        detail=why,
        blame="env",
        timings=nothing,
    )


def _episode(origin: Mapping[str, Any], trial: Trial, notes: _Notes, verdict: Verdict) -> Episode:
    return Episode(
        **origin,
        task=trial.ticket.public.id,
        seed=trial.ticket.public.seed,
        messages=tuple(notes.messages),
        turns=notes.turns,
        ending=trial.ending,
        terminated=trial.ending in ("answer", "over"),
        truncated=trial.ending not in ("answer", "over", None),
        findings=tuple(asdict(finding) for finding in trial.findings),
        evidence=hashlib.sha256(trial.evidence.encode()).hexdigest(),
        tokens=notes.tokens(),
        timings=notes.timings(trial),
        attempts=notes.attempt,
        **_outcome(trial, notes, verdict),
    )


def _outcome(trial: Trial, notes: _Notes, verdict: Verdict) -> dict[str, Any]:
    """The verdict's part of the record."""
    if isinstance(verdict, Invalid):
        return {"invalid": verdict.reason, "detail": verdict.detail, "blame": verdict.blame}
    return {
        "reward": verdict.reward,
        "seats": verdict.seats,
        "checks": {name: check.value for name, check in verdict.checks.items()},
        "detail": notes.stopped,
        "blame": trial.blame,
    }
