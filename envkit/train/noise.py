"""Noise that is a pure function of (key, position, token): no generator, so no sample depends on its neighbours."""

from __future__ import annotations

from collections.abc import Sequence

import torch

_64 = (1 << 64) - 1
_32 = (1 << 32) - 1


def mix64(value: int) -> int:
    """SplitMix64's output function: every bit of the result depends on every bit of the value."""
    value = (value + 0x9E3779B97F4A7C15) & _64
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _64
    return value ^ (value >> 31)


def _mix32(value: torch.Tensor) -> torch.Tensor:
    """The same for 32 bits (lowbias32), in place; products wrap at 64 bits, and their low half is right."""
    value ^= value >> 16
    value *= 0x7FEB352D
    value &= _32
    value ^= value >> 15
    value *= 0x846CA68B
    value &= _32
    value ^= value >> 16
    return value


class Gumbel:
    """Gumbel noise for a vocabulary: the argmax of log-probabilities plus noise is a sample of them."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.size = size
        self._tokens = _mix32(torch.arange(1, size + 1, dtype=torch.int64, device=device))

    def __call__(self, draws: Sequence[tuple[int, int]]) -> torch.Tensor:
        """Float32 noise, a row for each (key, position)."""
        seeds = [mix64(mix64(key & _64) ^ position) for key, position in draws]
        device = self._tokens.device
        scale = torch.tensor([[seed >> 32 | 1] for seed in seeds], device=device)
        shift = torch.tensor([[seed & _32] for seed in seeds], device=device)
        bits = _mix32((self._tokens * scale + shift) & _32)
        # u near 0 is where large noise comes from, and where float32 is finest
        uniform = bits.to(torch.float32).add_(0.5).mul_(2.0**-32)
        return uniform.neg_().log1p_().neg_().log_().neg_()
