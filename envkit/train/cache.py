"""Keys and values of all slots, in the shape that transformers' models ask of a cache."""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer

from envkit.errors import UsageError

GROW = 256  # positions that the cache grows by, at least
SPAN = 16  # attention spans are rounded up to it, so that a GPU sees few shapes


class SlotCache(Cache):
    """A cache whose rows are slots of their own lengths.

    `take` says which tokens of which slots the next forward runs, and gives the model's inputs for it. Rows are padded
    at their left; a pad writes to a scrap position that nothing ever attends to. A token attends to what stands
    at its own position and before in its own slot: what another conversation left behind is out of reach.
    """

    def __init__(self, config: Any, slots: int) -> None:
        layers = DynamicCache(config=config).layers
        strange = {type(layer).__name__ for layer in layers if type(layer) is not DynamicLayer}
        if strange or not layers:
            raise UsageError(
                f"{config.model_type}: the embedded engine runs models whose layers all attend to everything;"
                f" this one has {', '.join(sorted(strange)) or 'none that say how'}. Serve it elsewhere: openai:MODEL"
            )
        self.slots = slots
        self.size = 0  # positions that there is room for
        self.span = 0  # positions that the next forward attends to
        self.rows: torch.Tensor | slice = slice(0)  # the slots that it runs
        self.where: tuple[torch.Tensor, ...] = ()  # slot and position of each token of it
        self._rooms = [_Layer(self) for _ in layers]
        super().__init__(layers=[*self._rooms])

    def take(
        self, device: torch.device, dtype: torch.dtype, rows: list[tuple[int, int, list[int]]]
    ) -> dict[str, torch.Tensor]:
        """Run these next: (slot, its length so far, the tokens to append); the model's inputs."""
        width = max(len(tokens) for _, _, tokens in rows)
        end = max(done + len(tokens) for _, done, tokens in rows)
        self.span = -(-end // SPAN) * SPAN
        if self.span > self.size:
            self.size = max(self.span, 2 * self.size, GROW)
        ids, positions, places = [], [], []
        for _, done, tokens in rows:
            pad = width - len(tokens)
            real = range(done, done + len(tokens))
            ids.append([0] * pad + tokens)
            positions.append([0] * pad + [*real])
            places.append([self.size] * pad + [*real])
        slots = torch.tensor([slot for slot, _, _ in rows], device=device)
        whole = all(slot == at for at, (slot, _, _) in enumerate(rows))
        self.rows = slice(len(rows)) if whole else slots  # a slice is a view, an index copies
        self.where = slots[:, None], torch.tensor(places, device=device)
        position_ids = torch.tensor(positions, device=device)
        seen = torch.arange(self.span, device=device) <= position_ids[:, None, :, None]
        hidden = torch.finfo(dtype).min
        return {
            "input_ids": torch.tensor(ids, device=device),
            "position_ids": position_ids,
            "attention_mask": torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(
                ~seen, hidden
            ),
        }

    def clear(self) -> None:
        """Forget all: not even a NaN of diverged weights is left, which no mask would hide."""
        for room in self._rooms:
            room.forget()


class _Layer(CacheLayerMixin):  # type: ignore[no-untyped-call] # its hook for subclasses
    """One layer's keys and values: (slots, positions and one of scrap, heads, width)."""

    def __init__(self, cache: SlotCache) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._cache = cache
        self._stored: tuple[torch.Tensor, torch.Tensor] | None = None  # keys and values

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make room for as many positions as the cache has."""
        self._stored = self._room(key_states), self._room(value_states)
        self.is_initialized = True

    def _room(self, like: torch.Tensor) -> torch.Tensor:
        shape = (self._cache.slots, self._cache.size + 1, like.shape[1], like.shape[3])
        return torch.zeros(shape, dtype=like.dtype, device=like.device)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Store what the forward computed; what it attends to."""
        cache, before = self._cache, self._stored
        if before is None or before[0].shape[1] <= cache.size:
            self.lazy_initialization(key_states, value_states)
        assert self._stored is not None  # noqa: S101 - there is room now
        for new, stored, old in zip(
            (key_states, value_states), self._stored, before or self._stored, strict=True
        ):
            if stored is not old:  # it has grown
                stored[:, : old.shape[1] - 1] = old[:, :-1]
            stored[cache.where] = new.transpose(1, 2)
        keys, values = (stored[cache.rows, : cache.span] for stored in self._stored)
        return keys.transpose(1, 2), values.transpose(1, 2)

    def forget(self) -> None:
        """Let go of all."""
        self._stored = None
        self.is_initialized = False

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Unused: the masks are ours."""
        return self._cache.span, 0

    def get_seq_length(self) -> int:
        """Unused: the positions are ours."""
        return self._cache.span

    def get_max_length(self) -> int:
        """No limit of its own."""
        return -1
