"""Policies that know nothing, and the oracle with the bait in its hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envkit.audit.attack import Battery
from envkit.data.message import Action, Observation, ToolCall
from envkit.env import Env
from envkit.judge.client import Judge
from envkit.rollout.policy import Casting, Local, Oracle, Policy, PolicyStopped, RandomCalls

FLOORS = ("nothing", "empty_object", "echo_prompt", "refusal", "every_tool")
"""Attacks that are floors as well: they are played on every task."""
RANDOM = 3  # episodes of the random policy on each task


def floors(env: type[Env[Any]]) -> Battery:
    """The floors that are attacks."""
    return Battery(env, "floor", FLOORS)


def battery(env: type[Env[Any]]) -> Battery:
    """All other attacks."""
    from envkit.audit.battery import attacks

    return Battery(env, "attack", [one.name for one in attacks() if one.name not in FLOORS])


def random_calls() -> RandomCalls:
    """Random tools with random arguments."""
    return RandomCalls("random")


class Baited(Oracle):
    """Solves the task, and writes the bait down on the way: worth nothing."""

    writes_bait = True


class Explorer:
    """Fifty honest looks around a terminal, many of which print the bait."""

    name = "explorer"
    at_once = 10  # calls of one turn

    def __init__(self, commands: tuple[str, ...]) -> None:
        self._commands = commands

    def describe(self) -> Mapping[str, Any]:
        """The name alone."""
        return {"name": self.name}

    async def variants(self, judge: Judge, split: str, index: int) -> tuple[str | None, ...]:
        """One episode."""
        return (None,)

    async def aclose(self) -> None:
        """Nothing is shared."""

    async def open(self, casting: Casting) -> Policy:
        """Begin to look around."""
        run = next(tool.name for tool in casting.tools if tool.name.endswith("_run"))
        most = casting.ticket.public.limits
        each = max(self.at_once, -(-len(self._commands) // max(1, most.turns - 1)))
        left = list(self._commands[: most.tool_calls])

        def act(observation: Observation) -> Action:
            if not left:
                raise PolicyStopped("everything was looked at")
            batch, left[:] = left[:each], left[each:]
            return Action(
                calls=tuple(
                    ToolCall(run, {"command": one}, f"look-{n}") for n, one in enumerate(batch)
                )
            )

        return Local(act)
