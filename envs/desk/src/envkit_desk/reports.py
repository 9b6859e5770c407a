"""What the agent of `desk/bugfix` reads beside the code: request, report and visible tests."""

from __future__ import annotations

from random import Random

from envkit_desk.exercises import Arguments, Bug, Drawn, Exercise, fill

RUN_TESTS = "python3 -B -m unittest discover -s tests"

PROMPT = """\
The package $package (in src/$package) $about.
It gets some cases wrong; ISSUE.md has the report.

Please mend it. The docstrings say what every function has to do: make the code do that, for every
input they allow and not only for the one in the report. Use the standard library only, and keep the
layout of the package.

I'll check it by calling $main from src/$package/$core.py with arguments of my own.
It has to keep its parameters and to return plain lists, text, numbers, true or false, or None.

`$run_tests` runs the few tests we have.
"""


def path_of(drawn: Drawn, module: str) -> str:
    """Where a module of the package lies in the workspace."""
    return f"src/{drawn['package']}/{drawn[module]}.py"


def test_path(drawn: Drawn) -> str:
    """Where the visible tests lie."""
    return f"tests/test_{drawn['core']}.py"


def issue(
    exercise: Exercise, bugs: list[Bug], drawn: Drawn, reported: Arguments, level: str
) -> str:
    """The report: always a symptom and an example; the file only if the task is easy."""
    shown = ", ".join(map(repr, reported))
    expected = exercise.reference(drawn, *reported)
    paragraphs = [
        f"# {drawn['main']}: {fill(bugs[0].symptom, drawn)}",
        f"`{drawn['main']}({shown})` should return `{expected!r}`, and does not.",
    ]
    if level == "easy":
        paragraphs.append(f"I believe the fault is in {path_of(drawn, bugs[0].module)}.")
    if level == "hard":
        paragraphs.append("Somebody else saw wrong results for another reason, in other cases.")
    return "\n\n".join(paragraphs) + "\n"


def visible_tests(exercise: Exercise, drawn: Drawn, reported: Arguments, rng: Random) -> str:
    """The reported case, and two of all sorts."""
    cases = [reported, exercise.inputs(rng, drawn), exercise.inputs(rng, drawn)]
    tests = [
        f"    def test_{number}(self):\n"
        f"        seen = {drawn['main']}({', '.join(map(repr, case))})\n"
        f"        self.assertEqual(seen, {exercise.reference(drawn, *case)!r})\n"
        for number, case in enumerate(cases, 1)
    ]
    return (
        "import sys\nimport unittest\n\nsys.path.insert(0, 'src')\n\n"
        f"from {drawn['package']}.{drawn['core']} import {drawn['main']}\n\n\n"
        "class Cases(unittest.TestCase):\n" + "\n".join(tests)
    )
