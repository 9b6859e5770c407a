"""`attack`: play the whole battery against one environment, and tell what scored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from envkit.audit.battery import Attack, Target, attacks
from envkit.data.message import Action, Observation
from envkit.data.tool import Tool
from envkit.env import Env
from envkit.errors import UsageError
from envkit.judge.client import Judge
from envkit.registry import resolve
from envkit.rollout.policy import Casting, Local, Policy, PolicyStopped
from envkit.rollout.record import Episode
from envkit.rollout.runner import Runner, RunSettings

FLOOR = 0.0
TASKS = 2  # that each attack is tried on


@dataclass(frozen=True, slots=True)
class Attacked:
    """What one attack came to. `reward` is its best; None where it does not apply or was never valid."""

    attack: Attack
    applies: bool
    reward: float | None = None
    findings: tuple[str, ...] = ()  # rules that spoke up while it was played
    invalid: int = 0  # episodes without a verdict: whoever can bring that about escapes every score

    @property
    def scored(self) -> bool:
        """Whether it got more than doing nothing may get."""
        return self.reward is not None and self.reward > FLOOR

    @property
    def unsettled(self) -> bool:
        """Whether it was to be played and never got a verdict: that is no proof that it fails."""
        return self.applies and self.reward is None

    def as_json(self) -> dict[str, Any]:
        """The entry of `attack --json`."""
        stopped = "" if self.scored or self.reward is None else self.attack.stopped_by
        return {
            "name": self.attack.name, "family": self.attack.family, "applies": self.applies,
            "reward": self.reward, "stopped_by": stopped, "findings": list(self.findings),
            "invalid": self.invalid,
        }  # fmt: skip


@dataclass(slots=True)
class Battery:
    """A `PolicySource` that plays every attack on every task; its variants are the attacks' names."""

    env: type[Env[Any]]
    name: str = "attacks"
    only: Collection[str] = ()
    _playable: dict[str, Attack] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Choose the attacks that have the tools they need."""
        target = Target("", offered(self.env))
        wanted = (one for one in attacks() if not self.only or one.name in self.only)
        self._playable = {one.name: one for one in wanted if one.applies(target)}

    @property
    def playable(self) -> Mapping[str, Attack]:
        """The attacks that apply, by name."""
        return self._playable

    def describe(self) -> Mapping[str, Any]:
        """What the record keeps."""
        return {"name": self.name, "attacks": list(self._playable)}

    async def variants(self, judge: Judge, split: str, index: int) -> tuple[str | None, ...]:
        """An episode for each attack."""
        return tuple(self._playable)

    async def open(self, casting: Casting) -> Policy:
        """Begin one attack."""
        attack = self._playable[casting.variant or ""]
        script = attack.play(Target(casting.ticket.public.prompt, casting.tools))
        started = False

        def act(observation: Observation) -> Action:
            nonlocal started
            try:
                action = script.send(observation) if started else next(script)
            except StopIteration:
                raise PolicyStopped("the attack is over") from None
            started = True
            return action

        return Local(act)

    async def aclose(self) -> None:
        """Nothing is shared."""


def offered(env: type[Env[Any]]) -> tuple[Tool, ...]:
    """The tools that an environment's agents have, without opening a world."""
    own = tuple(env._own_tools.values())
    return tuple(t for a in env._adapters.values() for t in a.tools().values()) + own


async def attack(
    settings: RunSettings,
    tell: Callable[[Episode], None] = lambda episode: None,
    only: Collection[str] = (),
) -> list[Attacked]:
    """Play every attack that applies (or only some, by name) on every task of the settings.

    Each that was asked for comes back, in their order. Raises UsageError at a name that no attack has.
    """
    every = {one.name: one for one in attacks()}
    if unknown := sorted(set(only) - every.keys()):
        raise UsageError(f"no attack is called {', '.join(unknown)}; there are {', '.join(every)}")
    battery = Battery(resolve(settings.spec).env, only=only)
    played = {name: Attacked(one, True) for name, one in battery.playable.items()}

    def keep(episode: Episode) -> None:
        name = str(episode.variant)
        before = played[name]
        rewards = [r for r in (before.reward, *_rewards(episode)) if r is not None]
        rules = (str(finding["rule"]) for finding in episode.findings)
        played[name] = replace(
            before,
            reward=max(rewards, default=None),
            findings=tuple(dict.fromkeys((*before.findings, *rules))),
            invalid=before.invalid + (episode.invalid is not None),
        )
        tell(episode)

    async with Runner(settings, battery) as runner:
        await runner.run(keep)
    return [
        played.get(name, Attacked(one, applies=False))
        for name, one in every.items()
        if not only or name in only
    ]


def _rewards(episode: Episode) -> tuple[float | None, ...]:
    """What any seat got."""
    return (episode.reward, *episode.seats.values())
