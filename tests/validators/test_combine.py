"""all_of, any_of, weighted, gate."""

import math

import pytest
from envkit_validators import all_of, any_of, gate, weighted
from hypothesis import given
from hypothesis import strategies as st

from envkit.data.score import Check, failed, passed

CHECKS = st.floats(0, 1).map(lambda value: Check(value, "why"))
ALMOST = math.nextafter(1.0, 0.0)


@given(st.lists(CHECKS, min_size=1, max_size=5))
def test_all_and_any_are_what_they_say(checks):
    assert all_of(*checks).value == float(all(check.value == 1.0 for check in checks))
    assert any_of(*checks).value == float(any(check.value == 1.0 for check in checks))


@given(st.lists(st.tuples(st.floats(1e-300, 1e9), CHECKS), min_size=1, max_size=5))
def test_a_weighted_mean_is_full_only_where_all_hold(parts):
    check = weighted(*parts)
    assert (check.value == 1.0) == all(part.value == 1.0 for _, part in parts)
    mean = sum(weight * part.value for weight, part in parts) / sum(weight for weight, _ in parts)
    assert check.value == pytest.approx(mean)


def test_rounding_never_makes_a_mean_full():
    assert weighted((1e9, passed()), (1e-300, failed("no"))).value == ALMOST


@given(CHECKS, CHECKS)
def test_a_gate_lets_nothing_through_that_is_not_whole(must, then):
    assert gate(must, then).value == (then.value if must.value == 1.0 else 0.0)


def test_reasons_are_of_what_does_not_hold():
    good, bad = passed("fine"), failed("broken")
    assert (
        all_of(good, bad, Check(0.5)).reason == "2 of 3 do not hold: broken; a check of value 0.5"
    )
    assert any_of(bad, good).reason == "fine"
    assert any_of(bad).reason == "none of 1 holds: broken"
    assert gate(bad, good).reason == "gate: broken"
    assert gate(good, bad) is bad
    assert weighted((1, good), (1, bad)).reason == "1 of 2 do not hold: broken"


def test_nothing_checked_is_no_success():
    for combine in (all_of, any_of, weighted):
        with pytest.raises(ValueError, match="at least one check"):
            combine()


@pytest.mark.parametrize("weight", [0, -1, float("nan"), float("inf"), True, 1e10])
def test_weights_are_positive_and_finite(weight):
    with pytest.raises(ValueError, match="weight"):
        weighted((weight, passed()))


def test_a_bool_has_no_reason():
    takers: tuple = (
        all_of,
        any_of,
        lambda check: gate(check, passed()),
        lambda check: weighted((1, check)),
    )
    for combine in takers:
        with pytest.raises(TypeError, match="takes checks, not bool"):
            combine(True)
