"""`hf:PATH`: a local model plays, in this process."""

from __future__ import annotations

from typing import Any, Literal

from envkit.errors import UsageError
from envkit.train.models import load
from envkit.train.policy import EngineSource
from envkit.train.render import Renderer
from envkit.train.types import Sampling


class LocalModel(EngineSource):
    """Plays a Hugging Face folder, or `tiny`.

    Args:
        name: as it was asked for, `hf:PATH`
        folder: what `--model` takes
        temperature: 0 is greedy
        max_tokens: of one turn
        thinking: `off`, `on` or a budget of tokens for each turn
        context: the most tokens of a conversation
        slots: conversations at once

    Raises MissingError without torch, UsageError for what is no such model.
    """

    def __init__(  # noqa: PLR0913 - the options of `hf:`
        self, name: str, folder: str, *, temperature: float = 1.0, max_tokens: int = 1024,
        thinking: Literal["off", "on"] | int = "off", context: int = 8192, slots: int = 32,
    ) -> None:  # fmt: skip
        if not 0 <= temperature < float("inf") or max_tokens < 1:
            raise UsageError(f"{name}: temperature must be 0 or more, and max_tokens 1 or more")
        loaded = load(folder)
        from envkit.train.slots import SlotEngine  # needs what `load` has found

        renderer = Renderer(loaded.tokenizer, thinking=thinking)
        renderer.check()
        self._own = SlotEngine(loaded.model, slots=slots, context=context)
        sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
        notes: dict[str, Any] = loaded.describe()
        super().__init__(name, self._own, renderer, sampling, notes=notes, keep=False)

    async def aclose(self) -> None:
        """The engine is its own."""
        await self._own.aclose()
