"""Advantages: against cases worked by hand, and against what is known to go wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from envkit.errors import UsageError
from envkit.train.advantage import EPSILON, advantages

REWARDS = st.lists(st.lists(st.none() | st.floats(0, 1), max_size=6), max_size=6)


def test_by_hand():
    # centred: .75 -.25 -.25 -.25 | .5 -.5; sum of squares .75 + .5 over 6 values
    made = advantages([[1, 0, 0, 0], [1, 0]])
    deviation = math.sqrt(1.25 / 6)
    assert made.deviation == pytest.approx(deviation)
    assert made.values[0] == pytest.approx(
        [x / (deviation + EPSILON) for x in (0.75, -0.25, -0.25, -0.25)]
    )
    assert made.values[1] == pytest.approx(
        [0.5 / (deviation + EPSILON), -0.5 / (deviation + EPSILON)]
    )


def test_by_the_groups_own_deviation_and_by_none():
    own = advantages([[1, 0, 0, 0], [0.5, 0.4]], "group")
    assert own.values[0] == pytest.approx(
        [x / (math.sqrt(0.1875) + EPSILON) for x in (0.75, -0.25, -0.25, -0.25)]
    )
    assert own.values[1] == pytest.approx([0.05 / (0.05 + EPSILON), -0.05 / (0.05 + EPSILON)])
    (plain,) = advantages([[1, 0]], "none").values
    assert plain == pytest.approx((0.5, -0.5))


def test_invalid_members_count_nowhere():
    with_one = advantages([[1, None, 0], [0.5, 0.25, None]])
    without = advantages([[1, 0], [0.5, 0.25]])
    assert [[v for v in row if v is not None] for row in with_one.values] == [
        list(row) for row in without.values
    ]
    assert with_one.values[0][1] is None
    assert with_one.deviation == without.deviation


def test_groups_that_teach_nothing_go_as_a_whole():
    made = advantages([[1, 0, 0, 0], [0, 0], [1, 1, 1], [None, 1], [None, None], [0.5, 0.5 + 1e-9]])
    assert (made.kept, made.too_few, made.all_low, made.all_high) == (1, 2, 1, 2)
    assert None not in made.values[0]  # neither the winner nor a loser is dropped
    assert all(value is None for row in made.values[1:] for value in row)


def test_rounding_is_no_signal():
    made = advantages([[0.1 + 0.2, 0.3, 0.3], [1 / 3, 0.3333333333]])
    assert made.kept == 0


def test_groups_left_out_are_part_of_the_steps_deviation():
    assert advantages([[1, 0], [0, 0]]).deviation == pytest.approx(math.sqrt(0.5 / 4))


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_refused(reward):
    with pytest.raises(ValueError, match="no number"):
        advantages([[0.0, reward]])


def test_an_unknown_scale_is_refused():
    with pytest.raises(UsageError, match="batch, group, none"):
        advantages([[0, 1]], "sequence")


@given(REWARDS)
def test_always(groups):
    made = advantages(groups)
    assert [len(row) for row in made.values] == [len(row) for row in groups]
    assert made.kept + made.too_few + made.all_low + made.all_high == len(groups)
    count = sum(reward is not None for row in groups for reward in row)
    for rewards, row in zip(groups, made.values, strict=True):
        told = [value for value in row if value is not None]
        assert len(told) in (0, sum(reward is not None for reward in rewards))
        assert abs(math.fsum(told)) < 1e-6 * max(1, len(told)) / (made.deviation + EPSILON)
        assert all(
            abs(value) <= math.sqrt(count) + 1e-9 for value in told
        )  # a residue is never blown up
