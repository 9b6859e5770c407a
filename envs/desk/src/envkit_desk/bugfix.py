"""`desk/bugfix`: a small Python package does something wrong; mend it.

The mended package is judged as a subject: hidden arguments go into a process that knows no answer,
and the judge compares what comes back with an implementation of its own.
"""

from __future__ import annotations

from random import Random
from typing import Any, ClassVar, Literal

from envkit_validators import Slot, returns
from pydantic import BaseModel

from envkit import Config, Env, Evidence, Grading, Limits, Score, Script, Task, Terminal, call, say
from envkit_desk.exercises import EXERCISES, Arguments, Bug, Drawn, Exercise, fill
from envkit_desk.reports import PROMPT, RUN_TESTS, issue, path_of, test_path, visible_tests

FIRST = (
    *("amber", "birch", "cobalt", "dusty", "ember", "fern", "granite", "hollow", "iron", "juniper"),
    *("kelp", "linen", "mossy", "north", "olive", "pebble", "quartz", "rusty", "silver", "timber"),
)
SECOND = (
    *(
        "anchor",
        "basket",
        "compass",
        "drawer",
        "engine",
        "flask",
        "gadget",
        "hinge",
        "inkwell",
        "jar",
    ),
    *(
        "kettle",
        "ladder",
        "mill",
        "notch",
        "oar",
        "pulley",
        "quill",
        "rudder",
        "spindle",
        "toolbox",
    ),
)


SLOT = Slot(seconds=2.0, batch=True)
"""One process for all calls: they tell nothing of each other, and it knows no expected value."""


class Level(Config):
    """How far the symptom is from the fault."""

    level: Literal["easy", "medium", "hard"] = "easy"


class Fix(BaseModel):
    """One seeded fault: what stands in a file, and what should."""

    path: str
    wrong: str
    right: str


class Gold(BaseModel):
    """What was seeded, and hidden arguments; the expected values are computed by the reference."""

    exercise: str
    drawn: dict[str, str]
    bugs: list[str]
    fixes: list[Fix]
    reported: Arguments
    hidden: list[Arguments]


class BugFix(Env[Gold]):
    """Find and mend what a bug report describes in a small Python package."""

    version = 1
    splits: ClassVar = {"train": 2000, "test": 500}
    Config = Level
    config = Level()
    shell = Terminal()
    evidence: ClassVar = [shell.files("src/**/*.py")]

    @classmethod
    def task(cls, split: str, index: int, rng: Random) -> Task[Gold]:
        """Draw an exercise, its names and its bugs; write the package down with the bugs in it."""
        exercise = EXERCISES[rng.choice(sorted(EXERCISES))]
        drawn = {"package": f"{rng.choice(FIRST)}_{rng.choice(SECOND)}"}
        drawn |= {name: rng.choice(words) for name, words in exercise.names.items()}
        bugs = _choose(exercise, cls.config.level, rng)
        fixes = [_fix(bug, drawn) for bug in bugs]
        reported = bugs[0].expose(rng, drawn)
        gold = Gold(
            exercise=exercise.name,
            drawn=drawn,
            bugs=[bug.name for bug in bugs],
            fixes=fixes,
            reported=reported,
            hidden=_hidden(exercise, bugs, drawn, rng),
        )
        files = {path_of(drawn, "core"): exercise.source("core", drawn)}
        files[path_of(drawn, "helpers")] = exercise.source("helpers", drawn)
        for fix in fixes:
            files[fix.path] = files[fix.path].replace(fix.right, fix.wrong)
        files[f"src/{drawn['package']}/__init__.py"] = f'"""A package that {exercise.about}."""\n'
        files[test_path(drawn)] = visible_tests(exercise, drawn, reported, rng)
        files["ISSUE.md"] = issue(exercise, bugs, drawn, reported, cls.config.level)
        return Task(
            prompt=fill(PROMPT, {**drawn, "about": exercise.about, "run_tests": RUN_TESTS}),
            world={"shell": files},
            gold=gold,
            limits=Limits(turns=24, seconds=180),
            tags=(exercise.name, cls.config.level),
        )

    @staticmethod
    def grade(evidence: Evidence, gold: Gold) -> Grading:
        """Call the mended function with hidden arguments; half are drawn when the agent is gone."""
        exercise, drawn = EXERCISES[gold.exercise], gold.drawn
        bugs = [exercise.bug(name) for name in gold.bugs]
        hidden = [*gold.hidden, *_hidden(exercise, bugs, drawn, evidence.rng())]
        right = yield from returns(
            evidence.files("shell/src/"),
            path_of(drawn, "core").removeprefix("src/"),
            drawn["main"],
            [(arguments, exercise.reference(drawn, *arguments)) for arguments in hidden],
            slot=SLOT,
        )
        return Score.all(right=right)

    @staticmethod
    def solve(task: Task[Gold]) -> Script:
        """Look at the report and the tests, put each fault right where it stands, run the tests."""
        yield call("shell_run", command=f"cat ISSUE.md; {RUN_TESTS}")
        for fix in task.gold.fixes:
            yield call("shell_view", path=fix.path)
            yield call("shell_str_replace", path=fix.path, old=fix.wrong, new=fix.right)
        yield call("shell_run", command=RUN_TESTS)
        yield say("Mended, and the tests pass.")

    @staticmethod
    def near_misses(task: Task[Gold]) -> dict[str, Script]:
        """What passes for a fix at first sight: the visible tests are happy with most of these."""
        gold = task.gold
        main, reported = gold.drawn["main"], gold.reported
        expected = EXERCISES[gold.exercise].reference(gold.drawn, *reported)
        scripts = {
            "unchanged": _only_say("I read the code and found nothing wrong."),
            "tests_edited": _overwrite(test_path(gold.drawn), "print('OK')\n"),
            "example_only": _append(task, fill(EXAMPLE_ONLY, _text(main, reported, expected))),
            "always_equal": _append(task, fill(ALWAYS_EQUAL, _text(main, reported, expected))),
            "printed": _append(task, fill(PRINTED, _text(main, reported, expected))),
            "exit_zero": _append(task, "\nimport sys\n\nsys.exit(0)\n"),
        }
        if len(gold.fixes) > 1:
            scripts["half"] = _half(gold.fixes[0])
        return scripts


# ---- how a task is drawn -------------------------------------------------------------------------


def _choose(exercise: Exercise, level: str, rng: Random) -> list[Bug]:
    """Easy: where the symptom is. Medium: a call away from it. Hard: one here, one there."""
    core = [bug for bug in exercise.bugs if bug.module == "core"]
    helpers = [bug for bug in exercise.bugs if bug.module == "helpers"]
    if level == "easy":
        return [rng.choice(core)]
    if level == "medium":
        return [rng.choice(helpers)]
    first = rng.choice(core)
    return [first, rng.choice([bug for bug in helpers if bug.name not in first.never_with])]


def _hidden(exercise: Exercise, bugs: list[Bug], drawn: Drawn, rng: Random) -> list[Arguments]:
    """Arguments that show each bug, and others that show what a careless fix breaks."""
    showing = [bug.expose(rng, drawn) for bug in bugs for _ in range(2)]
    return [*showing, *(exercise.inputs(rng, drawn) for _ in range(4))]


def _fix(bug: Bug, drawn: Drawn) -> Fix:
    return Fix(
        path=path_of(drawn, bug.module), wrong=fill(bug.wrong, drawn), right=fill(bug.right, drawn)
    )


# ---- wrong on purpose ----------------------------------------------------------------------------

EXAMPLE_ONLY = """

_unmended = $main


def $main(*arguments):
    return $expected if list(arguments) == $reported else _unmended(*arguments)
"""

ALWAYS_EQUAL = """

class Anything(list):
    def __eq__(self, other):
        return True


def $main(*arguments):
    return Anything($reported)
"""

PRINTED = """

def $main(*arguments):
    print($expected)
"""


def _text(main: str, reported: Arguments, expected: Any) -> dict[str, str]:
    return {"main": main, "reported": repr(reported), "expected": repr(expected)}


def _only_say(text: str) -> Script:
    yield say(text)


def _overwrite(path: str, text: str) -> Script:
    yield call("shell_create", path=path, text=text)
    yield say("Mended.")


def _append(task: Task[Gold], code: str) -> Script:
    path = path_of(task.gold.drawn, "core")
    return _overwrite(path, task.world["shell"][path] + code)


def _half(fix: Fix) -> Script:
    yield call("shell_str_replace", path=fix.path, old=fix.wrong, new=fix.right)
    yield say("Mended.")
