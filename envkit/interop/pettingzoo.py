"""PettingZoo: an environment with seats as an `AECEnv` or a `ParallelEnv`.

    from envkit.interop.pettingzoo import aec

    env = aec("table/bargain", split="train")
    env.reset(seed=7)                       # task 7 of the split
    for agent in env.agent_iter():
        seen, reward, terminated, truncated, info = env.last()
        env.step(None if terminated or truncated else policy(agent, seen))
    env.close()

Agents are seats. An observation is a text: what a seat was shown since its last action (first the prompt and its card).
An action is a text, too: a JSON object `{"tool": "offer", "arguments": {"price": 300}}` and nothing beside it is a tool
call; everything else is speech. `infos[agent]["tools"]` has the tools' schemas, `infos[agent]["messages"]` the
observation as chat-completions messages. Where `infos[agent]["fresh"]` is true, a new context begins with this
observation (see `SessionChain`): a policy must forget what it saw before. Rewards come at the end, each seat its own.
`close` gives everything back; one thread at a time may do anything else.

A facade over a trial: no world, no gold and no method of the Env is within an agent's reach.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envkit.data.message import Message, Observation
from envkit.data.spec import EnvSpec
from envkit.errors import MissingError, UsageError
from envkit.host import Backend
from envkit.interop.backstage import Backstage, Play
from envkit.interop.words import ASCII, CHARSET, as_action, as_text
from envkit.rollout.trial import Step

try:
    import numpy
    from gymnasium.spaces import Text
    from pettingzoo import AECEnv, ParallelEnv  # type: ignore[import-untyped]  # it ships no types
except ImportError:
    raise MissingError("PettingZoo is missing: pip install 'envkit[gym]'") from None


@dataclass(frozen=True, slots=True)
class TextSpaces:
    """The spaces of all agents: one charset, and the most characters of an observation and of an action.

    ASCII is always in the charset: what is outside it is written in ASCII.
    """

    charset: frozenset[str] = CHARSET
    observation: int = 65_536
    action: int = 8_192

    def __post_init__(self) -> None:
        """Refuse lengths that nothing fits in."""
        if self.observation < 256 or self.action < 1:
            raise UsageError("an observation needs room for 256 characters, an action for one")
        object.__setattr__(self, "charset", self.charset | ASCII)


class Seen(str):
    """An observation: a plain text that names its dtype, as PettingZoo's own tests ask of every observation."""

    __slots__ = ()
    dtype = numpy.dtype(str)


def aec(
    spec: str | EnvSpec,
    *,
    split: str = "train",
    salt_file: str | None = None,
    backend: Backend = "auto",
    spaces: TextSpaces | None = None,
) -> Aec:
    """The environment of a spec, one agent at a time. Raises SpecError, UsageError.

    Seed n is task n of the split, modulo its size; a reset without a seed is the task after the last one. Where seats
    act together, they are asked one after another, and their actions are carried out at once.
    """
    return Aec(Backstage(Play(spec, split, salt_file, backend)), spaces or TextSpaces())


def parallel(
    spec: str | EnvSpec,
    *,
    split: str = "train",
    salt_file: str | None = None,
    backend: Backend = "auto",
    spaces: TextSpaces | None = None,
) -> Parallel:
    """The environment of a spec, all agents at once: for `Team(order="together")`. Raises SpecError, UsageError.

    Where not all act (one keeps its turn by calling tools), the action of one who waits is not carried out, and
    `infos[agent]["acting"]` says so beforehand.
    """
    return Parallel(Backstage(Play(spec, split, salt_file, backend)), spaces or TextSpaces())


class _Seats:
    """What both faces share: agents, spaces, and what each agent has to see."""

    def __init__(self, stage: Backstage, spaces: TextSpaces) -> None:
        self._stage = stage
        self._spaces = spaces
        self.metadata = {"name": stage.name, "render_modes": [], "is_parallelizable": True}
        self.render_mode = None
        self.possible_agents = list(stage.seats)
        self.agents: list[str] = []
        self.infos: dict[str, dict[str, Any]] = {}
        self.rewards: dict[str, float] = {}
        self.terminations: dict[str, bool] = {}
        self.truncations: dict[str, bool] = {}
        self.observation_spaces = {seat: self._space(spaces.observation) for seat in stage.seats}
        self.action_spaces = {seat: self._space(spaces.action) for seat in stage.seats}
        self._news: dict[str, tuple[Message, ...]] = {}
        self._fresh: set[str] = set()  # whose news begin a new context
        self._calls = 0

    def observation_space(self, agent: str) -> Text:
        """Texts."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Text:
        """Texts. A longer one, or one of other characters, is carried out all the same."""
        return self.action_spaces[agent]

    def close(self) -> None:
        """Give back the world, the judge and the thread, also in the middle of an episode. Safe to call twice."""
        self._stage.close()

    def _space(self, length: int) -> Text:
        return Text(length, min_length=0, charset=self._spaces.charset)

    def _begin(self, seed: int | None) -> None:
        shown = self._stage.reset(seed)
        self.agents = list(self.possible_agents)
        self._news = {seat: observation.messages for seat, observation in shown.items()}
        self._fresh = set()
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {}
        self._inform({})

    def _act(self, texts: Mapping[str, Any]) -> None:
        """One action of each acting seat; what it brings about."""
        actions = {}
        for seat, text in texts.items():
            self._calls += 1
            actions[seat] = as_action(text, f"call-{self._calls}")
        steps = self._stage.step(actions)
        for seat in actions:
            self._news[seat] = ()
            self._fresh.discard(seat)
        for seat, step in steps.items():
            self._show(seat, step.observation)
            # none: before the end, and for an episode that is invalid, which `infos` says
            self.rewards[seat] = step.reward or 0.0
            invalid = "invalid" in step.info
            self.terminations[seat] = step.terminated and not invalid
            self.truncations[seat] = step.truncated or invalid
        self._inform(steps)

    def _checked(self, agent: str, text: object) -> str:
        if not isinstance(text, str):
            raise UsageError(f"an action is a text, not {type(text).__name__} (agent {agent!r})")
        return text

    def _show(self, seat: str, observation: Observation) -> None:
        if observation.fresh:
            self._fresh.add(seat)
        before = () if observation.fresh else self._news[seat]
        self._news[seat] = before + observation.messages

    def _inform(self, steps: Mapping[str, Step]) -> None:
        schemas = [tool.schema() for tool in self._stage.tools]
        acting = self._stage.acting
        for seat in self.agents:
            info = dict(steps[seat].info) if seat in steps else {}
            if "invalid" in info:
                info["invalid"] = info["invalid"].reason.value
            chat = [message.as_chat() for message in self._news[seat]]
            self.infos[seat] = {
                **info,
                "tools": schemas,
                "messages": chat,
                "fresh": seat in self._fresh,
                "acting": seat in acting,
            }

    def _text(self, agent: str) -> Seen:
        spaces = self._spaces
        return Seen(as_text(self._news[agent], spaces.charset, spaces.observation))


class Aec(_Seats, AECEnv):  # type: ignore[misc]  # untyped base
    """One agent at a time. Made by `aec`."""

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode. There are no options. Raises TrialInvalid where the world does not open."""
        self._begin(seed)
        self._given: dict[str, str] = {}
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self._skip_agent_selection = None
        self.agent_selection = self._stage.acting[0]

    def observe(self, agent: str) -> Seen:
        """What this agent was shown since its last action; nobody else's."""
        return self._text(agent)

    def step(self, action: str | None) -> None:
        """The selected agent's action; None where its episode is over."""
        if not self.agents:
            raise UsageError(f"{self._stage.name}: no episode is under way; call reset")
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        self._given[agent] = self._checked(agent, action)
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        due = [seat for seat in self._stage.acting if seat not in self._given]
        if not due:
            given, self._given = self._given, {}
            self._act(given)
            self._accumulate_rewards()
            due = [*self._stage.acting, *self.agents]  # nobody acts any more: the dead step first
        self.agent_selection = due[0]


class Parallel(_Seats, ParallelEnv):  # type: ignore[misc]  # untyped base
    """All agents at once. Made by `parallel`."""

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Seen], dict[str, dict[str, Any]]]:
        """Begin an episode. There are no options. Raises TrialInvalid, or UsageError where seats act in turn."""
        self._begin(seed)
        if set(self._stage.acting) != set(self.agents):
            raise UsageError(f"{self._stage.name}: its seats act in turn; use `aec`")
        return {agent: self._text(agent) for agent in self.agents}, dict(self.infos)

    def step(self, actions: dict[str, str]) -> tuple[
        dict[str, Seen], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]
    ]:  # fmt: skip
        """An action of each agent; of one who waits, none is needed."""
        due = self._stage.acting
        if missing := [seat for seat in due if seat not in actions]:
            raise UsageError(f"{self._stage.name}: an action of {', '.join(missing)} is due")
        if due:
            self._act({seat: self._checked(seat, actions[seat]) for seat in due})
        agents = self.agents
        if not self._stage.acting:
            self.agents = []
        return (
            {agent: self._text(agent) for agent in agents},
            dict(self.rewards) if agents else {},
            dict(self.terminations) if agents else {},
            dict(self.truncations) if agents else {},
            dict(self.infos) if agents else {},
        )
