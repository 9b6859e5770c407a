"""What the engine's thread does: forwards over the slots that are busy, and a sample behind each."""

from __future__ import annotations

from typing import Any

import torch

from envkit.errors import UsageError
from envkit.train.cache import SlotCache
from envkit.train.noise import Gumbel
from envkit.train.slot import Request, Slot

CHUNK = 256  # tokens of one sequence that one forward prefills
BATCH = 4096  # tokens of all sequences together
TOLERANCE = {True: 1e-3, False: 0.5}  # of a log-probability: in float32, in less


class Stepper:
    """Runs a model over slots. Whoever calls it sees to it that nobody else touches the slots meanwhile."""

    def __init__(self, model: Any, slots: int, context: int) -> None:
        config = model.config.get_text_config()
        self.cache = SlotCache(config, slots)
        self.noise = Gumbel(config.vocab_size, model.device)
        self.version = 0  # of the weights
        self.context = context  # the most tokens of a slot
        self._model = model

    def verify(self) -> None:
        """Raise UsageError for a model that is not the same in slots (one that makes up positions, say)."""
        size = self.noise.size
        ids = [(7 * at + 1) % size for at in range(20)]
        slots = [Slot(at, ids[: 20 - 9 * at]) for at in range(min(2, self.cache.slots))]
        with torch.inference_mode():
            self._forward(slots, 12)  # the shorter one is padded
            here = torch.log_softmax(self._forward(slots[:1], 8).float(), -1)[0]
            whole = self._model(torch.tensor([ids], device=self._model.device), use_cache=False)
            plain = torch.log_softmax(whole.logits[0, -1].float(), -1)
            off = float((here - plain).abs().max())
        self.cache.clear()
        if not off <= TOLERANCE[here.dtype == self._model.dtype]:
            raise UsageError(
                f"{self._model.config.model_type}: in slots its log-probabilities are {off:.2g} off; the embedded"
                " engine can't run this kind of model. Serve it elsewhere: openai:MODEL"
            )

    def step(self, busy: list[Slot]) -> bool:
        """One forward; whether it finished something. Prompts go first: their slots then join the others."""
        behind = [slot for slot in busy if slot.behind > 1]
        rows, width = _chunk(behind) if behind else (busy, 1)
        logits = self._forward(rows, width)
        ready = [at for at, slot in enumerate(rows) if slot.behind == 0]
        if ready:
            self._sample(
                [rows[at] for at in ready], logits if len(ready) == len(rows) else logits[ready]
            )
        return any(rows[at].request.finish for at in ready)  # type: ignore[union-attr]

    def _forward(self, rows: list[Slot], width: int) -> torch.Tensor:
        """Run the next tokens of some slots; the logits behind the last of each."""
        if self._model.training:
            self._model.eval()
        inputs = self.cache.take(
            self._model.device,
            self._model.dtype,
            [(slot.index, slot.done, slot.tokens[slot.done : slot.done + width]) for slot in rows],
        )
        made = self._model(**inputs, past_key_values=self.cache, use_cache=True, logits_to_keep=1)
        for slot in rows:
            slot.done = min(slot.done + width, len(slot.tokens))
        return made.logits[:, -1]  # type: ignore[no-any-return]

    def _sample(self, rows: list[Slot], logits: torch.Tensor) -> None:
        requests = [slot.request for slot in rows if slot.request is not None]
        heats = [request.sampling.temperature for request in requests]
        logprobs = torch.log_softmax(_warmed(logits.float(), heats), -1)
        chosen = self._choose(rows, requests, logprobs)
        spoken = logprobs.gather(-1, chosen[:, None])[:, 0]
        pairs = zip(chosen.tolist(), spoken.tolist(), strict=True)
        for slot, request, (token, logprob) in zip(rows, requests, pairs, strict=True):
            request.version = self.version if request.version < 0 else request.version
            slot.take(request, token, logprob, self.context)

    def _choose(
        self, rows: list[Slot], requests: list[Request], logprobs: torch.Tensor
    ) -> torch.Tensor:
        draws = [
            (request.sampling.key, len(slot.tokens))
            for slot, request in zip(rows, requests, strict=True)
        ]
        heats = [request.sampling.temperature for request in requests]
        if not any(heats):
            return logprobs.argmax(-1)
        noise = self.noise(draws)
        if not all(heats):
            noise *= torch.tensor([[float(heat > 0)] for heat in heats], device=noise.device)
        return noise.add_(logprobs).argmax(-1)


def _chunk(behind: list[Slot]) -> tuple[list[Slot], int]:
    """The slots to prefill together and how many tokens of each: long ones first, of similar length."""
    width = min(CHUNK, max(slot.behind for slot in behind))
    similar = [slot for slot in behind if 4 * slot.behind >= width]
    return similar[: max(1, BATCH // width)], width


def _warmed(logits: torch.Tensor, heats: list[float]) -> torch.Tensor:
    """Divided by the temperatures; a row that is sampled greedily stays as it is."""
    if all(heat in (0.0, 1.0) for heat in heats):
        return logits
    return logits / torch.tensor([[heat or 1.0] for heat in heats], device=logits.device)
