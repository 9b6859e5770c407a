"""`recall/fact` beyond what every pack shows: its levels, its stories, and that a context really is gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from envkit_recall.fact import FILE, Fact, Level
from envkit_recall.people import KINDS
from envkit_recall.story import SHAPES, UNKNOWN, Story

from envkit import Evidence, Task
from envkit.data.evidence import FrozenEvidence, FrozenItem
from envkit.data.keyed import KeyedRandom
from envkit.data.message import Action, Observation, say
from envkit.data.task import PublicTask
from envkit.env import Env
from envkit.host import Host
from envkit.judge.keys import PUBLIC_SALT, TaskKey
from envkit.rollout.policy import Casting, Policy, Usage, policy_source
from envkit.rollout.record import Episode
from envkit.rollout.runner import Runner, RunSettings

LEVELS = tuple(SHAPES)


def at(level: str) -> type[Fact]:
    return type("Fact", (Fact,), {"config": Level(level=level)})


def tasks(level: str, count: int, split: str = "train") -> list[Task]:
    cls = at(level)
    return [cls.task(split, n, KeyedRandom(f"{split}-{n}".encode(), level)) for n in range(count)]


def prompts(task: Task) -> list[str]:
    return [task.prompt, *task.world["chain"]]


async def played(level: str, policy: Any, count: int = 3) -> list[Episode]:
    settings = RunSettings(f"recall/fact?level={level}", tasks=count, concurrency=4)
    episodes: list[Episode] = []
    async with Runner(settings, policy) as runner:
        await runner.run(episodes.append)
    return episodes


# ---- the levels through the real runner ----


async def test_the_medium_level_can_be_done():
    assert {e.reward for e in await played("medium", policy_source("oracle"))} == {1.0}


async def test_the_hard_level_has_more_ways_to_be_wrong():
    misses = await played("hard", policy_source("near-misses"), count=2)
    assert {e.reward for e in misses} == {0.0}
    assert {e.variant for e in misses} == {
        "neighbour", "outdated", "only_unknown", "a_sentence", "one_line_more", "numbered", "none", "another_order",
        "one_missing", "only_said_early",
    }  # fmt: skip


# ---- the context is gone ----


@dataclass
class Echo:
    """Answers what is right, but only what stands in its own context: as good as a model without notes can be."""

    answers: list[str]
    forgets: bool  # as every policy has to: a fresh observation begins its messages anew
    usage: Usage = field(default_factory=Usage)
    messages: list[str] = field(default_factory=list)

    async def __call__(self, observation: Observation) -> Action:
        if observation.fresh and self.forgets:
            self.messages.clear()
        self.messages.append(observation.text())
        context = "\n".join(self.messages)
        known = [a if a == UNKNOWN or a in context else UNKNOWN for a in self.answers]
        return say("\n".join(known))

    async def aclose(self) -> None:
        pass


@dataclass
class Echoes:
    """Opens echoes; it knows the answers by the prompts of their tasks."""

    answers: Mapping[str, list[str]]
    forgets: bool
    name: str = "echo"

    def describe(self) -> Mapping[str, Any]:
        return {"name": self.name}

    async def variants(self, judge, split, index) -> tuple[str | None, ...]:
        return (None,)

    async def open(self, casting: Casting) -> Policy:
        return Echo(self.answers[casting.ticket.public.prompt], self.forgets)

    async def aclose(self) -> None:
        pass


async def test_what_stood_in_the_context_is_gone():
    level = "hard"
    answers: dict[str, list[str]] = {}
    cls = at(level)
    for index in range(3):  # the tasks that the judge makes of the public salt
        key = TaskKey.of(PUBLIC_SALT, f"recall/fact@1?level={level}", "train", index)
        task = cls.task("train", index, key.rng())
        answers[task.prompt] = task.gold.answers
    assert {e.reward for e in await played(level, Echoes(answers, forgets=True))} == {0.0}
    # the control: with its context kept, the same policy earns everything
    assert {e.reward for e in await played(level, Echoes(answers, forgets=False))} == {1.0}


@pytest.mark.parametrize("level", LEVELS)
def test_the_last_session_tells_nothing(level):
    for task in tasks(level, 50):
        last = prompts(task)[-1]
        values = [value for session in task.gold.told for _, _, value in session]
        assert not any(value in last for value in values)


# ---- stories ----


@pytest.mark.parametrize("level", LEVELS)
def test_the_answer_is_what_was_told_last(level):
    for task in tasks(level, 50):
        told: dict[tuple[str, str], list[str]] = {}
        for session, text in zip(task.gold.told, prompts(task), strict=False):
            for who, what, value in session:
                assert value in text
                told.setdefault((who, what), []).append(value)
        values = [value for values in told.values() for value in values]
        assert len(set(values)) == len(values)
        for asked in task.gold.asked:
            own = told.get((asked.who, asked.what), [UNKNOWN])
            assert (asked.answer, asked.outdated) == (own[-1], own[0])
            (other,) = [
                values[-1]
                for (who, what), values in told.items()
                if what == asked.what
                and who != asked.who
                and who.split()[0] == asked.who.split()[0]
            ]
            assert asked.neighbour == other


def test_levels_are_what_they_say():
    for level, shape in SHAPES.items():
        for task in tasks(level, 30):
            asked = task.gold.asked
            assert len(asked) == shape.changed + shape.same + shape.untold
            assert len(task.world["chain"]) == len(shape.sessions)
            assert sum(a.answer == UNKNOWN for a in asked) == shape.untold
            later = {
                (w, t)
                for n, s in enumerate(task.gold.told)
                if shape.sessions[n] == "change"
                for w, t, _ in s
            }
            assert sum((a.who, a.what) in later for a in asked) == shape.changed


@pytest.mark.parametrize(("level", "train", "test"), [("easy", 2000, 500), ("hard", 400, 100)])
def test_all_tasks_differ(level, train, test):
    made = tasks(level, train) + tasks(level, test, "test")
    questions = {(str(task.gold.asked), *task.gold.answers) for task in made}
    assert len({task.prompt for task in made}) == len(questions) == train + test


def test_no_answer_is_worth_guessing():
    made = tasks("easy", 2000)
    answers = Counter(task.gold.answers[0] for task in made)
    assert max(answers.values()) <= 3
    kinds = Counter(task.gold.asked[0].what for task in made)
    assert set(kinds) == set(KINDS)
    assert max(kinds.values()) < 2000 / len(KINDS) * 1.4


def test_notes_of_a_good_writer_fit_and_the_messages_do_not():
    for task in tasks("hard", 30):
        lines = {(who, what): value for session in task.gold.told for who, what, value in session}
        assert (
            sum(len(f"{who}, {what} = {value}\n") for (who, what), value in lines.items()) < 3_000
        )
        assert sum(len(text.encode()) for text in prompts(task)) > 6_000


def test_a_story_is_a_function_of_its_draws():
    for level in LEVELS:
        first, second = (Story(KeyedRandom(b"k", level), level) for _ in range(2))
        assert first.sessions == second.sessions


# ---- grading ----


def graded(said: bytes | None, answers: list[str]) -> float:
    items = () if said is None else (FrozenItem(name="chain/said.json", data=said),)
    gold: Any = type("Gold", (), {"answers": answers})
    return Fact.grade(Evidence(FrozenEvidence(items=items)), gold).reward


@pytest.mark.parametrize(
    ("said", "reward"),
    [
        (b'["x", "a\\nb"]', 1.0),
        (b'["x", " a \\n b\\n"]', 1.0),
        (b'["a\\nb", null]', 0.0),
        (b'["a\\nb", "done"]', 0.0),
        (b'["x", "b\\na"]', 0.0),
        (b'["x", "A\\nb"]', 0.0),
        (b'["x", "a\\n\\nb"]', 0.0),
        (b'["x", "a\\nb\\nc"]', 0.0),
        (b'["x", ["a", "b"]]', 0.0),
        (b'{"1": "a"}', 0.0),
        (b"[]", 0.0),
        (b"not json", 0.0),
        (None, 0.0),
    ],
)
def test_grading_is_exact_and_never_raises(said, reward):
    assert graded(said, ["a", "b"]) == reward


# ---- determinism ----


async def transcript(task: Task) -> list[str]:
    env: Env[Any] = at("hard")()
    world = {"chain": {"prompts": task.world["chain"]}}
    public = PublicTask(
        id="t", prompt=task.prompt, world=world, limits=task.limits, seed=5, digest="d"
    )
    await env.reset(public, Host(), pack="recall", group="g")
    script, seen = Fact.solve(task), [(await env.observe()).text()]
    action = next(script)
    while True:
        told = await env.step(action)
        if not env.acting:
            break
        told = Observation((*told.messages, *(await env.observe()).messages))
        seen.append(told.text())
        action = script.send(told)
    seen.append(str((await env.freeze()).items))
    await env.close()
    return seen


async def test_ten_resets_show_the_same():
    (task,) = tasks("hard", 1)
    seen = [await transcript(task) for _ in range(10)]
    assert all(one == seen[0] for one in seen)
    assert any(FILE in text for text in seen[0])
