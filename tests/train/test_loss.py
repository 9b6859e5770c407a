"""Losses against cases worked by hand."""

import math

import pytest

torch = pytest.importorskip("torch")

from envkit.train.loss import LOSSES, Drift, Tokens  # noqa: E402 - it needs torch

LOGPROB = -1.0


def tokens(ratios, advantages, rows=None):
    sampler = torch.full((len(ratios),), LOGPROB)
    logprobs = (sampler + torch.tensor([math.log(r) for r in ratios])).requires_grad_()
    rows = torch.tensor(rows or [0] * len(ratios))
    return Tokens(logprobs, sampler, torch.tensor(advantages), rows)


def worked(name, ratio, advantage):
    """The loss of one token, and its gradient by the token's log-probability."""
    given = tokens([ratio], [advantage])
    loss = LOSSES[name](given)
    loss.backward()
    return loss.item(), given.logprobs.grad.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "gradient"),
    [
        (1.0, 2.0, -2.0, -2.0),  # on policy: the policy gradient
        (1.2, 2.0, -2.4, -2.4),  # inside the clip
        (1.5, 2.0, -2.56, 0.0),  # over 1.28: no more is to be had
        (0.5, 2.0, -1.0, -1.0),  # a good token that became rare is pulled back
        (1.0, -2.0, 2.0, 2.0),
        (0.9, -2.0, 1.8, 1.8),
        (0.5, -2.0, 1.6, 0.0),  # under 0.8
        (2.0, -2.0, 4.0, 4.0),  # a bad token that became likely is pushed back
        (5.0, -2.0, 6.0, 0.0),  # by three times its advantage at most
        (1.25, 1.0, -1.25, -1.25),  # between 1.2 and 1.28: the clip is not symmetric
    ],
)
def test_clip(ratio, advantage, loss, gradient):
    assert worked("clip", ratio, advantage) == pytest.approx((loss, gradient), abs=1e-5)


@pytest.mark.parametrize(
    ("ratio", "advantage", "weight"),
    [(1.0, 2.0, 1.0), (3.0, 2.0, 3.0), (9.0, 2.0, 5.0), (0.1, -1.0, 0.1)],
)
def test_cispo_clips_the_weight_and_never_the_gradient(ratio, advantage, weight):
    logprob = LOGPROB + math.log(ratio)
    expected = (-weight * advantage * logprob, -weight * advantage)
    assert worked("cispo", ratio, advantage) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("ratio", "advantage", "kept"),
    [(1.1, 1.0, True), (2.0, 1.0, False), (2.0, -1.0, True), (0.3, -1.0, False), (0.3, 1.0, True)],
)
def test_dppo_leaves_out_what_has_moved_far(ratio, advantage, kept):
    # the probability was 0.37: twice that is 0.37 more, 0.3 of it is 0.26 less, both over 0.2
    loss, gradient = worked("dppo", ratio, advantage)
    assert loss == pytest.approx(-ratio * advantage if kept else 0.0)
    assert gradient == pytest.approx(-ratio * advantage if kept else 0.0)


def test_gspo_takes_the_mean_over_the_row_and_never_the_sum():
    # row 0: the logarithms' mean is 0, so nothing is clipped; row 1: far over its clip
    given = tokens([2.0, 0.5, 1.5, 1.5], [1.0, 1.0, 1.0, 1.0], rows=[0, 0, 1, 1])
    loss = LOSSES["gspo"](given)
    loss.backward()
    assert loss.item() == pytest.approx(-(1 + 1 + 2 * 1.0004))
    assert given.logprobs.grad.tolist() == pytest.approx([-1, -1, 0, 0], abs=1e-6)


def test_reinforce_and_cross_entropy():
    assert worked("reinforce", 1.0, 2.0) == pytest.approx((2.0, -2.0))
    assert worked("ce", 1.0, 2.0) == pytest.approx((1.0, -1.0))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_no_ratio_is_infinite(name):
    far = Tokens(
        torch.tensor([-1e4, -1.0], requires_grad=True), torch.tensor([-1.0, -1e4]),
        torch.tensor([1.0, -1.0]), torch.tensor([0, 1]),
    )  # fmt: skip
    loss = LOSSES[name](far)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(far.logprobs.grad).all()


@pytest.mark.parametrize("name", sorted(set(LOSSES) - {"ce"}))
def test_on_policy_all_have_the_policy_gradient(name):
    given = tokens([1.0, 1.0, 1.0], [0.5, -1.0, 2.0], rows=[0, 1, 2])
    LOSSES[name](given).backward()
    assert given.logprobs.grad.tolist() == pytest.approx([-0.5, 1.0, -2.0])


def test_drift_by_hand():
    drift = Drift()
    drift.see(tokens([1.0, 2.0], [1.0, 1.0]))
    drift.see(tokens([0.5, 0.5], [-1.0, 1.0]))
    assert drift.tokens == 4
    assert drift.largest == pytest.approx(math.log(2))
    assert drift.kl == pytest.approx((2 - 1 - math.log(2)) + 2 * (0.5 - 1 + math.log(2)))
    assert (drift.low, drift.high) == (1, 1)  # a good token that falls is not clipped
