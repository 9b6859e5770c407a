"""Roman numerals."""

from __future__ import annotations

from random import Random

from envkit_desk.exercises.exercise import Arguments, Bug, Drawn, Exercise

CORE = '''\
"""Number $items the Roman way."""

from $package.$helpers import SIGNS, $writable

UNKNOWN = "$unknown"


def $numeral(number):
    """A whole number as a Roman numeral in its shortest usual form; UNKNOWN where it has none."""
    if not $writable(number):
        return UNKNOWN
    letters = ""
    for value, sign in SIGNS:
        while number >= value:
            letters += sign
            number -= value
    return letters


def $main($items):
    """The numerals of all $items, which are whole numbers, in the same order."""
    return [$numeral(number) for number in $items]
'''

HELPERS = '''\
"""Signs and limits of Roman numerals."""

HIGHEST = 3999

SIGNS = (
    (1000, "M"),
    (900, "CM"),
    (500, "D"),
    (400, "CD"),
    (100, "C"),
    (90, "XC"),
    (50, "L"),
    (40, "XL"),
    (10, "X"),
    (9, "IX"),
    (5, "V"),
    (4, "IV"),
    (1, "I"),
)


def $writable(number):
    """Whether a number can be written: from 1 up to and including HIGHEST."""
    return 1 <= number <= HIGHEST
'''

ONES = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
TENS = ("", "X", "XX", "XXX", "XL", "L", "LX", "LXX", "LXXX", "XC")
HUNDREDS = ("", "C", "CC", "CCC", "CD", "D", "DC", "DCC", "DCCC", "CM")


def reference(drawn: Drawn, numbers: list[int]) -> list[str]:
    """Digit by digit."""
    return [
        "M" * (n // 1000) + HUNDREDS[n // 100 % 10] + TENS[n // 10 % 10] + ONES[n % 10]
        if n in range(1, 4000)
        else drawn["unknown"]
        for n in numbers
    ]


def inputs(rng: Random, drawn: Drawn) -> Arguments:
    """Small and large numbers, and some that can't be written."""
    numbers = [rng.randint(1, 3999) for _ in range(rng.randint(2, 4))]
    numbers += [rng.randint(1, 60), rng.choice((0, -1, -40, 3998, 3999, 4000, 4001))]
    rng.shuffle(numbers)
    return [numbers]


def _with_tens(rng: Random, tens: int) -> Arguments:
    return [[1000 * rng.randint(0, 3) + 100 * rng.randint(0, 9) + tens + rng.randint(0, 9)]]


def _forty(rng: Random, drawn: Drawn) -> Arguments:
    return _with_tens(rng, 40)


def _ninety(rng: Random, drawn: Drawn) -> Arguments:
    return _with_tens(rng, 90)


def _repeated(rng: Random, drawn: Drawn) -> Arguments:
    return [[1000 * rng.randint(2, 3) + rng.randint(0, 999), rng.randint(1, 999)]]


def _highest(rng: Random, drawn: Drawn) -> Arguments:
    return [[rng.randint(1, 3998), 3999]]


def _not_positive(rng: Random, drawn: Drawn) -> Arguments:
    return [[rng.randint(1, 3998), 0, -rng.randint(1, 50)]]


EXERCISE = Exercise(
    name="roman",
    about="writes Roman numerals",
    names={
        "core": ("numerals", "labels", "numbering", "chapters"),
        "helpers": ("signs", "letters", "table", "alphabet"),
        "main": ("number_all", "label_all", "to_labels", "romans", "enumerate_all", "caption_all"),
        "numeral": ("numeral", "in_letters", "roman", "one_label"),
        "writable": ("writable", "in_range", "allowed", "has_form"),
        "items": ("numbers", "chapters", "volumes", "clauses", "sections", "acts"),
        "unknown": ("?", "-", "n/a", "none", "*", "unknown"),
    },
    core=CORE,
    helpers=HELPERS,
    reference=reference,
    inputs=inputs,
    bugs=(
        Bug(
            name="once-only",
            module="core",
            right="while number >= value:",
            wrong="if number >= value:",
            symptom="large $items come out too short",
            expose=_repeated,
        ),
        Bug(
            name="no-limit",
            module="core",
            right="if not $writable(number):",
            wrong="if number == 0:",
            symptom="$items without a numeral come out as empty text",
            expose=_not_positive,
            never_with=("highest",),
        ),
        Bug(
            name="forty",
            module="helpers",
            right='    (50, "L"),\n    (40, "XL"),\n',
            wrong='    (50, "L"),\n',
            symptom="some $items have four equal letters in a row",
            expose=_forty,
        ),
        Bug(
            name="ninety",
            module="helpers",
            right='(90, "XC")',
            wrong='(90, "LXL")',
            symptom="a numeral in our list of $items does not exist",
            expose=_ninety,
        ),
        Bug(
            name="highest",
            module="helpers",
            right="return 1 <= number <= HIGHEST",
            wrong="return 1 <= number < HIGHEST",
            symptom="one of the $items is reported as unknown although it has a numeral",
            expose=_highest,
        ),
    ),
)
