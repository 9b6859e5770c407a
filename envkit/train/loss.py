"""Losses: functions of tokens, each summed over tokens; the learner divides once, by the tokens of the whole step.

`Tokens` holds what is known of every trained token. No function here knows a model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

LossName = Literal["clip", "cispo", "gspo", "dppo", "reinforce", "ce"]

CLIP_LOW, CLIP_HIGH = (
    0.2,
    0.28,
)  # a rise is given more room than a fall, so that rare tokens can rise
DUAL = 3.0  # the most that a bad token weighs, however likely it has become
SEQUENCE_LOW, SEQUENCE_HIGH = 3e-4, 4e-4  # ratios of whole sequences move less
CISPO_HIGH = 5.0
DPPO_SHIFT = 0.2  # of probability
FAR = 20.0  # a logarithm of a ratio is cut here: exp stays finite


@dataclass(frozen=True, slots=True)
class Tokens:
    """Trained tokens of some rows, one behind the other."""

    logprobs: torch.Tensor  # by the weights in training, with their gradient
    sampler: torch.Tensor  # by the weights that sampled them
    advantages: torch.Tensor
    rows: torch.Tensor  # which row each belongs to, from 0 on

    @property
    def log_ratio(self) -> torch.Tensor:
        """How far the weights have moved since, token by token."""
        return (self.logprobs - self.sampler).clamp(-FAR, FAR)


def clip(tokens: Tokens) -> torch.Tensor:
    """PPO's clipped objective, asymmetric, with a bound for bad tokens (dual clip)."""
    ratio, advantages = tokens.log_ratio.exp(), tokens.advantages
    clipped = ratio.clamp(1 - CLIP_LOW, 1 + CLIP_HIGH)
    loss = -torch.minimum(ratio * advantages, clipped * advantages)
    bounded = torch.minimum(loss, -DUAL * advantages)
    return torch.where(advantages < 0, bounded, loss).sum()


def cispo(tokens: Tokens) -> torch.Tensor:
    """REINFORCE weighted by a clipped ratio: no token loses its gradient."""
    weight = tokens.log_ratio.exp().clamp(max=CISPO_HIGH).detach()
    return -(weight * tokens.advantages * tokens.logprobs).sum()


def gspo(tokens: Tokens) -> torch.Tensor:
    """Clipped like `clip`, by the ratio of the whole row: the mean of its logarithms, never their sum."""
    counts = torch.bincount(tokens.rows).clamp(min=1)
    sums = torch.zeros(len(counts), dtype=tokens.logprobs.dtype, device=tokens.rows.device)
    means = sums.index_add(0, tokens.rows, tokens.log_ratio) / counts
    ratio, advantages = means.exp()[tokens.rows], tokens.advantages
    clipped = ratio.clamp(1 - SEQUENCE_LOW, 1 + SEQUENCE_HIGH)
    return -torch.minimum(ratio * advantages, clipped * advantages).sum()


def dppo(tokens: Tokens) -> torch.Tensor:
    """Tokens whose probability has moved far already, in the direction of their advantage, are left out."""
    ratio, advantages = tokens.log_ratio.exp(), tokens.advantages
    moved = (tokens.logprobs.exp() - tokens.sampler.exp()).detach()
    far = torch.where(advantages > 0, moved > DPPO_SHIFT, moved < -DPPO_SHIFT)
    return -(ratio * advantages * ~far).sum()


def reinforce(tokens: Tokens) -> torch.Tensor:
    """The plain policy gradient; right for one optimizer step on samples of the very same weights."""
    return -(tokens.advantages * tokens.logprobs).sum()


def cross_entropy(tokens: Tokens) -> torch.Tensor:
    """Make these tokens likelier: what a warm start does."""
    return -tokens.logprobs.sum()


LOSSES: Mapping[str, Callable[[Tokens], torch.Tensor]] = {
    "clip": clip, "cispo": cispo, "gspo": gspo, "dppo": dppo, "reinforce": reinforce,
    "ce": cross_entropy,
}  # fmt: skip


@dataclass(slots=True)
class Drift:
    """How far the weights in training are from those that sampled, summed over micro-batches."""

    tokens: int = 0
    kl: float = 0.0  # sum of an estimate that is never negative
    largest: float = 0.0  # |log ratio|
    low: int = 0  # tokens clipped from below
    high: int = 0
    logprob: float = 0.0  # sum; its mean, negated, estimates the entropy

    def see(self, tokens: Tokens) -> None:
        """Count in a micro-batch."""
        with torch.no_grad():
            log_ratio, good = tokens.log_ratio, tokens.advantages > 0
            ratio = log_ratio.exp()
            self.tokens += len(ratio)
            self.kl += float((ratio - 1 - log_ratio).sum())
            self.largest = max(self.largest, float(log_ratio.abs().max()))
            self.low += int(((ratio < 1 - CLIP_LOW) & ~good).sum())
            self.high += int(((ratio > 1 + CLIP_HIGH) & good).sum())
            self.logprob += float(tokens.logprobs.sum())
