"""`recall/fact`: note what messages say, and answer from the notes when the messages are gone.

Easy: one thing, told in the first of three sessions. Medium: two, one of which changes in a later session. Hard:
four, told in two sessions and changed twice, one of them told of a namesake only.
"""

from __future__ import annotations

from random import Random
from typing import ClassVar, Literal

from envkit_validators import lines, list_equal
from pydantic import BaseModel

from envkit import (
    Config,
    Env,
    Evidence,
    Limits,
    Memory,
    Score,
    Script,
    SessionChain,
    Task,
    call,
    say,
)
from envkit_recall import prose
from envkit_recall.story import UNKNOWN, Story

FILE = "/memories/people.md"
TURNS = 10  # of a session


class Level(Config):
    """How much is told, how often it changes, how much is asked."""

    level: Literal["easy", "medium", "hard"] = "easy"


class Asked(BaseModel):
    """One question: the answer, and what one might take for it."""

    who: str
    what: str
    answer: str
    outdated: str  # the first value, where there was a later one; else the answer
    neighbour: str  # the same of whoever has nearly the same name


class Gold(BaseModel):
    """The answers; what else stands here is for scripts."""

    answers: list[str]
    asked: list[Asked]
    told: list[list[tuple[str, str, str]]]  # by session: who, what, value


class Fact(Env[Gold]):
    """Note what messages say, and answer from the notes when the messages are gone."""

    version = 1
    splits: ClassVar = {"train": 2000, "test": 500}
    Config = Level
    config = Level()
    chain = SessionChain()
    notes = Memory(chain=chain, max_bytes=4_096, max_records=32, max_writes=100)
    evidence: ClassVar = [chain.said()]

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task[Gold]:
        """Invent people, have them write, and ask about what they wrote."""
        story = Story(rng, cls.config.level)
        first, *rest = [_session(rng, number, inbox) for number, inbox in enumerate(story.sessions)]
        asked = [_asked(story, who, what) for who, what in story.asked]
        sessions = len(story.sessions) + 1
        return Task(
            prompt=first,
            world={"chain": [*rest, _question(rng, story.asked)]},
            gold=Gold(answers=[a.answer for a in asked], asked=asked, told=story.told),
            limits=Limits(turns=TURNS * sessions, tool_calls=4 * TURNS * sessions, seconds=60),
            tags=(cls.config.level,),
        )

    @staticmethod
    def grade(evidence: Evidence, gold: Gold) -> Score:
        """Every answer of the last session, letter for letter, and nothing else."""
        said = evidence.json("chain/said.json")
        last = said[-1] if isinstance(said, list) and said else None
        return Score.all(answers=list_equal(lines(last), gold.answers))

    @staticmethod
    def solve(task: Task[Gold]) -> Script:
        """Keep one line for each thing, change it when it changes, and answer from these lines alone."""
        kept: dict[tuple[str, str], str] = {}
        for told in task.gold.told:
            new = dict(kept)
            new.update({(who, what): value for who, what, value in told})
            if not kept:
                yield call("notes_create", path=FILE, file_text=_list(new))
            elif new != kept:
                yield call("notes_str_replace", path=FILE, old_str=_list(kept), new_str=_list(new))
            kept = new
            yield say("I have noted what matters.")
        seen = yield call("notes_view", path=FILE)
        known = dict(line.rsplit(" = ", 1) for line in _lines(seen.text()))
        yield say("\n".join(known.get(f"{a.who}, {a.what}", UNKNOWN) for a in task.gold.asked))

    @staticmethod
    def near_misses(task: Task[Gold]) -> dict[str, Script]:
        """What one gets by noting the wrong thing, or by being right in the wrong place or form."""
        gold = task.gold
        misses = {
            "neighbour": [a.neighbour for a in gold.asked],
            "only_unknown": [UNKNOWN] * len(gold.asked),
            "a_sentence": [f"It is {answer}." for answer in gold.answers],
            "one_line_more": ["Here you are:", *gold.answers],
            "numbered": [f"{n}. {answer}" for n, answer in enumerate(gold.answers, 1)],
            "none": [],
        }
        outdated = [a.outdated for a in gold.asked]
        if outdated != gold.answers:
            misses["outdated"] = outdated
        if len(gold.answers) > 1:
            misses["another_order"] = gold.answers[::-1]
            misses["one_missing"] = gold.answers[:-1]
        scripts = {name: _end(task, "\n".join(answer)) for name, answer in misses.items()}
        scripts["only_said_early"] = _end(task, "I told you before.", early="\n".join(gold.answers))
        return scripts


# ---- what the agent reads ------------------------------------------------------------------------

FIRST = """\
You help out at our front desk. You and I talk in several separate conversations, and when one of
them is over you will not remember a word of it: only your notes stay, the files under /memories.
There is room for about 4,000 characters, so keep what somebody may need and leave out the rest.
A conversation is over as soon as you answer without using a tool.

These messages came in today. Where two of them say different things, the later one is right. Some
day I will ask about what people told us here, and I will want it exactly as they wrote it. Mind that
some of our colleagues have nearly the same name.

{inbox}
"""

LATER = """\
Your notes from our earlier conversations are under /memories, and there is still work to do today.

{job}
{news}
When you are done, answer without using a tool: that ends this conversation."""

NEWS = """
Besides, these messages came in. Whatever they change, please keep your notes up to date.

{inbox}
"""

LAST = """\
I have {count} about what our colleagues told us. What they wrote is in none of the messages I have
left, so please look it up in your notes under /memories.

{questions}

Answer with one line for each, in this order, exactly as it was written to us and with nothing else
in the line. Where we were never told, write {unknown}."""


def _session(rng: Random, number: int, inbox: str) -> str:
    if number == 0:
        return FIRST.format(inbox=inbox)
    job = rng.choice(prose.JOBS)(rng)
    return LATER.format(job=job, news=NEWS.format(inbox=inbox) if inbox else "")


def _question(rng: Random, asked: list[tuple[str, str]]) -> str:
    forms = (
        "What is the {what} of {who}?",
        "Which {what} did we note for {who}?",
        "{who}: {what}?",
    )
    questions = [
        f"{number}. {rng.choice(forms).format(who=who, what=what)}"
        for number, (who, what) in enumerate(asked, 1)
    ]
    count = "a question" if len(asked) == 1 else f"{len(asked)} questions"
    return LAST.format(count=count, questions="\n".join(questions), unknown=UNKNOWN)


# ---- gold and scripts ----------------------------------------------------------------------------


def _asked(story: Story, who: str, what: str) -> Asked:
    fact, neighbour = story.find(who, what), story.neighbour(who, what)
    values = fact.values if fact else [UNKNOWN]
    return Asked(
        who=who, what=what, answer=values[-1], outdated=values[0],
        neighbour=neighbour.values[-1] if neighbour else UNKNOWN,
    )  # fmt: skip


def _list(kept: dict[tuple[str, str], str]) -> str:
    return "\n".join(f"{who}, {what} = {value}" for (who, what), value in kept.items())


def _lines(view: str) -> list[str]:
    """The lines of a viewed file, without their numbers."""
    rows = [row.partition("\t")[2] for row in view.split("\n")]
    return [row for row in rows if " = " in row]


def _end(task: Task[Gold], last: str, early: str = "Noted.") -> Script:
    """Every session ended at once, the first with `early`, the last with `last`."""
    yield say(early)
    for _ in task.world["chain"][:-1]:
        yield say("Done.")
    yield say(last)
