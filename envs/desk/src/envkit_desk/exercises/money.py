"""Splitting of amounts."""

from __future__ import annotations

from random import Random

from envkit_desk.exercises.exercise import Arguments, Bug, Drawn, Exercise

CORE = '''\
"""Split amounts of money without losing a $unit."""

from $package.$helpers import $portions, $ranking


def $main(total, weights):
    """Split `total` $items, a whole number, in proportion to `weights`.

    Weights are whole numbers of 0 or more, not all 0. Every share is first rounded down. The $items
    that are left over go, one each, to the shares that lost most by rounding; among those that lost
    the same, the earlier comes first. A negative total is split like the positive one, and every
    share is then negative (or 0). The shares always add up to `total`.
    """
    if total < 0:
        return [-share for share in $main(-total, weights)]
    shares, lost = $portions(total, weights)
    left = total - sum(shares)
    for index in $ranking(lost)[:left]:
        shares[index] += 1
    return shares
'''

HELPERS = '''\
"""Rounding, and who lost most by it."""


def $portions(total, weights):
    """Every share rounded down, and what each lost by it (in units of 1 / sum(weights))."""
    whole = sum(weights)
    shares = [total * weight // whole for weight in weights]
    lost = [total * weight % whole for weight in weights]
    return shares, lost


def $ranking(lost):
    """The indexes of `lost`, the largest loss first; among equals the earlier index first."""
    return sorted(range(len(lost)), key=lambda index: (-lost[index], index))
'''


def reference(drawn: Drawn, total: int, weights: list[int]) -> list[int]:
    """Hand out what is left one by one."""
    sign, amount, whole = (-1 if total < 0 else 1), abs(total), sum(weights)
    shares = [divmod(amount * weight, whole)[0] for weight in weights]
    open_ = [amount * weight - share * whole for weight, share in zip(weights, shares, strict=True)]
    while sum(shares) < amount:
        index = open_.index(max(open_))
        shares[index], open_[index] = shares[index] + 1, -1
    return [sign * share for share in shares]


def inputs(rng: Random, drawn: Drawn) -> Arguments:
    """Two to six weights, some equal, some zero; totals of both signs."""
    weights = [rng.choice((0, 1, 1, 2, 3, 5, rng.randint(6, 40))) for _ in range(rng.randint(2, 6))]
    if not any(weights):
        weights[0] = 1
    return [rng.randint(-3000, 9000), weights]


def _two_left(rng: Random, drawn: Drawn) -> Arguments:
    """Two units over among three equal weights: the first two get one each."""
    return [3 * rng.randint(1, 900) + 2, [rng.randint(1, 9)] * 3]


def _clear_ranking(rng: Random, drawn: Drawn) -> Arguments:
    """Of ten parts 1, 2 and 7 with a total of 10n + 1, the last loses most."""
    return [10 * rng.randint(1, 300) + 1, [1, 2, 7]]


def _equal_losses(rng: Random, drawn: Drawn) -> Arguments:
    return [4 * rng.randint(1, 900) + 1, [rng.randint(1, 9)] * 4]


def _negative(rng: Random, drawn: Drawn) -> Arguments:
    return [-rng.randint(50, 3000), [rng.randint(1, 9) for _ in range(3)]]


def _middle_first(rng: Random, drawn: Drawn) -> Arguments:
    """Of ten parts 1, 2 and 7 with a total of 10n + 3, the middle loses most."""
    return [10 * rng.randint(1, 300) + 3, [1, 2, 7]]


EXERCISE = Exercise(
    name="money",
    about="splits amounts of money",
    names={
        "core": ("splitting", "shares", "allocation", "payout"),
        "helpers": ("rounding", "portions", "remainders", "fractions"),
        "main": ("split", "allocate", "share_out", "apportion", "divide", "distribute"),
        "portions": ("rounded_down", "whole_parts", "floors", "first_pass"),
        "ranking": ("ranking", "neediest", "by_loss", "in_line"),
        "unit": ("cent", "penny", "point", "credit"),
        "items": ("minor units", "base units", "smallest units", "counted units"),
    },
    core=CORE,
    helpers=HELPERS,
    reference=reference,
    inputs=inputs,
    bugs=(
        Bug(
            name="one-left",
            module="core",
            right="$ranking(lost)[:left]",
            wrong="$ranking(lost)[:1]",
            symptom="the shares do not add up: now and then a $unit is missing",
            expose=_two_left,
        ),
        Bug(
            name="sign-lost",
            module="core",
            right="return [-share for share in",
            wrong="return [share for share in",
            symptom="refunds are booked as charges",
            expose=_negative,
        ),
        Bug(
            name="least-first",
            module="helpers",
            right="(-lost[index], index)",
            wrong="(lost[index], index)",
            symptom="a left-over $unit goes to the wrong share",
            expose=_clear_ranking,
        ),
        Bug(
            name="later-first",
            module="helpers",
            right="(-lost[index], index)",
            wrong="(-lost[index], -index)",
            symptom="equal shares are not served in order",
            expose=_equal_losses,
        ),
        Bug(
            name="weight-only",
            module="helpers",
            right="lost = [total * weight % whole",
            wrong="lost = [weight % whole",
            symptom="the share that gets the left-over $unit is not the one that lost most",
            expose=_middle_first,
        ),
    ),
)
