"""Sorting of version numbers."""

from __future__ import annotations

from random import Random

from envkit_desk.exercises.exercise import Arguments, Bug, Drawn, Exercise

CORE = '''\
"""Sort $items by age."""

from $package.$helpers import $numbers, $rank


def $key(version):
    """What a version such as "1.4.2" or "1.4-${late}3" is sorted by: numbers, then stage."""
    release, _, stage = version.partition("-")
    return ($numbers(release), $rank(stage))


def $main($items):
    """Sort $items, oldest first: each is one to four numbers, and perhaps a stage after a dash.

    Numbers are compared as numbers, and one that is missing counts as 0. A stage is a name of
    STAGES with or without a number: all stages come before the release itself, in the order of
    STAGES, then by their number, where a missing one counts as 0. What is equal stays in the given
    order.
    """
    return sorted($items, key=$key)
'''

HELPERS = '''\
"""The parts of a version."""

STAGES = ("$early", "$middle", "$late")
PARTS = 4


def $numbers(release):
    """The numbers of a release, filled up with zeros to PARTS."""
    numbers = [int(part) for part in release.split(".")]
    return numbers + [0] * (PARTS - len(numbers))


def $rank(stage):
    """A pair that sorts stages; the empty stage, of a release, comes after all others."""
    if not stage:
        return (len(STAGES), 0)
    name = stage.rstrip("0123456789")
    return (STAGES.index(name), int(stage[len(name) :] or 0))
'''


def reference(drawn: Drawn, versions: list[str]) -> list[str]:
    """Put every version into its place, one after another."""
    stages = [drawn["early"], drawn["middle"], drawn["late"], ""]

    def weight(version: str) -> int:
        numbers, _, stage = version.partition("-")
        parts = (numbers + ".0.0.0").split(".")[:4]
        name = "".join(letter for letter in stage if letter.isalpha())
        total = 0
        for part in (*parts, str(stages.index(name)), stage.removeprefix(name) or "0"):
            total = total * 100_000 + int(part)
        return total

    placed: list[str] = []
    for version in versions:
        place = sum(weight(other) <= weight(version) for other in placed)
        placed.insert(place, version)
    return placed


def _numbers(rng: Random) -> str:
    return ".".join(str(rng.choice((0, 1, 2, 9, 10, 11))) for _ in range(rng.randint(1, 4)))


def inputs(rng: Random, drawn: Drawn) -> Arguments:
    """A few releases, each in several writings and stages."""
    versions = []
    for _ in range(rng.randint(2, 4)):
        release = _numbers(rng)
        versions += [release, f"{release}.0"] if release.count(".") < 3 else [release]
        stage = drawn[rng.choice(("early", "middle", "late"))]
        versions += [f"{release}-{stage}{number}" for number in ("", *rng.sample(range(1, 15), 2))]
    rng.shuffle(versions)
    return [versions]


def _ten_and_nine(rng: Random, drawn: Drawn) -> Arguments:
    major = rng.randint(1, 40)
    return [[f"{major}.{rng.randint(10, 19)}", f"{major}.{rng.randint(2, 9)}"]]


def _before_its_release(rng: Random, drawn: Drawn) -> Arguments:
    release = f"{rng.randint(1, 40)}.{rng.randint(0, 30)}"
    return [[release, f"{release}-{drawn['late']}{rng.randint(1, 9)}"]]


def _missing_is_zero(rng: Random, drawn: Drawn) -> Arguments:
    release = f"{rng.randint(1, 40)}.{rng.randint(0, 30)}"
    return [[f"{release}.0", release]]


def _tenth_stage(rng: Random, drawn: Drawn) -> Arguments:
    release, stage = rng.randint(1, 40), drawn["middle"]
    return [[f"{release}-{stage}{rng.randint(10, 19)}", f"{release}-{stage}{rng.randint(2, 9)}"]]


EXERCISE = Exercise(
    name="versions",
    about="sorts version numbers",
    names={
        "core": ("sorting", "releases", "timeline", "ages"),
        "helpers": ("parts", "parsing", "stages", "anatomy"),
        "main": ("sort_all", "by_age", "oldest_first", "in_sequence", "ascending", "chronicle"),
        "key": ("sort_key", "age", "position", "as_key"),
        "numbers": ("numbers", "digits", "release_parts", "levels"),
        "rank": ("rank", "stage_rank", "maturity", "stage_key"),
        "items": ("versions", "releases", "tags", "builds", "editions", "revisions"),
        "early": ("alpha", "nightly", "dev", "draft"),
        "middle": ("beta", "preview", "test", "m"),
        "late": ("rc", "candidate", "final", "gamma"),
    },
    core=CORE,
    helpers=HELPERS,
    reference=reference,
    inputs=inputs,
    bugs=(
        Bug(
            name="as-text",
            module="core",
            right="sorted($items, key=$key)",
            wrong="sorted($items)",
            symptom="$items are in the wrong order as soon as a number has two digits",
            expose=_ten_and_nine,
        ),
        Bug(
            name="stage-ignored",
            module="core",
            right="return ($numbers(release), $rank(stage))",
            wrong="return $numbers(release)",
            symptom="stages and releases are mixed up",
            expose=_before_its_release,
        ),
        Bug(
            name="stage-after",
            module="helpers",
            right="return (len(STAGES), 0)",
            wrong="return (-1, 0)",
            symptom="$items that were tried out first are said to be newer than what was released",
            expose=_before_its_release,
        ),
        Bug(
            name="not-filled",
            module="helpers",
            right="return numbers + [0] * (PARTS - len(numbers))",
            wrong="return numbers",
            symptom="$items that are the same change places",
            expose=_missing_is_zero,
        ),
        Bug(
            name="stage-as-text",
            module="helpers",
            right="int(stage[len(name) :] or 0)",
            wrong="stage[len(name) :]",
            symptom="late trial $items of a release are out of order",
            expose=_tenth_stage,
        ),
    ),
)
