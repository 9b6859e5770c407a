"""The learner: rows in, better weights out. It never sees an environment.

Rows are padded into micro-batches of a token budget; the sum of the loss over all of them is divided once, by the
number of trained tokens of the optimizer step. So the gradient is the same however the rows are packed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from envkit.errors import EnvkitError
from envkit.train.loss import LOSSES, Drift, LossName, Tokens
from envkit.train.types import Row

BETAS = (0.9, 0.95)
CLIP_NORM = 1.0
LOGITS = (
    1 << 26
)  # numbers of logits that are held at once; over it, they are made again for the gradient


class Diverged(EnvkitError):
    """The gradient is no number any more."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A row and what it is worth. With loss `ce` the advantage is 1 and not looked at."""

    row: Row
    advantage: float = 1.0

    @property
    def trained(self) -> int:
        """How many of its tokens are trained; the first of all has nothing before it."""
        return sum(self.row.mask[1:])


@dataclass(frozen=True, slots=True)
class Report:
    """What one optimizer step came to."""

    loss: float
    grad_norm: float
    tokens: int  # trained
    drift: Drift


class Learner:
    """Trains a model in place.

    Args:
        model: a causal model of transformers; the engine may sample from the same tensors
        lr: of AdamW
        warmup: steps until the rate is reached
        temperature: that the rows were sampled at
        budget: tokens of one micro-batch, padding included; less on a CPU, where padding costs and calls do not

    Weights below 32 bits are trained by a copy in 32 bits: most updates are smaller than they can hold.
    """

    def __init__(
        self, model: Any, *, lr: float, warmup: int = 0, temperature: float = 1.0, budget: int | None = None
    ) -> None:  # fmt: skip
        self.model = model
        self.budget = budget or (16_384 if model.device.type == "cuda" else 2_048)
        self.steps = 0
        self._lr = lr
        self._warmup = warmup
        self._temperature = temperature
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._masters = [_master(weight) for weight in self._weights]
        self._optimizer = torch.optim.AdamW(self._masters, lr=lr, betas=BETAS, weight_decay=0.0)
        self._plain_head = _plain_head(model)

    # ---- a step ----

    def step(self, samples: Sequence[Sample], loss: LossName) -> Report:
        """One optimizer step. Raises Diverged; the weights are then as they were."""
        drift = Drift()
        total = self.gradient(samples, loss, drift)
        norm = self._norm()
        if not torch.isfinite(torch.tensor([norm, total])).all():
            raise Diverged(
                f"the gradient is no number any more after {self.steps} steps; begin again with a lower --lr"
            )
        self.steps += 1
        for group in self._optimizer.param_groups:
            group["lr"] = self._lr * min(1.0, self.steps / max(1, self._warmup))
        self._optimizer.step()
        self._write_back()
        return Report(total, norm, drift.tokens, drift)

    def gradient(
        self, samples: Sequence[Sample], loss: LossName, drift: Drift | None = None
    ) -> float:
        """Fill the gradients of one optimizer step; the loss."""
        if self.model.training:
            self.model.eval()  # no dropout: the ratio compares like with like
        self._optimizer.zero_grad(set_to_none=True)
        trained = sum(sample.trained for sample in samples)
        total = 0.0
        for batch in packed(samples, self.budget):
            tokens = self.tokens(batch)
            if drift is not None:
                drift.see(tokens)
            part = LOSSES[loss](tokens) / trained
            part.backward()  # type: ignore[no-untyped-call]
            self._collect()
            total += float(part.detach())
        return total

    # ---- log-probabilities ----

    def tokens(self, batch: Sequence[Sample]) -> Tokens:
        """The trained tokens of some rows, with their log-probabilities by the weights as they are."""
        device = self.model.device
        width = max(len(sample.row.ids) for sample in batch)
        # padding stands at the right, where no causal attention sees it: no mask is needed
        ids = torch.tensor(
            [sample.row.ids + [0] * (width - len(sample.row.ids)) for sample in batch],
            device=device,
        )
        places = [
            (row, at)
            for row, sample in enumerate(batch)
            for at in range(1, len(sample.row.ids))
            if sample.row.mask[at]
        ]
        rows = torch.tensor([row for row, _ in places], device=device)
        columns = torch.tensor([at for _, at in places], device=device)
        sampler = [batch[row].row.logprobs[at] for row, at in places]
        worth = [batch[row].advantage for row, _ in places]
        return Tokens(
            self._logprobs(ids, rows, columns - 1, ids[rows, columns]),
            torch.tensor(sampler, device=device),
            torch.tensor(worth, device=device),
            rows,
        )

    def _logprobs(
        self, ids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        """Of `targets`, behind these places. Logits are made of the trained places alone."""
        if not self._plain_head:
            logits = self.model(input_ids=ids, use_cache=False).logits[rows, columns]
            return self._pick(logits, targets)
        hidden = self.model.base_model(input_ids=ids, use_cache=False).last_hidden_state[
            rows, columns
        ]
        size = max(1, LOGITS // self.model.get_output_embeddings().out_features)
        if len(targets) <= size:
            return self._head(hidden, targets)
        parts = zip(torch.split(hidden, size), torch.split(targets, size), strict=True)
        return torch.cat([checkpoint(self._head, *part, use_reentrant=False) for part in parts])

    def _head(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return self._pick(self.model.get_output_embeddings()(hidden), targets)

    def _pick(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        logits = logits.float()
        if self._temperature != 1.0:
            logits = logits / self._temperature
        chosen = logits.gather(-1, targets[:, None])[:, 0]
        return chosen - logits.logsumexp(-1)

    # ---- weights in less than 32 bits ----

    def _collect(self) -> None:
        """Add what one micro-batch brought to the gradients of the copies."""
        for weight, master in zip(self._weights, self._masters, strict=True):
            if weight is not master and weight.grad is not None:
                grad = weight.grad.float()
                master.grad = grad if master.grad is None else master.grad.add_(grad)
                weight.grad = None

    def _norm(self) -> float:
        return float(torch.nn.utils.clip_grad_norm_(self._masters, CLIP_NORM))

    @torch.no_grad()
    def _write_back(self) -> None:
        for weight, master in zip(self._weights, self._masters, strict=True):
            if weight is not master:
                weight.copy_(master)

    # ---- keeping ----

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps beside the weights."""
        copies = [m for w, m in zip(self._weights, self._masters, strict=True) if w is not m]
        return {"optimizer": self._optimizer.state_dict(), "copies": copies, "steps": self.steps}

    @torch.no_grad()
    def restore(self, state: dict[str, Any]) -> None:
        """Go on from there; the model's weights are loaded already."""
        self._optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]
        copies = [m for w, m in zip(self._weights, self._masters, strict=True) if w is not m]
        for master, kept in zip(copies, state["copies"], strict=True):
            master.copy_(kept)


def packed(samples: Iterable[Sample], budget: int) -> Iterator[list[Sample]]:
    """Micro-batches of similar lengths, each within the budget with its padding; a row over it is one alone."""
    batch: list[Sample] = []
    for sample in sorted((s for s in samples if s.trained), key=lambda s: -len(s.row.ids)):
        if batch and (len(batch) + 1) * len(batch[0].row.ids) > budget:
            yield batch
            batch = []
        batch.append(sample)
    if batch:
        yield batch


def _master(weight: torch.Tensor) -> torch.Tensor:
    if weight.dtype == torch.float32:
        return weight
    return weight.detach().float().requires_grad_()


@torch.no_grad()
def _plain_head(model: Any) -> bool:
    """Whether logits are nothing but the last hidden state times the output embedding (some models scale them)."""
    ids = torch.arange(8, device=model.device)[None]
    head, body = model.get_output_embeddings(), getattr(model, "base_model", None)
    if head is None or body is None or body is model:
        return False
    made = head(body(input_ids=ids, use_cache=False).last_hidden_state)
    return torch.equal(made, model(input_ids=ids, use_cache=False).logits)
