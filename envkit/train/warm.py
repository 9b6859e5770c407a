"""The warm start: episodes of the environment's own scripts, played for real, written down as the model would say them.

Besides, what `tiny` has to be able to read, how far a guess gets, and when reinforcement learning can take over.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from envkit.data.message import Action, Observation
from envkit.env import Env
from envkit.errors import UsageError
from envkit.judge.client import Judge
from envkit.rollout.policy import Casting, Local, Oracle, Policy, Scripted
from envkit.train.collect import Outcome, Result, Troupe
from envkit.train.learner import Learner, Sample
from envkit.train.ledger import HeldOut, Plan

SOLVE = "solve"
FLOOR_TASKS = 64  # that a guess is tried on
ABOVE_GUESS = (
    2.0  # times; below it, to guess is the nearest better policy, and is what would be learned
)
LEAST_SUCCESS = 0.2  # a warm start goes on to here: from 0.28 success doubled in ten steps, from 0.11 it stood still


class Mixture(Oracle):
    """Plays `solve` or a near-miss, drawn for each episode by weight.

    Args:
        weights: by name; `solve` is the oracle, the others are near-misses
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__("+".join(f"{name}:{weight:g}" for name, weight in weights.items()))
        self._weights = dict(weights)

    async def open(self, casting: Casting) -> Policy:
        """Start the script that is drawn."""
        (name,) = casting.rng.choices(list(self._weights), list(self._weights.values()))
        chosen = None if name == SOLVE else name
        return Scripted(await casting.judge.script(casting.ticket, chosen, casting.seat))


class Constant(Oracle):
    """Says the same in every episode, whatever it is asked."""

    def __init__(self, answer: str) -> None:
        super().__init__(f"constant:{answer[:40]}")
        self._answer = answer

    async def open(self, casting: Casting) -> Policy:
        """At once."""
        return Local(lambda observation: _say(self._answer, observation))


def _say(answer: str, _: Observation) -> Action:
    return Action(answer)


async def mixture(text: str | None, env: type[Env[Any]], judge: Judge) -> Mixture:
    """What `--warm` says; else what the environment demonstrates by itself, else `solve` alone.

    Raises UsageError for a name that is no script of this environment.
    """
    weights = parse(text) if text else dict(getattr(env, "demonstrations", {SOLVE: 1.0}))
    known = [
        SOLVE,
        *await judge.near_misses("train" if "train" in env.splits else next(iter(env.splits)), 0),
    ]
    for name in weights:
        if name not in known:
            raise UsageError(f"--warm: no script is called {name!r}; there are {', '.join(known)}")
    return Mixture(weights)


def parse(text: str) -> dict[str, float]:
    """From `solve:0.3,guess:0.7`. Raises UsageError."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, _, weight = part.strip().partition(":")
        try:
            weights[name] = float(weight or 1.0)
        except ValueError:
            weights[name] = -1.0
        if not name or not 0 < weights[name] < float("inf"):
            raise UsageError(f"--warm {text!r}: write NAME:WEIGHT,..., such as solve:0.3,guess:0.7")
    return weights


def texts_of(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """What was read and written in these episodes, calls as models write them."""
    for outcome in outcomes:
        for message in outcome.episode.messages:
            content = message.get("content")
            if isinstance(content, str):
                yield content
            for asked in message.get("tool_calls", ()):
                told = asked["function"]
                try:
                    arguments = json.loads(told["arguments"])
                except ValueError:
                    continue
                yield json.dumps({"name": told["name"], "arguments": arguments})


def rows_of(outcomes: Sequence[Outcome]) -> list[Sample]:
    """What the learner imitates: every row of every valid episode."""
    return [
        Sample(row)
        for outcome in outcomes if outcome.valid
        for trace in outcome.traces.values()
        for row in trace.rows
    ]  # fmt: skip


def batches(samples: Sequence[Sample], size: int, steps: int, seed: int) -> Iterator[list[Sample]]:
    """As many batches as there are steps; every sample once before any comes again."""
    left: list[Sample] = []
    rng = Random(f"{seed}/warm")
    for _ in range(steps):
        while len(left) < size:
            left += rng.sample(list(samples), len(samples))
        yield left[:size]
        left = left[size:]


def imitate(learner: Learner, batch: Sequence[Sample]) -> float:
    """One step of it; the loss."""
    return learner.step(batch, "ce").loss


def guesses(success: float, floor: float) -> bool:
    """Whether a policy is so near to guessing that to guess is what it would learn."""
    return success < ABOVE_GUESS * floor


def ready(success: float, floor: float) -> bool:
    """Whether rewards can teach the rest, so a warm start may end."""
    return success >= LEAST_SUCCESS and not guesses(success, floor)


async def guess_floor(troupe: Troupe, plan: Plan, held: HeldOut) -> float:
    """The success of the one answer that is right most often: what needs no work at all.

    It is taken from the oracle's last words in training, and tried on what is held out.
    """
    steps = -(-min(held.tasks, FLOOR_TASKS) // plan.groups)
    works = [group[0] for step in range(steps) for group in plan.groups_of(step)]
    solved = await troupe.play(Oracle("oracle"), works)
    answers = Counter(_last_words(outcome) for outcome in solved if outcome.valid)
    answer = answers.most_common(1)[0][0]
    return Result.of(await troupe.play(Constant(answer), held.works(1))).success


def _last_words(outcome: Outcome) -> str:
    said = [m for m in outcome.episode.messages if m["role"] == "assistant"]
    return str(said[-1].get("content") or "") if said else ""
