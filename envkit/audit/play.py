"""One episode as an audit needs it: with its evidence, what was shown, and every surface of its world."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from envkit.data.evidence import FrozenEvidence
from envkit.data.keyed import KeyedRandom
from envkit.data.message import Action, Observation
from envkit.data.score import Finding, Invalid, Reason, Verdict
from envkit.errors import EnvkitError
from envkit.judge.client import Judge, ScriptFailed, ScriptLost, Ticket
from envkit.rollout.play import Work
from envkit.rollout.policy import Casting, Policy, PolicyFailed, PolicySource, PolicyStopped
from envkit.rollout.trial import Stage, Trial, TrialInvalid


@dataclass(slots=True)
class Played:
    """One episode: who played which task, and all that came of it."""

    policy: str
    split: str
    index: int
    variant: str | None = None
    repeat: int = 0
    verdict: Verdict | None = None
    detail: str = ""
    ending: str | None = None
    turns: int = 0
    tools: list[str] = field(default_factory=list)  # in the order of the calls
    shown: list[str] = field(default_factory=list)  # each observation's text, but for the prompt
    evidence: str = ""
    findings: tuple[Finding, ...] = ()
    start: Mapping[str, bytes] = field(default_factory=dict)
    end: Mapping[str, bytes] = field(default_factory=dict)
    baited: bool = False  # whether the bait was written

    @property
    def place(self) -> str:
        """Which task."""
        return f"{self.split}/{self.index}"

    @property
    def reward(self) -> float | None:
        """The most that any seat got; None without a verdict."""
        if self.verdict is None or isinstance(self.verdict, Invalid):
            return None
        return max([self.verdict.reward, *self.verdict.seats.values()])

    @property
    def score(self) -> float | None:
        """The reward of the whole episode, where seats may have got more; None without a verdict."""
        told = self.verdict is None or isinstance(self.verdict, Invalid)
        return None if told else self.verdict.reward  # type: ignore[union-attr] # told above

    @property
    def late(self) -> bool:
        """Whether its time was over first: what it came to then tells of the machine, not of the environment."""
        return self.ending == "seconds"

    @property
    def digest(self) -> str:
        """Of everything that was shown."""
        return hashlib.sha256(json.dumps(self.shown).encode()).hexdigest()


class Watched(Trial):
    """A trial whose world is looked over as it begins, and before it is frozen."""

    look = False

    def __init__(self, stage: Stage, ticket: Ticket, *, episode: str, group: str) -> None:
        super().__init__(stage, ticket, episode=episode, group=group)
        self.start: Mapping[str, bytes] = {}
        self.end: Mapping[str, bytes] = {}

    @property
    def bait(self) -> str:
        """The token that lies in this world."""
        return self._env.bait.token

    async def reset_seats(self) -> dict[str, Observation]:
        """Open the world, and look at it."""
        shown = await super().reset_seats()
        if self.look:
            self.start = await self._surfaces()
        return shown

    async def _freeze(self) -> FrozenEvidence:
        if self.look:
            self.end = await self._surfaces()
        return await super()._freeze()

    async def _surfaces(self) -> dict[str, bytes]:
        """Every byte that the agent could read, by adapter and place, and what its sites answer unasked."""
        from envkit.audit.sites import probe

        found: dict[str, bytes] = {}
        for name, session in self._env._sessions.items():
            # a world that the agent broke has nothing left to be looked at
            with contextlib.suppress(EnvkitError, OSError):
                for place, content in (await session.surfaces()).items():
                    found[f"{name}/{place}"] = content
                for place, content in (await probe(session)).items():
                    found[f"{name}{place}"] = content
        return found


class LookedOver(Watched):
    """The same, with the look."""

    look = True


async def perform(stage: Stage, source: PolicySource, work: Work, *, look: bool = False) -> Played:
    """Play one episode to its end. Raises UsageError, MissingError and TaskError; what else breaks is in the result."""
    ticket = await stage.judge.draw(work.split, work.index)
    kind = LookedOver if look else Watched
    trial = kind(stage, ticket, episode=work.id, group=ticket.public.id)
    played = Played(source.name, work.split, work.index, work.variant, work.repeat)
    policies: dict[str, Policy] = {}
    try:
        played.verdict = await _to_the_end(trial, stage.judge, source, (work, policies, played))
    except TrialInvalid as invalid:
        played.verdict, played.detail = invalid.invalid, str(invalid)
    except PolicyStopped:  # a script is over, and the world still waits for somebody
        await trial.stop()
        played.verdict = await trial.judge()
    except (PolicyFailed, ScriptFailed, ScriptLost) as error:
        played.verdict, played.detail = Invalid(Reason.SETUP_FAILED, str(error)), str(error)
    finally:
        for policy in policies.values():
            await policy.aclose()
        await trial.close()
    played.evidence, played.findings, played.ending = trial.evidence, trial.findings, trial.ending
    played.start, played.end = trial.start, trial.end
    return played


_Rest = tuple[Work, dict[str, Policy], Played]


async def _to_the_end(trial: Watched, judge: Judge, source: PolicySource, rest: _Rest) -> Verdict:
    work, policies, played = rest
    shown = await trial.reset_seats()
    for seat in trial.seats:
        rng: Random = KeyedRandom(b"audit", f"{work.id}/{seat}")
        casting = Casting(trial.ticket, judge, trial.tools, rng, seat, work.variant)
        policies[seat] = await source.open(casting)
    while acting := trial.acting:
        actions: dict[str, Action] = {}
        for seat in acting:
            actions[seat] = _tuned(source, trial, await policies[seat](shown[seat]), played)
            played.tools += [asked.name for asked in actions[seat].calls]
        played.turns += 1
        for seat, step in (await trial.step_seats(actions)).items():
            shown[seat] = step.observation
            played.shown.append(step.observation.text())
    return await trial.judge()


def _tuned(source: PolicySource, trial: Watched, action: Action, played: Played) -> Action:
    """An action as it is; of a source that wants the bait written, with the bait beside its first calls."""
    if not getattr(source, "writes_bait", False) or played.baited or not action.calls:
        return action
    played.baited = True
    return Action(f"{action.text} {trial.bait}", action.calls, action.thinking)
